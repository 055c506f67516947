"""Where a value stands among those of its stratum.

Belongs here: mid-rank percentiles, cut-points by which later values are placed, quantiles. Does not: which values are
ranked (`normalised`).
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from nemo_assets.compiled import compiled
from nemo_assets.selection.traits import CATEGORY, Kind

STEPS = 1000
"""A stratum has at most one cut-point more of a column: between two lies less than 0.1 of the percentile."""

CUT_POINTS: dict[str, Kind] = {
    "column": CATEGORY, "stratum": pl.UInt32, "value": pl.Float32, "below": pl.Float64, "above": pl.Float64,
}  # fmt: skip
"""Columns of the table of cut-points: percent of the stratum's rows with smaller values, and with values not above it;
the percentile of the value lies in the middle.
"""

Array = npt.NDArray[Any]


def percentiles(values: Array, rows: Array, begins: Array, most: int = STEPS + 1) -> tuple[Array, list[Array]]:
    """100 x (mean rank - 1/2) / n among the n values of the stratum, equal ones sharing their mean rank; NaN of NaN.

    Besides the cut-points of each stratum: an array (points, 3) of value, percent below and percent not above.

    Args:
        values: single precision, NaN where there is none. rows: numbers of those in strata, by stratum. begins: where
        each stratum begins in `rows`, and the end. most: cut-points that a stratum may have.
    """
    out = np.full(len(values), np.nan, np.float32)
    sizes = np.diff(begins)
    packed = np.empty(sizes.max(initial=0), np.uint64)
    ends = np.cumsum(np.minimum(sizes, most))
    points = np.empty((ends[-1] if len(ends) else 0, 3))
    cut_points = []
    for (begin, end), last in zip(itertools.pairwise(begins), ends, strict=True):
        here = packed[: _pack(values.view(np.uint32), rows[begin:end], packed)]
        here.sort()
        room = points[last - min(end - begin, most) : last]
        cut_points.append(room[: _rank(here, out, room)])
    return out, cut_points


@compiled
def _pack(bits: Array, rows: Array, packed: Array) -> int:
    """Words that sort as the values of some rows do, with the row number in the lower half; returns how many."""
    filled = 0
    for row in rows:
        word = bits[row]
        if word & np.uint32(0x7FFFFFFF) > np.uint32(0x7F800000):  # NaN
            continue
        if word == np.uint32(0x80000000):  # -0 equals 0
            word = np.uint32(0)
        word = word ^ (np.uint32(0xFFFFFFFF) if word >> np.uint32(31) else np.uint32(0x80000000))
        packed[filled] = (np.uint64(word) << np.uint64(32)) | np.uint64(row)
        filled += 1
    return filled


@compiled
def _rank(packed: Array, out: Array, points: Array) -> int:
    """Write the percentile of each row, and as cut-points all distinct values, or those at equal steps of the rank if
    there are more than fit; returns their number.
    """
    count, distinct, half = len(packed), 0, np.uint64(32)
    for place in range(count):
        distinct += place == 0 or packed[place] >> half != packed[place - 1] >> half
    value = np.empty(1, np.uint32)
    begin, kept = 0, 0
    step = 0  # the next one that has no cut-point yet
    while begin < count:
        word, end = packed[begin] >> half, begin + 1
        while end < count and packed[end] >> half == word:
            end += 1
        for place in range(begin, end):
            out[packed[place] & np.uint64(0xFFFFFFFF)] = 50.0 * (begin + end) / count
        if len(points) and (distinct <= len(points) or step * (count - 1) // STEPS < end):
            value[0] = word ^ np.uint64(0x80000000 if word >> np.uint64(31) else 0xFFFFFFFF)
            points[kept, 0] = value.view(np.float32)[0]
            points[kept, 1] = 100.0 * begin / count
            points[kept, 2] = 100.0 * end / count
            kept += 1
            while step <= STEPS and step * (count - 1) // STEPS < end:
                step += 1
        begin = end
    return kept


def place(value: float, cut_points: pl.DataFrame) -> float:
    """The percentile of a value by the cut-points (`CUT_POINTS`) of its stratum and column.

    Exact for a value that is a cut-point, within 0.1 between two; below all it is 0, above all 100.
    """
    values, below, above = (cut_points[name].to_numpy() for name in ("value", "below", "above"))
    known = np.float32(value)
    next_one = int(np.searchsorted(values, known))
    if next_one < len(values) and values[next_one] == known:
        return float(np.float32((below[next_one] + above[next_one]) / 2))
    if next_one in (0, len(values)):
        return 0.0 if next_one == 0 else 100.0
    share = (float(known) - values[next_one - 1]) / (float(values[next_one]) - values[next_one - 1])
    return float(above[next_one - 1] + share * (below[next_one] - above[next_one - 1]))


def quantile(values: Array, at: float, rows: Array, begins: Array) -> Array:
    """Of each stratum the smallest value that the share `at` of its values does not exceed; NaN where it has none.

    Args:
        rows, begins: as for `percentiles`.
    """
    out = np.full(len(begins) - 1, np.nan, values.dtype)
    gathered = np.empty(np.diff(begins).max(initial=0), values.dtype)
    for stratum, (begin, end) in enumerate(itertools.pairwise(begins)):
        here = gathered[: _gather(values, rows[begin:end], gathered)]
        if len(here):
            rank = max(math.ceil(len(here) * at), 1) - 1
            here.partition(rank)
            out[stratum] = here[rank]
    return out


@compiled
def _gather(values: Array, rows: Array, gathered: Array) -> int:
    filled = 0
    for row in rows:
        if not np.isnan(values[row]):
            gathered[filled] = values[row]
            filled += 1
    return filled
