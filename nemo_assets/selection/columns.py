"""Columns of a table in the memory of arrays, which other code can fill and read without a copy.

Memory that polars takes for long columns is slow to come by, page for page, and is kept when it is no longer needed;
that of long arrays comes in large pages, and those pages that nothing is written to take no memory.

Belongs here: from arrays to columns. Does not: what is in them (`traits`, `normalised`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

Array = npt.NDArray[Any]

SLICE = 1 << 18
"""Rows that are worked on at a time: some columns of as many fit into a processor's cache."""


def column(name: str, values: Array, known: Array | None = None) -> pl.Series:
    """A column in the memory of `values`, null where they are not `known`; truth values are packed into bits."""
    validity = None if known is None else pa.py_buffer(np.packbits(known, bitorder="little"))
    kept = np.packbits(values, bitorder="little") if values.dtype == np.bool_ else values
    array = pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [validity, pa.py_buffer(kept)])
    return pl.Series(name, array)


def filled(values: pl.Series, null: float, dtype: npt.DTypeLike) -> Array:
    """The values of a column as an array of a type that has them all, `null` for null."""
    out = np.empty(len(values), dtype)
    for begin in range(0, len(values), SLICE):
        out[begin : begin + SLICE] = values.slice(begin, SLICE).fill_null(null).to_numpy()
    return out


def singles(name: str, values: Array) -> pl.Series:
    """A column in the memory of `values`, null where they are NaN."""
    return column(name, values, ~np.isnan(values))
