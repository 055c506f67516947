"""What each stage decided about one record, in the order of the chain.

Belongs here: the decision as a value, and how each stage's tables become decisions. Does not: finding the record, the
words of the verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl

from nemo_assets.catalog import Catalog, Split
from nemo_assets.dedup.rules import CODE_EXACT
from nemo_assets.lineage.entries import Entry, has_uid
from nemo_assets.lineage.index import Located
from nemo_assets.lineage.originals import SourceBlob
from nemo_assets.lineage.pool_reasons import pool_reasons
from nemo_assets.lineage.stage_rows import row_named
from nemo_assets.lineage.survivors import Criterion
from nemo_assets.records.recipe import pools_recipe
from nemo_assets.records.schema import CORRECTNESS_COLUMNS
from nemo_assets.storage import Manifest, Stage, Store

Scores = tuple[dict[str, Any], ...]

_EXACT_THRESHOLD = 1.0


@dataclass(frozen=True)
class Decision:
    """One decision: `value` was measured, `threshold` is what it was held against; both None where nothing was.

    run_id: the Dagster run that made what holds the decision, where that is known.
    """

    stage: str
    outcome: str
    rule: str | None = None
    value: Any = None
    threshold: Any = None
    evidence: dict[str, Any] = field(default_factory=dict)
    run_id: str | None = None


@dataclass(frozen=True)
class Release:
    """The commit that published the split; `files` are those of the configs the record is in, by config.

    `tag` is None while the commit waits for approval; `withdrawn` is the reason why the release leaves the record out.
    """

    repo: str
    commit: str
    url: str | None
    files: dict[str, list[str]]
    is_current: bool
    tag: str | None = None
    withdrawn: str | None = None


def raw_decision(entry: Entry, blob: SourceBlob) -> Decision:
    evidence = {"file": entry.source_file, "content_id": blob.content_id, "revision": blob.revision}
    outcome = "fetched" if blob.path else "file no longer here"
    return Decision(Stage.RAW, outcome, "content verified on arrival", evidence=evidence)


def normalized_decision(entry: Entry, split: Split, row: dict[str, Any] | None) -> Decision:
    """A row with its tags, or a rejection with what was measured against which limit."""
    if entry.state != "rejected":
        tags = {"quality_tags": row["quality_tags"], "template": row["template"]} if row else {}
        return Decision(Stage.NORMALIZED, "row", f"adapter {split.source.adapter}", evidence=tags)
    limit, value = entry.evidence.get("limit"), entry.evidence.get("reason")
    if limit is not None:
        value = next((v for k, v in entry.evidence.items() if k != "limit" and isinstance(v, int | float)), value)
    return Decision(Stage.NORMALIZED, "rejected", entry.evidence.get("rule", entry.code), value, limit, entry.evidence)


def duplicates_decision(
    entry: Entry, survivor: Entry | None, criterion: Criterion | None, stands_for: int, id_of_source: str | None
) -> Decision:
    """Kept, with how many rows it stands for; or removed, with the survivor and the criterion that made it win."""
    if entry.state == "kept":
        renamed = {"id_of_source": id_of_source} if id_of_source else {}
        return Decision(Stage.DUPLICATES, "kept", evidence={"stands_for": stands_for, **renamed})
    threshold = entry.evidence.get("threshold", _EXACT_THRESHOLD if entry.code == CODE_EXACT else None)
    evidence: dict[str, Any] = dict(entry.evidence) | {"survivor_uid": entry.survivor_uid}
    evidence["survivor_place"] = survivor.place if survivor else None
    evidence["criterion"] = asdict(criterion) if criterion else None
    return Decision(Stage.DUPLICATES, "removed", entry.evidence.get("rule"), entry.similarity, threshold, evidence)


def id_before_renaming(entry: Entry, split: Split, store: Store) -> str | None:
    """The id a kept row had before it got part of its digest, because another row has its uuid too; else None."""
    duplicates = store.find(Stage.DUPLICATES, split.scope)
    decided = duplicates.details["splits"].get(split.key) if duplicates else None
    if duplicates is None or decided is None or entry.state != "kept":
        return None
    part = next(part for part in duplicates.parts if part.path == decided["renamed_part"])
    if part.rows == 0 or not store.path(part).is_file():
        return None
    # Few rows, sorted by uid: row groups that cannot have it are skipped.
    renamed = pl.scan_parquet(store.path(part)).filter(has_uid(entry.uid)).collect()
    return str(renamed["id"][0]) if renamed.height else None


def pool_decisions(
    entry: Entry, row: pl.DataFrame, catalog: Catalog, store: Store, pools: Manifest | None, place: Located | None
) -> tuple[tuple[str, ...] | None, list[Decision]]:
    """The pools a kept row is in (None where they were made without it), and a decision for each pool of the catalog.

    `row` is the row as the predicates saw it, with joined correctness; `place`: where the index says it lies.
    """
    kept = place.kept if place else None
    member = row_named(store, pools, "rows", ("record_uid", entry.uid), kept) if pools else None
    if pools is None or member is None:
        return None, [Decision(Stage.POOLS, "pools not made yet")]
    edited = pools.settings.get("pools") != pools_recipe(catalog)
    note = {"note": "the pool policy was edited after these pools were made"} if edited else {}
    decisions = []
    for reason in pool_reasons(row, catalog.pool_policy):
        outcome = "admitted" if reason.pool in member["pools"] else "not admitted"
        evidence = {"purpose": reason.purpose, "false_part": reason.false_part, **note}
        decisions.append(Decision(Stage.POOLS, outcome, reason.pool, reason.values, reason.predicate, evidence))
    return tuple(member["pools"]), decisions


def with_joined_correctness(row: pl.DataFrame, entry: Entry, store: Store, place: Located | None) -> pl.DataFrame:
    """The row with the correctness that `pools` joined to it from the source it was rendered from, if any."""
    pools = store.find(Stage.POOLS, entry.partition)
    if pools is None or entry.state != "kept":
        return row
    is_known = place is not None and place.pools_version == pools.data_version
    number = place.joined if place is not None and is_known else None
    if is_known and number is None:
        return row
    joined = row_named(store, pools, "joined", ("record_uid", entry.uid), number)
    if joined is None:
        return row
    return row.with_columns(
        pl.coalesce(name, pl.lit(joined[name], row.schema[name])).alias(name) for name in CORRECTNESS_COLUMNS
    )


def release_of(entry: Entry, pools: Sequence[str], published: Manifest | None, ledger: Manifest) -> Release | None:
    """The commit and the files that tell of this record, by what became of it."""
    if published is None or not published.details.get("commit"):
        return None
    withdrawn = published.details.get("withdrawn", {}).get(entry.uid.hex())
    rows = [] if withdrawn else ["rows", *pools]
    configs = [*(rows if entry.state == "kept" else [entry.state]), "ledger"]
    paths = published.details.get("files", {})
    files = {config: [path for path in paths if path.startswith(f"{config}/")] for config in configs}
    there = {config: found for config, found in files.items() if found}
    is_current = published.inputs.get(Stage.DEDUPED) == ledger.inputs[Stage.DEDUPED]
    details = published.details
    named = (details["repo"], details["commit"], details.get("url"))
    return Release(*named, there, is_current, details.get("tag"), withdrawn)


def release_decision(release: Release | None) -> Decision:
    if release is None:
        return Decision(Stage.PUBLISHED, "not published yet")
    outcome = "published" if release.is_current else "an earlier version of the split was published"
    if release.withdrawn:
        outcome = "withdrawn"
    elif release.tag is None:
        outcome = "waits for approval"
    return Decision(Stage.PUBLISHED, outcome, evidence=asdict(release))


def scores_of(entry: Entry, text_sha1: str, store: Store, scored: Manifest | None, place: Located | None) -> Scores:
    """One score for each checkpoint; `is_current` says whether the text that was scored is that of the row now."""
    tables = dict.fromkeys(part.table for part in scored.parts if part.table.startswith("scores")) if scored else {}
    kept, scores = place.kept if place else None, []
    for table in tables:
        assert scored is not None
        score = row_named(store, scored, table, ("id", entry.id), kept)
        if score is not None:
            scores.append(score | {"is_current": score.get("text_sha1", text_sha1) == text_sha1})
    return tuple(scores)


def score_decisions(scores: Sequence[dict[str, Any]], scored: Manifest | None) -> Iterator[Decision]:
    for score in scores:
        rule = f"NLL under {score.get('checkpoint', 'an unnamed checkpoint')}"
        yield Decision(Stage.SCORED, score["status"], rule, score["nll_mean"], evidence=score)
    if not scores:
        yield Decision(Stage.SCORED, "not scored yet" if scored is None else "not among the scored rows")
