"""Everything the ledger and the stages know of one record, assembled for a reader.

Belongs here: the passport, its first sentence, where the record lies. Does not: finding the record (`references`),
what a stage decided (`decisions`), how it is shown (`render`, `web`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import polars as pl

from nemo_assets.catalog import Catalog, Split
from nemo_assets.errors import UserError
from nemo_assets.hub.sources import Source
from nemo_assets.lineage.decisions import (
    Decision,
    Release,
    Scores,
    duplicates_decision,
    id_before_renaming,
    normalized_decision,
    pool_decisions,
    raw_decision,
    release_decision,
    release_of,
    score_decisions,
    scores_of,
    with_joined_correctness,
)
from nemo_assets.lineage.entries import Entry, has_uid
from nemo_assets.lineage.index import LineageIndex, Located, why_unusable
from nemo_assets.lineage.originals import Original, SourceBlob, fetch_original, find_blob, read_original
from nemo_assets.lineage.references import find_entry, ledgers
from nemo_assets.lineage.runs import with_runs
from nemo_assets.lineage.subsets import SubsetMembership, subset_decisions, subsets_of
from nemo_assets.lineage.survivors import Criterion, deciding_criterion
from nemo_assets.lineage.versions import paths_of_version, stale_notes
from nemo_assets.lineage.wording import verdict_of
from nemo_assets.settings import DEFAULT_ENDPOINT
from nemo_assets.storage import Stage, Store

LISTED_DUPLICATES = 100  # of each split; some contents repeat many thousand times


@dataclass(frozen=True)
class Origin:
    """Where the record lies: `row` counts from 0 in the file, `row_in_split` in all its files; `offset` is in bytes."""

    repo: str
    revision: str | None
    subset: str
    split: str
    file: str
    row: int
    row_in_split: int | None
    offset: int | None
    viewer_url: str
    blob_url: str | None
    local_blob: str | None


@dataclass(frozen=True)
class Passport:
    """One record from source to score. `original` is the source's bytes, `row` the canonical row where there is one,
    with the correctness that was joined to it.

    pools: None until pools are made; stands_for: rows removed in favour of this one, all of them counted in
    `stands_for_count`; also: other records the reference fits; notes: what is stale or missing.
    """

    verdict: str
    reference: str
    matched_by: str
    entry: Entry
    origin: Origin
    decisions: tuple[Decision, ...]
    survivor: Entry | None
    stands_for: tuple[Entry, ...]
    stands_for_count: int
    pools: tuple[str, ...] | None
    release: Release | None
    scores: Scores
    subsets: tuple[SubsetMembership, ...]
    row: dict[str, Any] | None
    also: tuple[Entry, ...]
    notes: tuple[str, ...]
    original: Original | None

    def as_json(self) -> dict[str, Any]:
        """Plain values that the standard `json` writes; uids in hex."""
        told = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value.as_json() if isinstance(value, Original) else _plain(value) for name, value in told.items()}


def explain(
    reference: str,
    catalog: Catalog,
    store: Store,
    endpoint: str = DEFAULT_ENDPOINT,
    source_of: Callable[[Split], Source] | None = None,
) -> Passport:
    """The passport of the record that `reference` names.

    A reference is a row id, a record_uid, `<dataset>:<split>:<file>:<row>` (file empty where the split has one), an id
    qualified by its partition (`<slug>/<split>:<id>`), a source uuid or problem id, or the beginning of an id. Where
    the source file is no longer here, the record is read from `source_of` its split, if given, which may still have it.

    Raises:
        AmbiguousReferenceError: several records match and not exactly one of them is kept.
        UserError: nothing matches; the message says what was searched.
    """
    found = find_entry(reference, catalog, store)
    entry, split = found.entry, catalog.split(found.entry.partition)
    blob = find_blob(entry, split, store)
    original, told = _original(entry, split, blob, store, source_of)
    place = _place_of(entry, store)
    row = _row_of(entry, store, place)
    values = row.row(0, named=True) if row is not None else None
    twins = _twins_of(entry, split, catalog, store)
    later = _later_stages(entry, row, catalog, store, place)
    decisions = [raw_decision(entry, blob), normalized_decision(entry, split, values)]
    if entry.state != "rejected":
        renamed_from = id_before_renaming(entry, split, store)
        decisions.append(duplicates_decision(entry, twins.survivor, twins.criterion, twins.count, renamed_from))
    return Passport(
        verdict=verdict_of(
            entry, twins.survivor, twins.criterion, twins.count, later.pools, later.release, later.scores
        ),
        reference=reference,
        matched_by=found.matched_by,
        entry=entry,
        origin=_origin(entry, split, blob, values, store, endpoint),
        decisions=with_runs((*decisions, *later.decisions), split, store),
        survivor=twins.survivor,
        stands_for=twins.stands_for,
        stands_for_count=twins.count,
        pools=later.pools,
        release=later.release,
        scores=later.scores,
        subsets=later.subsets,
        row=values,
        also=found.also,
        notes=(*_notes(entry, split, store, values), *told),
        original=original,
    )


def _place_of(entry: Entry, store: Store) -> Located | None:
    """Where the index says that the row of a record lies; None without an index."""
    index = LineageIndex.open(store, entry.partition)
    return index.place_of(entry.uid) if index else None


def _row_of(entry: Entry, store: Store, place: Located | None) -> pl.DataFrame | None:
    """The canonical row, from the versions the ledger was made from; None for a rejection or a version cleaned away."""
    if entry.state == "rejected":
        return None
    if place is not None and place.path.is_file():
        return with_joined_correctness(pl.scan_parquet(place.path).slice(place.row, 1).collect(), entry, store, place)
    stage = Stage.DEDUPED if entry.state == "kept" else Stage.NORMALIZED
    made_from = store.current(Stage.LEDGER, entry.partition).inputs[stage]
    paths = paths_of_version(store, stage, entry.partition, made_from)
    if not paths:
        return None
    # File and row come first: rows are stored in their order, so row groups without the row are skipped.
    lies_there = (pl.col("source_file") == entry.source_file) & (pl.col("source_row") == entry.source_row)
    row = pl.scan_parquet(paths).filter(lies_there & has_uid(entry.uid)).collect()
    return with_joined_correctness(row, entry, store, place) if row.height else None


@dataclass(frozen=True)
class _Twins:
    """The row a removed one stands behind and why, or the rows a kept one stands for, `count` in all."""

    survivor: Entry | None = None
    criterion: Criterion | None = None
    stands_for: tuple[Entry, ...] = ()
    count: int = 0


def _twins_of(entry: Entry, split: Split, catalog: Catalog, store: Store) -> _Twins:
    if entry.state == "rejected":
        return _Twins()
    scope = ledgers(catalog, store, catalog.scopes[split.scope]).values()
    if entry.survivor_uid is None:
        listed = (twin for ledger in scope for twin in ledger.removed_for(entry.uid, LISTED_DUPLICATES))
        return _Twins(stands_for=tuple(listed), count=sum(ledger.count_removed_for(entry.uid) for ledger in scope))
    uid = bytes.fromhex(entry.survivor_uid)
    found = next((survivor for ledger in scope if (survivor := ledger.by_uid(uid))), None)
    partition = found.partition if found else entry.evidence.get("survivor_partition", "")
    return _Twins(found, deciding_criterion((entry.partition, entry.uid), (partition, uid), catalog, store))


@dataclass(frozen=True)
class _Later:
    """What came after deduplication."""

    pools: tuple[str, ...] | None
    release: Release | None
    scores: Scores
    subsets: tuple[SubsetMembership, ...]
    decisions: tuple[Decision, ...]


def _later_stages(
    entry: Entry, row: pl.DataFrame | None, catalog: Catalog, store: Store, place: Located | None
) -> _Later:
    made = {stage: store.find(stage, entry.partition) for stage in (Stage.POOLS, Stage.PUBLISHED, Stage.SCORED)}
    ledger = store.current(Stage.LEDGER, entry.partition)
    if entry.state != "kept" or row is None:
        release = release_of(entry, (), made[Stage.PUBLISHED], ledger)
        return _Later(None, release, (), (), (release_decision(release),))
    pools, in_pools = pool_decisions(entry, row, catalog, store, made[Stage.POOLS], place)
    release = release_of(entry, pools or (), made[Stage.PUBLISHED], ledger)
    scores = scores_of(entry, row["text_sha1"][0], store, made[Stage.SCORED], place)
    subsets = subsets_of(entry, store, place.kept if place else None)
    on_scores = (*score_decisions(scores, made[Stage.SCORED]), *subset_decisions(subsets))
    return _Later(pools, release, scores, subsets, (*in_pools, release_decision(release), *on_scores))


def _origin(
    entry: Entry, split: Split, blob: SourceBlob, row: dict[str, Any] | None, store: Store, endpoint: str
) -> Origin:
    revision = row["source_revision"] if row else blob.revision
    in_split = _row_in_split(entry, store)
    viewer = f"{endpoint}/datasets/{entry.dataset}/viewer/{quote(split.source.subset)}/{quote(entry.split)}"
    published = f"{endpoint}/datasets/{entry.dataset}/blob/{revision}/{quote(entry.source_file)}" if revision else None
    blob_url = blob.url or published
    return Origin(
        entry.dataset, revision, split.source.subset, entry.split, entry.source_file, entry.source_row, in_split,
        entry.source_offset, viewer + (f"?row={in_split}" if in_split is not None else ""), blob_url,
        str(blob.path) if blob.path else None,
    )  # fmt: skip


def _row_in_split(entry: Entry, store: Store) -> int | None:
    """The viewer numbers rows through all files of a split, in the order of their paths."""
    normalized = store.find(Stage.NORMALIZED, entry.partition)
    files: dict[str, dict[str, int]] = normalized.counters["files"] if normalized else {}
    if entry.source_file not in files:
        return None
    return entry.source_row + sum(file["records"] for path, file in files.items() if path < entry.source_file)


def _original(
    entry: Entry, split: Split, blob: SourceBlob, store: Store, source_of: Callable[[Split], Source] | None
) -> tuple[Original | None, list[str]]:
    """The record as it stands in its file, here or at its source, and what there is to say about that."""
    original = read_original(entry, blob, store)
    if original is not None:
        return original, []
    gone = f"{entry.source_file} of {entry.partition} is no longer here as it was when the ledger was made"
    if source_of is None:
        return None, [f"{gone}."]
    try:
        original = fetch_original(entry, split, store, source_of(split))
    except UserError as error:
        return None, [f"{gone}, and its source cannot be read: {error}"]
    return original, [
        f"{gone}; the record was read from {split.repo}." if original else f"{gone}, nor at {split.repo}."
    ]


def _notes(entry: Entry, split: Split, store: Store, row: dict[str, Any] | None) -> tuple[str, ...]:
    notes = list(stale_notes(entry.partition, split.scope, store))
    if (why := why_unusable(store, entry.partition)) is not None:
        notes.append(f"{entry.partition} has no current lineage_index ({why}): its ledger was read through instead.")
    if row is None and entry.state != "rejected":
        notes.append(f"The version of the rows that the ledger of {entry.partition} was made from is no longer here.")
    return tuple(notes)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(each) for each in value]
    return value.hex() if isinstance(value, bytes) else value
