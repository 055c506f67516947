"""Which pairs of rows may be duplicates, by their signatures.

Rows are looked at best first. Each is compared with the rows listed in its buckets; one that is all but certain to be
removed is not listed itself, so a flood of a million copies costs a million comparisons and not their square.

Belongs here: the walk over the buckets, guards, and the estimate. Does not: exact similarity (`verification`), who is
removed (`near`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nemo_assets.compiled import compiled
from nemo_assets.dedup.bands import ALONE, Buckets, sizes_of
from nemo_assets.dedup.minhash import SLOTS
from nemo_assets.dedup.signing import Signed

_PAIRS_AT_ONCE = 1 << 20  # before they are copied out of the buffer

CANDIDATES_OF_ROW = 32
"""Pairs of one row that are compared exactly: those that look most similar. Rows with more are counted and shown."""

BUCKET_CAP = 1000
"""Rows of a bucket that later ones are compared with: the best ones. More are counted and shown."""

# Standard deviation of an estimate at 0.8 is 0.035 (a binomial share of 128 slots): a pair is let go without exact
# comparison more than three of them below the threshold, and all but certain two above it.
_MARGIN_BELOW = 0.12
_MARGIN_ABOVE = 0.07
# Of one byte, one in 256 slots is equal by accident, and half of them make the estimate of short texts coarser.
_SPOKEN_MARGIN_BELOW = 0.16

DUPLICATE, PROMPT_SIMILAR = range(2)
"""What a pair may be: a duplicate, to be verified; or a relation that is reported and removes nothing."""
_NOTHING = -1


class Rows(NamedTuple):
    """What is known of the rows.

    `guarded` (rows,): numbers must agree. `ranked` (n,): the rows that take part, the best first. `twins` (kinds, n),
    by rank: the first rank that is equal to this one, for each kind of equality; the first kind is equality of content.
    """

    signed: Signed
    guarded: NDArray[np.bool_]
    ranked: NDArray[np.int64]
    twins: NDArray[np.int64]


class Pairs(NamedTuple):
    """Pairs by rank: `worse` might be removed for `better`; `kind` is one of the above, `estimate` the share of equal
    slots. Of each row the pairs that are most likely to be duplicates, and of each relation one.
    """

    worse: NDArray[np.int64]
    better: NDArray[np.int64]
    kind: NDArray[np.int8]
    estimate: NDArray[np.float32]


class Limits(NamedTuple):
    """Equal slots, of SLOTS: below the lower limits a pair is let go, from the upper ones on it is all but certain."""

    lower: int
    threshold: int
    upper: int
    spoken_lower: int
    spoken_upper: int

    @classmethod
    def around(cls, threshold: float) -> Limits:
        """The limits around a Jaccard similarity."""
        return cls(
            _slots(threshold - _MARGIN_BELOW),
            _slots(threshold),
            _slots(threshold + _MARGIN_ABOVE),
            _byte_slots(threshold - _SPOKEN_MARGIN_BELOW),
            _byte_slots(threshold + _MARGIN_ABOVE),
        )


def _slots(similarity: float) -> int:
    return int(np.ceil(min(similarity, 1.0) * SLOTS))


def _byte_slots(similarity: float) -> int:
    """Slots whose low bytes are equal: of the others one in 256 is so by accident."""
    return int(np.ceil((1 / 256 + min(similarity, 1.0) * 255 / 256) * SLOTS))


class Walked(NamedTuple):
    """`pairs`, the best rows first; `covered` (n,), by rank: rows that were not listed, because they are all but
    certain to be removed; `cut` (n,), those that had more candidates than are compared; `overflowing`, the buckets that
    had more rows to list than the cap, without those that are relieved.
    """

    pairs: Pairs
    covered: NDArray[np.bool_]
    cut: NDArray[np.bool_]
    overflowing: int


def walk(rows: Rows, buckets: Buckets, limits: Limits, cap: int = BUCKET_CAP) -> Walked:
    """The pairs of every row with the better ones in its buckets that are not covered."""
    everyone = np.ones(len(rows.ranked), np.bool_)
    return _walk_from_best(rows, buckets, limits, cap, everyone, everyone, True)


def walk_again(rows: Rows, buckets: Buckets, limits: Limits, kept: NDArray[np.bool_], cap: int = BUCKET_CAP) -> Walked:
    """The pairs of `kept` rows, which were covered but stay, with the worse ones in their buckets."""
    touched = np.zeros(buckets.count, np.bool_)
    visited = np.zeros(len(kept), np.bool_)
    _neighbours(buckets.of_rank, kept, touched, visited)
    return _walk_from_best(rows, buckets, limits, cap, visited, kept, False)


def _walk_from_best(
    rows: Rows,
    buckets: Buckets,
    limits: Limits,
    cap: int,
    visited: NDArray[np.bool_],
    listable: NDArray[np.bool_],
    may_cover: bool,
) -> Walked:
    n, bands = buckets.of_rank.shape
    signed = rows.signed
    starts = _listing_starts(buckets, cap)
    listed, filled = np.empty(int(starts[-1]), np.int32), np.zeros(buckets.count, np.int32)
    seen, covered, cut = np.full(n, -1, np.int32), np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    room = _PAIRS_AT_ONCE + bands * cap + 2  # so many pairs can one row add
    found = Pairs(
        np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int8), np.empty(room, np.float32)
    )
    pieces, rank = [_first(found, 0)], 0
    while rank < n:
        rank, size = _walk(
            rank, _PAIRS_AT_ONCE, buckets.of_rank, visited, listable, may_cover, starts, listed, filled, seen,
            rows.ranked, rows.twins, signed, rows.guarded, np.array(limits), covered, cut, *found,
        )  # fmt: skip
        pieces.append(_first(found, size))
    pairs = Pairs(*map(np.concatenate, zip(*pieces, strict=True)))
    return Walked(pairs, covered, cut, int(np.count_nonzero(filled[buckets.relieved :] < 0)))


def _first(pairs: Pairs, count: int) -> Pairs:
    """A copy of so many of the pairs."""
    worse, better, kind, estimate = pairs
    return Pairs(worse[:count].copy(), better[:count].copy(), kind[:count].copy(), estimate[:count].copy())


def _listing_starts(buckets: Buckets, cap: int) -> NDArray[np.int64]:
    """Where the list of each bucket begins: lists lie one behind the other, none longer than the cap."""
    return np.concatenate(([0], np.cumsum(np.minimum(sizes_of(buckets), cap))))


@compiled
def _neighbours(of_rank: Any, kept: Any, touched: Any, visited: Any) -> None:
    """Mark in `visited` the ranks that share a bucket with a kept one."""
    for rank in range(len(of_rank)):
        if kept[rank]:
            for band in range(of_rank.shape[1]):
                if of_rank[rank, band] != ALONE:
                    touched[of_rank[rank, band]] = True
    for rank in range(len(of_rank)):
        for band in range(of_rank.shape[1]):
            if of_rank[rank, band] != ALONE and touched[of_rank[rank, band]]:
                visited[rank] = True


@compiled
def _walk(
    rank: int, room: int, of_rank: Any, visited: Any, listable: Any, may_cover: bool, starts: Any, listed: Any,
    filled: Any, seen: Any, ranked: Any, twins: Any, signed: Any, guarded: Any, limits: Any, covered: Any, cut: Any,
    worse: Any, better: Any, kinds: Any, estimates: Any,
) -> Any:  # fmt: skip
    """Go on at `rank` until all is done or `room` pairs are found; the next rank, and how many pairs there are."""
    size = 0
    while rank < len(of_rank) and size < room:
        if not visited[rank]:
            rank += 1
            continue
        row, is_covered, related = ranked[rank], False, 0  # `related` has a bit for each relation with a pair
        first = size
        for band in range(of_rank.shape[1]):
            bucket = of_rank[rank, band]
            if bucket == ALONE:
                continue
            for place in range(starts[bucket], starts[bucket] + abs(filled[bucket])):
                better_rank = listed[place]
                if seen[better_rank] == rank or twins[0, better_rank] == twins[0, rank]:
                    continue
                seen[better_rank] = rank
                other = ranked[better_rank]
                equal = _equal_slots(signed.minhash[row], signed.minhash[other])
                if equal < limits[0]:
                    continue
                spoken = _equal_slots(signed.spoken_minhash[row], signed.spoken_minhash[other])
                kind = _kind(row, other, equal, spoken, signed, guarded, limits)
                if kind == DUPLICATE:
                    is_covered |= equal >= limits[2] and spoken >= limits[4]
                elif kind == _NOTHING or related >> kind & 1:
                    continue
                else:
                    related |= 1 << kind
                worse[size], better[size], kinds[size], estimates[size] = rank, better_rank, kind, equal / SLOTS
                size += 1
        found, size = size, _most_similar(first, size, better, kinds, estimates)
        cut[rank] = size < found
        if may_cover and (is_covered or _has_better_twin(twins, rank)):
            covered[rank] = True
        elif listable[rank]:
            _list(rank, of_rank, starts, listed, filled)
        rank += 1
    return rank, size


@compiled
def _has_better_twin(twins: Any, rank: int) -> bool:
    better = False
    for kind in range(len(twins)):
        better |= twins[kind, rank] != rank
    return better


@compiled
def _equal_slots(first: Any, second: Any) -> Any:
    equal = np.int32(0)
    for slot in range(SLOTS):
        equal += np.int32(first[slot] == second[slot])
    return equal


@compiled
def _kind(row: int, other: int, equal: int, spoken: int, signed: Any, guarded: Any, limits: Any) -> int:
    """What a pair that is similar enough in everything compared may be."""
    numbers = signed.numbers
    numbers_differ = numbers[row, 0] != numbers[other, 0] or numbers[row, 1] != numbers[other, 1]
    if signed.masked[row] == signed.masked[other] and signed.sequence[row] != signed.sequence[other]:
        return _NOTHING  # template siblings, which are found without comparing pairs
    if signed.calls[row] != signed.calls[other]:
        return _NOTHING  # another call is another example, however long the conversation around it is
    if spoken < limits[3]:
        return PROMPT_SIMILAR if equal >= limits[1] else _NOTHING
    return _NOTHING if numbers_differ and (guarded[row] or guarded[other]) else DUPLICATE


@compiled
def _most_similar(first: int, size: int, better: Any, kinds: Any, estimates: Any) -> int:
    """Of the pairs [first, size) of one row keep relations and the CANDIDATES_OF_ROW most similar; where they end."""
    if size - first <= CANDIDATES_OF_ROW:
        return size
    candidates = np.sort(estimates[first:size][kinds[first:size] == DUPLICATE])
    if len(candidates) <= CANDIDATES_OF_ROW:
        return size
    least = candidates[len(candidates) - CANDIDATES_OF_ROW]
    ties = CANDIDATES_OF_ROW - np.count_nonzero(candidates > least)
    kept = first
    for place in range(first, size):
        is_relation, is_tie = kinds[place] != DUPLICATE, estimates[place] == least
        if is_relation or estimates[place] > least or (is_tie and ties > 0):
            ties -= is_tie and not is_relation
            better[kept], kinds[kept], estimates[kept] = better[place], kinds[place], estimates[place]
            kept += 1
    return kept


@compiled
def _list(rank: int, of_rank: Any, starts: Any, listed: Any, filled: Any) -> None:
    """Add a row to the lists of its buckets; the count of one that is full is negative once a row is turned away."""
    for band in range(of_rank.shape[1]):
        bucket = of_rank[rank, band]
        if bucket == ALONE:
            continue
        count = filled[bucket]
        if 0 <= count < starts[bucket + 1] - starts[bucket]:
            listed[starts[bucket] + count] = rank
            filled[bucket] = count + 1
        elif count > 0:
            filled[bucket] = -count
