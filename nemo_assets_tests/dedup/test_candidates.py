"""The walk over the buckets: who is compared with whom, what a pair is, and what floods cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nemo_assets.dedup import candidates
from nemo_assets.dedup.bands import ALONE, Buckets
from nemo_assets.dedup.candidates import (
    CANDIDATES_OF_ROW,
    DUPLICATE,
    PROMPT_SIMILAR,
    Limits,
    Rows,
    Walked,
    walk,
    walk_again,
)
from nemo_assets.dedup.minhash import SLOTS
from nemo_assets.dedup.signing import Signed

LIMITS = Limits.around(0.8)


def with_differences(slots: list[int]) -> NDArray[np.uint32]:
    """Signatures of which row i differs from a row of zeros in slots[i], and from every other such row there."""
    signatures = np.zeros((len(slots), SLOTS), np.uint32)
    for row, count in enumerate(slots):
        signatures[row, :count] = row + 1
    return signatures


def rows_of(differ: list[int], spoken_differ: list[int] | None = None, **known: Any) -> Rows:
    """Rows in rank order; the last ones may be said to have other `numbers`, `masked`, `guarded` or `twins`."""
    count = len(differ)
    numbers = np.zeros((count, 2), np.uint64)
    numbers[:, 1] = known.get("numbers", 0)
    signed = Signed(
        with_differences(differ),
        with_differences(spoken_differ or [0] * count).astype(np.uint8),
        numbers,
        np.array(known.get("masked", range(count)), np.uint64),
        np.zeros(count, np.uint64),
        np.full(count, 100),
        numbers[:, 1].copy(),
        np.array(known.get("calls", [0] * count), np.uint64),
    )
    guarded = np.array(known.get("guarded", [True] * count))
    return Rows(signed, guarded, np.arange(count), np.array([known.get("twins", range(count))], np.int64))


def together(count: int) -> Buckets:
    return Buckets(np.zeros((count, 1), np.int32), 1, count)


def pairs_of(walked: Walked) -> list[tuple[int, int, int]]:
    worse, better, kind, _ = walked.pairs
    return list(zip(worse.tolist(), better.tolist(), kind.tolist(), strict=True))


def test_limits_are_slots() -> None:
    assert Limits.around(0.8) == (88, 103, 112, 83, 112)  # 0.68, 0.8, 0.87 of 128; of low bytes 0.64, 0.87
    assert Limits.around(0.95)[2] == Limits.around(1.0)[2] == SLOTS


def test_a_pair_below_the_lower_limit_is_let_go_and_one_above_the_upper_covers() -> None:
    for differ, pairs, covered in ((41, [], False), (40, [(1, 0, DUPLICATE)], False), (17, [(1, 0, DUPLICATE)], False)):
        found = walk(rows_of([0, differ]), together(2), LIMITS)
        assert (pairs_of(found), found.covered.tolist()) == (pairs, [False, covered])
    found = walk(rows_of([0, 16]), together(2), LIMITS)
    assert found.covered.tolist() == [False, True]
    assert found.pairs.estimate.tolist() == [112 / 128]


def test_what_is_spoken_must_be_near_too_and_covers_only_if_it_is() -> None:
    found = walk(rows_of([0, 0], [0, 17]), together(2), LIMITS)
    assert (pairs_of(found), found.covered.tolist()) == ([(1, 0, DUPLICATE)], [False, False])
    assert pairs_of(walk(rows_of([0, 0], [0, 46]), together(2), LIMITS)) == [(1, 0, PROMPT_SIMILAR)]
    assert pairs_of(walk(rows_of([0, 26], [0, 46]), together(2), LIMITS)) == []  # not surely similar in all
    other_solution = rows_of([0, 0], [0, 46], numbers=[1, 2])
    assert pairs_of(walk(other_solution, together(2), LIMITS)) == [(1, 0, PROMPT_SIMILAR)]


def test_other_numbers_are_let_go_where_one_row_is_guarded_and_siblings_and_other_calls_everywhere() -> None:
    def kinds(**known: Any) -> list[int]:
        return [kind for *_, kind in pairs_of(walk(rows_of([0, 0], numbers=[1, 2], **known), together(2), LIMITS))]

    assert kinds() == kinds(guarded=[True, False]) == kinds(guarded=[False, True]) == []
    assert kinds(guarded=[False, False]) == [DUPLICATE]
    assert kinds(masked=[5, 5], guarded=[False, False]) == []
    assert kinds(calls=[1, 2], guarded=[False, False]) == []


def test_of_each_relation_a_row_has_one_pair_and_of_duplicates_all() -> None:
    found = walk(rows_of([0, 20, 20, 20], [0, 46, 20, 20]), together(4), LIMITS)
    assert pairs_of(found) == [
        (1, 0, PROMPT_SIMILAR),
        (2, 0, DUPLICATE), (2, 1, PROMPT_SIMILAR),
        (3, 0, DUPLICATE), (3, 1, PROMPT_SIMILAR), (3, 2, DUPLICATE),
    ]  # fmt: skip


def test_of_a_row_with_many_candidates_the_most_similar_are_compared() -> None:
    differ = [39 - place % 20 for place in range(60)]
    found = walk(rows_of([*differ, 0]), together(61), LIMITS)
    mine = [better for worse, better, _ in pairs_of(found) if worse == 60]
    best = sorted(range(60), key=lambda place: (differ[place], place))[:CANDIDATES_OF_ROW]
    assert mine == sorted(best)
    assert found.cut.nonzero()[0].tolist()[-1] == 60


def test_a_relation_takes_no_place_of_a_candidate() -> None:
    many = CANDIDATES_OF_ROW + 1
    spoken = [*[0] * many, 46]  # the last row speaks otherwise, so it is a relation of every other
    found = walk(rows_of([0, *[20] * (many - 1), 0], spoken), together(many + 1), LIMITS)
    assert not found.cut[many]
    everyone = walk(rows_of([*[20] * CANDIDATES_OF_ROW, 0], [46, *[0] * CANDIDATES_OF_ROW]), together(many), LIMITS)
    of_last = [kind for worse, _, kind in pairs_of(everyone) if worse == many - 1]
    assert (of_last.count(PROMPT_SIMILAR), of_last.count(DUPLICATE)) == (1, CANDIDATES_OF_ROW - 1)
    assert not everyone.cut.any()


def test_only_rows_that_share_a_bucket_meet_and_they_meet_once() -> None:
    of_rank = np.array([[0, 2, ALONE], [0, 2, 3], [1, ALONE, 3], [1, ALONE, ALONE]], np.int32)
    found = walk(rows_of([0, 20, 20, 20]), Buckets(of_rank, 4, 2), LIMITS)
    assert pairs_of(found) == [(1, 0, DUPLICATE), (2, 1, DUPLICATE), (3, 2, DUPLICATE)]


def test_a_covered_row_is_compared_with_nobody_behind_it_until_it_is_walked_again() -> None:
    rows = rows_of([0, 0, 20, 20])
    found = walk(rows, together(4), LIMITS)
    assert pairs_of(found) == [(1, 0, DUPLICATE), (2, 0, DUPLICATE), (3, 0, DUPLICATE), (3, 2, DUPLICATE)]
    assert found.covered.tolist() == [False, True, False, False]
    again = walk_again(rows, together(4), LIMITS, found.covered)
    assert pairs_of(again) == [(2, 1, DUPLICATE), (3, 1, DUPLICATE)]


def test_a_flood_of_copies_costs_one_pair_each_and_one_of_twins_none() -> None:
    count, cap = 3000, 4
    found = walk(rows_of([0] * count), together(count), LIMITS, cap)
    assert pairs_of(found) == [(rank, 0, DUPLICATE) for rank in range(1, count)]
    assert found.overflowing == 0
    twins = walk(rows_of([0] * count, twins=[0] * count), together(count), LIMITS, cap)
    assert (len(twins.pairs.worse), twins.overflowing) == (0, 0)
    assert twins.covered.sum() == count - 1


def test_of_a_bucket_larger_than_the_cap_the_best_rows_are_compared_and_it_is_counted() -> None:
    rows = rows_of([20] * 6)
    assert walk(rows, together(6), LIMITS, 5).overflowing == 1  # the last one is turned away
    assert walk(rows, together(6), LIMITS, 6).overflowing == 0
    found = walk(rows, together(6), LIMITS, 2)
    assert found.overflowing == 1
    assert {better for _, better, _ in pairs_of(found)} == {0, 1}
    assert {worse for worse, *_ in pairs_of(found)} == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("at_once", [1, 2, 7])
def test_pairs_are_the_same_however_often_the_buffer_is_emptied(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    rows = rows_of([20, 18, 0, 0, 20, 3, 25, 20], numbers=[0, 0, 0, 1, 0, 1, 0, 2])
    whole = walk(rows, together(8), LIMITS)
    monkeypatch.setattr(candidates, "_PAIRS_AT_ONCE", at_once)
    found = walk(rows, together(8), LIMITS)
    assert len(pairs_of(whole)) > 8
    assert pairs_of(found) == pairs_of(whole)
    assert (found.covered == whole.covered).all()


def test_nobody_and_one_row() -> None:
    nobody = Buckets(np.empty((0, 3), np.int32), 0, 1)
    assert pairs_of(walk(rows_of([]), nobody, LIMITS)) == []
    assert pairs_of(walk(rows_of([0]), Buckets(np.full((1, 3), ALONE, np.int32), 0, 1), LIMITS)) == []
