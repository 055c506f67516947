"""One commit on the Hub, exactly once.

Belongs here: knowing whether a commit landed. The client does not repeat the commit call, and an error or a lost answer
may hide a commit that landed; so each one carries a digest of what it does in its description, and before trying again
the history is searched for it.
Does not: what is committed (`hub_target`), sending bytes (`hub_uploads`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from httpx2 import HTTPError
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from nemo_assets.errors import UserError
from nemo_assets.hub.client import ANSWER_SECONDS, Hub, Patience, status_of
from nemo_assets.hub.commit_budget import CommitBudget
from nemo_assets.hub.targets import MAIN, HeadMovedError

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete

    Operations = Sequence[CommitOperationAdd | CommitOperationCopy | CommitOperationDelete]

_KEY_LABEL = "nemo-assets change: "
_CONFLICT = 409  # another commit is being written at this moment
_STALE_PARENT = 412
_RATE_LIMITED = 429  # turned away at the door: nothing can have landed


def location_of(repo_id: str) -> str:
    """What a repo is called in a message."""
    return f"hf://datasets/{repo_id}"


@dataclass(frozen=True)
class Intent:
    """A commit to make on top of `parent`; `key` is a digest of all it does there."""

    repo_id: str
    branch: str
    parent: str
    summary: str
    description: str
    key: str


def head_of(hub: Hub, repo_id: str, branch: str) -> str | None:
    """The commit a branch points to; None if there is no such repo or branch. Raises what the client raises."""
    revision, api = None if branch == MAIN else branch, hub.api()
    try:
        return hub.call(
            lambda: api.dataset_info(repo_id, revision=revision, timeout=ANSWER_SECONDS, expand=["sha"])
        ).sha
    except (RepositoryNotFoundError, RevisionNotFoundError):
        return None


def history_of(hub: Hub, repo_id: str, revision: str) -> list[str]:
    """The commit ids from `revision` back to the first; none if there is no such commit."""
    api = hub.api()
    try:
        commits = hub.call(lambda: api.list_repo_commits(repo_id, repo_type="dataset", revision=revision))
    except RevisionNotFoundError:
        return []
    return [commit.commit_id for commit in commits]


def commit_once(hub: Hub, budget: CommitBudget | None, intent: Intent, operations: Operations) -> str:
    """Commit on top of the parent; after a failure that leaves the outcome open, look before trying again.

    Raises:
        HeadMovedError: the branch is no longer where its parent is; nothing was published.
        UserError: the Hub refuses the dataset card.
        HTTPError: the Hub refuses or cannot be reached, and nothing was found to have been published.
    """
    patience = Patience(hub.retry, hub.retry.download_attempts)  # gigabytes may have been sent for it
    while True:
        if budget is not None:
            budget.take(hub.retry.sleep)
        try:
            return _commit(hub, intent, operations)
        except (HTTPError, json.JSONDecodeError) as error:
            if status_of(error) != _RATE_LIMITED and (landed := _landed(hub, intent)):
                return landed
            if status_of(error) == _STALE_PARENT:
                moved = _head_elsewhere(hub, intent)
                raise HeadMovedError(location_of(intent.repo_id), intent.parent, moved) from error
            patience.wait_or_raise(error, _CONFLICT)


def _commit(hub: Hub, intent: Intent, operations: Operations) -> str:
    try:
        published = hub.api().create_commit(
            intent.repo_id,
            operations,
            commit_message=intent.summary,
            commit_description=f"{intent.description}\n\n{_KEY_LABEL}{intent.key}".strip(),
            repo_type="dataset",
            revision=intent.branch,
            parent_commit=intent.parent,
        )
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        told = " ".join(str(error).split())
        raise UserError(f"{location_of(intent.repo_id)}: the Hub refuses the dataset card ({told}).") from error
    return published.oid


def _landed(hub: Hub, intent: Intent) -> str | None:
    """The commit of the branch that carries the key, wherever in its history; None if there is none."""
    api = hub.api()
    commits = hub.call(lambda: api.list_repo_commits(intent.repo_id, repo_type="dataset", revision=intent.branch))
    return next((commit.commit_id for commit in commits if f"{_KEY_LABEL}{intent.key}" in commit.message), None)


def _head_elsewhere(hub: Hub, intent: Intent) -> str | None:
    """The head that is not the parent; the Hub may name the parent for a while after it has refused it."""
    patience = Patience(hub.retry, hub.retry.attempts)
    while (head := head_of(hub, intent.repo_id, intent.branch)) == intent.parent and patience.left:
        patience.wait()
    return head
