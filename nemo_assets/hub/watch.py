"""Whether a source repo has moved, and whether what it shows now can be relied upon.

Belongs here: the head by one small request, listing only what changed, the history around a head, what one look leaves
for the next. Does not: which files make up a split (`stages.split_files`), telling anybody (`orchestration`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub.errors import RemoteEntryNotFoundError

from nemo_assets.hub.client import Hub, Retry
from nemo_assets.hub.sources import DirectorySource, HubSource, Source, SourceFile, require_repo_id

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile, RepoFolder

# A large upload arrives as many commits, minutes apart: a head without a successor for so long is the last of them.
QUIET = timedelta(hours=1)
LOOKS_TO_COUNT = 2  # in a row that found the same head, an hour apart, say as much, whatever the date of the commit
LOOKS_TO_GO_BACK = 3  # in a row that found an older head than the known one: no cache lags for hours

_MOST_FOLDERS = 8  # listed one by one; beyond, one listing of everything takes fewer requests


def watch(repo_id: str, source_dir: Path | None, endpoint: str, token: str | None, retry: Retry) -> Source:
    """The repo below `source_dir` where one is given, else on the Hub at `endpoint`."""
    require_repo_id(repo_id)
    if source_dir is not None:
        return DirectorySource(source_dir, repo_id)
    return WatchedHub(repo_id, Hub(endpoint, token, retry))


@dataclass(frozen=True)
class Memory:
    """What one look at a source leaves for the next.

    head is the last one that counted, with what it held: the version of each split, and what is wrong with the splits,
    both under `basis`, a digest of what the catalog said of the source. found is the head of the last look, and looks
    how many in a row found it.
    """

    head: str = ""
    basis: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    found: str = ""
    looks: int = 0

    def having_found(self, head: str) -> Memory:
        """The same, after another look."""
        return replace(self, found=head, looks=self.looks + 1 if head == self.found else 1)


def reason_to_wait(source: Source, memory: Memory, known: Iterable[str], now: datetime) -> str | None:
    """Why the head that was just found does not count yet; None if it does.

    `known` are the revisions that were relied upon so far. A head that is older than one of them is what a cache still
    shows, unless it stays. Commits that a rewritten history no longer has are not newer than anything.
    """
    commits = source.history(memory.found)
    ancestors = {commit.id for commit in commits}
    for revision in known:
        if revision not in ancestors and memory.found in {commit.id for commit in source.history(revision)}:
            if memory.looks < LOOKS_TO_GO_BACK:
                return (
                    f"{source.repo_id}: the head {memory.found[:7]} is older than {revision[:7]}, seen before; "
                    "taken for a cache that lags."
                )
            return None
    if memory.looks < LOOKS_TO_COUNT and commits and now - commits[0].date < QUIET:
        return (
            f"{source.repo_id}: the head {memory.found[:7]} is of {commits[0].date:%H:%M} UTC; it counts when it is "
            f"still the head at the next look, or after {QUIET.total_seconds() / 60:.0f} minutes."
        )
    return None


@dataclass(frozen=True)
class WatchedHub(HubSource):
    """A repo on the Hub, asked as little as possible."""

    def revision(self) -> str:
        """The commit that `main` points to, by one HEAD request, which the Hub counts apart from its API."""
        with self.hub.explained(self.repo_id, "main"):
            return self.hub.call(self._head) or super().revision()

    def _head(self) -> str | None:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        endpoint = self.hub.endpoint
        url = hf_hub_url(self.repo_id, ".gitattributes", repo_type="dataset", revision="main", endpoint=endpoint)
        try:
            return get_hf_file_metadata(url, token=self.hub.token, endpoint=endpoint).commit_hash
        except RemoteEntryNotFoundError as error:
            return error.response.headers.get("X-Repo-Commit")

    def files(self, revision: str) -> tuple[SourceFile, ...]:
        """All files at `revision`. Folders whose tree id this process has listed before are not asked for again."""
        with self.hub.explained(self.repo_id, revision):
            before = _listed.get(self._key)
            tree = self._whole(revision) if before is None else self._walked(revision, before)
        _listed[self._key] = tree
        return tuple(sorted((file for folder in tree.values() for file in folder.files), key=lambda file: file.path))

    @property
    def _key(self) -> tuple[str, str]:
        return self.hub.endpoint, self.repo_id

    def _whole(self, revision: str) -> Tree:
        """Every folder, in one request a thousand files."""
        return _folders(self._list("", revision, recursive=True))

    def _walked(self, revision: str, before: Tree) -> Tree:
        """The root and every folder that changed, in one request each; the others are as they were before."""
        tree: dict[str, Folder] = {}
        waiting, asked = {"": ""}, 0
        while waiting:
            path, tree_id = waiting.popitem()
            folder = before.get(path)
            if folder is None or not tree_id or folder.tree_id != tree_id:
                if asked == _MOST_FOLDERS:
                    return self._whole(revision)
                folder = replace(_folders(self._list(path, revision), path)[path], tree_id=tree_id)
                asked += 1
            tree[path] = folder
            waiting |= folder.folders
        return tree

    def _list(self, path: str, revision: str, recursive: bool = False) -> list[RepoFile | RepoFolder]:
        def ask() -> list[RepoFile | RepoFolder]:
            entries = self.hub.api().list_repo_tree(
                self.repo_id, path or None, recursive=recursive, revision=revision, repo_type="dataset"
            )
            return list(entries)

        return self.hub.call(ask)


@dataclass(frozen=True)
class Folder:
    """A folder without what lies deeper: its files, and path → tree id of the folders in it."""

    tree_id: str = ""
    files: tuple[SourceFile, ...] = ()
    folders: Mapping[str, str] = field(default_factory=dict)


Tree = Mapping[str, Folder]
"""Folders by path; the root is `""`."""

# The last listing of each repo, by endpoint and repo. A tree id names content: a folder that has it is as it was.
_listed: dict[tuple[str, str], Tree] = {}


def _folders(entries: Iterable[RepoFile | RepoFolder], root: str = "") -> dict[str, Folder]:
    """A listing sorted into folders; `root` is the one it was asked for."""
    from huggingface_hub.hf_api import RepoFile

    files: dict[str, list[SourceFile]] = {root: []}
    folders: dict[str, dict[str, str]] = {root: {}}
    ids = {root: ""}
    for entry in entries:
        parent = entry.path.rpartition("/")[0]
        if isinstance(entry, RepoFile):
            sha256 = entry.lfs.sha256 if entry.lfs else None
            files.setdefault(parent, []).append(SourceFile(entry.path, entry.size, sha256, entry.blob_id))
        else:
            folders.setdefault(parent, {})[entry.path] = ids[entry.path] = entry.tree_id
    return {path: Folder(ids[path], tuple(files.get(path, ())), folders.get(path, {})) for path in ids}
