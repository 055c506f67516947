"""Near duplicates: who is removed for whom.

A row is removed only if a row that stays was directly found similar to it, exactly and not by estimate. Taking rows
best first makes this a rule with one answer: a row stays if and only if no better row that stays is similar to it (the
lexicographically first maximal independent set of the graph of similar pairs). So nothing depends on the order of the
input or the number of workers, and similarity is never passed on along a chain.

Belongs here: the order of the steps. Does not: the steps (`bands`, `candidates`, `verification`), reading rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nemo_assets.compiled import compiled
from nemo_assets.dedup.bands import Buckets
from nemo_assets.dedup.candidates import (
    BUCKET_CAP,
    DUPLICATE,
    Limits,
    Pairs,
    Rows,
    walk,
    walk_again,
)
from nemo_assets.dedup.verification import Similarity

Measure = Callable[[NDArray[np.int64], NDArray[np.int64]], Similarity]
"""Exact similarity of row first[i] and row second[i], by their places in the signatures."""


class Compared(NamedTuple):
    """Pairs by rank that were compared exactly, sorted by worse and better; `passes` where both similarities reach the
    threshold.
    """

    worse: NDArray[np.int64]
    better: NDArray[np.int64]
    similarity: Similarity
    passes: NDArray[np.bool_]


class Found(NamedTuple):
    """Who stays, by rank.

    `survivor` (n,): the rank that a removed row is removed for, -1 where it stays; `rule` (n,): the kind of twin that
    the survivor is, SIMILAR where it is none; `pair` (n,): then the place in `compared` of the two. `related` are pairs
    that a guard held back. `overflowing` buckets had more rows to compare than the cap; `unsure` rows stay though they
    have candidates that were not compared; `rounds`: walks over the buckets.
    """

    survivor: NDArray[np.int64]
    rule: NDArray[np.int8]
    pair: NDArray[np.int64]
    compared: Compared
    related: Pairs
    overflowing: int
    unsure: int
    rounds: int


SIMILAR = -1
"""In place of a kind of twin: the two rows are similar."""


def near_duplicates(rows: Rows, buckets: Buckets, threshold: float, measure: Measure, cap: int = BUCKET_CAP) -> Found:
    """Decide which of `rows` stay. `buckets` are those of `rows.ranked`, `threshold` is a Jaccard similarity."""
    limits = Limits.around(threshold)
    pairs, covered, cut, overflowing = walk(rows, buckets, limits, cap)
    compared, rounds = _compared(pairs, rows, threshold, measure), 1
    chosen = _choose(rows.twins, compared)
    # A covered row that stays after all has not been compared with the rows behind it yet.
    while (staying := covered & (chosen[0] < 0)).any():
        again = walk_again(rows, buckets, limits, staying, cap)
        covered, cut = covered & ~staying, cut | again.cut
        compared = _merged(compared, _compared(again.pairs, rows, threshold, measure))
        chosen = _choose(rows.twins, compared)
        overflowing, rounds = max(overflowing, again.overflowing), rounds + 1
    is_relation = pairs.kind != DUPLICATE
    related = Pairs(*(column[is_relation] for column in pairs))
    unsure = int(np.count_nonzero(cut & (chosen[0] < 0)))
    return Found(*chosen, compared, related, overflowing, unsure, rounds)


def _compared(pairs: Pairs, rows: Rows, threshold: float, measure: Measure) -> Compared:
    wanted = pairs.kind == DUPLICATE
    worse, better = pairs.worse[wanted], pairs.better[wanted]
    similarity = measure(rows.ranked[worse], rows.ranked[better])
    passes = (similarity.jaccard >= threshold) & (similarity.spoken >= threshold)
    return _sorted(Compared(worse, better, similarity, passes))


def _merged(first: Compared, second: Compared) -> Compared:
    similarity = Similarity(*map(np.concatenate, zip(first.similarity, second.similarity, strict=True)))
    worse, better = np.concatenate((first.worse, second.worse)), np.concatenate((first.better, second.better))
    return _sorted(Compared(worse, better, similarity, np.concatenate((first.passes, second.passes))))


def _sorted(compared: Compared) -> Compared:
    """In the order of the walk, each pair once."""
    order = np.lexsort((compared.better, compared.worse))
    worse, better = compared.worse[order], compared.better[order]
    is_new = np.ones(len(order), np.bool_)
    is_new[1:] = (worse[1:] != worse[:-1]) | (better[1:] != better[:-1])
    order = order[is_new]
    similarity = Similarity(*(column[order] for column in compared.similarity))
    return Compared(compared.worse[order], compared.better[order], similarity, compared.passes[order])


def _choose(
    twins: NDArray[np.int64], compared: Compared
) -> tuple[NDArray[np.int64], NDArray[np.int8], NDArray[np.int64]]:
    """Of each rank the survivor, rule and pair: a twin that stays, else the most similar row that stays, else none."""
    kinds, count = twins.shape
    survivor, rule, pair = np.full(count, -1), np.full(count, SIMILAR, np.int8), np.full(count, -1)
    decisive = np.minimum(compared.similarity.jaccard, compared.similarity.spoken)
    stays_for = np.full((kinds, count), -1)
    _choose_from_best(
        compared.worse, compared.better, compared.passes, decisive, twins, stays_for, survivor, rule, pair
    )
    return survivor, rule, pair


@compiled
def _choose_from_best(
    worse: Any,
    better: Any,
    passes: Any,
    similarity: Any,
    twins: Any,
    stays_for: Any,
    survivor: Any,
    rule: Any,
    pair: Any,
) -> None:
    place = 0
    for rank in range(len(survivor)):
        for kind in range(len(twins)):
            if survivor[rank] < 0 and stays_for[kind, twins[kind, rank]] >= 0:
                survivor[rank], rule[rank] = stays_for[kind, twins[kind, rank]], kind
        is_twin = survivor[rank] >= 0
        while place < len(worse) and worse[place] == rank:
            is_survivor = passes[place] and survivor[better[place]] < 0 and not is_twin
            if is_survivor and (pair[rank] < 0 or similarity[place] > similarity[pair[rank]]):
                survivor[rank], pair[rank] = better[place], place
            place += 1
        if survivor[rank] < 0:
            for kind in range(len(twins)):
                stays_for[kind, twins[kind, rank]] = rank
