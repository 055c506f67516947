"""Sorting many rows within groups, and counting along the way.

Rows are named by their places in a table, 32-bit numbers. Whatever decides between two of them is given as a key; only
rows that are equal by all keys before are looked at again, so that a further key is cheap.

Belongs here: orders that depend on values alone. Does not: which keys a subset is ranked by (`select`).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from nemo_assets.compiled import compiled

Array = npt.NDArray[Any]

Key = Callable[[Array], Array]
"""Gives for some places 32-bit words that sort as the rows are to be sorted."""

_SHIFT = np.uint64(32)
_LAST = np.uint32(0xFFFFFFFF)

_BATCH = 1 << 19  # rows that are sorted at once, if their groups are not larger: what it takes on the way stays small


def by_value(column: pl.Series, descending: bool = False) -> Key:
    """Sort as the values of a column do, text by its letters; null and NaN come last, whichever way it is sorted."""
    words = _words_of_singles if column.dtype == pl.Float32 else _words_of_ranks
    return lambda places: words(column.gather(places), descending)


def by_hash(hashes: Array, seed: int) -> tuple[Key, Key]:
    """Sort at random, by other 64-bit hashes for every seed; equal ones stay equal (the finaliser of SplitMix64)."""

    def half(shift: int) -> Key:
        return lambda places: _mixed(hashes, places, np.uint64(seed + 1), np.uint64(shift))

    return half(32), half(0)


def by_number(numbers: Array) -> Key:
    """Sort by whole numbers from 0 to 2^32 - 1, one for each place."""
    return lambda places: numbers[places].astype(np.uint32, copy=False)


def places_of(member: Array) -> Array:
    """The places of the members, ascending."""
    places = np.empty(np.count_nonzero(member), np.uint32)
    _list_members(member, places)
    return places


def grouped(places: Array, groups: Array, count: int) -> tuple[Array, Array]:
    """The places by number of group, otherwise as they were; where each of `count` groups begins, and the end."""
    begins = np.zeros(count + 1, np.int64)
    _count_groups(places, groups, begins)
    np.cumsum(begins, out=begins)
    out = np.empty(len(places), np.uint32)
    _put_in_groups(places, groups, begins[:-1].copy(), out)
    return out, begins


def sorted_within(places: Array, begins: Array, keys: Sequence[Key]) -> Array:
    """The places of each group in order of the first key, equal ones in order of the next, at last by the place itself.

    Args:
        begins: where each group begins in `places`, and the end.
    """
    out = np.empty(len(places), np.uint32)

    def sort(groups: slice) -> None:
        some = begins[groups]
        here = slice(some[0], some[-1])
        out[here] = _sorted(places[here], some - some[0], keys)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        for _ in threads.map(sort, _batches(begins)):
            pass  # but an error of a thread is raised
    return out


def _batches(begins: Array) -> Iterator[slice]:
    """Consecutive groups of about `_BATCH` rows or more, as slices of `begins` with the end of the last of them."""
    first = 0
    while first < len(begins) - 1:
        end = int(np.searchsorted(begins, begins[first] + _BATCH))
        end = min(max(end, first + 1), len(begins) - 1)
        yield slice(first, end + 1)
        first = end


def _sorted(places: Array, begins: Array, keys: Sequence[Key]) -> Array:
    packed = _packed(keys[0](places), places)
    for begin, end in itertools.pairwise(begins):
        packed[begin:end].sort()
    out = packed.astype(np.uint32)
    if len(keys) == 1:
        return out
    tied, runs = _ties(packed, begins)
    for key in keys[1:]:
        if not len(tied):
            break
        packed = _packed(runs, key(out[tied]))
        order = np.argsort(packed)
        out[tied] = out[tied][order]
        tied, runs = _still_tied(tied, packed[order])
    out[tied] = out[tied][np.lexsort((out[tied], runs))]
    return out


def places_within(begins: Array) -> tuple[Array, Array]:
    """Of what lies in groups one after the other: its place in the group, from 1, and how many the group has."""
    sizes = np.diff(begins)
    place = np.arange(1, begins[-1] + 1) - np.repeat(begins[:-1], sizes)
    return place.astype(np.uint32), np.repeat(sizes, sizes).astype(np.uint32)


def codes_of_equals(column: pl.Series) -> Array:
    """A number from 0 for each value of a column, the same for equal ones; -1 for null."""
    known = column.is_not_null().to_numpy()
    physical = column.to_physical().drop_nulls()
    values = physical.cast(pl.UInt8).to_numpy() if physical.dtype == pl.Boolean else physical.to_numpy()
    codes = np.full(len(column), -1, np.int32)
    codes[known] = np.unique(values, return_inverse=True)[1]
    return codes


def occurrences(codes: Array) -> Array:
    """How many of the same code stand before each one; 0 for negative ones."""
    out = np.zeros(len(codes), np.uint32)
    _count_up(codes, np.zeros(int(codes.max(initial=-1)) + 1, np.uint32), out)
    return out


def within_caps(codes: Sequence[Array], most: Sequence[int]) -> Array:
    """Whether each one stays that goes, from the first on, as long as of each of its codes fewer than `most` stayed.

    Args:
        codes: for each cap those of all, the same for equal ones; negative ones are not capped.
    """
    stays = np.zeros(len(codes[0]), np.bool_)
    counts = np.zeros((len(codes), max(int(each.max(initial=-1)) + 1 for each in codes)), np.int32)
    _stay(np.stack(codes), np.array(most, np.int64), counts, stays)
    return stays


def _words_of_singles(values: pl.Series, descending: bool) -> Array:
    known = values.to_numpy()
    bits = (known + np.float32(0)).view(np.uint32)  # -0 becomes 0
    words = np.where(bits >> 31, ~bits, bits | np.uint32(0x80000000))
    return np.where(np.isnan(known), _LAST, ~words if descending else words)


def _words_of_ranks(values: pl.Series, descending: bool) -> Array:
    known = values.fill_nan(None) if values.dtype.is_float() else values
    ranks: Array = known.rank("dense", descending=descending).cast(pl.UInt32).fill_null(_LAST).to_numpy()
    return ranks


def _packed(words: Array, low: Array) -> Array:
    packed = words.astype(np.uint64)
    packed <<= _SHIFT
    packed |= low
    return packed


def _still_tied(tied: Array, packed: Array) -> tuple[Array, Array]:
    same = packed[1:] == packed[:-1]
    stays = np.append(same, False) | np.append(False, same)
    runs = np.cumsum(np.append(False, ~same), dtype=np.uint32)
    return tied[stays], runs[stays]


@compiled
def _mixed(hashes: Array, places: Array, seed: np.uint64, shift: np.uint64) -> Array:
    out = np.empty(len(places), np.uint32)
    for at in range(len(places)):
        # The increment is 2^64 over the golden ratio (Steele, Lea, Flood: SplitMix64).
        word = hashes[places[at]] + seed * np.uint64(0x9E3779B97F4A7C15)
        word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        out[at] = np.uint32(((word ^ (word >> np.uint64(31))) >> shift) & np.uint64(0xFFFFFFFF))
    return out


@compiled
def _list_members(member: Array, places: Array) -> None:
    found = 0
    for place in range(len(member)):
        if member[place]:
            places[found] = place
            found += 1


@compiled
def _count_groups(places: Array, groups: Array, begins: Array) -> None:
    for at in range(len(places)):
        begins[groups[places[at]] + 1] += 1


@compiled
def _put_in_groups(places: Array, groups: Array, filled: Array, out: Array) -> None:
    for at in range(len(places)):
        group = groups[places[at]]
        out[filled[group]] = places[at]
        filled[group] += 1


@compiled
def _ties(packed: Array, begins: Array) -> tuple[Array, Array]:
    """Where words in the upper halves equal a neighbour of the same group, and the number of the run of equal ones."""
    tied = np.empty(0, np.int64)
    runs = np.empty(0, np.uint32)
    for attempt in range(2):  # counts, then fills
        count, run = 0, 0
        for group in range(len(begins) - 1):
            for at in range(begins[group], begins[group + 1]):
                word = packed[at] >> np.uint64(32)
                as_before = at > begins[group] and packed[at - 1] >> np.uint64(32) == word
                if as_before or (at + 1 < begins[group + 1] and packed[at + 1] >> np.uint64(32) == word):
                    run += 0 if as_before else 1
                    if attempt:
                        tied[count], runs[count] = at, run
                    count += 1
        if not attempt:
            tied, runs = np.empty(count, np.int64), np.empty(count, np.uint32)
    return tied, runs


@compiled
def _count_up(codes: Array, counts: Array, out: Array) -> None:
    for at in range(len(codes)):
        if codes[at] >= 0:
            out[at] = counts[codes[at]]
            counts[codes[at]] += 1


@compiled
def _stay(codes: Array, most: Array, counts: Array, stays: Array) -> None:
    for at in range(codes.shape[1]):
        fits = True
        for cap in range(len(most)):
            fits &= codes[cap, at] < 0 or counts[cap, codes[cap, at]] < most[cap]
        stays[at] = fits
        for cap in range(len(most)):
            if fits and codes[cap, at] >= 0:
                counts[cap, codes[cap, at]] += 1
