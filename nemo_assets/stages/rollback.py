"""Make an earlier release of a repo current again, by a new commit on top of the later ones.

Belongs here: what comes back and what goes, and what must not come back. Does not: how a commit is made.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl
import pyarrow.parquet as pq

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
    refs = target.refs(repo)
    if tag not in refs.tags:
        known = ", ".join(refs.tags) or "none"
        raise UserError(f"{target.location(repo)} has no release {tag}. It has {known}.")
    revision = refs.tags[tag]
    wanted = target.paths(repo, revision)

    def change(head: str | None) -> Change:
        there = target.paths(repo, head) if head else {}
        withdrawn = _withdrawn(split, settings, target, repo, head)
        _require_nothing_withdrawn(target, repo, tag, revision, withdrawn)
        restored = {path: revision for path, sha256 in wanted.items() if there.get(path) != sha256}
        gone = tuple(sorted(set(there) - set(wanted)))
        return Change({}, gone, f"Roll back to {tag}", f"{repo}@{revision}", restored)

    landed = commit_on_head(change, target, repo, refs.branches.get(MAIN), MAIN, f"the rollback to {tag}")
    return certify(settings, target, repo, landed)


class _Withdrawn(NamedTuple):
    """What names withdrawn records: by the catalog, and by the releases that left them out."""

    ids: frozenset[str]
    uids: frozenset[str]


def _withdrawn(split: Split, settings: Settings, target: Target, repo: str, head: str | None) -> _Withdrawn:
    entries = [e for e in settings.catalog.withdrawals if e.dataset in (None, split.slug)]
    left_out = [entry for record in records_at(target, repo, head).values() for entry in record["withdrawals"]]
    ids = {e.id for e in entries if e.id} | {entry["id"] for entry in left_out if entry["id"]}
    uids = {e.record_uid for e in entries if e.record_uid} | {entry["record_uid"] for entry in left_out}
    return _Withdrawn(frozenset(ids), frozenset(uids))


def _require_nothing_withdrawn(target: Target, repo: str, tag: str, revision: str, withdrawn: _Withdrawn) -> None:
    """What was taken down must not come back with an old release: its ledgers say which records it tells of."""
    if not withdrawn.ids and not withdrawn.uids:
        return
    for split, record in records_at(target, repo, revision).items():
        left_out = {entry["record_uid"] for entry in record["withdrawals"]}
        for path in record["configs"].get("ledger", {"paths": []})["paths"]:
            with target.open(repo, path, revision) as file:
                ledger = pl.DataFrame(pl.from_arrow(pq.read_table(file, columns=["record_uid", "id"])))
            named = pl.col("id").is_in(list(withdrawn.ids)) | pl.col("record_uid").is_in(list(withdrawn.uids))
            returning = sorted(set(ledger.filter(named)["record_uid"]) - left_out)
            if returning:
                raise UserError(
                    f"{target.location(repo)}: {tag} holds {len(returning)} records of {split} that are withdrawn, "
                    f"such as {returning[0]}. Publish again instead; withdrawals stay in force."
                )
