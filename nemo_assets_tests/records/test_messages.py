"""Chat messages of every kind that occurs, to turns."""

import json
from typing import Any

import pytest

from nemo_assets.errors import Rejected
from nemo_assets.harmony import Turn
from nemo_assets.records.messages import turns_of
from nemo_assets_tests.building import (
    MATH,
    MCQ,
    TOOL_CALLING,
    agentic,
    assistant,
    math_v2,
    normalize_one,
    science,
    user,
)
from nemo_assets_tests.building import tool_call as call


def turns(*messages: Any) -> list[Turn]:
    return list(turns_of(list(messages), []))


def refusal(messages: Any) -> tuple[str, dict[str, Any]]:
    with pytest.raises(Rejected) as refused:
        turns_of(messages, [])
    return refused.value.code, refused.value.evidence


def called(name: str, body: str, arguments: Any) -> Turn:
    return Turn("assistant", body, "commentary", name, arguments)


@pytest.mark.parametrize(
    ("content", "body"),
    [
        ("\n\ntext \u2028", "\n\ntext \u2028"),
        ("", ""),
        (None, ""),
        (True, "true"),
        (7, "7"),
        (1.5, "1.5"),
        ({"b": 1, "a": "é"}, '{"a": "é", "b": 1}'),  # sorted keys, no escapes
        ([{"type": "text"}, None], '[{"type": "text"}, null]'),
        ({}, "{}"),
        ([], "[]"),
    ],
)
def test_content_of_every_json_type_becomes_text(content, body):
    assert turns({"role": "tool", "content": content}) == [Turn("tool", body)]
    assert turns(user(content)) == [Turn("user", body)]


def test_a_message_without_content_key_is_empty():
    assert turns({"role": "user"}) == [Turn("user", "")]


@pytest.mark.parametrize("reasoning", [None, "", " \n\t"])
def test_blank_reasoning_is_no_reasoning(reasoning):
    assert turns(assistant("a", reasoning)) == [Turn("assistant", "a", "final")]
    assert turns({"role": "assistant", "content": "a"}) == [Turn("assistant", "a", "final")]


def test_reasoning_comes_before_content_and_keeps_its_blanks():
    assert turns(assistant("\na ", "\nr ")) == [
        Turn("assistant", "\nr ", "analysis"),
        Turn("assistant", "\na ", "final"),
    ]
    assert turns(assistant(" ", {"step": 1})) == [Turn("assistant", '{"step": 1}', "analysis")]


@pytest.mark.parametrize("none", [{}, {"tool_calls": None}, {"tool_calls": []}])
def test_no_tool_calls_is_written_in_three_ways(none):
    assert turns(assistant("a", None, **none)) == [Turn("assistant", "a", "final")]


@pytest.mark.parametrize(
    ("arguments", "body", "value"),
    [
        ({"b": 1, "a": 2}, '{"a": 2, "b": 1}', {"a": 2, "b": 1}),
        ('{"b":1,  "a":2}', '{"a": 2, "b": 1}', {"a": 2, "b": 1}),
        ("{}", "{}", {}),
        (None, "null", None),
        ('"text"', '"text"', "text"),
        ('{"n": NaN, "i": 18446744073709551616}', '{"i": 18446744073709551616, "n": null}', {"i": 2**64, "n": None}),
    ],
)
def test_arguments_are_an_object_or_json_text_of_one(arguments, body, value):
    assert turns(assistant("", None, tool_calls=[call("f", arguments)])) == [called("f", body, value)]


@pytest.mark.parametrize("broken", ["", "{", '{"a": }', "{'a': 1}", '"\\ud800"'])
def test_arguments_that_are_no_json_are_refused_with_the_tool(broken):
    code, evidence = refusal([user(), assistant("", None, tool_calls=[call("f", broken)])])
    assert (code, evidence["reason"]) == ("invalid_tool_schema", "arguments_are_no_json")
    assert (evidence["tool"], evidence["message"]) == ("f", 1)
    assert evidence["detail"]


@pytest.mark.parametrize(
    "odd", ["f", {}, {"function": None}, {"function": {"name": " "}}, {"function": {"name": 3}}, None]
)
def test_a_call_that_names_no_function_is_refused(odd):
    assert refusal([assistant("", None, tool_calls=[odd])]) == (
        "invalid_tool_schema",
        {"reason": "call_names_no_function", "message": 0},
    )


@pytest.mark.parametrize("odd", [{"id": "x"}, "calls", 1])
def test_tool_calls_that_are_no_list_are_refused(odd):
    assert refusal([assistant("", None, tool_calls=odd)])[1]["reason"] == "tool_calls_is_no_list"


