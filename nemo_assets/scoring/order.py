"""Which rows are scored where not all are: a part that looks like the whole.

Belongs here: the order in which rows are taken. Does not: how many (`stages.scored`).

Within each stratum rows come in the order of a digest of their text; a row's place is its rank there over the size of
the stratum. Of a stratum of m rows, m·t rounded have a place below t: ordered by place, any first part of the rows
holds its share of every stratum.
"""

from __future__ import annotations

import polars as pl

STRATA = ("meta_domain", "meta_difficulty_bin", "quality_has_tool", "length")
"""What a part is to be like the whole in; `length` is the power of two below the number of tokens."""

ORDER_COLUMNS = ("id", "text_sha1", "meta_domain", "meta_difficulty_bin", "quality_has_tool", "stats_approx_tokens")


def stratified_order(rows: pl.DataFrame) -> pl.Series:
    """When each row is taken, 0 first.

    `rows` has `ORDER_COLUMNS`, with unique ids; what each of them gets does not depend on their order.
    """
    length = pl.col("stats_approx_tokens").clip(1).log(2).floor().cast(pl.Int32).alias("length")
    drawn = rows.with_row_index("row").sort("text_sha1", "id").with_columns(length)
    rank = pl.int_range(pl.len()).over(STRATA)
    placed = drawn.with_columns(((rank + 0.5) / pl.len().over(STRATA)).alias("place"))
    taken = placed.sort("place", "text_sha1", "id").with_row_index("order")
    return taken.sort("row")["order"]
