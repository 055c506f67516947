"""Where a row stands among the rows of its split."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def percentile_within_split(nll_means: Sequence[float | None]) -> list[float | None]:
    """100 x (mean rank - 1/2) / n for every NLL, in the order given; n counts the rows that have one.

    Equal values share the mean of their ranks; None stays None. The result lies strictly between 0 and 100 and is 50
    for a single row. Every row of the split under one checkpoint must be given at once.

    Raises:
        ValueError: a value is not finite.
    """
    present = [(row, value) for row, value in enumerate(nll_means) if value is not None]
    percentiles: list[float | None] = [None] * len(nll_means)
    if not present:
        return percentiles
    if not all(math.isfinite(value) for _, value in present):
        raise ValueError("nll_mean must be finite or null to be ranked")
    _, group, group_sizes = np.unique([value for _, value in present], return_inverse=True, return_counts=True)
    mean_ranks = np.cumsum(group_sizes) - (group_sizes - 1) / 2
    for (row, _), rank in zip(present, mean_ranks[group], strict=True):
        percentiles[row] = float(100.0 * (rank - 0.5) / len(present))
    return percentiles
