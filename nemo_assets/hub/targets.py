"""Publishing a release: what a target is, whether the Hub or a directory laid out like it.

Belongs here: the change to publish and what every target promises about it.
Does not: how a directory (`directory_target`) or the Hub (`hub_target`) keeps that promise; what is in a release
(`stages`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

MAIN = "main"
"""The branch that readers see unless they ask for another."""

FOLDER_ENTRIES = 10_000
"""Entries of one folder that the Hub accepts."""


class HeadMovedError(Exception):
    """Somebody else committed since the parent was read. Read the head again, rebuild what depends on it, and retry."""

    def __init__(self, location: str, parent: str | None, head: str | None) -> None:
        super().__init__(f"{location}: the head is {head}, no longer {parent}")
        self.parent = parent
        self.head = head


class TagTakenError(Exception):
    """The tag names another commit already."""

    def __init__(self, location: str, tag: str, revision: str) -> None:
        super().__init__(f"{location}: {tag} names {revision} already")
        self.tag = tag
        self.revision = revision


@dataclass(frozen=True)
class Refs:
    """What names commits: branch → commit id and tag → commit id, both sorted; empty while the repo does not exist."""

    branches: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """One commit: files to write (path in the repo → content), paths to delete, and files to bring back.

    `restored` maps a path to the revision whose bytes of that path are wanted; they are copied at the destination. A
    deletion of a path that is not there is no error, so a change can be published again after a kill.
    """

    additions: Mapping[str, Path | bytes]
    deletions: tuple[str, ...]
    summary: str
    description: str = ""
    restored: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.summary.strip():
            raise ValueError("a change needs a summary")
        for path in (*self.additions, *self.deletions, *self.restored):
            pure = PurePosixPath(path)
            hidden = any(part.startswith(".") for part in pure.parts)
            if pure.is_absolute() or hidden or str(pure) != path:
                raise ValueError(f"{path!r} is no plain relative path")
        written, restored = set(self.additions), set(self.restored)
        if both := (written | restored) & set(self.deletions) or written & restored:
            raise ValueError(f"{min(both)!r} is named twice")


class Target(Protocol):
    """Where releases go. Every failure that a user can put right is a `UserError`."""

    def location(self, repo_id: str) -> str:
        """What to call the repo in a message: `hf://datasets/<org>/<name>` or the path of a directory."""

    def require_writable(self, repo_id: str) -> None:
        """Raise UserError if publishing there cannot even be tried, before any work is done or the network is used."""

    def head(self, repo_id: str, branch: str = MAIN) -> str | None:
        """The current commit id of a branch; None while the repo or the branch does not exist."""

    def paths(self, repo_id: str, revision: str) -> dict[str, str]:
        """Path → hex sha256 of its bytes, for every file at `revision`, hidden ones left out."""

    def read(self, repo_id: str, path: str, revision: str) -> bytes | None:
        """The bytes of a file at `revision`, whichever it is; None when there is no such file."""

    def open(self, repo_id: str, path: str, revision: str) -> AbstractContextManager[BinaryIO]:
        """A file at `revision` to read parts of: what is not asked for is not transferred.

        Raises UserError if there is no such file.
        """

    def commit(self, repo_id: str, change: Change, parent: str | None, branch: str = MAIN) -> str:
        """Publish `change` on top of `parent` in one step and return the new commit id.

        Either everything of the change is visible afterwards, or nothing. A repo that does not exist is created, and
        so is a branch, at `parent`. A change that changes nothing returns the current head and leaves no trace.

        Raises:
            HeadMovedError: the head is no longer `parent`; nothing was published.
            UserError: the change would leave a folder with more than FOLDER_ENTRIES entries, or what a user can put
                right: token, rights, name, quota, disk.
        """

    def delete_branch(self, repo_id: str, branch: str) -> None:
        """Take a branch away; that it is not there is no error. What only it held may be lost."""

    def refs(self, repo_id: str) -> Refs:
        """All branches and tags."""

    def set_tag(self, repo_id: str, tag: str, revision: str, message: str = "") -> None:
        """Name a commit for ever; that the tag names it already is no error.

        Raises:
            TagTakenError: the tag names another commit.
        """

    def loadable(self, repo_id: str, revision: str) -> str:
        """What `datasets.load_dataset` takes: the repo id, to be given with `revision`, or the path of a directory."""

    def url(self, repo_id: str, revision: str | None = None) -> str:
        """Where a person can look at the repo."""
