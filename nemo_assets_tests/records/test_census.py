"""Types, nulls, examples and nested paths of records, counted within bounds."""

import functools
import json
import math
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.records import census as census_module
from nemo_assets.records.census import (
    EXAMPLE_CHARACTERS,
    MAX_COLUMNS,
    MAX_DEPTH,
    MAX_KEYS,
    Census,
    load_census,
    mixed_paths,
)


def counted(*records: dict[str, Any]) -> Census:
    census = Census()
    for record in records:
        census.add(record)
    return census


def types_of(paths: dict[str, Any]) -> dict[str, Any]:
    return {path: counts["types"] for path, counts in paths.items()}


def test_a_column_is_counted_as_present_null_and_absent_and_by_type() -> None:
    columns = counted({"a": "x"}, {"a": None, "b": 1}, {"a": ["y"], "b": 0.5}, {"b": True}).columns()
    assert columns["a"] == {
        "present": 3,
        "null": 1,
        "null_rate": 0.5,  # null once, absent once, of four
        "types": {"list": 1, "null": 1, "string": 1},
        "examples": {"string": '"x"'},
        "paths": {"a[]": {"present": 1, "null_rate": 0.0, "types": {"string": 1}, "examples": {"string": '"y"'}}},
    }
    assert columns["b"]["types"] == {"boolean": 1, "float": 1, "integer": 1}  # true is no integer
    assert columns["b"]["examples"] == {"boolean": "true", "float": "0.5", "integer": "1"}
    assert columns["b"]["null_rate"] == 0.25


def test_nested_paths_follow_keys_and_list_elements() -> None:
    call = {"function": {"name": "f", "arguments": {"x": 1}}}
    record = {
        "messages": [{"role": "user", "content": "q"}, {"role": "tool", "content": {}, "tool_calls": [call, call]}]
    }
    paths = counted(record).columns()["messages"]["paths"]
    assert types_of(paths) == {
        "messages[]": {"object": 2},
        "messages[].role": {"string": 2},
        "messages[].content": {"object": 1, "string": 1},
        "messages[].tool_calls": {"list": 1},
        "messages[].tool_calls[]": {"object": 2},
        "messages[].tool_calls[].function": {"object": 2},
        "messages[].tool_calls[].function.name": {"string": 2},
        "messages[].tool_calls[].function.arguments": {"object": 2},
        "messages[].tool_calls[].function.arguments.x": {"integer": 2},
    }
    assert paths["messages[].tool_calls"]["null_rate"] == 0.5  # one of two messages has it
    assert paths["messages[].role"]["examples"] == {"string": '"user"'}


def test_the_null_rate_of_list_elements_is_over_the_elements() -> None:
    paths = counted({"a": [None, 1, 2]}, {"a": [None]}, {}).columns()["a"]["paths"]
    assert (paths["a[]"]["null_rate"], paths["a[]"]["types"]) == (0.5, {"integer": 2, "null": 2})


def test_mixed_paths_overlook_null_and_the_two_kinds_of_number() -> None:
    columns = counted({"a": 1, "b": {"c": "x"}}, {"a": 0.5, "b": {"c": 3}}, {"a": None, "b": "{}"}).columns()
    assert mixed_paths(columns) == ["b", "b.c"]


def test_keys_are_quoted_where_a_path_would_be_misread() -> None:
    paths = counted({"a": {"b.c": 1, "{*}": 2, "": 3, "größe": 4}}).columns()["a"]["paths"]
    assert sorted(paths) == ['a.""', 'a."b.c"', 'a."{*}"', "a.größe"]


def test_long_keys_are_told_apart_without_being_kept() -> None:
    census = counted({"x" * 1_000_000: 1, "x" * 999_999: 2}, {"x" * 999_999: 3})
    assert sorted(column["present"] for column in census.columns().values()) == [1, 2]
    assert len(census.dump()) < 1_000
    assert load_census(census.dump()).columns() == census.columns()


