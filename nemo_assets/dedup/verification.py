"""Exact similarity of two rows, from their sets of shingles.

The sets are made where they are needed and never kept: they are more than twice as large as the texts, and nearly every
row is in one or two pairs.

Belongs here: the Jaccard index and containment of pairs. Does not: which pairs are looked at (`candidates`), what
follows (`near`).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nemo_assets.compiled import compiled
from nemo_assets.dedup.compared import Texts, separate
from nemo_assets.dedup.shingles import shingle
from nemo_assets.dedup.signing import buffers, copied, table_size
from nemo_assets.dedup.tokens import CLASSES, PADDING, U64, tokenize

_PAIRS_AT_ONCE = 256  # of one thread


class Similarity(NamedTuple):
    """Of n pairs of rows: Jaccard index of all that is compared, of what is spoken alone, and the share of the smaller
    set that the larger one contains.
    """

    jaccard: NDArray[np.float64]
    spoken: NDArray[np.float64]
    containment: NDArray[np.float64]


def similarity(texts: Texts, first: NDArray[np.int64], second: NDArray[np.int64], threads: int = 1) -> Similarity:
    """Compare row first[i] with row second[i] of Harmony texts; exact but for collisions of 63-bit hashes."""
    measured = np.empty((3, len(first)))
    order = np.argsort(second, kind="stable")  # the set of a row serves all its pairs

    def compare(begin: int) -> None:
        _compare(*texts, first, second, order[begin : begin + _PAIRS_AT_ONCE], CLASSES, measured)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(compare, range(0, len(first), _PAIRS_AT_ONCE)))
    return Similarity(*measured)


@compiled
def _compare(data: Any, offsets: Any, first: Any, second: Any, pairs: Any, classes: Any, measured: Any) -> None:
    text, spoken, heard, calls, tokens, shingles = buffers(_longest(offsets, first, second, pairs))
    room, other_room = np.empty(table_size(len(tokens)), np.uint64), np.empty(table_size(len(tokens)), np.uint64)
    nothing = np.zeros(1, np.uint64)
    held, other_table, other_size, other_spoken = np.int64(-1), nothing, 0, 0
    for pair in pairs:
        row, other = first[pair], second[pair]
        if other != held:
            held, size = other, copied(data, offsets[other], offsets[other + 1], text)
            said, all_of_it = _shingles(text, size, spoken, heard, calls, classes, tokens, shingles)
            other_table = _emptied(other_room, all_of_it)
            other_spoken, _, _ = _add(shingles[:said], True, other_table, nothing)
            heard_only, _, _ = _add(shingles[said:all_of_it], False, other_table, nothing)
            other_size = other_spoken + heard_only
        size = copied(data, offsets[row], offsets[row + 1], text)
        said, all_of_it = _shingles(text, size, spoken, heard, calls, classes, tokens, shingles)
        table = _emptied(room, all_of_it)
        own_spoken, shared, shared_spoken = _add(shingles[:said], True, table, other_table)
        own_heard, more, _ = _add(shingles[said:all_of_it], False, table, other_table)
        own_size, shared = own_spoken + own_heard, shared + more
        measured[0, pair] = _share(shared, own_size + other_size - shared)
        measured[1, pair] = _share(shared_spoken, own_spoken + other_spoken - shared_spoken)
        measured[2, pair] = _share(shared, min(own_size, other_size))


@compiled
def _longest(offsets: Any, first: Any, second: Any, pairs: Any) -> int:
    longest = 0
    for pair in pairs:
        for row in (first[pair], second[pair]):
            longest = max(longest, offsets[row + 1] - offsets[row])
    return longest


@compiled
def _shingles(
    text: Any, size: int, spoken: Any, heard: Any, calls: Any, classes: Any, tokens: Any, shingles: Any
) -> Any:
    """Write the shingles of one text: how many are spoken, which come first, and how many there are."""
    said, prompt, rest, _ = separate(text, size, spoken, heard, calls)
    found = shingle(tokens, tokenize(spoken, said, classes, tokens), shingles)
    count = tokenize(heard, prompt, classes, tokens)
    count += tokenize(heard[prompt + PADDING :], rest, classes, tokens[count:])
    return found, found + shingle(tokens, count, shingles[found:])


@compiled
def _emptied(room: Any, entries: int) -> Any:
    table = room[: table_size(entries)]
    table[:] = U64(0)
    return table


@compiled
def _add(shingles: Any, is_spoken: bool, table: Any, other: Any) -> Any:
    """Add shingles to a set: how many were not in it, and how many of these are in the other set, or spoken in both.

    Both are open addressing tables. The lowest bit of an entry is not part of the hash: it is set where the shingle is
    spoken; the second lowest always is, so that no entry is 0.
    """
    added, shared, shared_spoken = 0, 0, 0
    for value in shingles:
        entry = value & ~U64(1) | U64(2)
        if table[_slot(table, entry)] != U64(0):
            continue
        table[_slot(table, entry)] = entry | U64(is_spoken)
        added += 1
        found = other[_slot(other, entry)]
        shared += found != U64(0)
        shared_spoken += is_spoken and found & U64(1) != U64(0)
    return added, shared, shared_spoken


@compiled
def _slot(table: Any, entry: Any) -> Any:
    """Where an entry stands, or the empty slot for it."""
    places = U64(len(table) - 1)
    slot = (entry >> U64(29)) & places
    while table[slot] != U64(0) and table[slot] & ~U64(1) != entry:
        slot = (slot + U64(1)) & places
    return slot


@compiled
def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0  # two empty sets are equal
