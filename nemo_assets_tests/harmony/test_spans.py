"""What is in the loss, in code points."""

from __future__ import annotations

import hashlib

import pytest

from nemo_assets.harmony import Message, loss_spans, loss_spans_of_text, mask_sha1, render_messages

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


def test_nothing_is_in_the_loss_when_somebody_else_speaks_last():
    rendered = render_messages(MESSAGES[:4], closing="none")
    assert loss_spans(rendered.messages, "assistant_last") == ()


def test_the_digest_is_over_mode_terminators_and_spans():
    assert (
        mask_sha1("assistant_all", True, [(3, 5), (10, 12)]) == hashlib.sha1(b"assistant_all|1|3-5,10-12").hexdigest()
    )
    assert mask_sha1("assistant_last", False, []) == hashlib.sha1(b"assistant_last|0|").hexdigest()
