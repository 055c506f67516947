"""The rows of one dedup scope: those of the splits that are signed.

Belongs here: reading them, and what stands where. Does not: which of them are alike (`scope_search`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nemo_assets.catalog import Catalog
from nemo_assets.dedup.signatures import DECIDING_COLUMNS, SIGNATURE_SCHEMA, read_signed
from nemo_assets.dedup.signing import Signed
from nemo_assets.dedup.survivor import in_survivor_order
from nemo_assets.errors import UserError
from nemo_assets.stages.contamination import contamination_of
from nemo_assets.storage import Manifest, Stage, Store
from nemo_assets.storage.parquet import scan


class Scope(NamedTuple):
    """The rows of the splits that are signed.

    `ordered` are those that take part, in survivor order, with column `row`: the place in `signed`, `guarded` (numbers
    must agree) and the parts of `normalized`. `ranked` are these places by rank. `rejected`: how many hold a record of
    an evaluation set and cannot stand for another row, by split. `paths` are the parts of the signatures.
    """

    ordered: pl.DataFrame
    ranked: NDArray[np.int64]
    signed: Signed
    guarded: NDArray[np.bool_]
    rejected: Mapping[str, int]
    paths: Sequence[Path]


def read_scope(catalog: Catalog, store: Store, signed: Mapping[str, Manifest]) -> Scope:
    """The rows of these signatures, by partition key."""
    rejected = {
        key: contamination_of(store.paths(manifest, "contamination")).filter("rejects").select("record_uid")
        for key, manifest in signed.items()
    }
    rows = _deciding_columns(catalog, store, signed).with_row_index("row")
    ordered = in_survivor_order(rows.join(pl.concat(rejected.values()), on="record_uid", how="anti"))
    paths = [path for manifest in signed.values() for path in store.paths(manifest)]
    return Scope(
        ordered,
        ordered["row"].to_numpy().astype(np.int64),
        read_signed(paths),
        _guarded(catalog, signed),
        {key: uids.height for key, uids in rejected.items()},
        paths,
    )


def normalized_parts(store: Store, signed: Mapping[str, Manifest]) -> list[tuple[Path, int]]:
    """Path and rows of the parts that the signatures were made of, in the same order."""
    parts = []
    for key, manifest in signed.items():
        normalized = store.current(Stage.NORMALIZED, key)
        if normalized.data_version != manifest.details["normalized"]:
            raise UserError(f"{key}: signatures is older than normalized. Materialise signatures of {key} first.")
        parts += [(store.path(part), part.rows) for part in normalized.table("rows")]
    return parts


def _deciding_columns(catalog: Catalog, store: Store, signed: Mapping[str, Manifest]) -> pl.DataFrame:
    """What decides about each row, and where it comes from: its split, and the number of its part there."""
    return pl.concat(
        scan(store.paths(manifest), SIGNATURE_SCHEMA)
        .select(*DECIDING_COLUMNS, partition=pl.lit(key), split_position=pl.lit(catalog.splits[key].position))
        .collect()
        .with_columns(part=_part_of_row(manifest))
        for key, manifest in signed.items()
    )


def _part_of_row(signed: Manifest) -> pl.Series:
    """Number of the part that each row of a split is in; parts of signatures are those of the rows."""
    rows = [part.rows for part in signed.table("rows")]
    return pl.Series(np.repeat(np.arange(len(rows)), rows))


def _guarded(catalog: Catalog, signed: Mapping[str, Manifest]) -> NDArray[np.bool_]:
    """Of each row whether its numbers must agree with those of a duplicate."""
    domains = catalog.duplicate_policy.numbers_must_agree
    must_agree = [catalog.splits[key].source.domain in domains for key in signed]
    return np.repeat(np.array(must_agree, np.bool_), [manifest.rows() for manifest in signed.values()])
