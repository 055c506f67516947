"""Rows to one Arrow table at a time.

Belongs here: the columns that are the same in all rows of a file, and those measured over many rows in one pass. Does
not: what a row says (`rows`), writing it (`storage`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nemo_assets.records.repetition import repeat_ratios
from nemo_assets.records.rows import Row, SourceFileRef
from nemo_assets.records.schema import ROW_SCHEMA
from nemo_assets.records.text_measures import REPETITIVE
from nemo_assets.records.tools import ToolsEntry

GROUP_BYTES = 16 << 20  # of text: what a worker holds of its rows at a time, whatever their length
GROUP_ROWS = 4_000  # fewer than 4,096, so that one page of one row can be read without much else

_OF_THE_FILE = (
    "dataset", "subset", "split", "loss_mode", "loss_terminators", "meta_domain", "meta_difficulty_bin",
    "quality_is_duplicate", "source_revision", "source_file",
)  # fmt: skip
_OF_THE_GROUP = ("text", "stats_repeat_ratio", "quality_tags")
OWN_SCHEMA = pa.schema([field for field in ROW_SCHEMA if field.name not in (*_OF_THE_FILE, *_OF_THE_GROUP)])
"""What a row says for itself, but for its tags, of which the group knows one more."""


class Rows(NamedTuple):
    """Several rows by column, `own` being those of OWN_SCHEMA; of each the same as of a `Row`.

    Row i has the bytes `texts[ends[i] : ends[i + 1]]` and, of them, the bodies [bodies_of[i], bodies_of[i + 1]).
    """

    texts: NDArray[np.uint8]
    ends: NDArray[np.int64]
    own: pa.RecordBatch
    tags: list[list[str]]
    bodies: NDArray[np.int64]
    bodies_of: NDArray[np.int64]
    tools: Sequence[ToolsEntry | None]

    def cut(self, begin: int, end: int) -> Rows:
        """The rows [begin, end)."""
        return Rows(
            self.texts,
            self.ends[begin : end + 1],
            self.own.slice(begin, end - begin),
            self.tags[begin:end],
            self.bodies,
            self.bodies_of[begin : end + 1],
            self.tools[begin:end],
        )

    def is_row(self, place: int, row: Row) -> bool:
        """Whether one of them is this very row."""
        text = self.texts[self.ends[place] : self.ends[place + 1]]
        bodies = self.bodies[self.bodies_of[place] : self.bodies_of[place + 1]]
        return (
            text.tobytes() == row.text
            and self.tags[place] == row.columns["quality_tags"]
            and bodies.ravel().tolist() == row.bodies
            and self.tools[place] == row.tools
            and self.own.slice(place, 1).equals(_own_columns([row]))
        )


def _own_columns(rows: Sequence[Row]) -> pa.RecordBatch:
    names = (*rows[0].evaluation._fields, *rows[0].columns)
    values = zip(*[(*row.evaluation, *row.columns.values()) for row in rows], strict=True)
    columns = dict(zip(names, values, strict=True))
    return pa.RecordBatch.from_arrays(
        [pa.array(columns[field.name], field.type) for field in OWN_SCHEMA], schema=OWN_SCHEMA
    )


class RowGroup:
    """Rows of one file, collected until they are worth writing.

    The texts lie in one buffer that is used again and again: fresh memory costs more than the copy. Hence a table is
    to be written, or copied, before the next row is added.
    """

    def __init__(self, file: SourceFileRef) -> None:
        source, entry = file.split.source, file.split.entry
        values = (
            file.split.repo, source.subset, file.split.name, source.loss_mode, source.loss_terminators, source.domain,
            entry.difficulty, False, file.revision, file.path,
        )  # fmt: skip
        self._constant = dict(zip(_OF_THE_FILE, values, strict=True))
        self._buffer = np.empty(GROUP_BYTES, np.uint8).data
        self._clear()

    def _clear(self) -> None:
        self._own: list[pa.RecordBatch] = []
        self._single: list[Row] = []  # the last rows, not yet in `_own`
        self._tags: list[list[str]] = []
        self._bodies: list[NDArray[np.int64]] = []
        self._bodies_of = [0]
        self._ends = [0]

    def has_room(self, row: Row) -> bool:
        """Whether this row may be added to those that are here. The first row always may."""
        count = len(self._tags)
        return not count or (self._ends[-1] + len(row.text) <= GROUP_BYTES and count < GROUP_ROWS)

    def add(self, row: Row) -> None:
        begin = self._ends[-1]
        self._hold(row.text)
        self._single.append(row._replace(text=b""))
        self._ends.append(begin + len(row.text))
        self._tags.append(row.columns["quality_tags"])
        self._bodies.append(np.array(row.bodies, np.int64).reshape(-1, 2) + begin)
        self._bodies_of.append(self._bodies_of[-1] + len(row.bodies) // 2)

    def take(self, rows: Rows) -> int:
        """Add the first of these rows, as many as there is room for; how many that is."""
        begin, count = self._ends[-1], len(self._tags)
        ends = rows.ends[1:] - rows.ends[0] + begin
        room = min(int(np.searchsorted(ends, GROUP_BYTES, "right")), GROUP_ROWS - count)
        if (taken := max(room, 0 if count else 1)) < len(ends):
            rows = rows.cut(0, taken)
        if taken:
            self._settle()
            self._hold(rows.texts.data[rows.ends[0] : rows.ends[-1]])
            self._own.append(rows.own)
            self._ends += ends[:taken].tolist()
            self._tags += rows.tags
            bodies = rows.bodies[rows.bodies_of[0] : rows.bodies_of[-1]]
            starts = np.repeat(rows.ends[:-1] - rows.ends[0] + begin, np.diff(rows.bodies_of))
            self._bodies.append(bodies + starts[:, None])
            self._bodies_of += (rows.bodies_of[1:] - rows.bodies_of[0] + self._bodies_of[-1]).tolist()
        return taken

    def _hold(self, text: bytes | memoryview) -> None:
        begin = self._ends[-1]
        end = begin + len(text)
        if end > len(self._buffer):  # one row larger than a group
            grown = np.empty(end, np.uint8).data
            grown[:begin] = self._buffer[:begin]
            self._buffer = grown
        self._buffer[begin:end] = text

    def _settle(self) -> None:
        if self._single:
            self._own.append(_own_columns(self._single))
            self._single = []

    def drain(self) -> pa.Table:
        """The rows as a table over the buffer, which is free again once the table is not needed any more."""
        if not self._tags:
            return ROW_SCHEMA.empty_table()
        self._settle()
        bodies, rows = np.concatenate(self._bodies), np.array(self._bodies_of)
        ratios = repeat_ratios(np.frombuffer(self._buffer, np.uint8), bodies, rows)
        for row in np.flatnonzero(ratios > REPETITIVE):
            self._tags[row] = [*self._tags[row], "repetitive"]
        own = pa.Table.from_batches(self._own).combine_chunks()
        columns: dict[str, pa.Array] = dict(zip(own.column_names, own.columns, strict=True))
        columns["text"] = self._texts()
        columns["stats_repeat_ratio"] = pa.array(ratios)
        columns["quality_tags"] = pa.array(self._tags, ROW_SCHEMA.field("quality_tags").type)
        for name, value in self._constant.items():
            columns[name] = repeated(value, ROW_SCHEMA.field(name).type, len(self._tags))
        self._clear()
        return pa.Table.from_arrays([columns[name] for name in ROW_SCHEMA.names], schema=ROW_SCHEMA)

    def _texts(self) -> pa.Array:
        offsets = pa.py_buffer(np.array(self._ends, np.int32))
        return pa.StringArray.from_buffers(len(self._tags), offsets, pa.py_buffer(self._buffer))


def repeated(value: Any, kind: pa.DataType, count: int) -> pa.Array:
    """As many times the same value, which may be None."""
    return pa.nulls(count, kind) if value is None else pa.repeat(pa.scalar(value, kind), count)
