"""Single rows of the tables that stages wrote, by where they lie.

Files of a version never change, so that their footers are kept. A row group of little is read whole; of a large one
polars decodes hardly more than the pages of the row.

Belongs here: reading a row or some values of a part, a row of a table of many parts. Does not: where a row lies
(`index`), what it means.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from nemo_assets.storage import Manifest, Store

_KEPT_FOOTERS = 1024  # of files
_READ_WHOLE = 4 << 20  # bytes of the wanted columns of a row group


def row_at(path: Path, row: int, columns: Sequence[str] | None = None) -> dict[str, Any] | None:
    """A row of a Parquet file, of these columns or all; None where the file is gone or has no such row."""
    if not path.is_file():
        return None
    footer, ends = _layout(path)
    group = bisect_right(ends, row)
    if not 0 <= group < len(ends):
        return None
    if _bytes_of(footer, group, columns) > _READ_WHOLE:
        frame = pl.scan_parquet(path)
        return (frame.select(columns) if columns else frame).slice(row, 1).collect().row(0, named=True)
    begin = ends[group - 1] if group else 0
    with pq.ParquetFile(path, metadata=footer) as file:
        read = file.read_row_group(group, columns=list(columns) if columns else None, use_threads=False)
    found: dict[str, Any] = read.slice(row - begin, 1).to_pylist()[0]
    return found


def values_at(path: Path, rows: Sequence[int], column: str) -> list[Any]:
    """Values of a column at these rows of a Parquet file; of small ones, as whole row groups are read."""
    footer, ends = _layout(path)
    groups: dict[int, set[int]] = {}
    for row in rows:
        groups.setdefault(bisect_right(ends, row), set()).add(row)
    values: dict[int, Any] = {}
    with pq.ParquetFile(path, metadata=footer) as file:
        for group, wanted in groups.items():
            read = file.read_row_group(group, columns=[column], use_threads=False).column(0)
            begin = ends[group - 1] if group else 0
            values |= {row: read[row - begin].as_py() for row in wanted}
    return [values[row] for row in rows]


def row_named(
    store: Store,
    manifest: Manifest,
    table: str,
    name: tuple[str, Any],
    row: int | None,
    columns: Sequence[str] | None = None,
) -> dict[str, Any] | None:
    """The row of a table that is named so, as (column, value); None where there is none.

    It is looked for at `row`, counted through all parts, and where that is None or another one, in all of the table.
    """
    column, value = name
    wanted = None if columns is None else list(dict.fromkeys([column, *columns]))
    found = None if row is None else _row_of(store, manifest, table, row, wanted)
    if found is not None and found[column] == value:
        return found
    paths = [path for path in store.paths(manifest, table) if path.is_file()]
    if not paths:
        return None
    frame = pl.scan_parquet(paths).filter(pl.col(column) == pl.lit(value))
    rows = (frame.select(wanted) if wanted else frame).collect()
    return rows.row(0, named=True) if rows.height else None


def _row_of(
    store: Store, manifest: Manifest, table: str, row: int, columns: Sequence[str] | None
) -> dict[str, Any] | None:
    for part in manifest.table(table):
        if row < part.rows:
            return row_at(store.path(part), row, columns)
        row -= part.rows
    return None


def _bytes_of(footer: pq.FileMetaData, group: int, columns: Sequence[str] | None) -> int:
    found = footer.row_group(group)
    if columns is None:
        return int(found.total_byte_size)
    chunks = (found.column(number) for number in range(found.num_columns))
    return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] in columns)


@lru_cache(_KEPT_FOOTERS)
def _layout(path: Path) -> tuple[pq.FileMetaData, list[int]]:
    """The footer of a Parquet file, and the rows up to the end of each of its row groups."""
    footer = pq.read_metadata(path)
    return footer, list(accumulate(footer.row_group(number).num_rows for number in range(footer.num_row_groups)))
