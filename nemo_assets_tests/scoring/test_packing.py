"""The plan of forward passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_assets.scoring.packing import pack


def test_first_fit_decreasing_by_hand():
    # 7 | 5+4 | 4+3+2: the second 4 finds no room beside 7 or 5+4, 3 and 2 join it
    assert pack(["a", "b", "c", "d", "e", "f"], [4, 7, 3, 5, 2, 4], token_budget=9, max_rows=9) == [
        [1, 4],
        [3, 0],
        [5, 2],
    ]


def test_a_row_beyond_the_budget_goes_alone():
    assert pack(["a", "b", "c"], [20, 3, 3], token_budget=10, max_rows=9) == [[0], [1, 2]]


def test_a_pack_holds_at_most_max_rows():
    assert pack(["a", "b", "c"], [1, 1, 1], token_budget=10, max_rows=2) == [[0, 1], [2]]


def test_limits_must_be_positive():
    with pytest.raises(ValueError, match="must be positive"):
        pack(["a"], [1], token_budget=0, max_rows=1)


def first_fit_decreasing(ids, lengths, budget, max_rows):
    """By the book: every pack is looked at, from the first on."""
    packs = []
    for row in sorted(range(len(ids)), key=lambda row: (-lengths[row], ids[row])):
        for rows in packs:
            if len(rows) < max_rows and sum(lengths[each] for each in rows) + lengths[row] <= budget:
                rows.append(row)
                break
        else:
            packs.append([row])
    return packs


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(1, 50), st.integers(1, 6))
def test_it_is_first_fit_decreasing(lengths, budget, max_rows):
    ids = [f"{row % 7}{row}" for row in range(len(lengths))]
    assert pack(ids, lengths, budget, max_rows) == first_fit_decreasing(ids, lengths, budget, max_rows)


@given(st.lists(st.integers(1, 40), max_size=40), st.integers(1, 50), st.integers(1, 6), st.randoms())
def test_every_row_once_within_the_limits_whatever_the_order(lengths, budget, max_rows, shuffler):
    ids = [f"{row:03d}" for row in range(len(lengths))]
    packs = pack(ids, lengths, budget, max_rows)
    assert sorted(row for rows in packs for row in rows) == list(range(len(lengths)))
    assert all(len(rows) <= max_rows for rows in packs)
    assert all(len(rows) == 1 or sum(lengths[row] for row in rows) <= budget for rows in packs)

    order = list(range(len(lengths)))
    shuffler.shuffle(order)
    shuffled = pack([ids[row] for row in order], [lengths[row] for row in order], budget, max_rows)
    assert [[order[row] for row in rows] for rows in shuffled] == packs
