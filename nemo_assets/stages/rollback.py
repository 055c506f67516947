"""Make an earlier release of a repo current again, by a new commit on top of the later ones.

Belongs here: what comes back and what goes, and what must not come back. Does not: how a commit is made.
"""

from __future__ import annotations

from nemo_assets.catalog import Split
from nemo_assets.errors import UserError
from nemo_assets.hub.targets import MAIN, Change, Target
from nemo_assets.settings import Settings
from nemo_assets.stages.landing import Certified, certify, commit_on_head, target_of
from nemo_assets.stages.release_record import records_at


def roll_back(split: Split, tag: str, settings: Settings) -> Certified:
    """Make the repo of `split` hold what it held at `tag`, all splits of it; the release that does.

    A split published again afterwards takes its place again. Raises UserError if there is no such release, or if it
    holds rows that were withdrawn since.
    """
    target, repo = target_of(settings), settings.release_repo(split)
    target.require_writable(repo)
    tags = target.tags(repo)
    if tag not in tags:
        known = ", ".join(tags) or "none"
        raise UserError(f"{target.location(repo)} has no release {tag}. It has {known}.")
    revision = tags[tag]
    wanted = target.paths(repo, revision)

    def change(head: str | None) -> Change:
        there = target.paths(repo, head) if head else {}
        _require_nothing_withdrawn(target, repo, tag, revision, head)
        restored = {path: revision for path, sha256 in wanted.items() if there.get(path) != sha256}
        gone = tuple(sorted(set(there) - set(wanted)))
        return Change({}, gone, f"Roll back to {tag}", f"{repo}@{revision}", restored)

    commit_on_head(change, target, repo, MAIN, f"the rollback to {tag}")
    return certify(settings, target, repo)


def _require_nothing_withdrawn(target: Target, repo: str, tag: str, revision: str, head: str | None) -> None:
    """What was taken down must not come back with an old release."""
    before, now = (
        {entry["record_uid"] for record in records_at(target, repo, at).values() for entry in record["withdrawals"]}
        for at in (revision, head)
    )
    if returning := now - before:
        raise UserError(
            f"{target.location(repo)}: {tag} holds {len(returning)} records that were withdrawn since, such as "
            f"{min(returning)}. Publish again instead; withdrawals stay in force."
        )
