"""What a subset policy may read of a row: its columns, and how a table of them is kept.

Belongs here: names, types and origin of the columns, writing and reading their files. Does not: filling them
(`stages.traits`), what is derived from them over all rows (`normalised`).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from nemo_assets.records.schema import COLUMNS
from nemo_assets.selection.columns import column

Array = npt.NDArray[Any]

Kind = pl.DataType | type[pl.DataType]

CATEGORY = pl.Categorical(pl.Categories("nemo_assets.traits", physical=pl.UInt16))
"""Text with few values. All files share the categories, so that their columns can be put together."""

_UNREAD = frozenset({
    "id", "text", "content_sha1", "text_sha1", "mask_sha1", "record_uid", "source_uuid", "source_tools_id",
    "meta_eval_json", "meta_expected_answer", "meta_problem_id", "source_meta_json", "source_file", "source_row",
    "source_offset", "source_revision",
})  # fmt: skip
"""Columns of rows that are long, or differ from row to row: they say nothing by which rows are chosen together."""

_TYPES: dict[str, Kind] = {"string": CATEGORY, "int64": pl.Int32, "double": pl.Float64, "bool": pl.Boolean}

ROW_TRAITS: dict[str, Kind] = {
    c.name: _TYPES.get(str(c.type), pl.List(pl.String)) for c in COLUMNS if c.name not in _UNREAD
} | dict.fromkeys(("meta_correctness_lcb", "stats_repeat_ratio"), pl.Float32)
"""Columns of `ROW_SCHEMA` that are traits as they are, and their type as such.

Shares of few attempts keep double precision: one in ten is compared with 0.1.
"""

_MEASURES = (
    "nll_mean", "nll_per_byte", "nll_mean_first_512", "share_above_2_nats", "share_above_5_nats", "rank_mean_clipped",
)  # fmt: skip
_FINAL = pl.when(pl.col("final_token_count") > 0).then(pl.col("final_nll_sum") / pl.col("final_token_count"))


def _scores(prefix: str) -> dict[str, pl.Expr]:
    measured = {f"{prefix}{name}": pl.col(name) for name in ("status", *_MEASURES, "truncated")}
    return measured | {f"{prefix}final_nll_mean": _FINAL}


SCORE_TRAITS: dict[str, dict[str, pl.Expr]] = {
    "student": {
        **_scores(""),
        "completion_tokens": pl.col("completion_token_count"),
        "tokens": pl.col("prompt_token_count") + pl.col("completion_token_count"),
    },
    "reference": _scores("reference_"),
    "unconditional": {"unconditional_nll_mean_first_512": pl.col("nll_mean_first_512")},
}
"""By role: each trait as an expression over `SCORE_SCHEMA`.

Those of the student, which is to be trained, have no prefix.
"""


def _score_type(name: str) -> Kind:
    if name.endswith("status"):
        return CATEGORY
    if name.endswith("truncated"):
        return pl.Boolean
    return pl.Int32 if name.endswith("tokens") else pl.Float32


TRAIT_COLUMNS: dict[str, Kind] = {
    "row": pl.UInt32,  # number of the row in its split
    "id_hash": pl.UInt64,  # the first 8 bytes of blake2b-64 of its id, big-endian
    "problem": pl.UInt64,  # likewise of its meta_problem_id
    "prompt": pl.UInt64,  # digest of all that is not the assistant's
    **ROW_TRAITS,
    "pools": pl.List(pl.String),
    "is_contaminated": pl.Boolean,  # it holds a record of an evaluation set
    **{name: _score_type(name) for traits in SCORE_TRAITS.values() for name in traits},
}
"""Name and type of every column of a file of traits, in order.