@pytest.mark.parametrize(
    ("value", "example"),
    [
        ("é" * EXAMPLE_CHARACTERS, f'"{"é" * EXAMPLE_CHARACTERS}"'),
        ("é" * (EXAMPLE_CHARACTERS + 1), f'"{"é" * EXAMPLE_CHARACTERS}"…'),
        ('say "no"\n', '"say \\"no\\"\\n"'),
        (1 << 64, "18446744073709551616"),
        (-(1 << 400_000), "-2^400000…"),  # whose digits nobody would wait for
        (1e300, "1e+300"),
        (b"\x00\xff", "00ff"),
    ],
    ids=["longest", "longer", "quotes", "big", "huge", "float", "bytes"],
)
def test_an_example_is_short_and_shows_the_value_as_json(value: Any, example: str) -> None:
    assert list(counted({"a": value}).columns()["a"]["examples"].values()) == [example]


def test_a_map_is_folded_only_when_it_has_more_keys_than_a_schema() -> None:
    at_the_cap: list[dict[str, Any]] = [{"arguments": {f"k{n}": n}} for n in range(MAX_KEYS)]
    one_more = [*at_the_cap, {"arguments": {"another": {"x": "text"}}}]
    assert len(counted(*at_the_cap).columns()["arguments"]["paths"]) == MAX_KEYS
    assert counted(*one_more).columns()["arguments"]["paths"] == {
        "arguments.{*}": {
            "present": MAX_KEYS + 1,
            "null_rate": None,
            "types": {"integer": MAX_KEYS, "object": 1},
            "examples": {"integer": "0"},
        },
        "arguments.{*}.x": {
            "present": 1,
            "null_rate": 0.0,
            "types": {"string": 1},
            "examples": {"string": '"text"'},
        },
    }


def test_too_many_columns_become_one_without_a_null_rate() -> None:
    many = MAX_COLUMNS + 1
    (column,) = counted({f"c{n}": 1 for n in range(many)}).columns().values()
    assert (column["present"], column["null"], column["null_rate"], column["paths"]) == (many, 0, None, {})


def test_nothing_below_the_depth_limit_is_looked_into() -> None:
    value: Any = "deep"
    for _ in range(MAX_DEPTH):  # lists inside each other; the text lies one step below the limit
        value = [value]
    paths = counted({"a": value}).columns()["a"]["paths"]
    last = "a" + "[]" * (MAX_DEPTH - 1)
    assert len(paths) == MAX_DEPTH  # one a list below the first, and the end
    assert paths[last]["types"] == paths[f"{last}…"]["types"] == {"list": 1}


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"k": value}], ids=["lists", "objects"])
def test_a_deeper_value_takes_no_more_room(wrap: Callable[[Any], Any]) -> None:
    deep: Any = functools.reduce(lambda value, _: wrap(value), range(MAX_DEPTH), "deep")
    deepest: Any = functools.reduce(lambda value, _: wrap(value), range(5_000), "deep")
    assert counted({"a": deep}).dump() == counted({"a": deepest}).dump()


def test_a_file_that_is_no_census_is_refused() -> None:
    for data in (b"", b"[]", b'{"objects": 1}', b'{"objects": 1, "time": 0, "columns": {"each": {"a": 1}}}'):
        with pytest.raises(ValueError, match="no census"):
            load_census(data)


# What a census is, said plainly: all values that stand at a path, in file order, path by path. It takes the memory of
# all records and three passes over them, so only tests can afford it.

NAMES = {
    str: "string",
    int: "integer",
    float: "float",
    bool: "boolean",
    type(None): "null",
    list: "list",
    dict: "object",
}


def expected_columns(records: list[dict[str, Any]]) -> dict[str, Any]:
    columns = {}
    for name, values in by_key(records, census_module.MAX_COLUMNS).items():
        rate = None if name == "{*}" else round(1 - sum(v is not None for v in values) / len(records), 6)
        paths = dict(sorted(expected_paths(name, values, 1).items()))
        columns[name] = {"null": values.count(None), "paths": paths, **expected(values, rate)}
    return columns


