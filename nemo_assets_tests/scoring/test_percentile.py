"""Percentiles within a split."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_assets.scoring.percentile import percentile_within_split


def test_mean_rank_minus_a_half_over_n():
    # ranks 3, 1, 2, 4 of n = 4
    assert percentile_within_split([2.0, 0.5, 1.0, 9.0]) == [62.5, 12.5, 37.5, 87.5]


def test_ties_share_their_mean_rank_and_nulls_take_no_part():
    # 1.0 twice: ranks 1 and 2, mean 1.5 of n = 3
    assert percentile_within_split([1.0, None, 4.0, 1.0]) == pytest.approx([100 / 3, None, 250 / 3, 100 / 3])


def test_a_single_row_stands_in_the_middle():
    assert percentile_within_split([7.0]) == [50.0]
    assert percentile_within_split([None]) == [None]
    assert percentile_within_split([]) == []


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(ValueError, match="finite"):
        percentile_within_split([1.0, math.nan])


@given(st.lists(st.none() | st.floats(0, 20), max_size=50))
def test_order_is_kept_and_the_mean_is_fifty(values):
    percentiles = percentile_within_split(values)
    ranked = sorted((value, percent) for value, percent in zip(values, percentiles, strict=True) if value is not None)
    assert [percent for _, percent in ranked] == sorted(percent for _, percent in ranked)
    assert all((value is None) == (percent is None) for value, percent in zip(values, percentiles, strict=True))
    if ranked:
        assert sum(percent for _, percent in ranked) / len(ranked) == pytest.approx(50)
        assert all(0 < percent < 100 for _, percent in ranked)
