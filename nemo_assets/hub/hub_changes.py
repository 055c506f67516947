"""What a change is to the Hub: the part of it that is not there yet, and the operations that bring it.

Belongs here: comparing a change with what a repo holds; nothing here asks the Hub. Does not: committing (`hub_target`).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from nemo_assets.disk import content_sha256
from nemo_assets.errors import UserError
from nemo_assets.hub.download import git_blob_id
from nemo_assets.hub.sources import SourceFile
from nemo_assets.hub.targets import FOLDER_ENTRIES, Change

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete


@dataclass(frozen=True)
class Tree:
    """What a repo holds at a commit: path → file, hidden ones included."""

    revision: str
    files: Mapping[str, SourceFile]

    @property
    def visible(self) -> list[SourceFile]:
        """The files of a release: hidden ones, as the `.gitattributes` every repo is born with, are none."""
        hidden = (any(part.startswith(".") for part in path.split("/")) for path in self.files)
        return [file for file, is_hidden in zip(self.files.values(), hidden, strict=True) if not is_hidden]


@dataclass(frozen=True)
class Plan:
    """What a commit has to do; `copies` maps a path to the revision at the Hub that it is brought from."""

    additions: Mapping[str, Path | bytes] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)
    deletions: Sequence[str] = ()

    @property
    def files(self) -> dict[str, Path]:
        """The additions that lie on the disk, sorted; the few at hand tell of them and come with the last commit."""
        return {path: content for path, content in sorted(self.additions.items()) if isinstance(content, Path)}

    @property
    def size(self) -> int:
        return len(self.files) + len(self.copies) + len(self.deletions)

    def __bool__(self) -> bool:
        return bool(self.additions or self.copies or self.deletions)


def require_room(location: str, plan: Plan, base: Tree) -> None:
    """Raise UserError if a folder would have more entries than the Hub takes: files, and folders below it."""
    after = {*base.files, *plan.additions, *plan.copies}.difference(plan.deletions)
    entries = {str(entry) for path in after for entry in (path, *PurePosixPath(path).parents) if str(entry) != "."}
    for folder, count in sorted(Counter(entry.rpartition("/")[0] for entry in entries).items()):
        if count > FOLDER_ENTRIES:
            raise UserError(
                f"{location}/{folder}: {count:,} entries, and the Hub takes {FOLDER_ENTRIES:,} in one folder. "
                "Publish fewer, larger files."
            )


def operations_of(
    additions: list[CommitOperationAdd], plan: Plan
) -> list[CommitOperationAdd | CommitOperationCopy | CommitOperationDelete]:
    """All operations of one commit; `additions` are those of the plan, as they were uploaded."""
    from huggingface_hub import CommitOperationCopy, CommitOperationDelete

    copies = [CommitOperationCopy(path, path, src_revision=revision) for path, revision in sorted(plan.copies.items())]
    return [*additions, *copies, *(CommitOperationDelete(path, is_folder=False) for path in plan.deletions)]


def same_bytes(there: SourceFile | None, content: Path | bytes) -> bool:
    """Whether a file at the Hub has this content; a file of another size is not read."""
    if there is None:
        return False
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    if size != there.size:
        return False
    return content_sha256(content) == there.sha256 if there.sha256 else git_blob_id(content) == there.blob_id


def files_of(change: Change) -> int:
    """How many of its additions lie on the disk."""
    return sum(isinstance(content, Path) for content in change.additions.values())


def staging_branch(change: Change) -> str:
    """Named for the files alone: whoever publishes them again, on whatever head, goes on with the same branch."""
    files = [(path, content) for path, content in sorted(change.additions.items()) if isinstance(content, Path)]
    identity = [(path, content_sha256(content)) for path, content in files]
    return f"staging/{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:12]}"


def change_key(change: Change, base: Tree, branch: str) -> str:
    """The digest of what is committed and where, so that the same change on another parent is another commit."""
    identity = [
        base.revision,
        branch,
        sorted((path, content_sha256(content)) for path, content in change.additions.items()),
        sorted(change.deletions),
        sorted(change.restored.items()),
        change.summary,
        change.description,
    ]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()