What was measured is kept in single precision: it was computed in less, and ten million rows take half the memory.
"""

SPLIT_NUMBER = "split_number"
"""Which split a row is of, counted in the order in which they are read: no file knows it."""

SCHEMA: dict[str, Kind] = {SPLIT_NUMBER: pl.UInt16, **TRAIT_COLUMNS}
"""What `read_traits` gives."""


def write_traits(path: Path, traits: pl.DataFrame) -> None:
    """Write a frame with exactly `TRAIT_COLUMNS`, such that single columns can be read without the others."""
    traits.write_ipc(path, compression="uncompressed", record_batch_size=1 << 20)


def read_traits(splits: Sequence[Sequence[Path]], columns: Collection[str]) -> pl.DataFrame:
    """The rows of all files, which are given by split, in order; names in `columns` that are no trait are left out.

    Column `split_number`, the place of the row's split in `splits`, and `row` are always there.
    """
    files = [(number, path) for number, paths in enumerate(splits) for path in paths]
    paths = [path for _, path in files]
    names = [name for name in TRAIT_COLUMNS if name in columns or name == "row"]
    lists = [name for name in names if TRAIT_COLUMNS[name] == pl.List(pl.String)]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        heights = list(threads.map(_height, paths))
        parts = {name: _Parts.of(name, sum(heights)) for name in names if name not in lists}
        begins = np.cumsum([0, *heights])[:-1]
        for _ in threads.map(partial(_put, parts), paths, begins):
            pass  # but an error of a thread is raised
        made = dict(zip(parts, threads.map(_Parts.column, parts.values()), strict=True))
    pa.default_memory_pool().release_unused()
    made |= {name: _together(paths, name) for name in lists}
    split_numbers = np.repeat(np.array([number for number, _ in files], np.uint16), heights)
    return pl.DataFrame([pl.Series(SPLIT_NUMBER, split_numbers), *(made[name] for name in names)])


class _Parts(NamedTuple):
    """A column that is filled part by part. Of values that no part has no memory is taken.

    empty: a column without rows; polars forgets the categories when the last column that has them is gone. unknown:
    whether the values of a part are null, by the number of its first row, of parts with such values.
    """

    empty: pl.Series
    values: Array
    unknown: dict[int, Array]

    @classmethod
    def of(cls, name: str, rows: int) -> _Parts:
        empty = pl.Series(name, dtype=TRAIT_COLUMNS[name])
        return cls(empty, np.zeros(rows, empty.to_physical().to_numpy().dtype), {})

    def put(self, begin: int, part: pa.Array) -> None:
        """Copy consecutive rows to where they belong; what lies under null is never looked at."""
        if part.null_count:
            self.unknown[begin] = part.is_null().to_numpy(zero_copy_only=False)
        if part.null_count < len(part):
            self.values[begin : begin + len(part)] = self._numbers(part)

    def _numbers(self, part: pa.Array) -> Array:
        numbers: Array
        if isinstance(part, pa.DictionaryArray):
            codes = pl.Series(part.dictionary).cast(CATEGORY).to_physical().to_numpy()
            numbers = codes[part.indices.fill_null(0).to_numpy()]
        elif self.values.dtype == np.bool_:
            numbers = part.fill_null(False).to_numpy(zero_copy_only=False)
        else:
            kind = self.values.dtype
            numbers = np.frombuffer(part.buffers()[1], kind, len(part), part.offset * kind.itemsize)
        return numbers

    def column(self) -> pl.Series:
        """What all parts have put there."""
        known = np.ones(len(self.values) if self.unknown else 0, np.bool_)
        for begin, unknown in self.unknown.items():
            np.logical_not(unknown, out=known[begin : begin + len(unknown)])
        made = column(self.empty.name, self.values, known if self.unknown else None)
        return made.cat.to(CATEGORY) if self.empty.dtype == CATEGORY else made


def _height(path: Path) -> int:
    with pa.memory_map(str(path)) as file:
        return int(pa.ipc.open_file(file).count_rows())


def _put(parts: Mapping[str, _Parts], path: Path, begin: int) -> None:
    """Fill in the rows of one file, the first of which has number `begin`."""
    with pa.OSFile(str(path)) as file:
        names = pa.ipc.open_file(file).schema.names
        options = pa.ipc.IpcReadOptions(included_fields=[names.index(name) for name in parts], use_threads=False)
        for batch in pa.ipc.open_file(file, options=options).read_all().to_batches():
            for name, of_all in parts.items():
                of_all.put(begin, batch[name])
            begin += batch.num_rows


def _together(paths: Sequence[Path], name: str) -> pl.Series:
    """One column of lists in one piece of memory."""
    empty = pl.Series(name, dtype=TRAIT_COLUMNS[name])
    return pl.concat([empty, *(pl.read_ipc(path, columns=[name])[name] for path in paths)], rechunk=True)
