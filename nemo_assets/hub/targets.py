"""Publishing a release: what a target is, whether the Hub or a directory laid out like it.

Belongs here: the change to publish and what every target promises about it.
Does not: how a directory (`directory_target`) or the Hub (`hub_target`) keeps that promise; what is in a release
(`stages`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol


class HeadMovedError(Exception):
    """Somebody else committed since the parent was read. Read the head again, rebuild what depends on it, and retry."""

    def __init__(self, location: str, parent: str | None, head: str | None) -> None:
        super().__init__(f"{location}: the head is {head}, no longer {parent}")
        self.parent = parent
        self.head = head


@dataclass(frozen=True)
class Change:
    """One commit: files to write (path in the repo → content) and paths to delete.

    A deletion of a path that is not there is no error, so a change can be published again after a kill.
    """

    additions: Mapping[str, Path | bytes]
    deletions: tuple[str, ...]
    summary: str
    description: str = ""

    def __post_init__(self) -> None:
        if not self.summary.strip():
            raise ValueError("a change needs a summary")
        for path in (*self.additions, *self.deletions):
            pure = PurePosixPath(path)
            hidden = any(part.startswith(".") for part in pure.parts)
            if pure.is_absolute() or hidden or str(pure) != path:
                raise ValueError(f"{path!r} is no plain relative path")
        if both := set(self.additions) & set(self.deletions):
            raise ValueError(f"{sorted(both)[0]!r} is both written and deleted")


class Target(Protocol):
    """Where releases go. Every failure that a user can put right is a `UserError`."""

    def location(self, repo_id: str) -> str:
        """What to call the repo in a message: `hf://datasets/<org>/<name>` or the path of a directory."""

    def require_writable(self, repo_id: str) -> None:
        """Raise UserError if publishing there cannot even be tried, before any work is done or the network is used."""

    def head(self, repo_id: str) -> str | None:
        """The current commit id; None while the repo does not exist."""

    def paths(self, repo_id: str, revision: str) -> dict[str, str]:
        """Path → hex sha256 of its bytes, for every file at `revision`, hidden ones left out."""

    def read(self, repo_id: str, path: str, revision: str) -> bytes | None:
        """The bytes of a file at `revision`; None when there is no such file."""

    def commit(self, repo_id: str, change: Change, parent: str | None) -> str:
        """Publish `change` on top of `parent` in one step and return the new commit id.

        Either everything of the change is visible afterwards, or nothing. A repo that does not exist is created. A
        change that changes nothing returns the current head and leaves no trace.

        Raises:
            HeadMovedError: the head is no longer `parent`; nothing was published.
        """

    def url(self, repo_id: str, revision: str | None = None) -> str:
        """Where a person can look at the repo."""
