"""Where a value stands among those of its stratum.

Belongs here: mid-rank percentiles, cut-points by which later values are placed, quantiles. Does not: which values are
ranked (`normalised`).
"""

from __future__ import annotations

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


def percentiles(values: Array, strata: Array, sizes: Array) -> tuple[Array, list[Array]]:
    """100 x (mean rank - 1/2) / n among the n values of the stratum, equal ones sharing their mean rank; NaN of NaN.

    Besides the cut-points of each stratum: an array (points, 3) of value, percent below and percent not above.

    Args:
        values: single precision, NaN where there is none. strata: of each row. sizes: rows of each stratum; other
        numbers are none.
    """
    ends = np.cumsum(sizes)
    filled = ends - sizes
    packed = np.empty(sizes.sum(), np.uint64)
    _pack(values.view(np.uint32), strata, filled, packed)
    out = np.full(len(values), np.nan, np.float32)
    cut_points = []
    for begin, end in zip(ends - sizes, filled, strict=True):
        here = packed[begin:end]
        here.sort()
        points = np.empty((min(len(here), STEPS + 1), 3))
        cut_points.append(points[: _rank(here, out, points)])
    return out, cut_points


@compiled
def _pack(bits: Array, strata: Array, filled: Array, packed: Array) -> None:
    """Words that sort as the values do, with the row number in the lower half, of each stratum together."""
    for row in range(len(bits)):
        word = bits[row]
        if strata[row] >= len(filled) or word & np.uint32(0x7FFFFFFF) > np.uint32(0x7F800000):  # NaN
            continue
        if word == np.uint32(0x80000000):  # -0 equals 0
            word = np.uint32(0)
        word = word ^ (np.uint32(0xFFFFFFFF) if word >> np.uint32(31) else np.uint32(0x80000000))
        packed[filled[strata[row]]] = (np.uint64(word) << np.uint64(32)) | np.uint64(row)
        filled[strata[row]] += 1


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
        if distinct <= len(points) or step * (count - 1) // STEPS < end:
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


def quantile(values: Array, at: float, strata: Array, sizes: Array) -> Array:
    """Of each stratum the smallest value that the share `at` of its values does not exceed; NaN where it has none."""
    ends = np.cumsum(sizes)
    filled = ends - sizes
    sorted_in = np.empty(sizes.sum(), values.dtype)
    _gather(values, strata, filled, sorted_in)
    out = np.full(len(sizes), np.nan, values.dtype)
    for stratum, (begin, end) in enumerate(zip(ends - sizes, filled, strict=True)):
        if begin < end:
            rank = max(math.ceil((end - begin) * at), 1) - 1
            here = sorted_in[begin:end]
            here.partition(rank)
            out[stratum] = here[rank]
    return out


@compiled
def _gather(values: Array, strata: Array, filled: Array, gathered: Array) -> None:
    for row in range(len(values)):
        if strata[row] < len(filled) and not np.isnan(values[row]):
            gathered[filled[strata[row]]] = values[row]
            filled[strata[row]] += 1


def spread(of_strata: Array, strata: Array) -> Array:
    """For each row the value of its stratum, NaN for rows in none."""
    out = np.full(len(strata), np.nan, of_strata.dtype)
    _spread(of_strata, strata, out)
    return out


@compiled
def _spread(of_strata: Array, strata: Array, out: Array) -> None:
    for row in range(len(strata)):
        if strata[row] < len(of_strata):
            out[row] = of_strata[strata[row]]
