"""Exact similarity of two rows, from their sets of shingles.

Belongs here: the Jaccard index and containment of pairs. Does not: which pairs are looked at (`candidates`), what
follows (`survivors`).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nemo_assets.compiled import compiled
from nemo_assets.dedup.signing import ShingleSets
from nemo_assets.dedup.tokens import U64

_PAIRS_AT_ONCE = 4096  # of one thread


class Similarity(NamedTuple):
    """Of n pairs of rows: Jaccard index of all that is compared, of what is spoken alone, and the share of the smaller
    set that the larger one contains.
    """

    jaccard: NDArray[np.float64]
    spoken: NDArray[np.float64]
    containment: NDArray[np.float64]


def similarity(sets: ShingleSets, first: NDArray[np.int64], second: NDArray[np.int64], threads: int = 1) -> Similarity:
    """Compare row first[i] with row second[i] of `sets`; exact but for collisions of 63-bit hashes."""
    measured = np.empty((3, len(first)))
    order = np.argsort(second, kind="stable")  # the table of a row serves all its pairs
    sizes = np.diff(sets.ends, prepend=0)
    slots = 64
    while slots < 2 * int(sizes.max(initial=0)):
        slots *= 2

    def compare(begin: int) -> None:
        pairs = order[begin : begin + _PAIRS_AT_ONCE]
        _compare(sets.hashes, sets.ends, sets.spoken, first, second, pairs, np.empty(slots, np.uint64), measured)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(compare, range(0, len(first), _PAIRS_AT_ONCE)))
    return Similarity(*measured)


@compiled
def _compare(
    hashes: Any, ends: Any, spoken: Any, first: Any, second: Any, pairs: Any, room: Any, measured: Any
) -> None:
    held = np.int64(-1)
    table = room[:64]
    for pair in pairs:
        row, other = first[pair], second[pair]
        other_begin = np.int64(0) if other == 0 else ends[other - 1]
        other_size = ends[other] - other_begin
        if other != held:
            held, slots = other, 64
            while slots < 2 * other_size:
                slots *= 2
            table = room[:slots]
            table[:] = U64(0)
            for place in range(other_size):
                _put(table, hashes[other_begin + place], place < spoken[other])
        begin = np.int64(0) if row == 0 else ends[row - 1]
        size, shared, shared_spoken = ends[row] - begin, 0, 0
        for place in range(size):
            found = _get(table, hashes[begin + place])
            shared += found > 0
            shared_spoken += found == 2 and place < spoken[row]
        measured[0, pair] = _share(shared, size + other_size - shared)
        measured[1, pair] = _share(shared_spoken, spoken[row] + spoken[other] - shared_spoken)
        measured[2, pair] = _share(shared, min(size, other_size))


@compiled
def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0  # two empty sets are equal


@compiled
def _put(table: Any, value: Any, is_spoken: bool) -> None:
    """Add a hash, whose lowest bit is 1; that bit becomes 0 where it is heard only."""
    places = U64(len(table) - 1)
    slot = (value >> U64(29)) & places
    while table[slot] != U64(0):
        slot = (slot + U64(1)) & places
    table[slot] = value if is_spoken else value ^ U64(1)


@compiled
def _get(table: Any, value: Any) -> Any:
    """0 where a hash is not in the table, 1 where it is heard only, 2 where it is spoken."""
    places = U64(len(table) - 1)
    slot = (value >> U64(29)) & places
    while table[slot] != U64(0):
        if table[slot] | U64(1) == value:
            return 1 + np.int64(table[slot] & U64(1))
        slot = (slot + U64(1)) & places
    return 0
