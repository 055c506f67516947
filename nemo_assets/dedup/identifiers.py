"""Ids within a scope: what happens when a source's uuid names two rows although the catalog says it names one."""

from __future__ import annotations

import polars as pl


def ids_made_unique(kept: pl.DataFrame) -> pl.DataFrame:
    """New ids for the kept rows of a scope whose id another kept row has too: `<id>-<first 12 hex of content_sha1>`.

    Every row of such a group is renamed, so the result does not depend on their order. Kept rows differ in content,
    hence so do their new ids. Columns: record_uid, partition, id, unique_id.
    """
    shared = pl.len().over("id") > 1
    return kept.filter(shared).select(
        "record_uid", "partition", "id", unique_id=pl.col("id") + "-" + pl.col("content_sha1").str.slice(0, 12)
    )