def expected_paths(path: str, values: list[Any], depth: int) -> dict[str, Any]:
    objects, lists = ([v for v in values if type(v) is kind] for kind in (dict, list))
    if depth == census_module.MAX_DEPTH:
        unseen = Counter(NAMES[type(v)] for v in (*objects, *lists))
        return {f"{path}…": {"present": unseen.total(), "types": dict(unseen)}} if unseen else {}
    found = {}
    elements = [v for each in lists for v in each]
    if elements:
        found[f"{path}[]"] = expected(elements, round(elements.count(None) / len(elements), 6))
        found |= expected_paths(f"{path}[]", elements, depth + 1)
    for name, below in by_key(objects, census_module.MAX_KEYS).items():
        rate = None if name == "{*}" else round(1 - sum(v is not None for v in below) / len(objects), 6)
        found[f"{path}.{name}"] = expected(below, rate)
        found |= expected_paths(f"{path}.{name}", below, depth + 1)
    return found


def expected(values: list[Any], rate: float | None) -> dict[str, Any]:
    examples: dict[str, str] = {}
    for value in values:
        if not isinstance(value, dict | list | None):
            examples.setdefault(NAMES[type(value)], json.dumps(value, ensure_ascii=False))
    types = dict(Counter(NAMES[type(value)] for value in values))
    return {"present": len(values), "null_rate": rate, "types": types, "examples": examples}


def by_key(objects: list[dict[str, Any]], limit: int) -> dict[str, list[Any]]:
    keys = {key for each in objects for key in each}
    if len(keys) > limit:
        return {"{*}": [value for each in objects for value in each.values()]}
    return {key: [each[key] for each in objects if key in each] for key in keys}


# Limits so small that few keys and levels reach them, and values of which hardly two are equal.
SMALL = {"MAX_COLUMNS": 5, "MAX_KEYS": 3, "MAX_DEPTH": 4}
KEYS = st.integers(0, 5).map(lambda n: f"k{n}")
SCALARS = st.none() | st.booleans() | st.integers(0, 1 << 40) | st.text("ab", max_size=9) | st.floats(0, 1)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=16,
)
RECORDS = st.lists(st.dictionaries(KEYS, VALUES, max_size=4), min_size=1, max_size=8)


@settings(max_examples=300, deadline=None)
@given(records=RECORDS, cuts=st.lists(st.integers(0, 8), max_size=3))
def test_it_is_the_plain_count_however_the_records_are_cut(records: list[dict[str, Any]], cuts: list[int]) -> None:
    with patch.multiple(census_module, **SMALL):
        plain = expected_columns(records)
        assert counted(*records).columns() == plain
        total = Census()
        for start, end in pairwise([0, *sorted(cuts), len(records)]):
            total.merge(load_census(counted(*records[start:end]).dump()))
        assert (total.objects, total.columns()) == (len(records), plain)
        assert load_census(total.dump()).columns() == plain


@settings(max_examples=150, deadline=None)
@given(records=RECORDS, cut=st.integers(0, 8))
def test_a_loaded_census_goes_on_counting(records: list[dict[str, Any]], cut: int) -> None:
    with patch.multiple(census_module, **SMALL):
        census = load_census(counted(*records[:cut]).dump())
        for record in records[cut:]:
            census.add(record)
        assert census.columns() == expected_columns(records)


@settings(max_examples=20, deadline=None)
@given(records=RECORDS, seed=st.integers(0, 1 << 60))
def test_it_is_the_plain_count_at_its_real_limits(records: list[dict[str, Any]], seed: int) -> None:
    hostile = [
        record | {"map": {f"m{seed + i}": {f"x{n * i}": n for i in range(40)} for i in range(n * 20, n * 20 + 20)}}
        for n, record in enumerate(records)
    ]
    assert counted(*hostile).columns() == expected_columns(hostile)


def test_the_same_records_give_the_same_bytes_and_no_text_beyond_its_examples() -> None:
    records = [{"uuid": f"u{n}", "text": "x" * 100_000, "tags": ["a", None, n], "score": math.pi} for n in range(5)]
    assert counted(*records).dump() == counted(*records).dump()
    assert len(counted(*records).dump()) < 1_000
