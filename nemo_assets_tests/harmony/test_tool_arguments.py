"""Arguments against schemas, sound and broken."""

from __future__ import annotations

import pytest

from nemo_assets.harmony import arguments_match

TOOL = {"parameters": {"properties": {"a": {"type": "integer"}}, "required": ["a"]}}


@pytest.mark.parametrize(("arguments", "expected"), [({"a": 2**80}, True), ({"a": "1"}, False), ({}, False)])
def test_arguments_are_measured_by_the_schema(arguments, expected):
    assert arguments_match(TOOL, arguments) is expected


def test_a_tool_without_parameters_takes_anything():
    assert arguments_match({"name": "f"}, {"a": 1}) is True


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "strange"},
        {"type": "object", "properties": {"a": {"type": "float"}}},
        {"$ref": "http://example.invalid/schema.json"},
        {"$ref": "file:///etc/hostname"},
        {"pattern": "("},
        "a string",
        ["a", "list"],
    ],
    ids=repr,
)
def test_a_schema_that_cannot_judge_gives_no_verdict(parameters):
    assert arguments_match({"parameters": parameters}, {"a": 1}) is None


def test_nesting_beyond_the_validator_gives_no_verdict():
    deep: object = {}
    schema: object = {"type": "object"}
    for _ in range(900):
        deep = {"a": deep}
        schema = {"properties": {"a": schema}}
    assert arguments_match({"parameters": {"type": "object"}}, deep) in (True, None)
    assert arguments_match({"parameters": schema}, {"a": 1}) in (True, None)
