"""Who duplicates whom within one dedup scope, over the splits that exist."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from nemo_assets.catalog import Catalog, DuplicatePolicy
from nemo_assets.dedup.bands import Banding, Buckets, buckets_of, joined, optimal_banding
from nemo_assets.dedup.candidates import Rows
from nemo_assets.dedup.cluster import RayCluster
from nemo_assets.dedup.distributed import buckets_distributed
from nemo_assets.dedup.identifiers import ids_made_unique
from nemo_assets.dedup.near import SIMILAR, Found, near_duplicates
from nemo_assets.dedup.precision import Removal, precision_report, sample_of, summary_of
from nemo_assets.dedup.rules import CODE_EXACT, CODE_NEAR, RULE_EXACT, RULE_PROBLEM, RULE_SIMILAR, RULE_STATEMENT
from nemo_assets.dedup.signatures import DECIDING_COLUMNS, SIGNATURE_SCHEMA, read_signed
from nemo_assets.dedup.signing import Signed
from nemo_assets.dedup.survivor import in_survivor_order
from nemo_assets.disk import write_durably
from nemo_assets.errors import UserError
from nemo_assets.plots import similarity_bins, size_bins
from nemo_assets.records.recipe import package_digest
from nemo_assets.stages.contamination import contamination_of
from nemo_assets.stages.relations import RELATION_SCHEMA, relations_of
from nemo_assets.stages.row_texts import RowTexts
from nemo_assets.storage import Basis, Manifest, Part, Stage, Staging, Store, Unit
from nemo_assets.storage.layout import PRECISION
from nemo_assets.storage.manifest import digest
from nemo_assets.storage.parquet import scan, write_part

REMOVED_SCHEMA = pa.schema({
    "record_uid": pa.binary(16),
    "id": pa.string(),
    "part": pa.int64(),
    "survivor_uid": pa.binary(16),
    "survivor_id": pa.string(),
    "survivor_partition": pa.string(),
    "code": pa.string(),
    "rule": pa.string(),
    "similarity": pa.float64(),
    "spoken_similarity": pa.float64(),
    "containment": pa.float64(),
    "shared_bands": pa.int64(),
    "threshold": pa.float64(),
})  # fmt: skip
RENAMED_SCHEMA = pa.schema({"record_uid": pa.binary(16), "id": pa.string(), "unique_id": pa.string()})

DUPLICATES_CODE = package_digest("dedup", "stages/duplicates", "stages/relations", "stages/row_texts")

_TWIN_RULES = ((CODE_EXACT, RULE_EXACT), (CODE_NEAR, RULE_PROBLEM), (CODE_NEAR, RULE_STATEMENT))
"""Code and rule of each kind of twin: equal content, and of Lean statements equal problem, equal statement."""


class Scope(NamedTuple):
    """The rows of the splits that are signed.

    `ordered` are those that take part, in survivor order, with column `row`: the place in `signed`, `guarded` (numbers
    must agree) and the parts of `normalized`. `rejected`: how many hold a record of an evaluation set and cannot stand
    for another row, by split. `paths` are the parts of the signatures.
    """

    ordered: pl.DataFrame
    signed: Signed
    guarded: NDArray[np.bool_]
    rejected: Mapping[str, int]
    paths: Sequence[Path]

    @property
    def ranked(self) -> NDArray[np.int64]:
        """Places in `signed` by rank."""
        return self.ordered["row"].to_numpy().astype(np.int64)


def find_duplicates(
    scope: str, catalog: Catalog, store: Store, workers: int = 1, cluster: RayCluster | None = None
) -> Manifest:
    """Decide for every row of the scope whether it stays, whatever the `workers` and whether there is a `cluster`.

    For each split one part of the tables `removed`, `renamed` and `relations`, named by its position in the scope.
    `details.splits` says which version of each split was looked at; splits not made yet are left out.

    Raises UserError if no split of the scope has signatures yet.
    """
    signed = signed_splits(scope, catalog, store)
    if not signed:
        raise UserError(
            f"{scope}: no split of this scope has signatures yet. Materialise signatures of one of its splits first."
        )
    basis = duplicates_basis(scope, catalog, signed)
    current = store.find_current(Stage.DUPLICATES, scope, basis)
    if current is not None:
        return current
    policy = catalog.duplicate_policy
    threshold = policy.thresholds[scope]
    banding = optimal_banding(threshold)
    with store.staging(Stage.DUPLICATES, scope, basis) as staging:
        rows = _read_scope(catalog, store, signed)
        buckets = _buckets(rows, banding, workers, cluster)
        texts = RowTexts(_normalized_parts(store, signed), staging.directory, workers)
        compared = Rows(rows.signed, rows.guarded, rows.ranked, _twins(rows, policy))
        found = near_duplicates(compared, buckets, threshold, texts.measure, policy.bucket_cap)
        removed = _removed(rows, found, banding, threshold)
        renamed = ids_made_unique(rows.ordered.join(removed, on="record_uid", how="anti"))
        _require_unique_ids(scope, rows.ordered, removed, renamed)
        removed = _with_ids_of_survivors(removed, renamed)
        relations = relations_of(rows.ordered, rows.signed, found)
        splits = {}
        for number, key in enumerate(catalog.scopes[scope]):
            if key not in signed:
                continue
            tables = {
                "removed": _of_split(removed.sort("part", "record_uid"), key, REMOVED_SCHEMA),
                "renamed": _of_split(renamed.sort("record_uid"), key, RENAMED_SCHEMA),
                "relations": _of_split(relations.sort("record_uid", "kind"), key, RELATION_SCHEMA),
            }
            splits[key] = _split_details(signed[key], tables, _written(staging, number, tables)) | {
                "rejected": rows.rejected[key]
            }
        sampled = _write_precision_report(scope, rows, removed, texts, staging, len(catalog.scopes[scope]))
        return staging.commit(
            counters=_counters(rows, found, removed, renamed, relations),
            details={
                "splits": splits,
                "search": _search(banding, threshold, policy, found),
                "largest_group": _largest_group(removed),
                "precision": sampled,
            },
            content=basis.inputs,
        )


def _split_details(signed: Manifest, tables: Mapping[str, pa.Table], parts: tuple[Part, ...]) -> dict[str, Any]:
    """What `deduped` needs to know of one split. `decisions` changes only if something about its own rows does."""
    paths = {f"{part.table}_part": part.path for part in parts}
    contamination = signed.table("contamination")
    deciding = [part.sha256 for part in (*parts, *contamination) if part.table != "relations"]
    codes = pl.DataFrame(pl.from_arrow(tables["removed"].select(["code"]))).group_by("code").len().sort("code")
    return {
        "normalized": signed.details["normalized"],
        "rows": signed.rows(),
        "removed": tables["removed"].num_rows,
        "codes": dict(codes.iter_rows()),
        "decisions": digest(deciding),
        "contamination_parts": [part.path for part in contamination],
        **paths,
    }


def _written(staging: Staging, number: int, tables: Mapping[str, pa.Table]) -> tuple[Part, ...]:
    """The parts of one split, unless an interrupted run has left them."""
    if staging.missing([number]):
        parts = []
        for table, rows in tables.items():
            path = staging.target(table, number)
            write_part(path, rows)
            parts.append(staging.part(table, path, rows.num_rows))
        staging.add(Unit(number, tuple(parts)))
    return staging.units[number].parts


def signed_splits(scope: str, catalog: Catalog, store: Store) -> dict[str, Manifest]:
    """The signatures there are, by partition key, in precedence order."""
    found = ((key, store.find(Stage.SIGNATURES, key)) for key in catalog.scopes[scope])
    return {key: manifest for key, manifest in found if manifest}


def duplicates_basis(scope: str, catalog: Catalog, signed: dict[str, Manifest]) -> Basis:
    """Decisions depend on the signatures of the splits there are, the precedence of splits and the rules."""
    policy = catalog.duplicate_policy
    settings = {
        "code": DUPLICATES_CODE,
        "order": digest(list(catalog.scopes[scope])),
        "rules": digest([
            policy.thresholds[scope], policy.numbers_must_agree, policy.unique_statements, policy.bucket_cap,
        ]),
    }  # fmt: skip
    return Basis({key: manifest.data_version for key, manifest in signed.items()}, settings)


def _normalized_parts(store: Store, signed: Mapping[str, Manifest]) -> list[tuple[Any, int]]:
    """Path and rows of the parts that the signatures were made of, in the same order."""
    parts = []
    for key, manifest in signed.items():
        normalized = store.current(Stage.NORMALIZED, key)
        if normalized.data_version != manifest.details["normalized"]:
            raise UserError(f"{key}: signatures is older than normalized. Materialise signatures of {key} first.")
        parts += [(store.path(part), part.rows) for part in normalized.table("rows")]
    return parts


def _read_scope(catalog: Catalog, store: Store, signed: Mapping[str, Manifest]) -> Scope:
    policy = catalog.duplicate_policy
    paths = [path for manifest in signed.values() for path in store.paths(manifest)]
    frames = [
        scan(store.paths(manifest), SIGNATURE_SCHEMA)
        .select(*DECIDING_COLUMNS, partition=pl.lit(key), split_position=pl.lit(catalog.splits[key].position))
        .collect()
        .with_columns(part=_part_of_row(manifest))
        for key, manifest in signed.items()
    ]
    guarded = [
        np.full(manifest.rows(), catalog.splits[key].source.domain in policy.numbers_must_agree)
        for key, manifest in signed.items()
    ]
    rejected = {
        key: contamination_of(store.paths(manifest, "contamination")).filter("rejects").select("record_uid")
        for key, manifest in signed.items()
    }
    rows = pl.concat(frames).with_row_index("row").join(pl.concat(rejected.values()), on="record_uid", how="anti")
    counts = {key: uids.height for key, uids in rejected.items()}
    return Scope(in_survivor_order(rows), read_signed(paths), np.concatenate(guarded), counts, paths)


def _part_of_row(signed: Manifest) -> pl.Series:
    """Number of the part that each row of a split is in; parts of signatures are those of the rows."""
    rows = [part.rows for part in signed.table("rows")]
    return pl.Series(np.repeat(np.arange(len(rows)), rows))


def _buckets(rows: Scope, banding: Banding, workers: int, cluster: RayCluster | None) -> Buckets:
    """Rows with equal numbers share buckets, and those whose numbers may differ share others without regard to them."""

    def share(ranks: NDArray[np.int64], numbers_too: bool) -> Buckets:
        ranked, must_agree = rows.ranked[ranks], rows.signed.must_agree(numbers_too)
        if cluster is None:
            return buckets_of(rows.signed.minhash, ranked, banding, workers, must_agree)
        uids = rows.ordered["record_uid"].gather(ranks).to_arrow().cast(pa.binary(16))
        return buckets_distributed(rows.paths, uids, must_agree[ranked], banding, cluster.address)

    everybody, free = np.arange(len(rows.ranked)), np.flatnonzero(~rows.guarded[rows.ranked])
    buckets = share(everybody, True)
    return joined(buckets, share(free, False), free) if len(free) else buckets


def _twins(rows: Scope, policy: DuplicatePolicy) -> NDArray[np.int64]:
    """By rank the first rank of equal content; of Lean statements also that of an equal problem or statement."""
    prompts = rows.signed.prompt[rows.ranked]
    frame = rows.ordered.select(
        "content_sha1",
        "statement",
        prompt=pl.Series(prompts),
        states=pl.col("statement").is_not_null() & policy.unique_statements,
    ).with_row_index("rank")
    alone = pl.col("rank")
    first = frame.select(
        content=alone.first().over("content_sha1"),
        problem=pl.when("states").then(alone.first().over("states", "prompt")).otherwise(alone),
        statement=pl.when("states").then(alone.first().over("statement")).otherwise(alone),
    )
    return np.stack([first[name].to_numpy().astype(np.int64) for name in first.columns])


def _removed(rows: Scope, found: Found, banding: Banding, threshold: float) -> pl.DataFrame:
    """The removed rows with what was measured, columns as REMOVED_SCHEMA and `partition`."""
    ranks = np.flatnonzero(found.survivor >= 0)
    survivors, rules, pairs = found.survivor[ranks], found.rule[ranks], found.pair[ranks]
    similarity = found.compared.similarity
    measured = {
        "similarity": np.minimum(similarity.jaccard, similarity.spoken),
        "spoken_similarity": similarity.spoken,
        "containment": similarity.containment,
    }
    columns = {
        name: np.where(rules == SIMILAR, values[pairs], 1.0) if len(values) else np.ones(len(ranks))
        for name, values in measured.items()
    }
    named = (*_TWIN_RULES, (CODE_NEAR, RULE_SIMILAR))  # the last one for SIMILAR, which is -1
    worse, better = rows.ordered[ranks], rows.ordered[survivors]
    bands = _shared_bands(rows.signed.minhash, worse["row"].to_numpy(), better["row"].to_numpy(), banding)
    return worse.select("record_uid", "partition", "id", "part").with_columns(
        survivor_uid=better["record_uid"],
        survivor_id=better["id"],
        survivor_partition=better["partition"],
        code=pl.Series([named[rule][0] for rule in rules], dtype=pl.String),
        rule=pl.Series([named[rule][1] for rule in rules], dtype=pl.String),
        **{name: pl.Series(values, dtype=pl.Float64) for name, values in columns.items()},
        shared_bands=pl.Series(bands, dtype=pl.Int64),
        threshold=pl.Series(np.where(rules == SIMILAR, threshold, 1.0), dtype=pl.Float64),
    )


def _shared_bands(
    minhash: NDArray[np.uint32], first: NDArray[Any], second: NDArray[Any], banding: Banding
) -> NDArray[np.int64]:
    """How many bands the signatures of the rows of each pair have in common."""
    shared = np.zeros(len(first), np.int64)
    for begin in range(0, banding.bands * banding.rows, banding.rows):
        columns = slice(begin, begin + banding.rows)
        shared += (minhash[first, columns] == minhash[second, columns]).all(axis=1)
    return shared


def _write_precision_report(
    scope: str, rows: Scope, removed: pl.DataFrame, texts: RowTexts, staging: Staging, number: int
) -> list[dict[str, Any]]:
    """Write a page with a sample of the similar pairs as part `number`; one line for each of them."""
    similar = removed.filter(pl.col("rule") == RULE_SIMILAR)
    chosen = similar[sample_of(similar["record_uid"].to_list())]
    place = rows.ordered.select("record_uid", "row")
    placed = chosen.join(place, on="record_uid", maintain_order="left").join(
        place, left_on="survivor_uid", right_on="record_uid", maintain_order="left", suffix="_of_survivor"
    )
    wanted = list(placed.select("row", "row_of_survivor").iter_rows())
    text_of = texts.by_row({row for pair in wanted for row in pair})
    columns = [field.name for field in dataclasses.fields(Removal) if not field.name.endswith("text")]
    removals = [
        Removal(**values, text=text_of[row], survivor_text=text_of[other])
        for values, (row, other) in zip(chosen.select(columns).iter_rows(named=True), wanted, strict=True)
    ]
    path = staging.target(PRECISION, number, "html")
    write_durably(path, precision_report(scope, removals, similar.height).encode())
    staging.add(Unit(number, (staging.part(PRECISION, path, 0),)))
    return summary_of(removals)


def _largest_group(removed: pl.DataFrame) -> dict[str, Any]:
    """The survivor that stands for most rows, and for how many."""
    groups = (
        removed.group_by("survivor_id", "survivor_partition").len().sort("len", "survivor_id", descending=[True, False])
    )
    if groups.height == 0:
        return {"survivor": None, "rows": 0}
    survivor, partition, count = groups.row(0)
    return {"survivor": f"{survivor} ({partition})", "rows": count}


def _with_ids_of_survivors(removed: pl.DataFrame, renamed: pl.DataFrame) -> pl.DataFrame:
    """Survivors that were given another id are named by it."""
    new = renamed.select(survivor_uid="record_uid", new_id="unique_id")
    joined = removed.join(new, on="survivor_uid", how="left", maintain_order="left")
    return joined.with_columns(survivor_id=pl.coalesce("new_id", "survivor_id")).drop("new_id")


def _counters(
    rows: Scope, found: Found, removed: pl.DataFrame, renamed: pl.DataFrame, relations: pl.DataFrame
) -> dict[str, Any]:
    across = removed.filter(pl.col("partition") != pl.col("survivor_partition")).height
    stands_for = removed.group_by("survivor_uid").len()["len"].cast(pl.Int64)
    return {
        "rows": rows.ordered.height + sum(rows.rejected.values()),
        "contaminated": sum(rows.rejected.values()),
        "removed": removed.height,
        "codes": dict(removed.group_by("code").len().sort("code").iter_rows()),
        "rules": dict(removed.group_by("rule").len().sort("rule").iter_rows()),
        "across_splits": across,
        "ids_made_unique": renamed.height,
        "compared_exactly": len(found.compared.worse),
        "relations": dict(relations.group_by("kind").len().sort("kind").iter_rows()),
        "buckets_over_cap": found.overflowing,
        "rounds": found.rounds,
        "stands_for_most": max(stands_for.to_list(), default=0),
        "stands_for": size_bins(stands_for.to_numpy()),
        "prompts": size_bins(np.unique(rows.signed.prompt, return_counts=True)[1]),
    }


def _search(banding: Banding, threshold: float, policy: DuplicatePolicy, found: Found) -> dict[str, Any]:
    """How the search was made: what the curve in the UI is drawn from."""
    decisive = np.minimum(found.compared.similarity.jaccard, found.compared.similarity.spoken)
    removed = np.zeros(len(decisive), np.bool_)
    removed[found.pair[found.pair >= 0]] = True
    return {
        "threshold": threshold,
        "bands": banding.bands,
        "rows_per_band": banding.rows,
        "bucket_cap": policy.bucket_cap,
        "candidate_probability": {
            f"{s:.2f}": round(banding.collision_probability(s), 6) for s in (0.5, 0.8, 0.85, 0.9)
        },
        "similarity_of_removed": similarity_bins(decisive[removed]),
        "similarity_of_others": similarity_bins(decisive[~removed]),
    }


def _of_split(rows: pl.DataFrame, key: str, schema: pa.Schema) -> pa.Table:
    """The rows of one split in `schema`."""
    return rows.filter(pl.col("partition") == key).select(schema.names).to_arrow().cast(schema)


def _require_unique_ids(scope: str, ordered: pl.DataFrame, removed: pl.DataFrame, renamed: pl.DataFrame) -> None:
    """The gate: no two kept rows of a scope share an id."""
    kept = ordered.join(removed, on="record_uid", how="anti").join(
        renamed.select("record_uid", "unique_id"), on="record_uid", how="left"
    )
    shared = kept.with_columns(id=pl.coalesce("unique_id", "id")).filter(pl.len().over("id") > 1)["id"].unique().sort()
    if shared.len():
        raise UserError(
            f"{scope}: {shared.len()} ids stand for several kept rows, such as {shared[0]}. "
            "Correct `identity` of the source in nemo_assets/catalog; nothing was made current."
        )
