"""Reading text back: nothing is lost, and what deviates has a name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_assets.harmony import parse_harmony, parse_header

pieces = st.sampled_from(
    [
        "<|start|>",
        "<|message|>",
        "<|end|>",
        "<|return|>",
        "<|call|>",
        "<|channel|>",
        "<|constrain|>",
        "<|",
        "|>",
        "<|endoftext|>",
        "assistant",
        "user",
        "to=python",
        "final",
        " ",
        "\n",
        "é🙂",
    ]
)


@given(st.lists(pieces | st.text(max_size=4), max_size=25).map("".join))
def test_no_character_is_lost_whatever_the_text(text):
    messages = parse_harmony(text)
    assert "".join(message.raw for message in messages) == text
    position = 0
    for message in messages:
        assert text[message.start : message.end] == message.raw
        assert text[message.body_start : message.body_end] == message.body
        assert text[message.body_end : message.end] == message.terminator
        assert message.start == position
        position = message.end


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("assistant", ("assistant", None, None, None, None, ())),
        ("assistant<|channel|>final", ("assistant", None, None, "final", None, ())),
        ("assistant to=python<|channel|>analysis", ("assistant", None, "python", "analysis", None, ())),
        (
            "assistant<|channel|>analysis to=python code",
            ("assistant", None, "python", "analysis", "code", ("recipient_after_channel",)),
        ),
        (
            "assistant to=functions.f<|channel|>commentary <|constrain|>json",
            ("assistant", None, "functions.f", "commentary", "<|constrain|>json", ()),
        ),
        (
            "assistant<|channel|>commentary to=functions.f<|constrain|>json",
            ("assistant", None, "functions.f", "commentary", "<|constrain|>json", ("recipient_after_channel",)),
        ),
        ("stateful_python_code_exec<|channel|>commentary", ("tool", "stateful_python_code_exec", None, "commentary")),
        ("functions.f to=assistant<|channel|>commentary", ("tool", "functions.f", "assistant", "commentary")),
        ("tool", ("tool", "tool")),
        ("user:alice", ("user", "alice")),
        ("", ("", None, None, None, None, ("missing_role",))),
        ("<|channel|>final", ("", None, None, "final", None, ("missing_role",))),
        ("assistant<|channel|>", ("assistant", None, None, "", None, ("empty_channel",))),
        ("assistant to=a to=b code", ("assistant", None, "a", None, "to=b", ("extra_header_words",))),
        (
            "assistant<|channel|>final<|channel|>final",
            ("assistant", None, None, "final", "<|channel|>final", ("special_token_in_header",)),
        ),
    ],
)
def test_headers_of_every_dialect_are_understood(header, expected):
    assert parse_header(header)[: len(expected)] == expected


def test_junk_a_lost_terminator_and_a_lost_body_are_named():
    text = (
        "<|start|>user<|message|>hi<|end|> so <|start|>user hi<|end|><|start|>user<|message|>a<|start|>user<|message|>b"
    )
    assert [(message.raw, message.deviations) for message in parse_harmony(text)] == [
        ("<|start|>user<|message|>hi<|end|>", ()),
        (" so ", ("junk_between_messages",)),
        ("<|start|>user hi<|end|>", ("header_without_message",)),
        ("<|start|>user<|message|>a", ("missing_terminator",)),
        ("<|start|>user<|message|>b", ("missing_terminator",)),
    ]


def test_a_special_token_that_ends_nothing_stays_in_the_body():
    (message,) = parse_harmony("<|start|>user<|message|>a<|message|><|endoftext|>b<|end|>")
    assert message.body == "a<|message|><|endoftext|>b"
    assert message.deviations == ("special_token_in_body",)
