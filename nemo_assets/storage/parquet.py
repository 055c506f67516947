"""Write and read Parquet the one way this project does.

zstd, row groups bounded by bytes, page index, content-defined chunking: an unchanged column of a changed file keeps its
bytes, and a reader's memory is bounded whatever the rows are. Bytes are a function of the rows and the pyarrow version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from nemo_assets.disk import disk_told, write_all, written_aside
from nemo_assets.errors import UserError

if TYPE_CHECKING:
    import polars as pl

ROW_GROUP_BYTES = 96 << 20  # Arrow bytes; the Hub's viewer refuses row groups above ~286 MB and advises ~100 MB
# What pyarrow does when asked for it, told in the footer as `datasets` tells it.
_CHUNKING = '{"min_chunk_size": 262144, "max_chunk_size": 1048576, "norm_level": 0}'
ROW_GROUP_ROWS = 4_000  # fewer than 4,096 rows, so that one page of one row can be read without much else


class PartWriter:
    """One Parquet file written aside and renamed when closed without an error.

    `dictionary` and `statistics` name the columns that have them. A `passing` file is read here and never uploaded: it
    is compressed for speed, and not cut by content, which only serves to upload what changed.
    """

    def __init__(
        self,
        path: Path,
        schema: pa.Schema,
        dictionary: Sequence[str] | bool = True,
        statistics: Sequence[str] | bool = True,
        passing: bool = False,
    ) -> None:
        self.path, self.schema, self.rows = path, schema, 0
        with ExitStack() as stack:
            self._sink = _Sink(stack.enter_context(written_aside(path)))
            self._writer = pq.ParquetWriter(
                self._sink, schema, compression="zstd", compression_level=1 if passing else 3, write_page_index=True,
                use_content_defined_chunking=not passing, use_dictionary=dictionary, write_statistics=statistics,
            )  # fmt: skip
            if not passing:
                self._writer.add_key_value_metadata({"content_defined_chunking": _CHUNKING})
            stack.callback(self._close)
            self._opened = stack.pop_all()

    def write(self, table: pa.Table) -> None:
        """Append rows; they are cut into row groups of bounded size."""
        for group in row_groups(table):
            self._writer.write_table(group, row_group_size=max(1, group.num_rows))
            self._require_written()
        self.rows += table.num_rows

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, *error: Any) -> None:
        self._opened.__exit__(*error)

    def _close(self) -> None:
        self._writer.close()
        self._require_written()

    def _require_written(self) -> None:
        if self._sink.error is not None:
            with disk_told(self.path):
                raise self._sink.error


class _Sink:
    """The file that Arrow writes to, which keeps an error for later.

    Arrow ends the whole process when a write fails amid content-defined chunking, as it does on a full disk.
    """

    def __init__(self, file: FileIO) -> None:
        self._file, self._position = file, 0
        self.error: OSError | None = None
        self.closed = False

    def write(self, content: bytes) -> int:
        if self.error is None:
            try:
                write_all(self._file, content)
            except OSError as error:
                self.error = error
        self._position += len(content)
        return len(content)

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        self.closed = True


def row_groups(table: pa.Table) -> Iterator[pa.Table]:
    """Slices of the table of at most ROW_GROUP_BYTES and ROW_GROUP_ROWS; a row larger than that goes alone."""
    if table.num_rows == 0:
        return
    if table.nbytes <= ROW_GROUP_BYTES and table.num_rows <= ROW_GROUP_ROWS:
        yield table
        return
    if table.num_rows == 1:
        yield table
        return
    half = min(table.num_rows // 2, ROW_GROUP_ROWS) if table.nbytes <= ROW_GROUP_BYTES else table.num_rows // 2
    yield from row_groups(table.slice(0, half))
    yield from row_groups(table.slice(half))


def write_part(path: Path, table: pa.Table) -> int:
    """Write a whole table as one part; returns its row count."""
    with PartWriter(path, table.schema) as writer:
        writer.write(table)
    return int(table.num_rows)


def read_batches(
    paths: Iterable[Path], columns: Sequence[str] | None = None, rows: int = ROW_GROUP_ROWS
) -> Iterator[pa.Table]:
    """Tables of at most `rows` rows, files in the order given."""
    for path in paths:
        with open_parquet(path) as file:
            for batch in file.iter_batches(batch_size=rows, columns=list(columns) if columns else None):
                yield pa.Table.from_batches([batch])


def open_parquet(source: Path | BinaryIO, name: Path | str = "") -> pq.ParquetFile:
    """A Parquet file or stream for reading; raises UserError naming it if it is none."""
    with parquet_errors(name or str(source)):
        return pq.ParquetFile(source)


@contextmanager
def parquet_errors(name: Path | str) -> Iterator[None]:
    """Turn what reading a file that is no Parquet, or whose pages are damaged, raises into one line that names it."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{name}: cannot be read as Parquet ({reason}). Fetch it again or repair it at the source."
        ) from None


def scan(paths: Sequence[Path], schema: pa.Schema) -> pl.LazyFrame:
    """A lazy frame over parts of one schema; no part at all is an empty frame with its columns."""
    import polars as pl  # half the time and memory that starting a worker process takes, and few of them scan

    if not paths:
        empty: Any = pl.from_arrow(schema.empty_table())
        return pl.DataFrame(empty).lazy()
    return pl.scan_parquet(list(paths))
