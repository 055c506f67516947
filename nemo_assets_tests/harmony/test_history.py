"""Which reasoning a rendering keeps, and what it says to a caller who is wrong."""

from __future__ import annotations

import pytest

from nemo_assets.harmony import HarmonyError, parse, render


def said(role, body, channel=None, **fields):
    return {"role": role, "content": body, "channel": channel, **fields}


CALL = said("assistant", "call2", "analysis", recipient="python")
TWO_TURNS = [
    said("user", "ask1"),
    said("assistant", "think1", "analysis"),
    said("assistant", "answer1", "final"),
    said("user", "ask2"),
    said("assistant", "think2", "analysis"),
    CALL,
    said("tool", "result2", "analysis", name="python"),
    said("assistant", "answer2", "final"),
    said("user", "ask3"),
    said("assistant", "think3", "analysis"),
    said("assistant", "answer3", "final"),
]


def bodies(messages, **options):
    return [message.body for message in parse(render({"messages": messages}, **options))]


@pytest.mark.parametrize(
    ("policy", "dropped"),
    [
        ("keep_all", set()),
        ("last_turn", {"think1", "think2", "call2", "result2"}),
        ("openai_default", {"think1"}),
    ],
)
def test_a_policy_drops_what_it_says(policy, dropped):
    everything = [message["content"] for message in TWO_TURNS]
    assert bodies(TWO_TURNS, history=policy) == [body for body in everything if body not in dropped]


def test_nothing_is_dropped_unless_asked_for():
    assert bodies(TWO_TURNS) == bodies(TWO_TURNS, history="keep_all") == bodies(TWO_TURNS, auto_drop_analysis=False)
    assert bodies(TWO_TURNS, auto_drop_analysis=True) == bodies(TWO_TURNS, history="openai_default")


def test_reasoning_before_a_tool_call_of_the_last_turn_stays():
    assert bodies(TWO_TURNS[:7], history="last_turn") == ["ask1", "answer1", "ask2", "think2", "call2", "result2"]
    assert bodies(TWO_TURNS[1:3], history="last_turn") == ["think1", "answer1"]


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (said("wizard", ""), "role"),
        ({"content": "no role"}, "role"),
        (said(["user"], ""), "role"),
        ("a string", "role"),
        (said("tool", "nameless"), "name"),
        (said("user", "", name=1), "name"),
        (said("assistant", "", channel=["final"]), "channel"),
        (said("assistant", "", recipient=3), "recipient"),
        (said("assistant", "", content_type={}), "content_type"),
        (said("user", None), "content"),
        (said("user", 1), "content"),
        (said("user", "\ud800"), "content"),
        (said("user", [{"type": "text", "text": None}]), "content[0].text"),
        (said("user", [{"type": "text", "text": ""}, {"type": "image"}]), "content[1]"),
        (said("user", [{"type": "system_content"}]), "content[0]"),
        (said("system", [{"type": "system_content", "channel_config": 5}]), "content[0]"),
        (said("developer", [{"type": "developer_content", "tools": {"functions": {}}}]), "content[0]"),
        (said("developer", [{"type": "developer_content", "tools": {"\ud800": {}}}]), "content[0]"),
    ],
    ids=repr,
)
def test_an_error_names_message_and_field(message, field):
    with pytest.raises(HarmonyError, match=r"messages\[1\]") as caught:
        render({"messages": [said("user", "hi"), message]})
    assert (caught.value.message_index, caught.value.field) == (1, field)


@pytest.mark.parametrize(
    "options",
    [
        {"history": "some"},
        {"mode": "print"},
        {"mode": "completion", "next_role": "wizard"},
        {"history": "last_turn", "auto_drop_analysis": True},
    ],
    ids=repr,
)
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(HarmonyError):
        render({"messages": []}, **options)


@pytest.mark.parametrize("conversation", [{}, [], None, {"messages": "hi"}], ids=repr)
def test_what_is_no_conversation_is_refused(conversation):
    with pytest.raises(HarmonyError, match="list of messages"):
        render(conversation)
