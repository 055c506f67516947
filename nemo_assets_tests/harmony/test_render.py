"""Headers, terminators, offsets, and what text cannot hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_assets.errors import Rejected
from nemo_assets.harmony import HarmonyError, Message, find_special_token, render_messages

CALL = Message("assistant", "{}", "commentary", "functions.f", "<|constrain|>json")
FINAL = Message("assistant", "4", "final")
USER = Message("user", "hi")


def test_recipient_stands_before_the_channel_and_the_content_type_after_it():
    assert (
        render_messages([CALL], closing="none").text
        == "<|start|>assistant to=functions.f<|channel|>commentary <|constrain|>json<|message|>{}<|call|>"
    )


def test_a_tool_is_written_by_its_name_and_a_speaker_after_the_role():
    messages = [Message("tool", "1", name="functions.f"), Message("user", "hi", name="alice")]
    assert (
        render_messages(messages, closing="none").text
        == "<|start|>functions.f<|message|>1<|end|><|start|>user:alice<|message|>hi<|end|>"
    )


@pytest.mark.parametrize(
    ("closing", "last", "terminator"),
    [
        ("dialect", FINAL, "<|return|>"),
        ("dialect", USER, "<|return|>"),
        ("dialect", CALL, "<|call|>"),
        ("training", FINAL, "<|return|>"),
        ("training", Message("assistant", "hm", "analysis"), "<|return|>"),
        ("training", USER, "<|end|>"),
        ("training", CALL, "<|call|>"),
        ("none", FINAL, "<|end|>"),
        ("none", CALL, "<|call|>"),
    ],
)
def test_the_last_message_ends_as_the_closing_says_and_no_other_does(closing, last, terminator):
    text = render_messages([FINAL, last], closing=closing).text
    assert text.endswith(terminator)
    assert text.count("<|return|>") == (terminator == "<|return|>")
    assert text.startswith("<|start|>assistant<|channel|>final<|message|>4<|end|>")


bodies = st.text(max_size=20).filter(lambda body: find_special_token(body) is None)


@given(
    st.lists(
        st.builds(lambda role, body: Message(role, body, "final"), st.sampled_from(["user", "assistant"]), bodies),
        max_size=5,
    )
)
def test_offsets_are_code_points_of_the_text(messages):
    rendered = render_messages(messages, closing="training")
    position = 0
    for message, placed in zip(messages, rendered.messages, strict=True):
        assert placed.start == position
        assert rendered.text[placed.start : placed.body_start] == f"<|start|>{message.role}<|channel|>final<|message|>"
        assert rendered.text[placed.body_start : placed.body_end] == message.body
        assert rendered.text[placed.body_end : placed.end] in ("<|end|>", "<|return|>")
        position = placed.end
    assert position == len(rendered.text)


@pytest.mark.parametrize(
    "token",
    ["<|start|>", "<|return|>", "<|endoftext|>", "<|endofprompt|>", "<|refusal|>", "<|reserved_200013|>"],
)
def test_a_special_token_in_a_body_is_rejected_and_named(token):
    with pytest.raises(Rejected) as caught:
        render_messages([USER, Message("user", f"a <| {token} b")], closing="none")
    assert caught.value.code == "special_token_in_content"
    assert caught.value.evidence == {"token": token, "field": "messages[1].body", "offset": 5}


def test_what_only_looks_like_a_special_token_stays():
    body = "<|x|> <|end |> <| end|> |>"
    assert body in render_messages([Message("user", body)], closing="none").text


@pytest.mark.parametrize(
    "message",
    [
        Message("assistant", "{}", "commentary", "functions.get weather"),
        Message("assistant", "", "fi nal"),
        Message("assistant", "", ""),
        Message("tool", "1"),
        Message("tool", "1", name="имя"),
        Message("tool", "1", name="user"),
        Message("tool", "1", name="assistant:bob"),
        Message("user", "", content_type="a b"),
    ],
    ids=repr,
)
def test_a_header_that_would_read_back_as_something_else_is_rejected(message):
    with pytest.raises(Rejected) as caught:
        render_messages([message], closing="none")
    assert caught.value.code == "invalid_harmony"
    assert set(caught.value.evidence) == {"header", "field"}


@pytest.mark.parametrize(
    ("message", "field", "offset"),
    [
        (Message("assistant", "{}", "commentary", "functions.f<|message|>"), "recipient", 11),
        (Message("tool", "1", name="<|call|>"), "name", 0),
        (Message("assistant", "1", "a<|end|>"), "channel", 1),
        (Message("assistant", "1", content_type="<|constrain|>json<|end|>"), "content_type", 17),
        (Message("user", "é🙂<|end|>"), "body", 2),
    ],
)
def test_a_special_token_is_told_with_its_field_and_offset(message, field, offset):
    with pytest.raises(Rejected) as caught:
        render_messages([USER, message], closing="none")
    assert caught.value.code == "special_token_in_content"
    assert (caught.value.evidence["field"], caught.value.evidence["offset"]) == (f"messages[1].{field}", offset)


def test_a_role_nobody_has_is_an_error_of_the_program():
    with pytest.raises(HarmonyError) as caught:
        render_messages([USER, Message("us\ner", "")], closing="none")
    assert (caught.value.message_index, caught.value.field) == (1, "role")
