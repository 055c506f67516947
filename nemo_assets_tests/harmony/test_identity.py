"""Equal content, equal digest: across templates, splits and spellings."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_assets.harmony import (
    Conversation,
    Turn,
    call,
    canonical_json,
    content_sha1,
    find_special_token,
    parse_harmony,
    render_conversation,
    sha1_text_id,
    turns_of_parsed,
)

bodies = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).filter(lambda t: find_special_token(t) is None)
tool_names = st.sampled_from(["stateful_python_code_exec", "python", "search", "functions.search", "a.b-c:d"])
arguments = st.dictionaries(st.sampled_from(["code", "q", "n"]), bodies | st.integers() | st.none(), max_size=2)
turns = st.one_of(
    st.builds(lambda role, body: Turn(role, body), st.sampled_from(["system", "user"]), bodies),
    st.builds(lambda body, channel: Turn("assistant", body, channel), bodies, st.sampled_from(["analysis", "final"])),
    st.builds(call, tool_names, arguments),
    st.builds(lambda body, tool: Turn("tool", body, tool=tool), bodies, st.none() | tool_names),
)


@pytest.mark.parametrize("template", ["harmony-1", "math-v2"])
@given(turns=st.lists(turns, max_size=6))
def test_the_digest_survives_rendering_and_reading_back(template, turns):
    conversation = Conversation(tuple(turns))
    text = render_conversation(conversation, template).text
    assert content_sha1(turns_of_parsed(parse_harmony(text))) == content_sha1(turns)


def test_fields_are_length_prefixed_and_system_turns_do_not_count():
    turns = [Turn("system", "x"), Turn("user", "é"), Turn("assistant", "", "analysis"), call("f", {"a": 1})]
    expected = b'4:user--2:\xc3\xa99:assistant8:analysis-0:9:assistant10:commentary1:f8:{"a": 1}'
    assert content_sha1(turns) == hashlib.sha1(expected).hexdigest()


def test_one_interpreter_under_all_its_names_and_wrappings():
    code = 'print("é")'
    same = [
        (call("stateful_python_code_exec", {"code": code}),),
        (call("python", {"code": code}),),
        turns_of_parsed(parse_harmony(f"<|start|>assistant to=python<|channel|>analysis<|message|>{code}<|call|>")),
        turns_of_parsed(
            parse_harmony(f"<|start|>assistant<|channel|>analysis to=python code<|message|>{code}<|call|>")
        ),
    ]
    assert len({content_sha1(turns) for turns in same}) == 1
    assert content_sha1([call("python", {"code": code, "timeout": 1})]) != content_sha1(same[0])


def test_an_answer_without_channel_is_an_answer_and_reasoning_is_not():
    bare = turns_of_parsed(parse_harmony("<|start|>assistant<|message|>4<|return|>"))
    assert content_sha1(bare) == content_sha1([Turn("assistant", "4", "final")])
    assert content_sha1(bare) != content_sha1([Turn("assistant", "4", "analysis")])


def test_who_answers_for_a_tool_does_not_count():
    assert content_sha1([Turn("tool", "4", tool="python")]) == content_sha1([Turn("tool", "4")])


def test_text_id_is_the_sha1_of_the_bytes():
    assert sha1_text_id("é") == hashlib.sha1(b"\xc3\xa9").hexdigest()


def test_canonical_json_is_sorted_exact_and_as_deep_as_its_value():
    value = {"b": [2**80, 1.0], "a": {"é": None}}
    assert canonical_json(value) == '{"a": {"é": null}, "b": [1208925819614629174706176, 1.0]}'
    deep: object = {"z": 1, "a": [], "m": [True, "x", {}]}
    shallow = json.dumps(deep, sort_keys=True)
    for _ in range(3000):
        deep = {"k": [0, deep]}
    assert canonical_json(deep) == '{"k": [0, ' * 3000 + shallow + "]}" * 3000


def test_a_call_nested_beyond_the_reader_keeps_its_text():
    body = "[" * 3000 + "]" * 3000
    text = f"<|start|>assistant to=functions.f<|channel|>commentary json<|message|>{body}<|call|>"
    (turn,) = turns_of_parsed(parse_harmony(text))
    assert turn == Turn("assistant", body, "commentary", "f", None)
