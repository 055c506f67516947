"""Deviations by name, one kind at a time, and the verdict on any string."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_assets.harmony import basic_quality_flags_from_text, check_text, parse, validate

ASK = "<|start|>user<|message|>2+2?<|end|>"
THINK = "<|start|>assistant<|channel|>analysis<|message|>Easy.<|end|>"
CALL = '<|start|>assistant to=functions.f<|channel|>commentary <|constrain|>json<|message|>{"a": 1}<|call|>'
RESULT = "<|start|>functions.f to=assistant<|channel|>commentary<|message|>4<|end|>"
DONE = "<|start|>assistant<|channel|>final<|message|>4<|return|>"
SOUND = ASK + THINK + CALL + RESULT + DONE
F = {"name": "f", "parameters": {"properties": {"a": {"type": "integer"}}, "required": ["a"]}}


def names(text, tools=None):
    return [deviation.name for deviation in validate(text, tools).deviations]


@pytest.mark.parametrize(
    ("text", "name", "tag"),
    [
        (ASK + "<|start|>wizard<|message|>hi<|end|>" + DONE, "unknown_role", "dialect:unknown_role"),
        (SOUND.replace("<|channel|>final", ""), "missing_channel", "dialect:channel_less_final"),
        (SOUND.replace("<|channel|>commentary <|", " <|"), "missing_channel", "dialect:channel_less_call"),
        (SOUND.replace("<|call|>", "<|end|>"), "recipient_without_call", "dialect:recipient_without_call"),
        (SOUND.replace("Easy.<|end|>", "Easy.<|call|>"), "call_without_recipient", "dialect:call_without_recipient"),
        (SOUND.replace(CALL, ""), "tool_result_without_call", "dialect:tool_result_without_call"),
        (SOUND.replace(RESULT, RESULT * 2), "tool_result_without_call", "dialect:tool_result_without_call"),
        (
            SOUND.replace("<|start|>functions.f to", "<|start|>functions.g to"),
            "tool_result_without_call",
            "dialect:tool_result_without_call",
        ),
        (SOUND.replace("<|channel|>final", "<|channel|>"), "empty_channel", "dialect:empty_channel"),
        (SOUND.replace("final<", "final json code<"), "extra_header_words", "dialect:extra_header_words"),
    ],
)
def test_what_is_odd_has_a_name_and_a_tag_and_stays(text, name, tag):
    verdict = validate(text)
    assert [deviation.name for deviation in verdict.deviations] == [name]
    assert (verdict.fatal, verdict.tags) == (None, (tag,))
    assert verdict.flags["valid_harmony"]


@pytest.mark.parametrize(
    ("text", "name", "code"),
    [
        (ASK + " so " + DONE, "junk_between_messages", "invalid_harmony"),
        (ASK + "<|start|>assistant<|end|>" + DONE, "header_without_message", "invalid_harmony"),
        (SOUND.removesuffix("<|return|>"), "missing_terminator", "invalid_harmony"),
        (ASK + "<|start|><|channel|>final<|message|>4<|end|>" + DONE, "missing_role", "invalid_harmony"),
        (SOUND.replace("2+2?", "<|message|>"), "special_token_in_body", "special_token_in_content"),
        (DONE + SOUND, "return_before_the_end", "special_token_in_content"),
        (SOUND.replace('{"a": 1}', '{"a": NaN}'), "arguments_not_json", "invalid_tool_schema"),
    ],
)
def test_what_is_fatal_has_a_name_and_a_drop_code(text, name, code):
    verdict = validate(text)
    assert name in [deviation.name for deviation in verdict.deviations]
    assert (verdict.fatal, verdict.evidence["deviation"], verdict.tags) == (code, name, ())


def test_a_special_token_is_told_with_field_and_offset():
    body = validate(SOUND.replace("2+2?", "é🙂<|endoftext|>"))
    assert body.evidence["token"] == "<|endoftext|>"
    assert (body.evidence["field"], body.evidence["offset"]) == ("messages[0].body", 2)
    header = validate(SOUND.replace("<|channel|>final", "<|channel|>final<|channel|>final"))
    assert (header.evidence["field"], header.evidence["offset"]) == ("messages[4].header", 25)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ("<|start|>stateful_python_code_exec<|channel|>commentary<|message|>4<|end|>", []),
        ("<|start|>python to=assistant<|channel|>analysis<|message|>4<|end|>", []),
        ("<|start|>tool<|message|>4<|end|>", []),
        ("<|start|>search<|channel|>commentary<|message|>4<|end|>", ["unknown_role"]),
    ],
)
def test_a_result_is_held_against_the_calls_before_it(result, expected):
    call = "<|start|>assistant to=python<|channel|>analysis<|message|>print(4)<|call|>"
    assert names(ASK + call + result + DONE) == expected


@pytest.mark.parametrize("as_catalog_entry", [False, True])
@pytest.mark.parametrize(
    ("tool", "deviations", "valid"),
    [
        (F, [], True),
        ({"type": "function", "function": F}, [], True),
        ({**F, "parameters": {"required": ["b"]}}, ["arguments_break_schema"], False),
        ({**F, "parameters": {"type": "strange"}}, ["broken_schema"], True),
        ({**F, "parameters": None}, [], True),
        ({"name": "g"}, [], True),
    ],
)
def test_arguments_are_measured_by_the_schemas_that_are_known(tool, deviations, valid, as_catalog_entry):
    verdict = validate(SOUND, json.dumps([tool]) if as_catalog_entry else [tool])
    assert [deviation.name for deviation in verdict.deviations] == deviations
    assert verdict.flags["valid_tool_schema"] is valid
    assert verdict.fatal is None


@pytest.mark.parametrize("tools", ["", "not json", "[[", '{"name": "f"}', "[1]", "\ud800"])
def test_tools_that_are_none_judge_nothing(tools):
    assert validate(SOUND, tools).deviations == ()


@pytest.mark.parametrize(
    "arguments",
    ["[" * 5000 + "]" * 5000, "9" * 5000, '{"a": ' + "9" * 5000 + "}", '{"a": "\\ud800"}', '{"a": "\ud800"}'],
    ids=["deep", "long", "long inside", "escaped surrogate", "surrogate"],
)
def test_arguments_beyond_the_reader_are_no_fault(arguments):
    assert "arguments_not_json" not in names(SOUND.replace('{"a": 1}', arguments), [F])


marks = ["<|start|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>", "<|channel|>"]
words = ["assistant", "user", "tool", "python", "final", " json", " to=functions.f", " to=all", "{}", "é🙂"]
pieces = st.sampled_from([*marks, *words, "<|start|>assistant to=functions.f<|message|>"])


@given(st.lists(pieces | st.text(max_size=4), max_size=20).map("".join))
def test_any_string_gets_a_verdict_and_all_questions_the_same_one(text):
    verdict = validate(text, [F])
    assert "".join(message.raw for message in verdict.messages) == text
    assert [(d.message, d.at) for d in verdict.deviations if not verdict.messages[d.message].start <= d.at] == []
    assert check_text(parse(text)) == (verdict.fatal, verdict.evidence, validate(text).tags)
    assert basic_quality_flags_from_text(text)["valid_harmony"] == verdict.flags["valid_harmony"]
    assert (verdict.fatal is None) <= bool(verdict.flags["valid_harmony"] and verdict.flags["completion_nonempty"])
