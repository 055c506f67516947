"""Reading a source dataset repo, from the Hub or from a directory laid out like it.

Belongs here: what files a repo has at a revision, and getting one of them whole and verified.
Does not: which file belongs to which split (`patterns`, `catalog`), what is in it (`records`).
"""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, cast
from urllib.parse import quote

from huggingface_hub.errors import RevisionNotFoundError

from nemo_assets.disk import disk_told, make_directory
from nemo_assets.errors import UserError
from nemo_assets.hub.client import DEFAULT_ENDPOINT, Hub, Retry
from nemo_assets.hub.download import RemoteFile, download, partial_path
from nemo_assets.hub.local_files import claimed, remember, sha256_at, take_over
from nemo_assets.hub.remote_stream import open_remote
from nemo_assets.progress import track

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SourceFile:
    """One file of a source repo at a revision; `size` in bytes.

    `sha256` is None for a file that git holds itself, outside of large file storage: `blob_id` names its bytes then.
    """

    path: str
    size: int
    sha256: str | None
    blob_id: str | None

    @property
    def content_id(self) -> str:
        """What names the bytes of this file: its sha256, else its git blob id. Equal ids mean equal bytes."""
        return self.sha256 or self.blob_id or ""


@dataclass(frozen=True)
class Commit:
    """A commit of a source repo."""

    id: str
    date: datetime


class Source(Protocol):
    """A dataset repo to read from. Every failure that a user can put right is a `UserError`."""

    @property
    def repo_id(self) -> str: ...

    def revision(self) -> str:
        """The current head, 40 hex characters."""

    def files(self, revision: str) -> tuple[SourceFile, ...]:
        """All files of the repo at `revision`, sorted by path."""

    def fetch(self, file: SourceFile, revision: str, destination: Path) -> str:
        """Put `file` at `destination`, verified; the hex sha256 of its bytes. It appears whole or not at all."""

    def open(self, file: SourceFile, revision: str) -> BinaryIO:
        """The file as a seekable stream, so that its head can be read without fetching all of it."""

    def url(self, path: str, revision: str) -> str:
        """Where a person can look at the file."""

    def history(self, revision: str) -> tuple[Commit, ...]:
        """The commits from `revision` back to the first; empty if there is no such commit, or no history at all."""


def open_source(
    repo_id: str,
    source_dir: Path | None = None,
    endpoint: str = DEFAULT_ENDPOINT,
    token: str | None = None,
    retry: Retry = Retry(),  # noqa: B008  (it is frozen)
) -> Source:
    """The repo below `source_dir` where one is given, else on the Hub at `endpoint`."""
    require_repo_id(repo_id)
    if source_dir is not None:
        return DirectorySource(source_dir, repo_id)
    return HubSource(repo_id, Hub(endpoint, token, retry))


def not_older(source: Source, known: str | None) -> Source:
    """The source at its head, which is asked for once; at `known` where the head is an ancestor of that revision.

    An ancestor is what a lagging cache still shows. A rewritten history has no `known` any more, so its head counts.
    """
    head = source.revision()
    if known is None or head == known or head not in {commit.id for commit in source.history(known)}:
        return _At(source, head)
    told = "%s: the head %s is older than %s, used before; taken for a cache that lags."
    _log.warning(told, source.repo_id, head[:7], known[:7])
    return _At(source, known)


class _At:
    """A source whose head is said to be another revision."""

    def __init__(self, source: Source, revision: str) -> None:
        self._revision = revision
        self.repo_id, self.files, self.fetch = source.repo_id, source.files, source.fetch
        self.open, self.url, self.history = source.open, source.url, source.history

    def revision(self) -> str:
        return self._revision


def require_repo_id(repo_id: str) -> None:
    """Refuse a name that is not `<org>/<name>`, or that would lead out of the directory it is looked up in."""
    parts = repo_id.split("/")
    if len(parts) != 2 or any(not part or part.startswith(".") for part in parts):
        raise UserError(f"{repo_id!r} is no dataset repo name. It must read <org>/<name>.")


@dataclass(frozen=True)
class HubSource:
    """A dataset repo on the Hub; every read is pinned to a commit."""

    repo_id: str
    hub: Hub

    def revision(self) -> str:
        """The commit that `main` points to, by one small request."""
        with self.hub.explained(self.repo_id, "main"):
            info = self.hub.call(lambda: self.hub.api().dataset_info(self.repo_id, expand=["sha"]))
        if info.sha is None:
            raise UserError(f"{self.hub.endpoint} names no head commit of {self.repo_id}. Run again later.")
        return info.sha

    def files(self, revision: str) -> tuple[SourceFile, ...]:
        """All files at `revision`; a listing of thousands of files takes one request a thousand."""
        with self.hub.explained(self.repo_id, revision):
            return self.hub.call(lambda: list_files(self.hub, self.repo_id, revision))

    def fetch(self, file: SourceFile, revision: str, destination: Path) -> str:
        """Download, resuming what an earlier attempt left beside `destination`."""
        remote = RemoteFile(self.repo_id, file.path, revision, file.size, file.sha256, file.blob_id)
        with self.hub.explained(self.repo_id, revision):
            return download(self.hub, remote, destination)

    def history(self, revision: str) -> tuple[Commit, ...]:
        with self.hub.explained(self.repo_id, revision):
            try:
                commits = self.hub.call(
                    lambda: self.hub.api().list_repo_commits(self.repo_id, repo_type="dataset", revision=revision)
                )
            except RevisionNotFoundError:
                return ()
        return tuple(Commit(commit.commit_id, commit.created_at) for commit in commits)

    def open(self, file: SourceFile, revision: str) -> BinaryIO:
        return cast(BinaryIO, open_remote(self.hub, self.repo_id, file.path, revision, file.size))

    def url(self, path: str, revision: str) -> str:
        return f"{self.hub.endpoint}/datasets/{self.repo_id}/blob/{revision}/{quote(path)}"


