"""Which stratum each row is in: cells of equal columns, small ones merged with their like.

Belongs here: deciles of length, cells, merging, labels, placing a later row. Does not: what is ranked within strata
(`residual`, `ranks`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from nemo_assets.catalog.subset_policy import Strata
from nemo_assets.compiled import compiled
from nemo_assets.selection.traits import CATEGORY, Kind

NO_STRATUM = np.uint32(0xFFFFFFFF)
"""Of a row that is not in the population."""

ROOT = "all"
"""Label of the stratum in which is what is left of all cells."""

TABLE: dict[str, Kind] = {
    "stratum": pl.UInt32,
    "label": pl.String,
    "depth": pl.UInt8,
    "rows": pl.Int64,
    "tokens": pl.Int64,
}
"""Columns of the table of strata; `depth` says how many of the columns its rows are sure to have in common."""

_MOST_CELLS = 1 << 22  # codes beyond are numbered anew, so that tables by code stay small

_NULL_OF = (0xFFFF, 0xFF)  # of categories, of deciles

Array = npt.NDArray[Any]


class Cell(NamedTuple):
    """Rows and tokens of the population that agree in all columns; `values` are their texts, coarse to fine."""

    values: tuple[str, ...]
    rows: int
    tokens: int


def length_cuts(tokens: Array) -> tuple[int, ...]:
    """The nine values that tenths of the rows do not exceed (inverse of the empirical distribution); none of no row."""
    ordered = np.sort(tokens)
    count = len(ordered)
    return tuple(int(ordered[-(-count * tenth // 10) - 1]) for tenth in range(1, 10)) if count else ()


def length_deciles(tokens: Array, cuts: Sequence[int]) -> Array:
    """Tenth of each length, 1 to 10: one more than the cuts that lie below it."""
    out = np.ones(len(tokens), np.uint8)
    for cut in cuts:
        out += tokens > cut
    return out


def stratify(columns: Sequence[pl.Series], tokens: Array, inside: Array, policy: Strata) -> tuple[Array, pl.DataFrame]:
    """Stratum of each row, and the table of strata (`TABLE`), which are numbered in the order of their labels.

    Args:
        columns: those of the policy, coarse to fine; null and empty text count as the same.
        tokens: of each row. inside: whether it is in the population; the others are in no stratum.
    """
    cells, values = _cells(columns, len(inside))
    rows, token_sums = np.zeros(len(values), np.int64), np.zeros(len(values), np.int64)
    _add_up(cells, inside, tokens, rows, token_sums)
    used = np.flatnonzero(rows)
    told = [Cell(values[cell], int(rows[cell]), int(token_sums[cell])) for cell in used]
    prefixes = merged(told, policy)
    table, number_of = _table(told, prefixes, policy.columns)
    strata = np.full(len(values), NO_STRATUM)
    strata[used] = [number_of[prefix] for prefix in prefixes]
    _look_up(cells, inside, strata)
    return cells, table


def merged(cells: Sequence[Cell], policy: Strata) -> list[tuple[str, ...]]:
    """For each cell the values that its stratum has in common, from the finest column back.

    At each depth the rows in no stratum yet that agree so far become one if they are many enough; at depth 0 always.
    """
    enough = min(policy.min_rows, policy.min_share * sum(cell.rows for cell in cells))
    strata: list[tuple[str, ...] | None] = [None] * len(cells)
    for depth in range(len(policy.columns), -1, -1):
        together: dict[tuple[str, ...], list[int]] = {}
        for number, cell in enumerate(cells):
            if strata[number] is None:
                together.setdefault(cell.values[:depth], []).append(number)
        for prefix, numbers in together.items():
            if depth == 0 or sum(cells[number].rows for number in numbers) >= enough:
                for number in numbers:
                    strata[number] = prefix
    return [stratum for stratum in strata if stratum is not None]


def label_of(values: Iterable[str], columns: Sequence[str]) -> str:
    """`dataset=a/meta_domain=math`, or the root's; values may be fewer than columns."""
    return "/".join(f"{name}={value}" for name, value in zip(columns, values, strict=False)) or ROOT


