"""Sorting within groups by several keys, counting equal values, caps."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.selection.ordering import (
    by_hash,
    by_number,
    by_value,
    codes_of_equals,
    grouped,
    occurrences,
    places_within,
    sorted_within,
    within_caps,
)
from nemo_assets.selection.traits import CATEGORY

singles = st.one_of(st.none(), st.sampled_from([0.0, -0.0, 1.0, -1.0]), st.floats(width=32, allow_nan=False))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), singles, st.integers(0, 2)), max_size=80), st.booleans())
def test_the_order_is_that_of_sorting_tuples(rows, descending):
    groups = np.array([group for group, _, _ in rows], np.uint16)
    values = pl.Series([value for _, value, _ in rows], dtype=pl.Float32)
    numbers = np.array([number for _, _, number in rows], np.uint32)
    places, begins = grouped(np.arange(len(rows), dtype=np.uint32), groups, 4)
    found = sorted_within(places, begins, [by_value(values, descending), by_number(numbers)])

    def key(place):
        group, value, number = rows[place]
        return group, value is None, 0.0 if value is None else -value if descending else value, number, place

    assert found.tolist() == sorted(range(len(rows)), key=key)
    assert begins.tolist() == [sum(group < each for group, _, _ in rows) for each in range(5)]


def test_only_rows_of_the_same_group_are_compared_and_what_is_equal_goes_by_place():
    places, begins = np.array([4, 2, 3, 0, 1], np.uint32), np.array([0, 2, 2, 5])
    same = by_number(np.zeros(5, np.uint32))
    assert sorted_within(places, begins, [same, same]).tolist() == [2, 4, 0, 1, 3]
    assert sorted_within(places, begins, [same]).tolist() == [2, 4, 0, 1, 3]


def test_only_places_that_are_equal_so_far_are_asked_for_a_further_key():
    asked = []

    def second(places):
        asked.append(places.tolist())
        return places

    first = by_number(np.array([7, 5, 5, 1], np.uint32))
    sorted_within(np.arange(4, dtype=np.uint32), np.array([0, 4]), [first, second])
    assert asked == [[1, 2]]


@pytest.mark.parametrize(
    ("column", "ascending"),
    [
        (pl.Series(["b", "a", None, "c"], dtype=CATEGORY), [1, 0, 3, 2]),
        (pl.Series([0.3, 0.3 - 2**-50, None, float("nan")], dtype=pl.Float64), [1, 0, 2, 3]),
        (pl.Series([2**24 + 1, 2**24, None, -5], dtype=pl.Int32), [3, 1, 0, 2]),
        (pl.Series([True, False, None, True]), [1, 0, 3, 2]),
        (pl.Series([float("inf"), float("-inf"), float("nan"), -1.0], dtype=pl.Float32), [1, 3, 0, 2]),
    ],
)
def test_columns_of_every_type_are_sorted_by_their_values_nulls_last(column, ascending):
    places, begins = np.arange(4, dtype=np.uint32), np.array([0, 4])
    assert sorted_within(places, begins, [by_value(column)]).tolist() == ascending
    unknown = {place for place in range(4) if column.is_null()[place] or column[place] != column[place]}
    backwards = sorted_within(places, begins, [by_value(column, descending=True)]).tolist()
    assert set(backwards[4 - len(unknown) :]) == unknown
    values = [column[place] for place in backwards if place not in unknown]
    assert values == sorted(values, reverse=True)


def test_hashes_are_those_of_splitmix64():
    upper, lower = by_hash(np.array([1234567, 0], np.uint64), seed=0)
    place = np.array([0], np.uint32)
    # First output of the reference implementation (Vigna, splitmix64.c) from the state 1234567.
    assert (int(upper(place)[0]) << 32) | int(lower(place)[0]) == 6457827717110365317
    assert by_hash(np.array([1234567], np.uint64), seed=1)[0](place)[0] != upper(place)[0]


def test_places_are_counted_from_one_in_each_group():
    place, of = places_within(np.array([0, 2, 2, 5]))
    assert (place.tolist(), of.tolist()) == ([1, 2, 1, 2, 3], [2, 2, 3, 3, 3])


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([(1 << 64) - 1, 5, None, 5], dtype=pl.UInt64),
        pl.Series(["x", "y", None, "y"], dtype=CATEGORY),
        pl.Series([False, True, None, True]),
        pl.Series([-1, 7, None, 7], dtype=pl.Int32),
    ],
)
def test_equal_values_have_equal_codes_whatever_their_type(column):
    codes = codes_of_equals(column)
    assert codes[2] == -1
    assert codes[1] == codes[3] != codes[0]
    assert min(codes[0], codes[1]) == 0
    assert occurrences(codes).tolist() == [0, 0, 0, 1]
    assert codes_of_equals(column.head(0)).tolist() == occurrences(codes[:0]).tolist() == []


def test_a_row_stays_while_each_of_its_values_has_fewer_than_its_cap():
    first, second = np.array([0, 0, 1, -1, 0]), np.array([5, 6, 6, 6, -1])
    assert within_caps([first, second], [1, 1]).tolist() == [True, False, True, False, False]
    assert within_caps([first, second], [2, 1]).tolist() == [True, True, False, False, False]
    assert within_caps([first], [1]).tolist() == [True, False, True, True, False]
