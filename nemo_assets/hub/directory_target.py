"""Publishing into a directory that is laid out as the Hub repo would be.

Belongs here: making a commit of many files atomic on a plain file system.

A commit goes through three steps under a lock: all bytes are staged beside the repo's files; an *intent* is put in
place by one rename; then the staged files are moved, the log line is appended and the intent removed. A process killed
before the intent leaves the old release untouched. One killed after it has published: whoever opens the repo next
finishes the moves. Hidden names (`.commits.jsonl`, `.staging`, `.lock`) are no part of the release.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemo_assets.disk import content_sha256, copy_hashed, disk_told, locked, write_durably
from nemo_assets.errors import UserError
from nemo_assets.hub.sources import require_repo_id
from nemo_assets.hub.targets import Change, HeadMovedError
from nemo_assets.progress import track

_LOG = ".commits.jsonl"
_STAGING = ".staging"
_INTENT = "intent.json"
_LOCK = ".lock"


@dataclass(frozen=True)
class DirectoryTarget:
    """Repos at `root/<org>/<name>`, each with its commit log in `.commits.jsonl`."""

    root: Path

    def location(self, repo_id: str) -> str:
        return str(self._directory(repo_id))

    def require_writable(self, repo_id: str) -> None:
        """Nothing to require: whether the disk takes it shows when it is written."""

    def head(self, repo_id: str) -> str | None:
        entries = self._log(repo_id)
        return str(entries[-1]["commit"]) if entries else None

    def paths(self, repo_id: str, revision: str) -> dict[str, str]:
        """Path → sha256 at any commit of the log.

        Raises:
            KeyError: the log has no such commit.
        """
        return _tree_at(self._log(repo_id), revision)

    def read(self, repo_id: str, path: str, revision: str) -> bytes | None:
        """The bytes at the head; older ones are gone.

        Raises:
            HeadMovedError: `revision` is not the head.
        """
        head = self.head(repo_id)
        if revision != head:
            raise HeadMovedError(self.location(repo_id), revision, head)
        sha256 = self.paths(repo_id, revision).get(path)
        if sha256 is None:
            return None
        content = (self._directory(repo_id) / path).read_bytes()
        if content_sha256(content) != sha256:
            if (now := self.head(repo_id)) != revision:
                raise HeadMovedError(self.location(repo_id), revision, now)
            raise UserError(f"{self._directory(repo_id) / path} is not what was published there. Publish it again.")
        return content

    def commit(self, repo_id: str, change: Change, parent: str | None) -> str:
        require_repo_id(repo_id)
        directory = self._directory(repo_id)
        directory.mkdir(parents=True, exist_ok=True)
        with locked(directory / _LOCK):
            _recover(directory)
            entries = _read_log(directory)
            head: str | None = entries[-1]["commit"] if entries else None
            if head != parent:
                raise HeadMovedError(self.location(repo_id), parent, head)
            tree = _tree_at(entries, head) if head else {}
            added = _changed(directory, change.additions, tree)
            deleted = sorted(path for path in change.deletions if path in tree)
            if head is not None and not added and not deleted:
                return head
            entry = _entry(parent, tree, added, deleted, change)
            _stage(directory, entry, change.additions)
            _finish(directory, entry)
            return str(entry["commit"])

    def url(self, repo_id: str, revision: str | None = None) -> str:
        return self._directory(repo_id).absolute().as_uri()

    def _directory(self, repo_id: str) -> Path:
        return self.root / repo_id

    def _log(self, repo_id: str) -> list[dict[str, Any]]:
        """The commits, oldest first, once whatever a killed process left half done is finished."""
        directory = self._directory(repo_id)
        if (directory / _STAGING / _INTENT).exists():
            with locked(directory / _LOCK):
                _recover(directory)
        return _read_log(directory)


def _read_log(directory: Path) -> list[dict[str, Any]]:
    """The whole lines of the log: one without its line end was cut by a kill, and its intent is still there."""
    log = directory / _LOG
    if not log.exists():
        return []
    *whole, _cut = log.read_bytes().split(b"\n")
    return [json.loads(line) for line in whole]


def _tree_at(entries: list[dict[str, Any]], revision: str) -> dict[str, str]:
    tree: dict[str, str] = {}
    for entry in entries:
        tree.update(entry["added"])
        for path in entry["deleted"]:
            del tree[path]
        if entry["commit"] == revision:
            return dict(sorted(tree.items()))
    raise KeyError(revision)


def _changed(directory: Path, additions: Mapping[str, Path | bytes], tree: Mapping[str, str]) -> dict[str, str]:
    """Path → sha256 of the additions whose bytes differ from what `tree` has, or whose file somebody took away."""
    digests = {path: content_sha256(content) for path, content in sorted(additions.items())}
    taken_away = {path for path in digests if not (directory / path).is_file()}
    return {path: sha256 for path, sha256 in digests.items() if path in taken_away or tree.get(path) != sha256}


def _entry(
    parent: str | None, tree: Mapping[str, str], added: dict[str, str], deleted: list[str], change: Change
) -> dict[str, Any]:
    """The line of the log. Its commit id depends on content and history alone, so equal publishing gives equal ids."""
    after = {path: sha256 for path, sha256 in {**tree, **added}.items() if path not in deleted}
    identity = json.dumps([parent, sorted(after.items()), change.summary, change.description])
    return {
        "commit": hashlib.sha1(identity.encode(), usedforsecurity=False).hexdigest(),
        "parent": parent,
        "added": added,
        "deleted": deleted,
        "summary": change.summary,
        "description": change.description,
    }


def _stage(directory: Path, entry: Mapping[str, Any], additions: Mapping[str, Path | bytes]) -> None:
    """Copy every changed file below `.staging`, then declare the intent: from here on the commit will happen."""
    staging = directory / _STAGING
    shutil.rmtree(staging, ignore_errors=True)  # of a process killed before it declared its intent
    contents = {path: additions[path] for path in entry["added"]}
    total = sum(len(content) if isinstance(content, bytes) else content.stat().st_size for content in contents.values())
    with disk_told(directory, total), track(f"publish {directory}", total, "B") as meter:
        for number, (path, content) in enumerate(contents.items()):
            staged = staging / str(number)
            staged.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                write_durably(staged, content)
                meter.advance(len(content))
            elif copy_hashed(content, staged, meter) != entry["added"][path]:
                raise RuntimeError(f"{content} changed while it was being published")
        staging.mkdir(exist_ok=True)
        write_durably(staging / _INTENT, json.dumps(entry).encode())


def _recover(directory: Path) -> None:
    """Finish the commit of a process that was killed after it had declared its intent."""
    intent = directory / _STAGING / _INTENT
    if intent.exists():
        _finish(directory, json.loads(intent.read_bytes()))


def _finish(directory: Path, entry: Mapping[str, Any]) -> None:
    """Move the staged files into place, delete, log. Every step may have been done already by a killed process."""
    staging = directory / _STAGING
    for number, path in enumerate(entry["added"]):
        staged, final = staging / str(number), directory / path
        if staged.exists():
            final.parent.mkdir(parents=True, exist_ok=True)
            staged.replace(final)
    for path in entry["deleted"]:
        (directory / path).unlink(missing_ok=True)
        _remove_empty_folders(directory, (directory / path).parent)
    _append_to_log(directory, entry)
    (staging / _INTENT).unlink()
    shutil.rmtree(staging)


def _remove_empty_folders(directory: Path, folder: Path) -> None:
    while folder != directory and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _append_to_log(directory: Path, entry: Mapping[str, Any]) -> None:
    """Append the line durably, once: over a line cut by a kill, and not again when it is there already."""
    entries = _read_log(directory)
    if entries and entries[-1]["commit"] == entry["commit"]:
        return
    log = directory / _LOG
    whole = log.read_bytes().rpartition(b"\n") if log.exists() else (b"", b"", b"")
    with log.open("r+b" if log.exists() else "wb") as file:
        file.seek(len(whole[0] + whole[1]))
        file.truncate()
        file.write(json.dumps(entry, sort_keys=True).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
