"""The small table that deduplication reads instead of the rows: exact hashes and what decides the survivor."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from nemo_assets.harmony.special_tokens import RETURN

SIGNATURE_SCHEMA = pa.schema({
    "record_uid": pa.binary(16),
    "id": pa.string(),
    "content_sha1": pa.string(),
    "text_sha1": pa.string(),
    "row_verified": pa.bool_(),
    "correctness_lcb": pa.float64(),
    "answer_complete": pa.bool_(),
    "char_len": pa.int64(),
    "source_file": pa.string(),
    "source_row": pa.int64(),
})  # fmt: skip


def signatures_of(rows: pl.LazyFrame) -> pl.LazyFrame:
    """One signature a row, columns as SIGNATURE_SCHEMA, in row order."""
    tail = pl.col("text").str.split("<|start|>").list.last()
    is_final = tail.str.starts_with("assistant<|channel|>final<|message|>") | tail.str.starts_with(
        "assistant<|message|>"
    )
    return rows.select(
        "record_uid",
        "id",
        "content_sha1",
        "text_sha1",
        row_verified=pl.col("meta_row_verified").fill_null(False),
        correctness_lcb=pl.col("meta_correctness_lcb"),
        answer_complete=is_final & tail.str.ends_with(RETURN),
        char_len=pl.col("stats_char_len"),
        source_file=pl.col("source_file"),
        source_row=pl.col("source_row"),
    )
