"""Publish one split: rows, pools with text, ledger, reports and card in one commit, verified before it counts.

With approval asked for, the commit waits on a branch of its own until somebody approves it.

Belongs here: when there is something to publish, and what is noted of it. Does not: the files (`release_files`), the
record (`release_record`), commit, verification and tag (`landing`).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from nemo_assets.catalog import Split
from nemo_assets.errors import UserError
from nemo_assets.hub.targets import MAIN, Refs, Target
from nemo_assets.records.recipe import package_digest
from nemo_assets.records.schema import LEDGER_SCHEMA
from nemo_assets.settings import Settings
from nemo_assets.stages.landing import (
    Certified,
    Landed,
    Release,
    certify,
    commit_release,
    last_release,
    target_of,
    verify,
)
from nemo_assets.stages.ledger import require_in_step
from nemo_assets.stages.release_diff import since_release
from nemo_assets.stages.release_files import Withheld, build_release_files, published_paths
from nemo_assets.stages.release_record import Record, files_of, make_record, paths_of, record_path, records_at
from nemo_assets.stages.withdrawals import withdrawal_basis, withdrawn_rows
from nemo_assets.storage import Basis, Manifest, Stage, Store
from nemo_assets.storage.manifest import digest
from nemo_assets.storage.parquet import scan

PUBLISHED_CODE = package_digest(
    "card_plots", "hub/card", "hub/card_content", "hub/card_page", "hub/features", "stages/release_card",
    "stages/release_files", "stages/release_record",
)  # fmt: skip


def publish(split: Split, settings: Settings) -> Manifest:
    """Write the release of a split, commit, verify and tag it; `details` holds repo, commit, tag, url and the files.

    Nothing is committed when the release is already at the destination unchanged. With `settings.approval` the commit
    waits on a branch: `details.waiting` says where, and there is no tag.

    Raises UserError for a missing token, an unreachable destination, a repo others keep changing, or a release that is
    not found as it was sent.
    """
    target, repo = target_of(settings), settings.release_repo(split)
    target.require_writable(repo)
    inputs = release_inputs(split, settings.store)
    basis = publish_basis(split, settings, inputs)
    current = settings.store.find_current(Stage.PUBLISHED, split.key, basis)
    if current is not None and is_at_destination(current, settings):
        waits = "waiting" in current.details and not settings.approval
        return approve(split, settings) if waits else current
    with settings.store.staging(Stage.PUBLISHED, split.key, basis) as staging:
        withdrawn = withdrawn_of(split, settings, inputs)
        withheld = Withheld(frozenset(withdrawn["record_uid"].to_list()), split.source.dropped_text)
        units = build_release_files(split, settings, inputs, withheld, staging)
        record = make_record(split, settings.store, inputs, units, withdrawn)
        refs = target.refs(repo)
        before = records_at(target, repo, refs.branches.get(MAIN)).get(split.name)
        record["withdrawals"] += _withdrawn_before(split, settings, inputs, record, before)
        additions = published_paths(units, settings.store)
        record["changes"] = _changes(split, target, repo, record, additions, last_release(refs))
        release = Release(split, record, _summary(split, record), _description(record), additions)
        noted = _land(release, settings, target, repo, refs)
        shutil.rmtree(staging.directory)
        staging.units.clear()
        return staging.commit(**_noted(record, noted))


def _land(release: Release, settings: Settings, target: Target, repo: str, refs: Refs) -> dict[str, Any]:
    """Commit, verify and tag, or leave it to wait; what is noted of it."""
    branch, head = waiting_branch(release.split), refs.branches.get(MAIN)
    began, sent = time.monotonic(), _bytes_to_send(release, target.paths(repo, head) if head else {})
    if settings.approval:
        if branch in refs.branches:  # of a release that nobody approved
            target.delete_branch(repo, branch)
        commit = commit_release(release, settings, target, repo, head, branch).commit
        verify(settings, target, repo, commit, last_release(refs))
        noted = {"waiting": {"branch": branch, "commit": commit}, "commit": commit, "url": target.url(repo, commit)}
    else:
        noted = _certified(commit_release(release, settings, target, repo, head), settings, target, repo)
        if branch in refs.branches:  # of an older one that nobody approved
            target.delete_branch(repo, branch)
    upload = {"upload": {"bytes": sent, "seconds": round(time.monotonic() - began, 3)}} if sent else {}
    return {"repo": repo, "location": target.location(repo), **upload, **noted}


def _bytes_to_send(release: Release, there: Mapping[str, str]) -> int:
    """Of the Parquet files, those that are not `there`, a mapping of path to sha256."""
    sha256 = files_of(release.record)
    files = {path: file for path, file in release.additions.items() if isinstance(file, Path)}
    return sum(file.stat().st_size for path, file in files.items() if there.get(path) != sha256[path])


def _certified(landed: Landed, settings: Settings, target: Target, repo: str) -> dict[str, Any]:
    revision, tag = certify(settings, target, repo, landed)
    return {"commit": landed.commit, "tag": tag, "revision": revision, "url": target.url(repo, revision)}


def approve(split: Split, settings: Settings) -> Manifest:
    """Make the release of a split that waits current: one commit on `main` that brings over what the branch holds.

    Raises UserError if nothing waits, or if something else would be published by now, as after a withdrawal.
    """
    target, repo, store = target_of(settings), settings.release_repo(split), settings.store
    with store.sole(Stage.PUBLISHED, split.key):
        manifest = store.find(Stage.PUBLISHED, split.key)
        waiting = manifest.details.get("waiting") if manifest else None
        if manifest is None or waiting is None:
            raise UserError(f"{split.key}: no release of this split waits for approval.")
        basis = publish_basis(split, settings, release_inputs(split, store))
        if manifest.version != basis.version(Stage.PUBLISHED, split.key):
            raise UserError(
                f"{split.key}: what waits is older than rows, catalog or withdrawals. Publish {split.key} again, and "
                "look at that."
            )
        record = _record_at(target, repo, waiting["commit"], split)
        restored = dict.fromkeys(sorted(paths_of(record)), waiting["commit"])
        release = Release(split, record, _summary(split, record), _description(record), restored=restored)
        landed = commit_release(release, settings, target, repo, target.head(repo))
        noted = _certified(landed, settings, target, repo)
        target.delete_branch(repo, waiting["branch"])
        details = {name: value for name, value in manifest.details.items() if name != "waiting"} | noted
        return store.write_manifest(msgspec.structs.replace(manifest, details=details))


def _record_at(target: Target, repo: str, commit: str, split: Split) -> Record:
    content = target.read(repo, record_path(split.name), commit)
    if content is None:
        raise UserError(f"{target.location(repo)}@{commit} is no release of {split.key}. Publish {split.key} again.")
    record: Record = msgspec.json.decode(content)
    return record


def waiting_branch(split: Split) -> str:
    """The branch on which a release of this split waits for approval."""
    return f"waiting/{split.name}"


def require_tagged(split: Split, published: Manifest) -> None:
    """Refuse to build on a release that nobody has approved."""
    if "tag" not in published.details:
        raise UserError(
            f"{split.key}: its release waits for approval. Look at {published.details['url']}, then run "
            f"`nemo-assets approve {split.key}`."
        )


def release_inputs(split: Split, store: Store) -> dict[str, Manifest]:
    """The manifests a release is made from, made of one another."""
    stages = (Stage.POOLS, Stage.LEDGER, Stage.DEDUPED, Stage.NORMALIZED, Stage.RAW)
    found = {stage.value: store.current(stage, split.key) for stage in stages}
    require_in_step(split, found[Stage.DEDUPED], found[Stage.NORMALIZED])
    for stage in (Stage.POOLS, Stage.LEDGER):
        if found[stage].inputs["deduped"] != found[Stage.DEDUPED].data_version:
            raise UserError(f"{split.key}: {stage} is older than deduped. Materialise {stage} of {split.key} first.")
    return found


def withdrawn_of(split: Split, settings: Settings, inputs: Mapping[str, Manifest]) -> pl.DataFrame:
    """Records of the split that are withdrawn, with reason, note and the state they have in the ledger."""
    ledger = scan(settings.store.paths(inputs[Stage.LEDGER]), LEDGER_SCHEMA)
    return withdrawn_rows(split, settings.catalog, ledger)


def _withdrawn_before(
    split: Split, settings: Settings, inputs: Mapping[str, Manifest], record: Record, before: Record | None
) -> list[dict[str, Any]]:
    """What earlier releases withdrew and the source no longer has; no rollback may bring it back.

    `before` is the record that the repo holds so far.

    Raises UserError where a record that is withdrawn by its record_uid is in the split under another one: the content
    of its file is part of that name.
    """
    now = {entry["record_uid"] for entry in record["withdrawals"]}
    withdrawn = before["withdrawals"] if before else []
    ledger = scan(settings.store.paths(inputs[Stage.LEDGER]), LEDGER_SCHEMA).select("id", "record_uid").collect()
    ids = set(ledger["id"].drop_nulls())
    there = {uid.hex() for uid in ledger["record_uid"]}
    gone = [{**entry, "state": "gone"} for entry in withdrawn if entry["record_uid"] not in now | there]
    withdrawn_ids = {entry["id"] for entry in record["withdrawals"]}
    declared = {entry.record_uid for entry in settings.catalog.withdrawals}
    for entry in gone:
        if entry["record_uid"] in declared and entry["id"] in ids - withdrawn_ids:
            raise UserError(
                f"{split.key}: record_uid {entry['record_uid']} was withdrawn, but its file has changed and the record "
                f"is there under another one. Write `id: {entry['id']}` in policies/withdrawals.yaml instead."
            )
    return gone


def publish_basis(split: Split, settings: Settings, inputs: Mapping[str, Manifest]) -> Basis:
    """A release depends on what it is made from, what is withdrawn, where it goes, and how it is written."""
    depends = {
        str(name): inputs[name].data_version for name in (Stage.POOLS, Stage.LEDGER, Stage.DEDUPED, Stage.NORMALIZED)
    }
    target = f"{settings.destination.removeprefix(str(settings.data_dir))}/{settings.release_repo(split)}"
    pool_texts = [(name, pool.purpose, pool.predicate) for name, pool in settings.catalog.pools.items()]
    return Basis(depends, {
        "code": PUBLISHED_CODE,
        "target": target,
        "withdrawals": withdrawal_basis(withdrawn_of(split, settings, inputs)),
        "dropped_text": str(split.source.dropped_text),
        "card": digest([split.source.title, split.source.license, split.source.languages, pool_texts]),
    })  # fmt: skip


def is_at_destination(release: Manifest, settings: Settings) -> bool:
    """Whether the head of the release's repo still has its files, byte for byte, and its tag; asks the destination."""
    details = release.details
    if "tag" in details and target_of(settings).refs(details["repo"]).tags.get(details["tag"]) != details["revision"]:
        return False
    return not missing_at_destination(release, settings)


