"""The rows that are removed as duplicates: for whom, by which rule, and how similar the two are.

Belongs here: the table of removals, and what is told of it as a whole. Does not: finding pairs (`scope_search`), the
page with a sample of them (`dedup.precision`).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nemo_assets.dedup.bands import Banding
from nemo_assets.dedup.near import SIMILAR, Found
from nemo_assets.dedup.precision import Removal, sample_of
from nemo_assets.dedup.rules import CODE_NEAR, RULE_SIMILAR
from nemo_assets.stages.row_texts import RowTexts
from nemo_assets.stages.scope_rows import Scope
from nemo_assets.stages.scope_search import TWIN_RULES, Search


def removed_rows(rows: Scope, search: Search) -> pl.DataFrame:
    """The removed rows with what was measured, columns as REMOVED_SCHEMA and `partition`."""
    found = search.found
    ranks = np.flatnonzero(found.survivor >= 0)
    survivors, rules = found.survivor[ranks], found.rule[ranks]
    named = (*TWIN_RULES, (CODE_NEAR, RULE_SIMILAR))  # the last one for SIMILAR, which is -1
    worse, better = rows.ordered[ranks], rows.ordered[survivors]
    bands = _shared_bands(rows.signed.minhash, rows.ranked[ranks], rows.ranked[survivors], search.banding)
    return worse.select("record_uid", "partition", "id", "part").with_columns(
        survivor_uid=better["record_uid"],
        survivor_id=better["id"],
        survivor_partition=better["partition"],
        code=pl.Series([named[rule][0] for rule in rules], dtype=pl.String),
        rule=pl.Series([named[rule][1] for rule in rules], dtype=pl.String),
        **_measured(found, ranks),
        shared_bands=pl.Series(bands, dtype=pl.Int64),
        threshold=pl.Series(np.where(rules == SIMILAR, search.threshold, 1.0), dtype=pl.Float64),
    )


def _measured(found: Found, ranks: NDArray[np.int64]) -> dict[str, pl.Series]:
    """How similar each of these ranks is to its survivor: 1 if the two are twins."""
    is_similar, pairs, similarity = found.rule[ranks] == SIMILAR, found.pair[ranks], found.compared.similarity
    measured = {
        "similarity": np.minimum(similarity.jaccard, similarity.spoken),
        "spoken_similarity": similarity.spoken,
        "containment": similarity.containment,
    }
    return {
        name: pl.Series(
            np.where(is_similar, values[pairs], 1.0) if len(values) else np.ones(len(ranks)), dtype=pl.Float64
        )
        for name, values in measured.items()
    }


def _shared_bands(
    minhash: NDArray[np.uint32], first: NDArray[np.int64], second: NDArray[np.int64], banding: Banding
) -> NDArray[np.int64]:
    """How many bands the signatures of the rows of each pair have in common."""
    shared = np.zeros(len(first), np.int64)
    for begin in range(0, banding.bands * banding.rows, banding.rows):
        columns = slice(begin, begin + banding.rows)
        shared += (minhash[first, columns] == minhash[second, columns]).all(axis=1)
    return shared


def with_ids_of_survivors(removed: pl.DataFrame, renamed: pl.DataFrame) -> pl.DataFrame:
    """Survivors that were given another id are named by it."""
    new = renamed.select(survivor_uid="record_uid", new_id="unique_id")
    joined = removed.join(new, on="survivor_uid", how="left", maintain_order="left")
    return joined.with_columns(survivor_id=pl.coalesce("new_id", "survivor_id")).drop("new_id")


def similar_rows(removed: pl.DataFrame) -> pl.DataFrame:
    """Those that were removed for a row that is similar, not equal in any regard."""
    return removed.filter(pl.col("rule") == RULE_SIMILAR)


def sampled(similar: pl.DataFrame, rows: Scope, texts: RowTexts) -> list[Removal]:
    """Some of these rows, with their texts and those of their survivors."""
    chosen = similar[sample_of(similar["record_uid"].to_list())]
    place = rows.ordered.select("record_uid", "row")
    placed = chosen.join(place, on="record_uid", maintain_order="left").join(
        place, left_on="survivor_uid", right_on="record_uid", maintain_order="left", suffix="_of_survivor"
    )
    wanted = list(placed.select("row", "row_of_survivor").iter_rows())
    text_of = texts.by_row({row for pair in wanted for row in pair})
    columns = [field.name for field in dataclasses.fields(Removal) if not field.name.endswith("text")]
    return [
        Removal(**values, text=text_of[row], survivor_text=text_of[other])
        for values, (row, other) in zip(chosen.select(columns).iter_rows(named=True), wanted, strict=True)
    ]


def largest_group(removed: pl.DataFrame) -> dict[str, Any]:
    """The survivor that stands for most rows, and for how many."""
    groups = (
        removed.group_by("survivor_id", "survivor_partition").len().sort("len", "survivor_id", descending=[True, False])
    )
    if groups.height == 0:
        return {"survivor": None, "rows": 0}
    survivor, partition, count = groups.row(0)
    return {"survivor": f"{survivor} ({partition})", "rows": count}
