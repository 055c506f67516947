"""Who duplicates whom within one dedup scope, over the splits that exist."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from nemo_assets.catalog import Catalog
from nemo_assets.dedup import exact_duplicates, ids_made_unique, in_survivor_order
from nemo_assets.errors import UserError
from nemo_assets.records.recipe import package_digest
from nemo_assets.storage import Basis, Manifest, Part, Stage, Staging, Store, Unit
from nemo_assets.storage.manifest import digest
from nemo_assets.storage.parquet import write_part

REMOVED_SCHEMA = pa.schema({
    "record_uid": pa.binary(16),
    "id": pa.string(),
    "survivor_uid": pa.binary(16),
    "survivor_id": pa.string(),
    "survivor_partition": pa.string(),
    "similarity": pa.float64(),
})  # fmt: skip
RENAMED_SCHEMA = pa.schema({"record_uid": pa.binary(16), "id": pa.string(), "unique_id": pa.string()})


def find_duplicates(scope: str, catalog: Catalog, store: Store) -> Manifest:
    """Decide for every row of the scope whether it stays.

    For each split one part of table `removed` and one of `renamed`, named by its position in the scope.
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
    with store.staging(Stage.DUPLICATES, scope, basis) as staging:
        ordered = in_survivor_order(_signatures(catalog, store, signed))
        removed = exact_duplicates(ordered)
        renamed = ids_made_unique(ordered.join(removed, on="record_uid", how="anti"))
        _require_unique_ids(scope, ordered, removed, renamed)
        splits = {}
        for number, key in enumerate(catalog.scopes[scope]):
            if key not in signed:
                continue
            tables = {
                "removed": _of_split(removed, key, REMOVED_SCHEMA),
                "renamed": _of_split(renamed, key, RENAMED_SCHEMA),
            }
            parts = _written(staging, number, tables)
            splits[key] = {
                "normalized": signed[key].details["normalized"],
                "rows": signed[key].rows(),
                "removed": tables["removed"].num_rows,
                "decisions": digest([part.sha256 for part in parts]),
                **{f"{table}_part": part.path for table, part in zip(tables, parts, strict=True)},
            }
        across = removed.filter(pl.col("partition") != pl.col("survivor_partition")).height
        counters = {
            "rows": ordered.height,
            "removed": removed.height,
            "across_splits": across,
            "ids_made_unique": renamed.height,
        }
        return staging.commit(counters=counters, details={"splits": splits}, content=basis.inputs)


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
    settings = {"code": package_digest("dedup"), "order": digest(list(catalog.scopes[scope]))}
    return Basis({key: manifest.data_version for key, manifest in signed.items()}, settings)


def _signatures(catalog: Catalog, store: Store, signed: dict[str, Manifest]) -> pl.DataFrame:
    frames = [
        pl.read_parquet(store.paths(manifest)).with_columns(
            partition=pl.lit(key), split_position=pl.lit(catalog.splits[key].position)
        )
        for key, manifest in signed.items()
    ]
    return pl.concat(frames)


def _of_split(rows: pl.DataFrame, key: str, schema: pa.Schema) -> pa.Table:
    """The rows of one split, sorted, in `schema`."""
    return rows.filter(pl.col("partition") == key).sort("record_uid").select(schema.names).to_arrow().cast(schema)


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