def stratum_of(row: Mapping[str, Any], table: pl.DataFrame, columns: Sequence[str]) -> int | None:
    """Number of the stratum that a later row falls into: the finest that there is; None if there is not even a root."""
    numbers = dict(table.select("label", "stratum").iter_rows())
    values = [_text(row[name]) for name in columns]
    labels = (label_of(values[:depth], columns) for depth in range(len(columns), -1, -1))
    return next((numbers[label] for label in labels if label in numbers), None)


def _text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _table(
    cells: Sequence[Cell], prefixes: Sequence[tuple[str, ...]], columns: Sequence[str]
) -> tuple[pl.DataFrame, dict[tuple[str, ...], int]]:
    rows: dict[tuple[str, ...], int] = {}
    tokens: dict[tuple[str, ...], int] = {}
    for cell, prefix in zip(cells, prefixes, strict=True):
        rows[prefix] = rows.get(prefix, 0) + cell.rows
        tokens[prefix] = tokens.get(prefix, 0) + cell.tokens
    in_order = sorted(rows, key=lambda prefix: label_of(prefix, columns))
    table = [
        (number, label_of(prefix, columns), len(prefix), rows[prefix], tokens[prefix])
        for number, prefix in enumerate(in_order)
    ]
    return pl.DataFrame(table, TABLE, orient="row"), {prefix: number for number, prefix in enumerate(in_order)}


def _cells(columns: Sequence[pl.Series], rows: int) -> tuple[Array, list[tuple[str, ...]]]:
    """Code of the cell of each row, and the values of each code, of which not all need occur."""
    cells: Array = np.zeros(rows, np.uint32)
    values: list[tuple[str, ...]] = [()]
    for column in columns:
        codes, classes, texts = _classes(column)
        if len(values) * len(texts) > _MOST_CELLS:
            used, cells = np.unique(cells, return_inverse=True)
            cells, values = cells.astype(np.uint32), [values[cell] for cell in used]
        _refine(cells, codes, classes, len(texts))
        values = [(*value, text) for value in values for text in texts]
    return cells, values


def _classes(column: pl.Series) -> tuple[Array, Array, list[str]]:
    """Code of each row, class of each code and text of each class, which are sorted by it."""
    codes = codes_of(column)
    if codes.dtype.itemsize > 2:
        _, codes = np.unique(codes, return_inverse=True)
    first = np.full(int(codes.max(initial=0)) + 1, -1)
    _first_rows(codes, first)
    texts = {int(code): _text(column[int(first[code])]) for code in np.flatnonzero(first >= 0)}
    known = sorted(set(texts.values()))
    classes = np.zeros(len(first), np.uint32)
    for code, text in texts.items():
        classes[code] = known.index(text)
    return codes, classes, known


def codes_of(column: pl.Series) -> Array:
    """A whole number for each value of a column of classes or whole numbers, equal for equal ones; null is one too."""
    if column.dtype == pl.Boolean:
        return column.cast(pl.UInt8).fill_null(2).to_numpy()
    if column.dtype == CATEGORY or column.dtype == pl.UInt8:
        return column.to_physical().fill_null(_NULL_OF[column.dtype == pl.UInt8]).to_numpy()
    return column.cast(pl.Int64).fill_null(np.iinfo(np.int64).min).to_numpy()


@compiled
def _first_rows(codes: Array, first: Array) -> None:
    for row in range(len(codes)):
        if first[codes[row]] < 0:
            first[codes[row]] = row


@compiled
def _refine(cells: Array, codes: Array, classes: Array, count: int) -> None:
    for row in range(len(cells)):
        cells[row] = cells[row] * count + classes[codes[row]]


@compiled
def _add_up(cells: Array, inside: Array, tokens: Array, rows: Array, token_sums: Array) -> None:
    for row in range(len(cells)):
        if inside[row]:
            rows[cells[row]] += 1
            token_sums[cells[row]] += tokens[row]


@compiled
def _look_up(cells: Array, inside: Array, strata: Array) -> None:
    """Put the stratum in the place of the cell of each row."""
    for row in range(len(cells)):
        cells[row] = strata[cells[row]] if inside[row] else NO_STRATUM
