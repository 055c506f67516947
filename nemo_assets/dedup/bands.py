"""Bands of a signature: which rows come near enough to be compared at all.

A signature is cut into bands of a few slots; rows that agree in all slots of some band are candidates. At similarity s
that happens with probability 1 - (1 - s^rows)^bands (Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, 3.4).

Belongs here: the choice of bands, their probability, buckets. Does not: which candidates are duplicates.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nemo_assets.compiled import compiled
from nemo_assets.dedup.minhash import SLOTS
from nemo_assets.dedup.tokens import U64

# A pair that is missed stays in the data for ever, one that is compared in vain costs a microsecond.
_FALSE_POSITIVE_WEIGHT, _FALSE_NEGATIVE_WEIGHT = 0.01, 0.99

ALONE = -1
"""Bucket of a row that nobody shares."""


class Banding(NamedTuple):
    """`bands` bands of `rows` slots each."""

    bands: int
    rows: int

    def collision_probability(self, similarity: float) -> float:
        """How likely two rows of this Jaccard similarity share a band."""
        return float(1 - (1 - similarity**self.rows) ** self.bands)


@dataclass(frozen=True)
class Buckets:
    """Which rows share a band. `of_rank` (n, bands): number of the bucket, ALONE where nobody else is in it.

    Buckets of all bands are numbered together, `count` is how many there are; `largest` is the size of the largest.
    The rows of those among the first `relieved` that are over the cap share others as well, which tell them apart.
    """

    of_rank: NDArray[np.int32]
    count: int
    largest: int
    relieved: int = 0


@lru_cache
def optimal_banding(threshold: float, slots: int = SLOTS) -> Banding:
    """The bands that minimise the weighted areas of wrong decisions on either side of the threshold.

    As datasketch's `_optimal_param` with weights (0.01, 0.99): 18 x 7 at 0.8.
    """
    below, above = _nodes(0.0, threshold), _nodes(threshold, 1.0)

    def error(banding: Banding) -> float:
        false_positives, false_negatives = (
            float(np.sum(weights * (1 - (1 - places**banding.rows) ** banding.bands)))
            for places, weights in (below, above)
        )
        false_negatives = (1 - threshold) - false_negatives
        return _FALSE_POSITIVE_WEIGHT * false_positives + _FALSE_NEGATIVE_WEIGHT * false_negatives

    return min(
        (Banding(bands, rows) for bands in range(1, slots + 1) for rows in range(1, slots // bands + 1)), key=error
    )


def _nodes(begin: float, end: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places and weights of an integral (Gauss and Legendre)."""
    places, weights = np.polynomial.legendre.leggauss(128)
    return (end - begin) / 2 * places + (begin + end) / 2, (end - begin) / 2 * weights


def buckets_of(
    minhash: NDArray[np.uint32] | NDArray[np.uint8],
    ranked: NDArray[np.int64],
    banding: Banding,
    threads: int = 1,
    must_agree: NDArray[np.uint64] | None = None,
) -> Buckets:
    """Buckets of the rows `ranked` of `minhash`, by their place in `ranked`.

    Rows that differ in `must_agree` (rows,), if it is given, share no bucket: a flood of rows that cannot be duplicates
    of each other fills none.

    A band is hashed to 32 bits: rows that share a bucket by accident are told apart by what compares them. Sorting
    (hash, place) in one word each keeps memory at 8 bytes a row and band in work.
    """
    of_rank = np.empty((len(ranked), banding.bands), np.int32)
    keys_of = np.zeros(len(minhash), np.uint64) if must_agree is None else must_agree

    def fill(band: int) -> tuple[int, int]:
        keys = np.empty(len(ranked), np.uint64)
        _band_keys(minhash, ranked, keys_of, band * banding.rows, banding.rows, keys)
        keys.sort()
        count, largest = _number_runs(keys, of_rank, band)
        return count, largest

    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(fill, range(banding.bands)))
    counts = [count for count, _ in found]
    _renumber(of_rank, np.concatenate(([0], np.cumsum(counts)[:-1])).astype(np.int32))
    return Buckets(of_rank, sum(counts), max(largest for _, largest in found))


def sizes_of(buckets: Buckets) -> NDArray[np.int64]:
    """(count,): how many rows each bucket has."""
    sizes = np.zeros(buckets.count, np.int64)
    _count_members(buckets.of_rank, sizes)
    return sizes


@compiled
def _count_members(of_rank: Any, sizes: Any) -> None:
    for rank in range(len(of_rank)):
        for band in range(of_rank.shape[1]):
            if of_rank[rank, band] != ALONE:
                sizes[of_rank[rank, band]] += 1


def joined(first: Buckets, second: Buckets, ranks: NDArray[np.int64], relieved: bool = False) -> Buckets:
    """The buckets of `first` and those of `second`, whose rows are the `ranks` of the first; whether it relieves it."""
    of_rank = np.full((len(first.of_rank), first.of_rank.shape[1] + second.of_rank.shape[1]), ALONE, np.int32)
    of_rank[:, : first.of_rank.shape[1]] = first.of_rank
    shared = second.of_rank != ALONE
    of_rank[ranks, first.of_rank.shape[1] :] = np.where(shared, second.of_rank + np.int32(first.count), ALONE)
    largest, first_relieved = max(first.largest, second.largest), first.count if relieved else 0
    return Buckets(of_rank, first.count + second.count, largest, first_relieved)


@compiled
def band_hash(signature: Any, key: Any, begin: int, rows: int) -> Any:
    """32 bits that are equal for equal keys and signatures equal in [begin, begin + rows)."""
    value = U64(0x9E3779B97F4A7C15) ^ key
    for slot in range(begin, begin + rows):
        value = (value ^ U64(signature[slot])) * U64(0xD6E8FEB86659FD93)
        value ^= value >> U64(32)
    return value & U64(0xFFFFFFFF)


@compiled
def _band_keys(minhash: Any, ranked: Any, keys_of: Any, begin: int, rows: int, keys: Any) -> None:
    for rank in range(len(ranked)):
        keys[rank] = band_hash(minhash[ranked[rank]], keys_of[ranked[rank]], begin, rows) << U64(32) | U64(rank)


@compiled
def _number_runs(keys: Any, of_rank: Any, band: int) -> Any:
    """Number the hashes that several rows share; how many there are, and how many rows the largest one has."""
    count, largest, begin = 0, 1, 0
    while begin < len(keys):
        end = begin + 1
        while end < len(keys) and keys[end] >> U64(32) == keys[begin] >> U64(32):
            end += 1
        for place in range(begin, end):
            of_rank[keys[place] & U64(0xFFFFFFFF), band] = count if end - begin > 1 else ALONE
        if end - begin > 1:
            count += 1
            largest = max(largest, end - begin)
        begin = end
    return count, largest


@compiled
def _renumber(of_rank: Any, first: Any) -> None:
    for rank in range(len(of_rank)):
        for band in range(len(first)):
            if of_rank[rank, band] != ALONE:
                of_rank[rank, band] += first[band]
