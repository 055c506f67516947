"""What is in the loss, in code points."""

from __future__ import annotations

import hashlib
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_assets.harmony import (
    LossMode,
    Message,
    find_special_token,
    loss_spans,
    loss_spans_of_text,
    mask_sha1,
    render_messages,
)

MESSAGES = [
    Message("user", "é🙂"),  # 24 characters of header, 2 of body, 7 of terminator: the next message starts at 33
    Message("assistant", "abc", "analysis"),
    Message("assistant", "", "final"),
    Message("user", "more"),
    Message("assistant", "de", "final"),
]
START_ANALYSIS = 33 + len("<|start|>assistant<|channel|>analysis<|message|>")
START_LAST = len(render_messages(MESSAGES, closing="training").text) - len("de<|return|>")


@pytest.mark.parametrize(
    ("mode", "terminators", "expected"),
    [
        ("assistant_all", False, ((START_ANALYSIS, START_ANALYSIS + 3), (START_LAST, START_LAST + 2))),
        ("assistant_last", False, ((START_LAST, START_LAST + 2),)),
        ("assistant_last", True, ((START_LAST, START_LAST + 12),)),
    ],
)
def test_spans_of_a_rendering_are_the_bodies_and_equal_those_of_its_text(mode, terminators, expected):
    rendered = render_messages(MESSAGES, closing="training")
    assert loss_spans(rendered.messages, mode, terminators) == expected
    assert loss_spans_of_text(rendered.text, mode, terminators) == expected


def test_a_body_that_is_empty_has_a_span_only_with_its_terminator():
    rendered = render_messages([Message("assistant", "", "final")], closing="training")
    assert loss_spans(rendered.messages, "assistant_all") == ()
    assert len(loss_spans(rendered.messages, "assistant_all", include_terminators=True)) == 1


def spelled(text, spans):
    return [text[start:end] for start, end in spans]


def test_sampled_is_what_the_model_emits_after_each_priming():
    text = (
        "<|start|>user<|message|>hi<|end|>"
        "<|start|>assistant<|channel|>analysis<|message|>hm<|end|>"
        "<|start|>assistant to=functions.f<|channel|>commentary json<|message|>{}<|call|>"
        "<|start|>functions.f to=assistant<|channel|>commentary<|message|>1<|end|>"
        "<|start|>assistant<|channel|>final<|message|>1<|return|>"
    )
    expected = [
        "<|channel|>analysis<|message|>hm<|end|>"
        "<|start|>assistant to=functions.f<|channel|>commentary json<|message|>{}<|call|>",
        "<|channel|>final<|message|>1<|return|>",
    ]
    assert spelled(text, loss_spans(text, "assistant_sampled")) == expected
    assert loss_spans(text, "assistant_sampled", include_terminators=True) == loss_spans(text, "assistant_sampled")


def test_the_model_is_primed_again_behind_a_token_at_which_it_stopped():
    text = "<|start|>assistant<|message|>a<|call|><|start|>assistant<|message|>b<|end|>"
    assert spelled(text, loss_spans(text, "assistant_sampled")) == ["<|message|>a<|call|>", "<|message|>b<|end|>"]


spoken = st.builds(
    lambda role, body, channel, recipient: Message(role, body, channel, recipient),
    st.sampled_from(["user", "assistant", "assistant"]),
    st.text(max_size=5).filter(lambda body: find_special_token(body) is None),
    st.sampled_from([None, "analysis", "final"]),
    st.sampled_from([None, "python"]),
)


@given(st.lists(spoken, max_size=6), st.sampled_from(get_args(LossMode)), st.booleans())
def test_spans_of_text_and_of_its_rendering_are_the_same_ordered_and_apart(messages, mode, terminators):
    rendered = render_messages(messages, closing="training")
    spans = loss_spans(rendered.messages, mode, terminators)
    assert spans == loss_spans(rendered.text, mode, terminators) == loss_spans_of_text(rendered.text, mode, terminators)
    edges = [edge for span in spans for edge in span]
    assert edges == sorted(edges)
    assert all(0 <= start < end <= len(rendered.text) for start, end in spans)


@given(st.lists(st.sampled_from(["<|start|>", "assistant", "<|message|>", "<|end|>", "<|call|>", "x"]), max_size=12))
def test_any_text_has_spans(pieces):
    text = "".join(pieces)
    for mode in get_args(LossMode):
        assert all(0 <= start < end <= len(text) for start, end in loss_spans(text, mode))


def test_nothing_is_in_the_loss_when_somebody_else_speaks_last():
    rendered = render_messages(MESSAGES[:4], closing="none")
    assert loss_spans(rendered.messages, "assistant_last") == ()


def test_the_digest_is_over_mode_terminators_and_spans():
    assert (
        mask_sha1("assistant_all", True, [(3, 5), (10, 12)]) == hashlib.sha1(b"assistant_all|1|3-5,10-12").hexdigest()
    )
    assert mask_sha1("assistant_last", False, []) == hashlib.sha1(b"assistant_last|0|").hexdigest()
