"""Publishing to the Hub: upload first, then one commit that shows everything at once.

Belongs here: the questions a target answers, and bringing very large changes by way of a staging branch.
Does not: what a change is to the Hub (`hub_changes`), sending bytes (`hub_uploads`), making one commit land exactly
once (`hub_commits`). `upload_folder` of the client is not used: it spreads a release over several commits.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import BinaryIO, cast

from huggingface_hub.errors import (
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from nemo_assets.errors import UserError
from nemo_assets.hub.client import ANSWER_SECONDS, Hub, Patience, status_of
from nemo_assets.hub.commit_budget import CommitBudget
from nemo_assets.hub.download import git_blob_id, read_bytes
from nemo_assets.hub.hub_changes import (
    Plan,
    Tree,
    change_key,
    files_of,
    operations_of,
    require_room,
    same_bytes,
    staging_branch,
)
from nemo_assets.hub.hub_commits import Intent, commit_once, history_of, location_of
from nemo_assets.hub.hub_uploads import additions_of, upload
from nemo_assets.hub.remote_stream import open_remote
from nemo_assets.hub.sources import SourceFile, list_files, require_repo_id
from nemo_assets.hub.targets import MAIN, Change, HeadMovedError, Refs, TagTakenError

COMMIT_FILES = 5_000  # the Hub gives up on a commit after 60 s

_LISTED_AT_ONCE = 50_000  # the client itself trusts no longer list that comes in one answer
_AHEAD_BYTES = 64 << 10  # more than a Parquet footer of few columns, far less than one of their chunks
_TAKEN = 409
_NOT_ALLOWED = (403, 404)


@dataclass(frozen=True)
class HubTarget:
    """Dataset repos on the Hub; `private` holds for repos that the first commit creates.

    What a commit holds never changes, so it is listed once.
    """

    hub: Hub
    private: bool = True
    budget: CommitBudget | None = None
    _trees: dict[tuple[str, str], Tree] = field(default_factory=dict, repr=False, compare=False)
    _digests: dict[tuple[str, str], str] = field(default_factory=dict, repr=False, compare=False)

    def location(self, repo_id: str) -> str:
        return location_of(repo_id)

    def head(self, repo_id: str, branch: str = MAIN) -> str | None:
        """Asked together with what it holds: whoever asks where a branch is goes on to look at that."""
        with self.hub.explained(repo_id, branch):
            try:
                return self._tree(repo_id, branch).revision
            except (RepositoryNotFoundError, RevisionNotFoundError):
                return None

    def paths(self, repo_id: str, revision: str) -> dict[str, str]:
        """Path → sha256; the few files that git holds itself are read for theirs."""
        with self.hub.explained(repo_id, revision):
            tree = self._tree(repo_id, revision)
            return {file.path: file.sha256 or self._sha256(repo_id, file, tree.revision) for file in tree.visible}

    def read(self, repo_id: str, path: str, revision: str) -> bytes | None:
        with self.hub.explained(repo_id, revision):
            try:
                return self.hub.call(lambda: read_bytes(self.hub, repo_id, path, revision))
            except RemoteEntryNotFoundError:
                return None

    def open(self, repo_id: str, path: str, revision: str) -> AbstractContextManager[BinaryIO]:
        with self.hub.explained(repo_id, revision):
            tree = self._tree(repo_id, revision)
        if path not in tree.files:
            raise UserError(f"{self.location(repo_id)} at {revision} has no file {path}.")
        size = tree.files[path].size
        return cast(BinaryIO, open_remote(self.hub, repo_id, path, tree.revision, size, _AHEAD_BYTES))

    def commit(self, repo_id: str, change: Change, parent: str | None, branch: str = MAIN) -> str:
        require_repo_id(repo_id)
        self.require_writable(repo_id)
        with self.hub.explained(repo_id, parent):
            base = self._base(repo_id, parent, branch)  # before gigabytes are sent; the commit itself asks again
            plan = self._plan(repo_id, change, base)
            staging = staging_branch(change) if max(plan.size, files_of(change)) > COMMIT_FILES else None
            published = base.revision
            if plan:
                require_room(self.location(repo_id), plan, base)
                intent = Intent(
                    repo_id, branch, base.revision, change.summary, change.description, change_key(change, base, branch)
                )
                if staging is not None and plan.files:
                    plan = self._staged(plan, base, replace(intent, branch=staging))
                published = self._send(plan, intent)
            if staging is not None:
                self.delete_branch(repo_id, staging)
            return published

    def delete_branch(self, repo_id: str, branch: str) -> None:
        api = self.hub.api()
        with self.hub.explained(repo_id, branch):
            try:
                self.hub.call(lambda: api.delete_branch(repo_id, branch=branch, repo_type="dataset"))
            except HfHubHTTPError as error:
                if status_of(error) != 404:
                    raise

    def refs(self, repo_id: str) -> Refs:
        api = self.hub.api()
        with self.hub.explained(repo_id):
            try:
                refs = self.hub.call(lambda: api.list_repo_refs(repo_id, repo_type="dataset"))
            except RepositoryNotFoundError:
                return Refs()
        branches = {branch.name: branch.target_commit for branch in refs.branches}
        tags = {tag.name: tag.target_commit for tag in refs.tags}
        return Refs(dict(sorted(branches.items())), dict(sorted(tags.items())))

    def set_tag(self, repo_id: str, tag: str, revision: str, message: str = "") -> None:
        patience = Patience(self.hub.retry, self.hub.retry.attempts)
        while not self._tagged(repo_id, tag, revision, message):
            named = self.refs(repo_id).tags.get(tag)
            if named == revision:
                return
            if named is not None or not patience.left:
                raise TagTakenError(self.location(repo_id), tag, named or "another commit")
            patience.wait()  # the list of tags lags behind

    def loadable(self, repo_id: str, revision: str) -> str:
        return repo_id

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

    def _tagged(self, repo_id: str, tag: str, revision: str, message: str) -> bool:
        """Create the tag; False if there is one of that name."""
        api, note = self.hub.api(), message or None
        with self.hub.explained(repo_id, revision):
            try:
                self.hub.call(
                    lambda: api.create_tag(repo_id, tag=tag, tag_message=note, revision=revision, repo_type="dataset")
                )
            except HfHubHTTPError as error:
                if status_of(error) != _TAKEN:
                    raise
                return False
        return True

    # What is there

    def _tree(self, repo_id: str, revision: str) -> Tree:
        """All files, in one request as long as the Hub lists them at once. Raises what the client raises."""
        if (repo_id, revision) in self._trees:  # by commit id only: a branch moves
            return self._trees[repo_id, revision]
        api = self.hub.api()
        info = self.hub.call(
            lambda: api.dataset_info(repo_id, revision=revision, timeout=ANSWER_SECONDS, files_metadata=True)
        )
        if info.sha is None:
            raise UserError(f"{self.location(repo_id)} names no commit of {revision}. Run again later.")
        siblings = info.siblings or []
        files = [
            SourceFile(each.rfilename, each.size, each.lfs.sha256 if each.lfs else None, each.blob_id)
            for each in siblings
            if each.size is not None
        ]
        if not siblings or len(files) < len(siblings) or len(siblings) >= _LISTED_AT_ONCE:
            pinned = info.sha
            files = list(self.hub.call(lambda: list_files(self.hub, repo_id, pinned)))
        tree = Tree(info.sha, {file.path: file for file in sorted(files, key=lambda file: file.path)})
        self._trees[repo_id, info.sha] = tree
        return tree

    def _content(self, repo_id: str, file: SourceFile, revision: str) -> bytes:
        """The bytes of a small file, compared with what the listing says of them."""
        content = self.read(repo_id, file.path, revision)
        if content is None or git_blob_id(content) != file.blob_id:
            raise UserError(f"{self.location(repo_id)}/{file.path}: received is not what is listed. Run again.")
        return content

    def _sha256(self, repo_id: str, file: SourceFile, revision: str) -> str:
        known = (repo_id, str(file.blob_id))
        if known not in self._digests:
            self._digests[known] = hashlib.sha256(self._content(repo_id, file, revision)).hexdigest()
        return self._digests[known]

    # Where to commit

    def _base(self, repo_id: str, parent: str | None, branch: str) -> Tree:
        """What the branch holds, which must be `parent`; repo and branch are created where they do not exist.

        Raises:
            HeadMovedError: the branch is elsewhere.
        """
        if parent is None:
            self._create(repo_id)
        try:
            found = self._tree(repo_id, branch)
        except RevisionNotFoundError:
            found = self._branched(repo_id, branch, parent or history_of(self.hub, repo_id, MAIN)[-1])
        except RepositoryNotFoundError as error:
            if parent is not None:
                raise HeadMovedError(self.location(repo_id), parent, None) from error
            raise UserError(
                f"{self.location(repo_id)}: a repo of that name exists, and this token does not see it. "
                "Set HF_TOKEN to one that may write to it, or NEMO_PUBLISH_TO to another organisation."
            ) from error
        if found.revision == parent or (parent is None and not found.visible):
            return found
        if parent is not None and found.revision in history_of(self.hub, repo_id, parent):
            return self._tree(repo_id, parent)  # a cache that lags behind; the commit is refused if it is not
        raise HeadMovedError(self.location(repo_id), parent, found.revision)

    def _create(self, repo_id: str) -> None:
        api = self.hub.api()
        try:
            self.hub.call(lambda: api.create_repo(repo_id, repo_type="dataset", private=self.private, exist_ok=True))
        except HfHubHTTPError as error:
            if status_of(error) not in _NOT_ALLOWED:
                raise
            raise UserError(
                f"{self.location(repo_id)}: this token may not create datasets of {repo_id.partition('/')[0]} "
                f"({error.server_message or 'no reason given'}). "
                "Correct NEMO_PUBLISH_TO, or set HF_TOKEN to one that may write there."
            ) from error

    def _branched(self, repo_id: str, branch: str, start: str) -> Tree:
        api = self.hub.api()
        self.hub.call(
            lambda: api.create_branch(repo_id, branch=branch, revision=start, repo_type="dataset", exist_ok=True)
        )
        return self._tree(repo_id, branch)

    # What to commit

    def _plan(self, repo_id: str, change: Change, base: Tree) -> Plan:
        """The part of a change that is not there yet."""
        additions = {path: new for path, new in change.additions.items() if not same_bytes(base.files.get(path), new)}
        copies: dict[str, str] = {}
        for revision in sorted(set(change.restored.values())):
            then = self._tree(repo_id, revision).files
            for path in sorted(path for path, wanted in change.restored.items() if wanted == revision):
                if path not in then:
                    raise UserError(f"{self.location(repo_id)} at {revision} has no file {path} to bring back.")
                if path in base.files and base.files[path].content_id == then[path].content_id:
                    continue
                if then[path].sha256:
                    copies[path] = revision
                else:
                    additions[path] = self._content(repo_id, then[path], revision)
        return Plan(additions, copies, [path for path in change.deletions if path in base.files])

    def _staged(self, plan: Plan, base: Tree, intent: Intent) -> Plan:
        """Commit the files to a branch that nobody looks at, in parts; what is left is to bring them from there.

        What an earlier attempt has committed there stays. Deletions go along, so that no folder ever holds both the
        files of the last release and those of the next.
        """
        try:
            there = self._tree(intent.repo_id, intent.branch)
        except RevisionNotFoundError:
            there = self._branched(intent.repo_id, intent.branch, base.revision)
        missing = {path: file for path, file in plan.files.items() if not same_bytes(there.files.get(path), file)}
        waiting = [*(path for path in plan.deletions if path in there.files), *missing]
        head, number = there.revision, -(-len(waiting) // COMMIT_FILES)
        remaining = iter(waiting)
        for part in range(1, number + 1):
            some = list(islice(remaining, COMMIT_FILES))
            step = Plan({path: missing[path] for path in some if path in missing}, {}, [])
            step = replace(step, deletions=[path for path in some if path not in missing])
            summary = f"{intent.summary} (staging, part {part} of {number})"
            key = hashlib.sha256(json.dumps([intent.key, head, some]).encode()).hexdigest()
            head = self._send(step, replace(intent, parent=head, summary=summary, key=key))
        staged = self._tree(intent.repo_id, head).files
        copies = {path: head for path in plan.files if staged[path].sha256}
        rest = {path: content for path, content in plan.additions.items() if path not in copies}
        return replace(plan, additions=rest, copies={**plan.copies, **copies})

    def _send(self, plan: Plan, intent: Intent) -> str:
        additions = additions_of(plan.additions)
        upload(self.hub, intent.repo_id, intent.branch, additions)
        return commit_once(self.hub, self.budget, intent, operations_of(additions, plan))