def missing_at_destination(release: Manifest, settings: Settings) -> list[str]:
    """The files of a release that its branch lacks or has with other bytes, sorted; asks the destination."""
    target, repo = target_of(settings), release.details["repo"]
    waiting = release.details.get("waiting")
    head = target.head(repo, waiting["branch"] if waiting else MAIN)
    there = target.paths(repo, head) if head else {}
    return sorted(path for path, sha256 in release.details["files"].items() if there.get(path) != sha256)


def _changes(
    split: Split, target: Target, repo: str, record: Record, files: Mapping[str, Path], last: Certified | None
) -> dict[str, Any] | None:
    """How the rows differ from those of the last release, by cause; None where there is none of this split."""
    before = None if last is None else records_at(target, repo, last.revision).get(split.name)
    if last is None or before is None:
        return None
    if {**before, "changes": None} == record:  # the same release again: it still differs from the one before it
        told: dict[str, Any] | None = before["changes"]
        return told
    return {"since": last.tag, **since_release(target, repo, last.revision, split, record, files).summary}


def _summary(split: Split, record: Record) -> str:
    return f"Release {split.key}: {record['funnel']['kept']} rows of {record['source']['revision'][:7]}"


def _description(record: Record) -> str:
    return f"{record['source']['repo']}@{record['source']['revision']}"


def _left_out(record: Record) -> dict[str, Any]:
    """Reason by record_uid of what is withdrawn."""
    reasons = {entry["record_uid"]: entry["reason"] for entry in record["withdrawals"]}
    return {"withdrawn": reasons} if reasons else {}


def _noted(record: Record, noted: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of what was committed. The files lie at the destination, so it names no parts of its own."""
    configs = record["configs"]
    files = files_of(record)
    rows = {config: entry["rows"] for config, entry in configs.items()}
    return {
        "counters": {
            "rows": record["funnel"]["kept"], "configs": rows, "files": len(files),
            "withdrawn": record["funnel"]["withdrawn"], "changes": record["changes"] or {},
        },
        "details": {**noted, "files": files, "source_revision": record["source"]["revision"], **_left_out(record)},
        "content": sorted(files.items()),
    }  # fmt: skip
