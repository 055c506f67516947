"""Percentiles within strata by mean rank, and cut-points by which a later value finds its place."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.selection.ordering import grouped, places_of
from nemo_assets.selection.ranks import CUT_POINTS, STEPS, percentiles, place, quantile
from nemo_assets.selection.strata import NO_STRATUM

NAN = float("nan")


def ranked(values: list[float], strata: list[int], count: int) -> tuple[list[float | None], list[np.ndarray]]:
    codes = np.array(strata, np.uint32)
    out, points = percentiles(np.array(values, np.float32), *grouped(places_of(codes < count), codes, count))
    return [None if np.isnan(value) else float(value) for value in out], points


def points_of(array: np.ndarray) -> pl.DataFrame:
    value, below, above = array.T
    return pl.DataFrame({"value": value, "below": below, "above": above}).cast(
        {name: kind for name, kind in CUT_POINTS.items() if name in ("value", "below", "above")}
    )


def test_percentiles_are_those_of_the_mean_rank_less_a_half():
    values = [3.0, 1.0, 2.0, 2.0, 7.0, NAN, 5.0]
    strata = [0, 0, 0, 0, 1, 0, NO_STRATUM]
    out, points = ranked(values, strata, 2)
    # ranks 4, 1, 2.5, 2.5 of four; one of one; neither NaN nor what is in no stratum
    assert out == [87.5, 12.5, 50.0, 50.0, 50.0, None, None]
    assert points[0].tolist() == [[1.0, 0.0, 25.0], [2.0, 25.0, 75.0], [3.0, 75.0, 100.0]]
    assert points[1].tolist() == [[7.0, 0.0, 100.0]]


def test_negative_values_and_both_zeros_are_in_order():
    out, points = ranked([-0.0, 0.0, -1.5, -2.5, 1e-40, float("inf")], [0] * 6, 1)
    assert out == pytest.approx([50.0, 50.0, 25.0, 100 / 12, 75.0, 1100 / 12])
    assert points[0][:, 0].tolist() == [-2.5, -1.5, 0.0, pytest.approx(1e-40, rel=1e-4), float("inf")]


def test_a_stratum_without_any_value_has_no_cut_point():
    out, points = ranked([NAN, 1.0], [0, 1], 3)
    assert out == [None, 50.0]
    assert [len(each) for each in points] == [0, 1, 0]


def test_a_later_value_is_placed_between_the_cut_points_beside_it():
    _, points = ranked([1.0, 2.0, 2.0, 4.0], [0] * 4, 1)
    cuts = points_of(points[0])
    assert [place(value, cuts) for value in (1.0, 2.0, 4.0)] == [12.5, 50.0, 87.5]
    assert place(1.5, cuts) == 25.0  # one of four is smaller, three are larger
    assert place(3.0, cuts) == 75.0
    assert (place(0.5, cuts), place(9.0, cuts)) == (0.0, 100.0)


def test_many_values_keep_a_thousand_and_one_cut_points_that_place_each_within_a_tenth():
    draw = np.random.default_rng(3)
    values = np.concatenate([draw.normal(size=30_000), np.full(9_000, 0.25), np.full(4_000, -1.0)]).astype(np.float32)
    out, points = ranked(values.tolist(), [0] * len(values), 1)
    cuts = points_of(points[0])
    assert STEPS // 2 < cuts.height <= STEPS + 1
    worst = max(abs(place(float(values[row]), cuts) - out[row]) for row in range(0, len(values), 7))
    assert 0 < worst < 0.1
    assert place(0.25, cuts) == out[30_000]


def test_the_extremes_are_cut_points():
    values = np.random.default_rng(5).permutation(5_000).astype(np.float32)
    _, points = ranked(values.tolist(), [0] * 5_000, 1)
    assert len(points[0]) == STEPS + 1
    assert (points[0][0, 0], points[0][-1, 0]) == (0.0, 4_999.0)
    assert (points[0][0, 1], points[0][-1, 2]) == (0.0, 100.0)


def test_a_quantile_is_the_smallest_value_that_the_share_does_not_exceed():
    strata = np.array([0, 0, 0, 0, 0, 1, 2, NO_STRATUM], np.uint32)
    values = np.array([5.0, 1.0, 3.0, 2.0, 4.0, 9.0, NAN, 0.0])
    rows = grouped(places_of(strata < 3), strata, 3)
    assert quantile(values, 0.6, *rows)[:2].tolist() == [3.0, 9.0]
    assert quantile(values, 0.61, *rows)[:2].tolist() == [4.0, 9.0]
    assert quantile(values, 0.0, *rows)[:2].tolist() == [1.0, 9.0]
    assert quantile(values, 1.0, *rows)[:2].tolist() == [5.0, 9.0]
    assert np.isnan(quantile(values, 0.6, *rows)[2])


few = st.lists(st.tuples(st.sampled_from([-1.5, 0.0, 0.25, 0.5, 2.0, None]), st.integers(0, 3)), max_size=40)


@settings(deadline=None)  # the first example may compile
@given(few)
def test_percentiles_are_those_of_counting_smaller_and_equal_values(rows):
    values = [NAN if value is None else value for value, _ in rows]
    out, points = ranked(values, [stratum for _, stratum in rows], 3)
    for (value, stratum), found in zip(rows, out, strict=True):
        others = [other for other, where in rows if where == stratum and other is not None]
        if value is None or stratum == 3:
            assert found is None
            continue
        smaller, equal = sum(o < value for o in others), others.count(value)
        assert found == pytest.approx(100 * (smaller + equal / 2) / len(others), abs=1e-5)
        assert place(value, points_of(points[stratum])) == found
