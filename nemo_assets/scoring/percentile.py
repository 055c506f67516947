"""Where a row stands among the rows of its split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl


def percentile_within_split(nll_means: Sequence[float | None] | pl.Series) -> list[float | None]:
    """100 x (mean rank - 1/2) / n for every NLL, in the order given; n counts the rows that have one.

    Equal values share the mean of their ranks; None stays None. The result lies strictly between 0 and 100 and is 50
    for a single row. Every row of the split under one checkpoint must be given at once.

    Raises:
        ValueError: a value is not finite.
    """
    values = pl.Series(nll_means, dtype=pl.Float64)
    present = values.drop_nulls()
    if not np.isfinite(present.to_numpy()).all():
        raise ValueError("nll_mean must be finite or null to be ranked")
    return (100.0 * (values.rank("average") - 0.5) / max(len(present), 1)).to_list()
