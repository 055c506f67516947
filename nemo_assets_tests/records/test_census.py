"""Types, nulls and nested paths of records, counted within bounds."""

import json
import pickle
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.records.census import MAX_COLUMNS, MAX_DEPTH, MAX_KEYS, Census, mixed_paths


def counted(*records: dict[str, Any]) -> Census:
    census = Census()
    for record in records:
        census.add(record)
    return census


def test_a_column_is_counted_as_present_null_and_absent_and_by_type() -> None:
    columns = counted({"a": "x"}, {"a": None, "b": 1}, {"a": ["y"], "b": 0.5}, {"b": True}).columns()
    assert columns["a"] == {
        "present": 3,
        "null": 1,
        "null_rate": 0.5,  # null once, absent once, of four
        "types": {"list": 1, "null": 1, "string": 1},
        "paths": {"a[]": {"present": 1, "types": {"string": 1}}},
    }
    assert columns["b"]["types"] == {"boolean": 1, "float": 1, "integer": 1}  # true is no integer
    assert columns["b"]["null_rate"] == 0.25


def test_nested_paths_follow_keys_and_list_elements() -> None:
    call = {"function": {"name": "f", "arguments": {"x": 1}}}
    record = {
        "messages": [{"role": "user", "content": "q"}, {"role": "tool", "content": {}, "tool_calls": [call, call]}]
    }
    assert counted(record).columns()["messages"]["paths"] == {
        "messages[]": {"present": 2, "types": {"object": 2}},
        "messages[].role": {"present": 2, "types": {"string": 2}},
        "messages[].content": {"present": 2, "types": {"object": 1, "string": 1}},
        "messages[].tool_calls": {"present": 1, "types": {"list": 1}},
        "messages[].tool_calls[]": {"present": 2, "types": {"object": 2}},
        "messages[].tool_calls[].function": {"present": 2, "types": {"object": 2}},
        "messages[].tool_calls[].function.name": {"present": 2, "types": {"string": 2}},
        "messages[].tool_calls[].function.arguments": {"present": 2, "types": {"object": 2}},
        "messages[].tool_calls[].function.arguments.x": {"present": 2, "types": {"integer": 2}},
    }


def test_mixed_paths_overlook_null_and_the_two_kinds_of_number() -> None:
    columns = counted({"a": 1, "b": {"c": "x"}}, {"a": 0.5, "b": {"c": 3}}, {"a": None, "b": "{}"}).columns()
    assert mixed_paths(columns) == ["b", "b.c"]


def test_keys_are_quoted_where_a_path_would_be_misread() -> None:
    paths = counted({"a": {"b.c": 1, "{*}": 2, "": 3, "größe": 4}}).columns()["a"]["paths"]
    assert sorted(paths) == ['a.""', 'a."b.c"', 'a."{*}"', "a.größe"]


def test_a_map_is_folded_only_when_it_has_more_keys_than_a_schema() -> None:
    at_the_cap: list[dict[str, Any]] = [{"arguments": {f"k{n}": n}} for n in range(MAX_KEYS)]
    one_more = [*at_the_cap, {"arguments": {"another": {"x": "text"}}}]
    assert len(counted(*at_the_cap).columns()["arguments"]["paths"]) == MAX_KEYS
    assert counted(*one_more).columns()["arguments"]["paths"] == {
        "arguments.{*}": {"present": MAX_KEYS + 1, "types": {"integer": MAX_KEYS, "object": 1}},
        "arguments.{*}.x": {"present": 1, "types": {"string": 1}},
    }


def test_too_many_columns_become_one_without_a_null_rate() -> None:
    many = MAX_COLUMNS + 1
    columns = counted({f"c{n}": 1 for n in range(many)}).columns()
    assert columns == {"{*}": {"present": many, "null": 0, "null_rate": None, "types": {"integer": many}, "paths": {}}}


def test_nothing_below_the_depth_limit_is_looked_into() -> None:
    value: Any = "deep"
    for _ in range(MAX_DEPTH):  # lists inside each other; the text lies one step below the limit
        value = [value]
    paths = counted({"a": value}).columns()["a"]["paths"]
    last = "a" + "[]" * (MAX_DEPTH - 1)
    assert len(paths) == MAX_DEPTH  # one a list below the first, and the end
    assert paths[last] == paths[f"{last}…"] == {"present": 1, "types": {"list": 1}}


KEYS = st.integers(0, 9).map(lambda n: f"k{n}")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.just("text"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
RECORDS = st.lists(st.dictionaries(KEYS, VALUES, max_size=4), min_size=1, max_size=12)


def crowded(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records, each with a share of keys that together exceed the cap at two levels."""
    return [
        record | {"map": {f"m{n}": {f"x{n}": i} for n in range(i * 40, i * 40 + 40)}}
        for i, record in enumerate(records)
    ]


@settings(max_examples=60, deadline=None)
@given(records=RECORDS, cut=st.integers(0, 12), seed=st.integers(0, 99))
def test_neither_order_nor_division_among_workers_shows(records: list[dict[str, Any]], cut: int, seed: int) -> None:
    records = crowded(records)
    expected = json.dumps(counted(*records).columns(), sort_keys=True)
    shuffled = random.Random(seed).sample(records, len(records))
    first, second = counted(*shuffled[:cut]), counted(*shuffled[cut:])
    for whole, part in ((first, second), (second, first)):
        merged = pickle.loads(pickle.dumps(whole))
        merged.merge(pickle.loads(pickle.dumps(part)))
        assert merged.objects == len(records)
        assert json.dumps(merged.columns(), sort_keys=True) == expected


@settings(max_examples=60, deadline=None)
@given(records=RECORDS)
def test_types_add_up_and_agree_with_a_plain_count(records: list[dict[str, Any]]) -> None:
    columns = counted(*records).columns()
    for name, column in columns.items():
        present = [record[name] for record in records if name in record]
        assert (column["present"], column["null"]) == (len(present), present.count(None))
        assert all(sum(path["types"].values()) == path["present"] for path in (column, *column["paths"].values()))
        elements = [each for value in present if isinstance(value, list) for each in value]
        assert column["paths"].get(f"{name}[]", {"present": 0})["present"] == len(elements)
