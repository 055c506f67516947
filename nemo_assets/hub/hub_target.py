"""Publishing to the Hub: upload first, then one commit that shows everything at once.

Belongs here: making one commit land exactly once. The commit call of the client is not repeated by the client, and an
error or a lost answer may hide a commit that landed; so each one carries the digest of its change in its description,
and before trying again the history is searched for it. `upload_folder` is not used: it spreads a release over several
commits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from httpx2 import HTTPError
from huggingface_hub.errors import RemoteEntryNotFoundError, RepositoryNotFoundError

from nemo_assets.disk import content_sha256
from nemo_assets.errors import UserError
from nemo_assets.hub.client import Hub, Patience, status_of
from nemo_assets.hub.download import git_blob_id, read_bytes
from nemo_assets.hub.sources import SourceFile, list_files, require_repo_id
from nemo_assets.hub.targets import Change, HeadMovedError
from nemo_assets.progress import track

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi

_KEY_LABEL = "nemo-assets change: "
_GROUP_BYTES = 2 << 30  # uploaded and retried together; small enough that a progress bar moves
_GROUP_FILES = 100
_CONFLICT = 409  # another commit is being written at this moment
_STALE_PARENT = 412
_RATE_LIMITED = 429  # turned away at the door: nothing can have landed


@dataclass(frozen=True)
class HubTarget:
    """Dataset repos on the Hub; `private` holds for repos that the first commit creates."""

    hub: Hub
    private: bool = True

    def location(self, repo_id: str) -> str:
        return f"hf://datasets/{repo_id}"

    def head(self, repo_id: str) -> str | None:
        with self.hub.explained(repo_id, "main"):
            try:
                return self.hub.call(lambda: self.hub.api().dataset_info(repo_id, expand=["sha"])).sha
            except RepositoryNotFoundError:
                return None

    def paths(self, repo_id: str, revision: str) -> dict[str, str]:
        """Path → sha256; the few files that git holds itself are read for theirs."""
        files = self._files(repo_id, revision)
        return {file.path: file.sha256 or self._read_sha256(repo_id, file, revision) for file in files}

    def read(self, repo_id: str, path: str, revision: str) -> bytes | None:
        with self.hub.explained(repo_id, revision):
            try:
                return self.hub.call(lambda: read_bytes(self.hub, repo_id, path, revision))
            except RemoteEntryNotFoundError:
                return None

    def commit(self, repo_id: str, change: Change, parent: str | None) -> str:
        require_repo_id(repo_id)
        self.require_writable(repo_id)
        with self.hub.explained(repo_id, parent):
            base = parent or self._created(repo_id)
            self._require_head(repo_id, base)  # before gigabytes are sent; the commit itself asks again
            there = {file.path: file for file in self._files(repo_id, base)}
            additions = {path: new for path, new in change.additions.items() if not _same(there.get(path), new)}
            deletions = [path for path in change.deletions if path in there]
            if not additions and not deletions:
                return base
            operations = _operations(additions)
            self._upload(repo_id, operations)
            return self._commit_once(repo_id, change, operations, deletions, base)

    def url(self, repo_id: str, revision: str | None = None) -> str:
        page = f"{self.hub.endpoint}/datasets/{repo_id}"
        return page if revision is None else f"{page}/tree/{revision}"

    def require_writable(self, repo_id: str) -> None:
        from huggingface_hub import get_token

        if not (self.hub.token or get_token()):
            raise UserError(
                f"{self.location(repo_id)}: publishing needs a token. Set HF_TOKEN to one that may write to "
                f"{repo_id.partition('/')[0]}, or set NEMO_PUBLISH_TO to a directory."
            )

    def _created(self, repo_id: str) -> str:
        """Create the repo and return the commit it begins with.

        Raises:
            HeadMovedError: somebody else created it first and has published already.
        """
        api = self.hub.api()
        self.hub.call(lambda: api.create_repo(repo_id, repo_type="dataset", private=self.private, exist_ok=True))
        head = self.head(repo_id)
        if head is None:
            raise UserError(f"{self.location(repo_id)} was created but cannot be read. Set HF_TOKEN to one that may.")
        if self._files(repo_id, head):
            raise HeadMovedError(self.location(repo_id), None, head)
        return head

    def _files(self, repo_id: str, revision: str) -> tuple[SourceFile, ...]:
        """The files of a release: hidden ones, as the `.gitattributes` every repo is born with, are none."""
        with self.hub.explained(repo_id, revision):
            found = self.hub.call(lambda: list_files(self.hub, repo_id, revision))
        return tuple(file for file in found if not any(part.startswith(".") for part in file.path.split("/")))

    def _read_sha256(self, repo_id: str, file: SourceFile, revision: str) -> str:
        content = self.read(repo_id, file.path, revision)
        if content is None or git_blob_id(content) != file.blob_id:
            raise UserError(f"{self.location(repo_id)}/{file.path}: received is not what is listed. Run again.")
        return hashlib.sha256(content).hexdigest()

    def _require_head(self, repo_id: str, parent: str) -> None:
        head = self.head(repo_id)
        if head != parent:
            raise HeadMovedError(self.location(repo_id), parent, head)

    def _upload(self, repo_id: str, operations: list[CommitOperationAdd]) -> None:
        """Send the bytes, which no reader sees before the commit. What the Hub has already is not sent again."""
        api = self.hub.api()
        total = sum(operation.upload_info.size for operation in operations)
        with track(f"upload to {self.location(repo_id)}", total, "B") as meter:
            for group in _groups(operations):
                self.hub.call(partial(_preupload, api, repo_id, group))
                meter.advance(sum(operation.upload_info.size for operation in group))

    def _commit_once(
        self, repo_id: str, change: Change, operations: list[CommitOperationAdd], deletions: list[str], parent: str
    ) -> str:
        """Commit on top of `parent`; after a failure that leaves the outcome open, look before trying again."""
        from huggingface_hub import CommitOperationDelete

        key = _change_key(change, parent)
        removals = [CommitOperationDelete(path, is_folder=False) for path in deletions]
        patience = Patience(self.hub.retry, self.hub.retry.attempts)
        api = self.hub.api()
        while True:
            try:
                published = api.create_commit(
                    repo_id,
                    [*operations, *removals],
                    commit_message=change.summary,
                    commit_description=f"{change.description}\n\n{_KEY_LABEL}{key}".strip(),
                    repo_type="dataset",
                    parent_commit=parent,
                )
                return published.oid
            except HTTPError as error:
                if status_of(error) != _RATE_LIMITED and (landed := self._landed(repo_id, key)):
                    return landed
                if status_of(error) == _STALE_PARENT:
                    raise HeadMovedError(self.location(repo_id), parent, self.head(repo_id)) from error
                patience.wait_or_raise(error, _CONFLICT)

    def _landed(self, repo_id: str, key: str) -> str | None:
        """The commit that carries `key`, wherever in the history; None if there is none."""
        commits = self.hub.call(lambda: self.hub.api().list_repo_commits(repo_id, repo_type="dataset"))
        return next((commit.commit_id for commit in commits if f"{_KEY_LABEL}{key}" in commit.message), None)


def _preupload(api: HfApi, repo_id: str, group: list[CommitOperationAdd]) -> None:
    """Upload one group. The client wraps what went wrong with a file, so it is taken out again to be judged.

    Xet storage has errors of its own, which no type of the client gathers; it repeats what can be repeated itself.
    """
    try:
        api.preupload_lfs_files(repo_id, group, repo_type="dataset", revision="main", free_memory=False)
    except HTTPError:
        raise
    except (RuntimeError, OSError) as error:
        if isinstance(error.__cause__, HTTPError):
            raise error.__cause__ from error
        raise UserError(
            f"hf://datasets/{repo_id}: an upload failed ({error}). Run again: what was sent is not sent twice."
        ) from error


def _same(there: SourceFile | None, content: Path | bytes) -> bool:
    if there is None:
        return False
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    if size != there.size:
        return False
    return content_sha256(content) == there.sha256 if there.sha256 else git_blob_id(content) == there.blob_id


def _operations(additions: Mapping[str, Path | bytes]) -> list[CommitOperationAdd]:
    from huggingface_hub import CommitOperationAdd

    return [CommitOperationAdd(path, content) for path, content in sorted(additions.items())]


def _groups(operations: list[CommitOperationAdd]) -> Iterator[list[CommitOperationAdd]]:
    """The operations in order, cut where a group has enough files or bytes."""
    group: list[CommitOperationAdd] = []
    for operation in operations:
        if group and (
            len(group) == _GROUP_FILES
            or sum(member.upload_info.size for member in group) + operation.upload_info.size > _GROUP_BYTES
        ):
            yield group
            group = []
        group.append(operation)
    if group:
        yield group


def _change_key(change: Change, parent: str) -> str:
    """The digest of what is committed and where, so that the same change on another parent is another commit."""
    identity = [
        parent,
        sorted((path, content_sha256(content)) for path, content in change.additions.items()),
        sorted(change.deletions),
        change.summary,
        change.description,
    ]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()
