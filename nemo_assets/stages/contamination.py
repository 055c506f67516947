"""What becomes of rows in which records of evaluation sets were found.

Belongs here: from hits to tags and ledger entries. Does not: the search (`dedup.contamination`), the sets
(`evaluation_sets`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa

from nemo_assets.catalog import Catalog, EvaluationSet
from nemo_assets.dedup.compared import texts_of
from nemo_assets.dedup.contamination import CONTAMINATION_SCHEMA, ContaminationIndex, find_contamination, index_of
from nemo_assets.errors import UserError
from nemo_assets.harmony import canonical_json
from nemo_assets.records.schema import ROW_SCHEMA
from nemo_assets.storage import Manifest, Stage, Store
from nemo_assets.storage.parquet import read_batches, scan

CODE_CONTAMINATED = "contaminated"
RULE_CONTAMINATED = "n-grams of an evaluation record, version 1"

HIT_SCHEMA = pa.schema([pa.field("record_uid", pa.binary(16), nullable=False), *list(CONTAMINATION_SCHEMA)[1:]])

ENTRY_COLUMNS = ["record_uid", "dataset", "split", "source_file", "source_row", "source_offset", "id"]
"""What a ledger entry takes over from the row."""


def current_evaluation_sets(catalog: Catalog, store: Store) -> Manifest | None:
    """The evaluation sets that rows are searched for; None where the catalog declares none.

    Raises UserError if they were not read yet.
    """
    if not catalog.evaluation_sets:
        return None
    manifest = store.find(Stage.EVALUATION_SETS, "all")
    if manifest is None:
        raise UserError("The catalog declares evaluation sets. Materialise evaluation_sets before signatures.")
    return manifest


def hits_of(rows: pa.Table, evaluation_sets: Sequence[Path], declared: bytes) -> pa.Table:
    """What of the evaluation sets is found in these rows, columns as HIT_SCHEMA.

    `declared` is what the catalog says of the sets, as JSON.
    """
    found = find_contamination(texts_of(rows["text"]), _index(tuple(evaluation_sets), declared))
    return pa.table([rows["record_uid"].take(found["row"]), *found.columns[1:]], HIT_SCHEMA)


@lru_cache(maxsize=1)
def _index(paths: tuple[Path, ...], declared: bytes) -> ContaminationIndex:
    """Made once a process: it takes a second, and every unit needs it."""
    sets = msgspec.json.decode(declared, type=dict[str, EvaluationSet])
    return index_of(pa.concat_tables(read_batches(paths)), sets)


def contamination_of(paths: Sequence[Path]) -> pl.DataFrame:
    """The hits of a split by row: `hits` in the order of the sets, and whether one of them `rejects` the row."""
    fields = [field.name for field in HIT_SCHEMA if field.name != "record_uid"]
    return (
        scan(list(paths), HIT_SCHEMA)
        .group_by("record_uid")
        .agg(hits=pl.struct(fields).sort_by("evaluation_set"), rejects=(pl.col("action") == "reject").any())
        .sort("record_uid")
        .collect()
    )


def rejected_entries(table: pa.Table, rejected: pl.DataFrame) -> pl.DataFrame:
    """Ledger entries of the rows of `table` that a hit rejects."""
    rows = pl.DataFrame(pl.from_arrow(table.select(ENTRY_COLUMNS)))
    joined = rows.join(rejected, on="record_uid", how="inner", maintain_order="left")
    evidence = [canonical_json(_evidence(hits)) for hits in joined["hits"].to_list()]
    return joined.select(
        *ENTRY_COLUMNS[:-1],
        id=pl.lit(None, pl.String),
        state=pl.lit("rejected"),
        code=pl.lit(CODE_CONTAMINATED),
        evidence=pl.Series(evidence, dtype=pl.String),
        survivor_uid=pl.lit(None, pl.Binary),
        similarity=pl.lit(None, pl.Float64),
    )


def _evidence(hits: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The first hit that rejects, and how many other sets have one."""
    first = next(hit for hit in hits if hit["action"] == "reject")
    return {"rule": RULE_CONTAMINATED, **first, "further_sets": len(hits) - 1}


def with_contamination_tags(table: pa.Table, found: pl.DataFrame) -> pa.Table:
    """Add `contaminated:<set>:<tier>` to the quality tags of rows with hits."""
    if found.height == 0 or table.num_rows == 0:
        return table
    tags = {
        uid: [f"contaminated:{hit['evaluation_set']}:{hit['tier']}" for hit in hits]
        for uid, hits in found.select("record_uid", "hits").iter_rows()
    }
    uids, before = table["record_uid"].to_pylist(), table["quality_tags"].to_pylist()
    after = [sorted({*old, *tags.get(uid, ())}) if uid in tags else old for uid, old in zip(uids, before, strict=True)]
    field = ROW_SCHEMA.field("quality_tags")
    return table.set_column(table.schema.get_field_index("quality_tags"), field, pa.array(after, field.type))
