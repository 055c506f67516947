"""The record as it stands in its source file, byte for byte.

A record_uid is made from the content of the file among other things, so the right blob is recognised by computing the
uid again: an entry made before its file changed still finds the file it was made from, as long as that is kept.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from polars.exceptions import PolarsError

from nemo_assets.catalog import Split
from nemo_assets.hub.sources import Source
from nemo_assets.lineage.entries import Entry
from nemo_assets.lineage.index import LineageIndex
from nemo_assets.lineage.stage_rows import row_at, row_named
from nemo_assets.records.rows import SourceFileRef
from nemo_assets.storage import Stage, Store
from nemo_assets.storage.parquet import open_parquet

_BATCH_ROWS = 256  # a Parquet row is reached by reading on in its row group, a little at a time


@dataclass(frozen=True)
class Original:
    """One record. `line`: the bytes of a JSONL line without its line end; `parquet_row`: its values written as JSON."""

    form: Literal["line", "parquet_row"]
    data: bytes

    @property
    def text(self) -> str | None:
        """The record as text, or None where it is no valid UTF-8."""
        try:
            return self.data.decode()
        except UnicodeDecodeError:
            return None

    def as_json(self) -> dict[str, Any]:
        """`text`, or `base64` and `lossy_text` where the bytes are no UTF-8."""
        text = self.text
        told: dict[str, Any] = {"form": self.form, "bytes": len(self.data), "text": text}
        if text is None:
            told["base64"] = base64.b64encode(self.data).decode("ascii")
            told["lossy_text"] = self.data.decode(errors="replace")
        return told


@dataclass(frozen=True)
class SourceBlob:
    """The source file of an entry: its local copy (None if gone), what names its content, and where it is published."""

    path: Path | None
    content_id: str | None
    revision: str | None
    url: str | None


def find_blob(entry: Entry, split: Split, store: Store) -> SourceBlob:
    """The file an entry was made from: the current one, or an earlier one that is still there."""
    raw = store.find(Stage.RAW, entry.partition)
    for file in raw.details["files"] if raw else []:
        if file["path"] == entry.source_file and _is_of(entry, split, file["content_id"]):
            path = store.root / file["blob"]
            return SourceBlob(path if path.is_file() else None, file["content_id"], file["revision"], file["url"])
    for path in sorted((store.root / Stage.RAW / "blobs").glob("*")):
        content_id = path.name.partition("-head-")[0]  # a sample is named after the whole file
        if _is_of(entry, split, content_id):
            return SourceBlob(path, content_id, None, None)
    return SourceBlob(None, None, None, None)


def _is_of(entry: Entry, split: Split, content_id: str) -> bool:
    return SourceFileRef(split, entry.source_file, content_id, "").record_uid(entry.source_row) == entry.uid


def read_original(entry: Entry, blob: SourceBlob, store: Store) -> Original | None:
    """The record from its file, or as its rejection kept it; None where both are gone."""
    if blob.path is None:
        return _kept_by_rejection(entry, store)
    if entry.source_offset is None and (values := _plain_row(blob.path, entry.source_row)) is not None:
        return _of_values(values)
    with blob.path.open("rb") as stream:
        return _read(entry, stream)


def fetch_original(entry: Entry, split: Split, store: Store, source: Source) -> Original | None:
    """The record read from its source, only the part of the file it lies in; None where the source has another file.

    The revision is the one that was fetched when the ledger was made. Raises UserError where the source cannot be read.
    """
    raw = store.find(Stage.RAW, entry.partition)
    of_entry = [file for file in raw.details["files"] if file["path"] == entry.source_file] if raw else []
    for known in of_entry:
        if not _is_of(entry, split, known["content_id"]):
            continue
        held_as = known.get("held_as", known["content_id"])
        for file in source.files(known["revision"]):
            if file.path == entry.source_file and file.content_id == held_as:
                with source.open(file, known["revision"]) as stream:
                    return _read(entry, stream)
    return None


def _read(entry: Entry, stream: BinaryIO) -> Original:
    if entry.source_offset is not None:
        stream.seek(entry.source_offset)
        return Original("line", stream.readline().removesuffix(b"\n"))
    return _of_values(_parquet_row(stream, entry.source_row, entry.place))


def _of_values(values: dict[str, Any]) -> Original:
    return Original("parquet_row", json.dumps(values, ensure_ascii=False, default=_as_json).encode())


def _plain_row(path: Path, row: int) -> dict[str, Any] | None:
    """The row where its values are texts, numbers and lists of them, decoding hardly more than its pages; else None.

    Text that is no UTF-8 and types that Arrow shows otherwise are for `_parquet_row`, which decodes all before the row.
    """
    try:
        with pq.ParquetFile(path) as file:
            if not all(_is_plain(field.type) for field in file.schema_arrow):
                return None
        return pl.scan_parquet(path).slice(row, 1).collect().row(0, named=True)
    except (pa.ArrowException, PolarsError, OSError):
        return None


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_plain(kind.value_type)
    if pa.types.is_struct(kind):
        return all(_is_plain(field.type) for field in kind)
    plain = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_integer,
        pa.types.is_boolean,
        pa.types.is_float64,
    )
    return any(is_one(kind) for is_one in plain)


def _parquet_row(stream: BinaryIO, row: int, name: str) -> dict[str, Any]:
    with open_parquet(stream, name) as file:
        group = 0
        while row >= (rows := file.metadata.row_group(group).num_rows):
            row, group = row - rows, group + 1
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group]):
            if row < batch.num_rows:
                names, columns = batch.schema.names, batch.slice(row, 1).columns
                return {name: _value(column) for name, column in zip(names, columns, strict=True)}
            row -= batch.num_rows
    raise ValueError(f"{name}: row group {group} has no row {row}")


def _value(column: pa.Array) -> Any:
    """The one value of a column; text that is no UTF-8 stays bytes."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        raw = column.cast(pa.large_binary())[0].as_py()
        try:
            return None if raw is None else raw.decode()
        except UnicodeDecodeError:
            return raw
    return column[0].as_py()


def _as_json(value: Any) -> Any:
    """What JSON has no form for: bytes as base64, dates and decimals as text."""
    return {"base64": base64.b64encode(value).decode("ascii")} if isinstance(value, bytes) else str(value)


def _kept_by_rejection(entry: Entry, store: Store) -> Original | None:
    if entry.state != "rejected":
        return None
    index = LineageIndex.open(store, entry.partition)
    place = index.place_of(entry.uid) if index else None
    if place is not None and place.path.is_file():
        found = row_at(place.path, place.row, ["raw"]) if place.source == "rejected" else None
    else:
        normalized = store.find(Stage.NORMALIZED, entry.partition)
        uid = ("record_uid", entry.uid)
        found = row_named(store, normalized, "rejected", uid, None, ["raw"]) if normalized else None
    return Original("line", found["raw"]) if found is not None and found["raw"] is not None else None
