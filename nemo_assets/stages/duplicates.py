"""Who duplicates whom within one dedup scope, over the splits that exist.

Belongs here: the order of the steps, when they are due, and what is written of them. Does not: reading rows
(`scope_rows`), the search (`scope_search`), the tables (`removals`, `relations`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from nemo_assets.catalog import Catalog
from nemo_assets.dedup.cluster import RayCluster
from nemo_assets.dedup.identifiers import ids_made_unique
from nemo_assets.dedup.precision import precision_report, summary_of
from nemo_assets.disk import write_durably
from nemo_assets.errors import UserError
from nemo_assets.plots import size_bins
from nemo_assets.records.recipe import package_digest
from nemo_assets.stages.relations import RELATION_SCHEMA, relations_of
from nemo_assets.stages.removals import largest_group, removed_rows, sampled, similar_rows, with_ids_of_survivors
from nemo_assets.stages.row_texts import RowTexts
from nemo_assets.stages.scope_rows import Scope, normalized_parts, read_scope
from nemo_assets.stages.scope_search import Search, search_details, search_scope
from nemo_assets.storage import Basis, Manifest, Part, Stage, Staging, Store, Unit
from nemo_assets.storage.layout import PRECISION
from nemo_assets.storage.manifest import digest
from nemo_assets.storage.parquet import write_part

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

DUPLICATES_CODE = package_digest(
    "dedup", "stages/duplicates", "stages/relations", "stages/removals", "stages/row_texts", "stages/scope_rows",
    "stages/scope_search",
)  # fmt: skip


class Decisions(NamedTuple):
    """What is decided about the rows of a scope: one table each, columns as in its schema and `partition`."""

    removed: pl.DataFrame
    renamed: pl.DataFrame
    relations: pl.DataFrame


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
    policy, keys = catalog.duplicate_policy, catalog.scopes[scope]
    with store.staging(Stage.DUPLICATES, scope, basis) as staging:
        rows = read_scope(catalog, store, signed)
        texts = RowTexts(normalized_parts(store, signed), staging.directory, workers)
        search = search_scope(rows, texts, policy.thresholds[scope], policy, workers, cluster)
        decided = _decide(scope, rows, search)
        splits = _write_splits(keys, signed, rows, decided, staging)
        precision = _write_precision_report(scope, rows, decided, texts, staging, len(keys))
        return staging.commit(
            counters=_counters(rows, search, decided),
            details={
                "splits": splits,
                "search": search_details(search),
                "largest_group": largest_group(decided.removed),
                "precision": precision,
            },
            content=basis.inputs,
        )


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


def _decide(scope: str, rows: Scope, search: Search) -> Decisions:
    """Which rows go, which of those that stay need another id, and how they are related."""
    removed = removed_rows(rows, search)
    renamed = ids_made_unique(rows.ordered.join(removed, on="record_uid", how="anti"))
    _require_unique_ids(scope, rows.ordered, removed, renamed)
    return Decisions(with_ids_of_survivors(removed, renamed), renamed, relations_of(rows, search.found))


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


def _write_splits(
    keys: Iterable[str], signed: Mapping[str, Manifest], rows: Scope, decided: Decisions, staging: Staging
) -> dict[str, dict[str, Any]]:
    """Write the tables of each split that is signed, numbered by its place in `keys`; the details of each."""
    removed = _by_split(decided.removed, signed, "part", "record_uid")
    renamed = _by_split(decided.renamed, signed, "record_uid")
    relations = _by_split(decided.relations, signed, "record_uid", "kind")
    details = {}
    for number, key in enumerate(keys):
        if key not in signed:
            continue
        tables = {
            "removed": _in_schema(removed[key], REMOVED_SCHEMA),
            "renamed": _in_schema(renamed[key], RENAMED_SCHEMA),
            "relations": _in_schema(relations[key], RELATION_SCHEMA),
        }
        parts = _written(staging, number, tables)
        details[key] = _split_details(signed[key], tables["removed"], parts) | {"rejected": rows.rejected[key]}
    return details


def _by_split(rows: pl.DataFrame, keys: Iterable[str], *order: str) -> dict[str, pl.DataFrame]:
    """The rows of each of these splits in this order: slices of all of them, which are sorted once."""
    in_order = rows.sort("partition", *order)
    splits = pl.Series(list(keys), dtype=pl.String)
    begins, ends = (in_order["partition"].search_sorted(splits, side) for side in ("left", "right"))
    return {key: in_order[begin:end] for key, begin, end in zip(splits, begins, ends, strict=True)}


def _in_schema(rows: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    return rows.select(schema.names).to_arrow().cast(schema)


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


def _split_details(signed: Manifest, removed: pa.Table, parts: tuple[Part, ...]) -> dict[str, Any]:
    """What `deduped` needs to know of one split. `decisions` changes only if something about its own rows does."""
    paths = {f"{part.table}_part": part.path for part in parts}
    contamination = signed.table("contamination")
    deciding = [part.sha256 for part in (*parts, *contamination) if part.table != "relations"]
    codes = pl.DataFrame(pl.from_arrow(removed.select(["code"]))).group_by("code").len().sort("code")
    return {
        "normalized": signed.details["normalized"],
        "rows": signed.rows(),
        "removed": removed.num_rows,
        "codes": dict(codes.iter_rows()),
        "decisions": digest(deciding),
        "contamination_parts": [part.path for part in contamination],
        **paths,
    }


def _write_precision_report(
    scope: str, rows: Scope, decided: Decisions, texts: RowTexts, staging: Staging, number: int
) -> list[dict[str, Any]]:
    """Write a page with a sample of the similar pairs as part `number`; one line for each of them."""
    similar = similar_rows(decided.removed)
    removals = sampled(similar, rows, texts)
    path = staging.target(PRECISION, number, "html")
    write_durably(path, precision_report(scope, removals, similar.height).encode())
    staging.add(Unit(number, (staging.part(PRECISION, path, 0),)))
    return summary_of(removals)


def _counters(rows: Scope, search: Search, decided: Decisions) -> dict[str, Any]:
    removed, renamed, relations = decided
    found, rejected = search.found, sum(rows.rejected.values())
    across = removed.filter(pl.col("partition") != pl.col("survivor_partition")).height
    stands_for = removed.group_by("survivor_uid").len()["len"].cast(pl.Int64)
    return {
        "rows": rows.ordered.height + rejected,
        "contaminated": rejected,
        "removed": removed.height,
        "codes": dict(removed.group_by("code").len().sort("code").iter_rows()),
        "rules": dict(removed.group_by("rule").len().sort("rule").iter_rows()),
        "across_splits": across,
        "ids_made_unique": renamed.height,
        "compared_exactly": len(found.compared.worse),
        "relations": dict(relations.group_by("kind").len().sort("kind").iter_rows()),
        "buckets_over_cap": found.overflowing,
        "rows_unsure": found.unsure,
        "rounds": found.rounds,
        "stands_for_most": max(stands_for.to_list(), default=0),
        "stands_for": size_bins(stands_for.to_numpy()),
        "prompts": size_bins(np.unique(rows.signed.prompt, return_counts=True)[1]),
    }
