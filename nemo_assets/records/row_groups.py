"""Rows to one Arrow table at a time.

Belongs here: the columns that are the same in all rows of a file, and those measured over many rows in one pass. Does
not: what a row says (`rows`), writing it (`storage`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from nemo_assets.records.evaluation import Evaluation
from nemo_assets.records.repetition import repeat_ratios
from nemo_assets.records.rows import Row, SourceFileRef
from nemo_assets.records.schema import ROW_SCHEMA
from nemo_assets.records.text_measures import REPETITIVE

GROUP_BYTES = 16 << 20  # of text: what a worker holds of its rows at a time, whatever their length
GROUP_ROWS = 4_000  # fewer than 4,096, so that one page of one row can be read without much else


class RowGroup:
    """Rows of one file, collected until they are worth writing.

    The texts lie in one buffer that is used again and again: fresh memory costs more than the copy. Hence a table is
    to be written, or copied, before the next row is added.
    """

    def __init__(self, file: SourceFileRef) -> None:
        source, entry = file.split.source, file.split.entry
        self._constant = {
            "dataset": file.split.repo,
            "subset": source.subset,
            "split": file.split.name,
            "loss_mode": source.loss_mode,
            "loss_terminators": source.loss_terminators,
            "meta_domain": source.domain,
            "meta_difficulty_bin": entry.difficulty,
            "quality_is_duplicate": False,
            "source_revision": file.revision,
            "source_file": file.path,
        }
        self._names: tuple[str, ...] = ()
        self._values: list[tuple[Any, ...]] = []
        self._bodies: list[int] = []
        self._bodies_of = [0]
        self._buffer = memoryview(bytearray(GROUP_BYTES))
        self._ends = [0]

    def has_room(self, row: Row) -> bool:
        """Whether this row may be added to those that are here. The first row always may."""
        count = len(self._values)
        return not count or (self._ends[-1] + len(row.text) <= GROUP_BYTES and count < GROUP_ROWS)

    def add(self, row: Row) -> None:
        begin = self._ends[-1]
        end = begin + len(row.text)
        if end > len(self._buffer):  # one row larger than a group
            grown = memoryview(bytearray(end))
            grown[:begin] = self._buffer[:begin]
            self._buffer = grown
        self._buffer[begin:end] = row.text
        self._ends.append(end)
        if not self._names:
            self._names = (*Evaluation._fields, *row.columns)
        self._values.append((*row.evaluation, *row.columns.values()))
        self._bodies += row.bodies
        self._bodies_of.append(len(self._bodies) // 2)

    def drain(self) -> pa.Table:
        """The rows as a table over the buffer, which is free again once the table is not needed any more."""
        if not self._values:
            return ROW_SCHEMA.empty_table()
        rows = np.array(self._bodies_of)
        begins = np.repeat(self._ends[:-1], np.diff(rows))
        bodies = np.array(self._bodies, np.int64).reshape(-1, 2) + begins[:, None]
        ratios = repeat_ratios(np.frombuffer(self._buffer, np.uint8), bodies, rows)
        tags = self._names.index("quality_tags")
        for row in np.flatnonzero(ratios > REPETITIVE):
            self._values[row][tags].append("repetitive")
        columns: dict[str, pa.Array] = {"text": self._texts(), "stats_repeat_ratio": pa.array(ratios)}
        for name, values in zip(self._names, zip(*self._values, strict=True), strict=True):
            columns[name] = pa.array(values, ROW_SCHEMA.field(name).type)
        for name, value in self._constant.items():
            columns[name] = _repeated(value, ROW_SCHEMA.field(name).type, len(self._values))
        self._values, self._ends, self._bodies, self._bodies_of = [], [0], [], [0]
        return pa.Table.from_arrays([columns[name] for name in ROW_SCHEMA.names], schema=ROW_SCHEMA)

    def _texts(self) -> pa.Array:
        offsets = pa.py_buffer(np.array(self._ends, np.int32))
        return pa.StringArray.from_buffers(len(self._values), offsets, pa.py_buffer(self._buffer))


def _repeated(value: Any, kind: pa.DataType, count: int) -> pa.Array:
    return pa.nulls(count, kind) if value is None else pa.repeat(pa.scalar(value, kind), count)
