"""How surprising a row is for its length: log NLL less the median of rows of its stratum and length.

Long completions condition themselves and have a lower mean NLL; without this, ranks would be ranks of length.

Belongs here: knots, residuals. Does not: ranks of them (`ranks`).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from nemo_assets.compiled import compiled
from nemo_assets.selection.traits import CATEGORY, Kind

SMALLEST_NLL = 1e-6
"""NLLs below, such as 0, count as this much."""

BIN_ROWS = 50
"""Bins of length with fewer rows are merged with the next: a median of fewer is noise."""

KNOTS: dict[str, Kind] = {
    "column": CATEGORY,
    "stratum": pl.UInt32,
    "completion_tokens": pl.Int32,
    "nll_mean": pl.Float32,
}
"""Columns of the table of knots: medians (the lower of two) of a bin of half an octave of length."""

_TABLED = 1 << 17  # logarithms of lengths below are looked up
_BINS = 64  # half octaves of lengths below 2^32

Array = npt.NDArray[Any]


def residuals(nlls: Array, tokens: Array, strata: Array, count: int) -> tuple[Array, list[Array]]:
    """ln NLL less its expectation at the row's length in its stratum, NaN where there is none; knots of each stratum.

    Knots are an array (bins, 2) of the median length in tokens and the median NLL in nats per token.

    Args:
        nlls: single precision, NaN where there is none. tokens: of the completion. strata: of each row; those of
        `count` and beyond are none.
    """
    sizes = np.zeros(count * _BINS, np.int64)
    _count_bins(nlls, tokens, strata, count, sizes)
    ends = np.cumsum(sizes)
    binned_nlls, binned_tokens = np.empty(sizes.sum(), nlls.dtype), np.empty(sizes.sum(), tokens.dtype)
    _put_in_bins(nlls, tokens, strata, count, ends - sizes, binned_nlls, binned_tokens)
    knots = []
    for begin, limits in zip([0, *ends[_BINS - 1 :: _BINS]], ends.reshape(-1, _BINS), strict=False):
        bins = merged_bins(int(begin), limits)
        knots.append(np.array([(median(binned_tokens[each]), median(binned_nlls[each])) for each in bins], float))
    out = np.empty(len(nlls), np.float32)
    together = np.concatenate([each.reshape(-1, 2) for each in [*knots, np.empty((0, 2))]])
    begins = np.cumsum([0, *map(len, knots)])
    logs = np.log(np.arange(1, _TABLED))
    _subtract(nlls, tokens, logs, strata, begins, np.log(together[:, 0]), _logs(together[:, 1]), out)
    return out, [each.reshape(-1, 2) for each in knots]


def merged_bins(begin: int, ends: Array) -> list[slice]:
    """Neighbouring bins together until they have `BIN_ROWS`; what is left at the end belongs to the last.

    Args:
        begin: where the first bin begins. ends: where each ends.
    """
    kept = [begin]
    for end in map(int, ends):
        if end - kept[-1] >= BIN_ROWS:
            kept.append(end)
    if len(kept) == 1:
        kept.append(int(ends[-1]))
    kept[-1] = int(ends[-1])
    return [slice(first, last) for first, last in pairwise(kept) if first < last]


def median(values: Array) -> float:
    """The lower of the two in the middle. The values change their order."""
    middle = (len(values) - 1) // 2
    values.partition(middle)
    return float(values[middle])


def _logs(nlls: Any) -> Any:
    return np.log(np.maximum(nlls, SMALLEST_NLL))


@compiled
def _bin_of(tokens: Any) -> Any:
    """floor(2 log2(tokens)), exactly."""
    octave = math.frexp(float(tokens))[1] - 1
    return 2 * octave + (1 if tokens * tokens >> (2 * octave + 1) else 0)


@compiled
def _count_bins(nlls: Array, tokens: Array, strata: Array, count: int, sizes: Array) -> None:
    for row in range(len(nlls)):
        if strata[row] < count and not np.isnan(nlls[row]):
            sizes[np.int64(strata[row]) * 64 + _bin_of(np.int64(tokens[row]))] += 1


@compiled
def _put_in_bins(
    nlls: Array, tokens: Array, strata: Array, count: int, begins: Array, binned_nlls: Array, binned_tokens: Array
) -> None:
    for row in range(len(nlls)):
        if strata[row] < count and not np.isnan(nlls[row]):
            each = np.int64(strata[row]) * 64 + _bin_of(np.int64(tokens[row]))
            binned_nlls[begins[each]] = nlls[row]
            binned_tokens[begins[each]] = tokens[row]
            begins[each] += 1


@compiled
def _subtract(
    nlls: Array, tokens: Array, logs: Array, strata: Array, begins: Array, lengths: Array, expected: Array, out: Array
) -> None:
    for row in range(len(nlls)):
        if strata[row] >= len(begins) - 1 or np.isnan(nlls[row]):
            out[row] = np.nan
            continue
        length = logs[tokens[row] - 1] if tokens[row] <= len(logs) else np.log(np.float64(tokens[row]))
        knot, last = begins[strata[row]], begins[strata[row] + 1] - 1
        while knot < last and lengths[knot + 1] < length:
            knot += 1
        level = expected[knot]
        if knot < last and length > lengths[knot]:
            share = (length - lengths[knot]) / (lengths[knot + 1] - lengths[knot])
            level += share * (expected[knot + 1] - level)
        out[row] = np.log(max(np.float64(nlls[row]), SMALLEST_NLL)) - level


def residual(nll: float, tokens: int, knots: pl.DataFrame) -> float:
    """The residual of one row, from the knots (`KNOTS`) of its stratum and of one column."""
    lengths, nlls = (knots[name].cast(pl.Float64).to_numpy() for name in ("completion_tokens", "nll_mean"))
    known = np.float64(np.float32(nll))
    return float(np.float32(_logs(known) - np.interp(np.log(tokens), np.log(lengths), _logs(nlls))))
