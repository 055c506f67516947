"""Exact duplicates: equal content, whatever the source, split, template or system prompt."""

from __future__ import annotations

import polars as pl

CODE_EXACT = "exact_duplicate"
RULE_EXACT = "equal content_sha1, version 1"


def exact_duplicates(ordered: pl.DataFrame) -> pl.DataFrame:
    """The rows of `ordered` (in survivor order) that repeat an earlier one.

    Columns: record_uid, partition, id, survivor_uid, survivor_id, survivor_partition, similarity (1.0). A survivor is
    never itself removed: it is the first of its group.
    """
    first = pl.col("record_uid").first().over("content_sha1")
    return (
        ordered.with_columns(
            survivor_uid=first,
            survivor_id=pl.col("id").first().over("content_sha1"),
            survivor_partition=pl.col("partition").first().over("content_sha1"),
        )
        .filter(pl.col("record_uid") != pl.col("survivor_uid"))
        .select(
            "record_uid", "partition", "id", "survivor_uid", "survivor_id", "survivor_partition", similarity=pl.lit(1.0)
        )
    )