def list_files(hub: Hub, repo_id: str, revision: str) -> tuple[SourceFile, ...]:
    """All files of a dataset repo at a pinned revision, sorted by path. Raises what the client raises."""
    from huggingface_hub.hf_api import RepoFile

    entries = hub.api().list_repo_tree(repo_id, recursive=True, revision=revision, repo_type="dataset")
    found = (
        SourceFile(entry.path, entry.size, entry.lfs.sha256 if entry.lfs else None, entry.blob_id)
        for entry in entries
        if isinstance(entry, RepoFile)
    )
    return tuple(sorted(found, key=lambda file: file.path))


@dataclass(frozen=True)
class DirectorySource:
    """A dataset repo lying at `root/<org>/<name>`.

    Its revision is the sha1 over path and sha256 of every file, so equal content has an equal revision wherever it
    lies. Hidden files are no part of it. Only the current revision can be read.
    """

    root: Path
    repo_id: str

    def history(self, revision: str) -> tuple[Commit, ...]:
        return ()

    def revision(self) -> str:
        return _revision_of(self._current_files())

    def files(self, revision: str) -> tuple[SourceFile, ...]:
        found = self._current_files()
        if _revision_of(found) != revision:
            raise UserError(
                f"{self._directory()}: the files are no longer those of revision {revision}. "
                "Put them back, or materialize the source again."
            )
        return found

    def fetch(self, file: SourceFile, revision: str, destination: Path) -> str:
        source = self._directory() / file.path
        if not source.is_file():
            raise UserError(f"{source} is missing, though revision {revision} has it. Put it back.")
        make_directory(destination.parent)
        aside = partial_path(destination.parent, file.content_id)
        with (
            disk_told(destination, file.size),
            track(f"{self.repo_id}/{file.path}", file.size, "B") as meter,
            claimed(aside),
        ):
            if destination.is_file() and sha256_at(destination) == file.sha256:
                aside.unlink()
                meter.advance(file.size)
                return file.sha256
            sha256 = take_over(source, aside, meter)
            if sha256 != file.sha256:
                aside.unlink()
                raise UserError(f"{source} has changed since it was listed at revision {revision}. Run again.")
            aside.replace(destination)
            remember(destination, sha256)
        return sha256

    def open(self, file: SourceFile, revision: str) -> BinaryIO:
        return (self._directory() / file.path).open("rb")

    def url(self, path: str, revision: str) -> str:
        return (self._directory() / path).absolute().as_uri()

    def _directory(self) -> Path:
        return self.root / self.repo_id

    def _current_files(self) -> tuple[SourceFile, ...]:
        directory = self._directory()
        if not directory.is_dir():
            raise UserError(
                f"{directory} does not exist. NEMO_SOURCE_DIR ({self.root}) must hold {self.repo_id} "
                "as a directory <org>/<name>; correct it, or unset it to read from the Hub."
            )
        try:
            return self._described(directory)
        except OSError as error:
            raise UserError(
                f"{error.filename or directory}: cannot be read ({error.strerror}). "
                "Put it right or away, or correct NEMO_SOURCE_DIR."
            ) from error

    def _described(self, directory: Path) -> tuple[SourceFile, ...]:
        found, sizes = [], {path: (directory / path).stat().st_size for path in visible_files(directory)}
        with track(f"{self.repo_id}: digests", sum(sizes.values()), "B") as meter:
            for path, size in sizes.items():
                found.append(SourceFile(path, size, sha256_at(directory / path), None))
                meter.advance(size)
        return tuple(found)


def visible_files(directory: Path) -> list[str]:
    """Paths of all files below `directory`, relative and sorted, leaving out what is hidden on any level."""
    found = []
    for folder, subfolders, names in os.walk(directory):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        relative = PurePosixPath(Path(folder).relative_to(directory).as_posix())
        found += [str(relative / name) for name in names if not name.startswith(".")]
    return sorted(found)


def _revision_of(files: tuple[SourceFile, ...]) -> str:
    digest = hashlib.sha1(usedforsecurity=False)
    for file in files:
        digest.update(f"{file.path}\0{file.sha256}\n".encode())
    return digest.hexdigest()