def test_parallel_calls_become_turns_in_order_and_results_find_their_tools_by_id():
    message = assistant("", None, tool_calls=[call("f", {}, "1", index=1), call(" g ", {}, "2", index=0)])
    results = [{"role": "tool", "tool_call_id": "2", "content": "from g"}, {"role": "tool", "tool_call_id": "1"}]
    assert turns(message, *results) == [
        called("f", "{}", {}),
        called("g", "{}", {}),
        Turn("tool", "from g", tool="g"),
        Turn("tool", "", tool="f"),
    ]


def test_a_result_may_name_its_tool_or_leave_it_unknown():
    first = assistant("", None, tool_calls=[call("f", {}, "1")])
    named = {"role": "tool", "content": "r", "tool_call_id": "1", "name": "g"}
    assert turns(first, named)[-1] == Turn("tool", "r", tool="g")
    assert turns({"role": "tool", "content": "r"})[-1] == Turn("tool", "r")
    assert turns(first, {"role": "tool", "content": "r", "tool_call_id": "2"})[-1] == Turn("tool", "r")
    assert turns({"role": "function", "content": "r", "name": "g"}) == [Turn("tool", "r", tool="g")]


def test_results_without_name_and_id_answer_the_calls_in_order():
    calls = assistant("", None, tool_calls=[call("f", {}, "1"), call("g", {}, "2"), call("h", {}, "3")])
    bare, later = {"role": "tool", "content": "r"}, {"role": "tool", "content": "r", "tool_call_id": "1"}
    tags: list[str] = []
    found = turns_of([calls, later, bare, bare, bare], tags)
    assert [turn.tool for turn in found] == ["f", "g", "h", "f", "g", "h", None]
    assert tags == ["dialect:tool_result_paired_by_order"]
    # A call that nobody answered before the assistant speaks again is not answered later.
    assert turns(calls, bare, assistant("b" * 32), bare)[-1] == Turn("tool", "r")


def test_an_id_used_again_names_the_later_call():
    again = [assistant("", None, tool_calls=[call(name, {}, "1")]) for name in ("f", "g")]
    assert turns(*again, {"role": "tool", "content": "r", "tool_call_id": "1"})[-1].tool == "g"


def test_consecutive_turns_of_one_role_stay_apart_and_an_empty_system_turn_stays():
    assert turns(
        {"role": "system", "content": ""}, user("a"), user("b"), assistant("c", None), assistant("d", None)
    ) == [
        Turn("system", ""),
        Turn("user", "a"),
        Turn("user", "b"),
        Turn("assistant", "c", "final"),
        Turn("assistant", "d", "final"),
    ]
    assert turns({"role": "developer", "content": "x"}) == [Turn("system", "x")]


def test_an_empty_system_turn_leaves_no_trace_in_the_text():
    messages = [user("Hello, what is it?"), assistant("An answer.", None)]
    without = normalize_one(science(messages=messages), MCQ)
    empty = normalize_one(science(messages=[{"role": "system", "content": " "}, *messages]), MCQ)
    assert without["text"] == empty["text"]


def test_content_beside_calls_is_commentary_and_math_v2_has_no_place_for_it():
    messages = [user(), assistant("I compute.", None, tool_calls=[call("python", {"code": "1"})]), assistant()]
    assert turns(messages[1])[0] == Turn("assistant", "I compute.", "commentary")
    harmony, dialect = normalize_one(science(messages=messages), MCQ), normalize_one(math_v2(messages=messages), MATH)
    assert "<|start|>assistant<|channel|>commentary<|message|>I compute.<|end|>" in harmony["text"]
    assert "I compute." not in dialect["text"]
    assert "dialect:content_beside_calls" in dialect["quality_tags"]
    assert "dialect:content_beside_calls" not in harmony["quality_tags"]
    assert harmony["content_sha1"] == dialect["content_sha1"]  # the content is there, the rendering lacks it


@pytest.mark.parametrize("write", [json.dumps, repr], ids=["json", "python"])
def test_messages_as_text_are_read_and_tagged(write):
    plain, text = agentic(), agentic()
    text["messages"] = write(plain["messages"])
    row, expected = normalize_one(text, TOOL_CALLING), normalize_one(plain, TOOL_CALLING)
    assert row.pop("quality_tags") == ["dialect:messages_as_text", *expected.pop("quality_tags")]
    assert row == expected


@pytest.mark.parametrize(
    "messages", [None, [], {}, "", "[]", "null", "no list", "[1, ", "__import__('os')", 3, "[" * 50_000]
)
def test_where_there_are_no_messages_the_record_is_refused(messages):
    assert refusal(messages)[0] == "no_messages"


@pytest.mark.parametrize(
    "message",
    [{"role": "robot"}, {"role": None}, {"content": "x"}, {"role": ["user"]}, {"role": "User"}, "x", None, []],
)
def test_a_message_without_a_usable_role_is_refused_with_its_place(message):
    code, evidence = refusal([user(), message])
    assert (code, evidence["reason"], evidence["message"]) == ("invalid_harmony", "unknown_role", 1)
    assert isinstance(evidence["role"], str)
