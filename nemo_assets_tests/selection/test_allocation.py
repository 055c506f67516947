"""Weights of strata, and what becomes of a budget that a stratum cannot use."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.catalog.subset_policy import Allocation
from nemo_assets.selection.allocation import divide, weights
from nemo_assets.selection.select import within_shares

NAN = float("nan")


@pytest.mark.parametrize(
    ("allocation", "expected"),
    [
        (Allocation(), [0.1, 0.9, 0.0]),
        (Allocation(by="temperature", exponent=0.5), [0.25, 0.75, 0.0]),
        (Allocation(by="temperature", exponent=0.0), [0.5, 0.5, 0.0]),
        (Allocation(by="degradation"), [1 / 4, 3 / 4, 0.0]),  # 100 x 0.3 and 900 x 0.1
        (Allocation(by="degradation", power=2.0), [0.5, 0.5, 0.0]),
        (Allocation(by="degradation", floor=0.2), [0.8 / 4 + 0.02, 0.8 * 3 / 4 + 0.18, 0.0]),
    ],
)
def test_weights_by_tokens_by_temperature_and_by_decline(allocation, expected):
    tokens, difference = np.array([100, 900, 0]), np.array([0.3, 0.1, NAN])
    assert weights(allocation, tokens, difference) == pytest.approx(expected)


def test_a_stratum_without_decline_has_the_floor_alone():
    allocation, tokens = Allocation(by="degradation", floor=0.02), np.full(400, 10)
    difference = np.array([1.0, *[-1.0] * 398, NAN])
    weight = weights(allocation, tokens, difference)
    assert weight[0] == pytest.approx(0.98 + 0.02 / 400)
    assert weight[1:] == pytest.approx(0.02 / 400)
    assert weights(Allocation(by="degradation"), tokens, -np.abs(difference)).tolist() == [0.0] * 400


def test_what_one_stratum_cannot_use_goes_to_the_others_by_weight():
    shares = divide(100, np.array([0.5, 0.3, 0.2]), np.array([10, 100, 100]))
    assert shares.wanted == pytest.approx([50, 30, 20])
    assert shares.given == pytest.approx([10, 54, 36])
    # What the first leaves makes the second short too.
    assert divide(100, np.array([0.5, 0.3, 0.2]), np.array([10, 50, 100])).given == pytest.approx([10, 50, 40])


def test_a_budget_larger_than_the_supply_takes_all_of_the_strata_with_a_weight():
    shares = divide(1000, np.array([0.5, 0.5, 0.0]), np.array([10, 20, 40]))
    assert shares.given.tolist() == [10, 20, 0]
    assert divide(10, np.zeros(2), np.array([5, 5])).given.tolist() == [0, 0]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 1000)), min_size=1, max_size=30), st.integers(0, 5000))
def test_all_of_a_budget_is_given_that_there_is_supply_for(strata, budget):
    tokens, supply = (np.array(each) for each in zip(*strata, strict=True))
    weight = weights(Allocation(), tokens, np.full(len(tokens), NAN))
    given = divide(budget, weight, supply).given
    assert given.sum() == pytest.approx(min(budget, supply[weight > 0].sum()))
    assert (given <= supply).all()
    is_open = (given > 0) & (given < supply)
    levels = given[is_open] / weight[is_open]
    assert levels == pytest.approx(np.full(len(levels), levels.max(initial=0)))
    full = (given == supply) & (weight > 0) & (supply > 0)
    if is_open.any():  # nobody full has more than its weight of what the open ones have
        assert (given[full] / weight[full] <= levels.max() * (1 + 1e-9)).all()


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 60), max_size=12), min_size=1, max_size=6), st.integers(0, 1500), st.integers(0, 9)
)
def test_less_than_one_row_is_missing_of_a_budget_in_all(sizes, budget, more):
    supply = np.array([sum(each) for each in sizes])
    begins = np.append(0, np.cumsum([len(each) for each in sizes]))
    flat = [size for each in sizes for size in each]
    weight = np.arange(1 + more, 1 + more + len(sizes), dtype=float)
    given = divide(budget, weight / weight.sum(), supply).given
    member = within_shares(given, np.append(0, np.cumsum(flat)).astype(np.int64), begins)
    taken = sum(size for size, is_in in zip(flat, member, strict=True) if is_in)
    due = min(budget, int(supply.sum()))
    assert due - max(flat, default=0) < taken <= due or taken == due
    for begin, end in itertools.pairwise(begins):
        assert member[begin:end].tolist() == sorted(member[begin:end], reverse=True)  # the first of the ranking
