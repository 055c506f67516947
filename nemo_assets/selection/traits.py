"""What a subset policy may read of a row: its columns, and how a table of them is kept.

Belongs here: names, types and origin of the columns, writing and reading their files. Does not: filling them
(`stages.traits`), what is derived from them over all rows (`normalised`).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from nemo_assets.records.schema import COLUMNS

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

_AT_ONCE = 12  # columns: what is read lies in memory twice until it is in one piece

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
    names = [name for name in TRAIT_COLUMNS if name in columns or name == "row"]
    made: list[pl.Series] = []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        for first in range(0, len(names), _AT_ONCE):
            some = names[first : first + _AT_ONCE]
            frames = list(threads.map(partial(pl.read_ipc, columns=some), [path for _, path in files]))
            heights = [frame.height for frame in frames]
            made += threads.map(partial(_together, frames), some)
        split_numbers = np.repeat(np.array([number for number, _ in files], np.uint16), heights)
    return pl.DataFrame([pl.Series(SPLIT_NUMBER, split_numbers), *made])


def _together(frames: Sequence[pl.DataFrame], name: str) -> pl.Series:
    """One column of all frames in one piece of memory; it is taken from them."""
    empty = pl.Series(name, dtype=TRAIT_COLUMNS[name])
    return pl.concat([empty, *(frame.drop_in_place(name) for frame in frames)], rechunk=True)
