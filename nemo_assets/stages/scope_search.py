"""The search for duplicates among the rows of one dedup scope.

Belongs here: what the steps of `dedup` are given, and how the search was made. Does not: the steps (`dedup`), reading
rows (`scope_rows`, `row_texts`), the table of those that are removed (`removals`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from nemo_assets.catalog import DuplicatePolicy
from nemo_assets.dedup.bands import Banding, Buckets, optimal_banding
from nemo_assets.dedup.candidates import Rows
from nemo_assets.dedup.cluster import RayCluster
from nemo_assets.dedup.distributed import buckets_distributed
from nemo_assets.dedup.near import Found, near_duplicates
from nemo_assets.dedup.rules import CODE_EXACT, CODE_NEAR, RULE_EXACT, RULE_PROBLEM, RULE_STATEMENT
from nemo_assets.dedup.sharing import Ranks, Share, buckets_to_walk
from nemo_assets.plots import similarity_bins
from nemo_assets.stages.row_texts import RowTexts
from nemo_assets.stages.scope_rows import Scope

TWIN_RULES = ((CODE_EXACT, RULE_EXACT), (CODE_NEAR, RULE_PROBLEM), (CODE_NEAR, RULE_STATEMENT))
"""Code and rule of each kind of twin: equal content, and of Lean statements equal problem, equal statement."""


class Search(NamedTuple):
    """How a search was made, and what it found."""

    threshold: float
    banding: Banding
    bucket_cap: int
    found: Found


def search_scope(
    rows: Scope, texts: RowTexts, threshold: float, policy: DuplicatePolicy, workers: int, cluster: RayCluster | None
) -> Search:
    """Find who duplicates whom: by signatures who may, and by `texts` who does."""
    banding = optimal_banding(threshold)
    share = None if cluster is None else _sharing_on(cluster, rows, banding)
    buckets = buckets_to_walk(rows.signed, rows.ranked, rows.guarded, banding, policy.bucket_cap, workers, share)
    compared = Rows(rows.signed, rows.guarded, rows.ranked, _twins(rows, policy))
    found = near_duplicates(compared, buckets, threshold, texts.measure, policy.bucket_cap)
    return Search(threshold, banding, policy.bucket_cap, found)


def _sharing_on(cluster: RayCluster, rows: Scope, banding: Banding) -> Share:
    """Makes buckets on a cluster."""

    def share(ranks: Ranks, must_agree: NDArray[np.uint64]) -> Buckets:
        uids = rows.ordered["record_uid"].gather(ranks).to_arrow().cast(pa.binary(16))
        return buckets_distributed(rows.paths, uids, must_agree[rows.ranked[ranks]], banding, cluster.address)

    return share


def _twins(rows: Scope, policy: DuplicatePolicy) -> NDArray[np.int64]:
    """By rank the first rank of equal content; of Lean statements also that of an equal problem or statement."""
    prompts = rows.signed.prompt[rows.ranked]
    frame = rows.ordered.select(
        "content_sha1",
        "statement",
        prompt=pl.Series(prompts),
        states=pl.col("statement").is_not_null() & policy.unique_statements,
    ).with_row_index("rank")
    alone = pl.col("rank")
    first = frame.select(
        content=alone.first().over("content_sha1"),
        problem=pl.when("states").then(alone.first().over("states", "prompt")).otherwise(alone),
        statement=pl.when("states").then(alone.first().over("statement")).otherwise(alone),
    )
    return np.stack([first[name].to_numpy().astype(np.int64) for name in first.columns])


def search_details(search: Search) -> dict[str, Any]:
    """How the search was made: what the curve in the UI is drawn from."""
    banding, found = search.banding, search.found
    decisive = np.minimum(found.compared.similarity.jaccard, found.compared.similarity.spoken)
    removed = np.zeros(len(decisive), np.bool_)
    removed[found.pair[found.pair >= 0]] = True
    return {
        "threshold": search.threshold,
        "bands": banding.bands,
        "rows_per_band": banding.rows,
        "bucket_cap": search.bucket_cap,
        "candidate_probability": {
            f"{s:.2f}": round(banding.collision_probability(s), 6) for s in (0.5, 0.8, 0.85, 0.9)
        },
        "similarity_of_removed": similarity_bins(decisive[removed]),
        "similarity_of_others": similarity_bins(decisive[~removed]),
    }
