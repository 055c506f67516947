"""Figures of one subset that its plots are drawn from.

Belongs here: counting. Does not: drawing (`subset_plots`), the report of a policy (`selection.report`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from nemo_assets.selection import Normalised, Selection
from nemo_assets.selection.report import LAST_TENTH

POINTS = 1_000
"""Rows in the plot of student against reference, half of them chosen ones if there are as many."""


def plotted(found: Selection, normalised: Normalised, pools: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    """`nll`: rows by tenth of a nat of nll_mean, all scored and chosen, by split and by pool; `points`: nll_mean of
    student, of reference, whether the row was chosen, and its split, of a sample that the hashes of ids draw.

    `pools` has the memberships of the splits, by partition key in the order of their numbers.
    """
    chosen = np.zeros(normalised.rows.height, np.bool_)
    chosen[found.rows] = True
    rows = normalised.rows.select("split_number", "row", "nll_mean", tenth=_tenth(), chosen=pl.Series(chosen))
    counted = [
        _counted(rows.filter(pl.col("split_number") == number, pl.col("nll_mean").is_not_null()), key, paths)
        for number, (key, paths) in enumerate(pools.items())
    ]
    return {
        "nll": {"split": _distributions(counted, "split"), "pool": _distributions(counted, "pool")},
        "points": _points(normalised.rows, chosen, list(pools)),
    }


def _tenth() -> pl.Expr:
    return (pl.col("nll_mean") * 10 + 1e-4).floor().clip(0, LAST_TENTH).cast(pl.Int64)


def _counted(rows: pl.DataFrame, key: str, memberships: Sequence[Path]) -> pl.DataFrame:
    """Rows of one split by tenth, all and chosen, for the split itself and for each of its pools."""
    pools = pl.read_parquet(list(memberships), columns=["pools"])["pools"].gather(rows["row"])
    in_pools = rows.with_columns(pools.alias("group")).explode("group").drop_nulls("group")
    each = {"split": rows.with_columns(group=pl.lit(key)), "pool": in_pools}
    return pl.concat(
        table.group_by("group", "tenth").agg(pl.len(), pl.col("chosen").sum()).with_columns(of=pl.lit(of))
        for of, table in each.items()
    )


def _distributions(counted: Sequence[pl.DataFrame], of: str) -> dict[str, dict[str, dict[str, int]]]:
    sums = pl.concat(counted).filter(of=of).drop("of").group_by("group", "tenth").sum().sort("group", "tenth")
    told: dict[str, dict[str, dict[str, int]]] = {}
    for name, tenth, count, taken in sums.select("group", "tenth", "len", "chosen").iter_rows():
        bins = told.setdefault(name, {"all": {}, "chosen": {}})
        bins["all"][f"{tenth / 10:.1f}"] = count
        if taken:
            bins["chosen"][f"{tenth / 10:.1f}"] = taken
    return told


def _points(rows: pl.DataFrame, chosen: npt.NDArray[np.bool_], keys: Sequence[str]) -> list[list[Any]]:
    if "reference_nll_mean" not in rows.columns:
        return []
    both = rows.select(
        "id_hash", "split_number", "nll_mean", "reference_nll_mean", chosen=pl.Series(chosen)
    ).drop_nulls(["nll_mean", "reference_nll_mean"])  # fmt: skip
    taken = both.filter("chosen").bottom_k(POINTS // 2, by="id_hash")
    others = both.filter(~pl.col("chosen")).bottom_k(POINTS - taken.height, by="id_hash")
    drawn = pl.concat([others.sort("id_hash"), taken.sort("id_hash")])
    told = drawn.select("nll_mean", "reference_nll_mean", "chosen", "split_number").iter_rows()
    return [[round(student, 4), round(reference, 4), taken, keys[split]] for student, reference, taken, split in told]
