"""How rows that both stay are related, as far as deduplication has seen it: reported, never a reason to remove one.

Belongs here: the table of relations. Does not: finding pairs (`dedup`).
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from nemo_assets.dedup.near import Found
from nemo_assets.dedup.signing import Signed
from nemo_assets.stages.scope_rows import Scope

RELATION_SCHEMA = pa.schema({
    "record_uid": pa.binary(16),
    "kind": pa.string(),
    "other_uid": pa.binary(16),
    "other_id": pa.string(),
    "other_partition": pa.string(),
    "value": pa.float64(),
})  # fmt: skip

TEMPLATE_SIBLING = "template_sibling"  # equal but for numbers; value: rows of the group
SAME_PROMPT = "prompt_similar"  # similar as a whole, but the assistant says something else; value: estimate
CONTAINED = "contained"  # compared exactly and too different, but one holds most of the other; value: containment

CONTAINED_FROM = 0.9  # share of the smaller set of shingles


def relations_of(rows: Scope, found: Found) -> pl.DataFrame:
    """Each row that stays with the best such row it is related to, for each kind; columns as RELATION_SCHEMA and
    `partition`.
    """
    ordered, stays = rows.ordered, found.survivor < 0
    pairs = [
        _siblings(rows.ranked, rows.signed, stays),
        _similar_prompts(found, stays),
        _contained(found, stays),
    ]
    worse, better = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    return (
        ordered[worse]
        .select("record_uid", "partition")
        .with_columns(
            kind=pl.Series([kind for pair in pairs for kind in pair[2]], dtype=pl.String),
            other_uid=ordered["record_uid"][better],
            other_id=ordered["id"][better],
            other_partition=ordered["partition"][better],
            value=pl.Series(np.concatenate([pair[3] for pair in pairs]), dtype=pl.Float64),
        )
    )


_Pairs = tuple[NDArray[np.int64], NDArray[np.int64], list[str], NDArray[np.float64]]
"""Rank of a row, rank of a better one, kind, value."""


def _siblings(ranked: NDArray[np.int64], signed: Signed, stays: NDArray[np.bool_]) -> _Pairs:
    """Rows that are equal to a better one but for their numbers."""
    numbers = signed.numbers[ranked]
    frame = pl.DataFrame({"masked": signed.masked[ranked], "spoken": numbers[:, 0], "heard": numbers[:, 1]})
    groups = (
        frame.with_row_index("rank")
        .filter(stays)
        .filter(pl.len().over("masked") > 1)
        .with_columns(
            first=pl.col("rank").first().over("masked"),
            size=pl.len().over("masked"),
            differs=(pl.col("spoken") != pl.col("spoken").first().over("masked"))
            | (pl.col("heard") != pl.col("heard").first().over("masked")),
        )
        .filter("differs")
    )
    kinds = [TEMPLATE_SIBLING] * groups.height
    return groups["rank"].to_numpy(), groups["first"].to_numpy(), kinds, groups["size"].to_numpy().astype(float)


def _similar_prompts(found: Found, stays: NDArray[np.bool_]) -> _Pairs:
    """Rows that are similar as a whole, while the assistant says something else."""
    related = found.related
    wanted = stays[related.worse] & stays[related.better]
    kinds = [SAME_PROMPT] * int(np.count_nonzero(wanted))
    return related.worse[wanted], related.better[wanted], kinds, related.estimate[wanted].astype(float)


def _contained(found: Found, stays: NDArray[np.bool_]) -> _Pairs:
    """Pairs that fell short of the threshold although one row holds nearly all that the other one does."""
    compared = found.compared
    wanted = stays[compared.worse] & stays[compared.better] & (compared.similarity.containment >= CONTAINED_FROM)
    worse, better, value = compared.worse[wanted], compared.better[wanted], compared.similarity.containment[wanted]
    _, first = np.unique(worse, return_index=True)
    return worse[first], better[first], [CONTAINED] * len(first), value[first]
