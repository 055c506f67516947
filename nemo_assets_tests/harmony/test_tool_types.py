"""Schemas as real data has them. Layout rules are compared with the official library in `test_official`."""

from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st

from nemo_assets.harmony import developer_content, typescript_of
from nemo_assets.harmony.tool_types import compact_json

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
keywords = st.sampled_from(
    ["type", "properties", "required", "items", "oneOf", "description", "enum", "default", "examples", "nullable"]
)
odd_schemas = st.recursive(json_values, lambda inner: st.dictionaries(keywords, inner, max_size=6), max_leaves=20)


def test_parameters_without_a_type_are_any_as_in_the_official_library():
    assert typescript_of({"properties": {"a": {"type": "string"}}, "required": ["a"]}) == "any"


def test_an_object_lists_its_properties_in_the_order_of_the_source():
    schema = {
        "type": "object",
        "required": ["b"],
        "properties": {
            "b": {"type": "array", "items": {"type": "integer"}, "description": "Sizes."},
            "a": {"type": "string", "enum": ["x", "y"], "default": "x"},
        },
    }
    assert typescript_of(schema) == '{\n// Sizes.\nb: number[],\na?: "x" | "y", // default: x\n}'


def test_numbers_are_spelled_as_serde_spells_them():
    assert compact_json([1e16, 1e15, 1e-5, 1e-6, 1.5e-7, -0.0, 0.1, 2**64, 2**64 - 1, 123456789012345678]) == (
        "[1e16,1000000000000000.0,0.00001,1e-6,1.5e-7,-0.0,0.1,1.8446744073709552e19,18446744073709551615,"
        "123456789012345678]"
    )


@given(odd_schemas)
def test_no_schema_however_odd_raises(schema):
    assert isinstance(typescript_of(schema), str)


def test_nesting_beyond_the_declared_depth_is_any():
    schema, default, union, alternating = {"type": "string"}, [], {"type": "string"}, {"type": "string"}
    for _ in range(5000):
        schema = {"type": "object", "properties": {"a": schema}}
        default = [default]
        union = {"oneOf": [union]}
        alternating = {"type": "object", "properties": {"a": {"oneOf": [alternating]}}}
    deep = {"type": "object", "properties": {"d": {"type": "string", "default": default}}}
    frame, used = sys._getframe(), 0
    while frame := frame.f_back:
        used += 1
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(used + 400)  # a stage runs below some frames of its own; what is left must do
    try:
        for each in (schema, deep, union, alternating):
            assert "any" in typescript_of(each)
    finally:
        sys.setrecursionlimit(limit)


def test_tools_without_description_or_parameters_are_listed():
    section = developer_content(None, [{"name": "f"}, {"name": "g", "description": None, "parameters": None}])
    assert section == (
        "# Tools\n\n## functions\n\nnamespace functions {\n\ntype f = () => any;\n\ntype g = () => any;\n\n"
        "} // namespace functions"
    )
