"""A special token is found in whichever field of a conversation it enters the text by."""

from __future__ import annotations

import pytest

from nemo_assets.errors import Rejected
from nemo_assets.harmony import Conversation, Turn, call, injection_in, render_conversation

END = "é<|end|>"
ASK = Turn("user", "hi")


def with_parameter(**schema):
    return Conversation((ASK,), ({"name": "f", "parameters": {"type": "object", "properties": {"a": schema}}},))


@pytest.mark.parametrize(
    ("conversation", "field", "offset"),
    [
        (Conversation((Turn("system", END), ASK)), "turns[0].body", 1),
        (Conversation((ASK, Turn("assistant", f"so {END}", "final"))), "turns[1].body", 4),
        (Conversation((ASK, call(END, {}))), "turns[1].tool", 1),
        (Conversation((ASK, call("f", {"a": END}))), "turns[1].body", 8),
        (Conversation((ASK, Turn("tool", END, tool="f"))), "turns[1].body", 1),
        (Conversation((ASK, Turn("assistant", "4", END))), "turns[1].channel", 1),
        (Conversation((ASK,), ({"name": END},)), "tools[0].name", 1),
        (Conversation((ASK,), ({"name": "f", "description": END},)), "tools[0].description", 1),
        (with_parameter(type="string", description=END), "tools[0].parameters.properties.a.description", 1),
        (with_parameter(type="string", enum=["x", END]), "tools[0].parameters.properties.a.enum[1]", 1),
        (with_parameter(type="string", default=END), "tools[0].parameters.properties.a.default", 1),
        (
            Conversation((ASK,), ({"name": "f", "parameters": {"type": "object", "properties": {END: {}}}},)),
            "tools[0].parameters.properties (key)",
            1,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_field_that_enters_the_text_is_scanned(conversation, field, offset):
    with pytest.raises(Rejected) as caught:
        render_conversation(conversation, "harmony-1")
    assert caught.value.code == "special_token_in_content"
    assert caught.value.evidence == {"token": "<|end|>", "field": field, "offset": offset}


def test_what_does_not_enter_the_text_is_no_injection():
    unseen = {"name": "f", "parameters": {"properties": {"a": {"description": END}}}}  # without a type it is `any`
    assert "type f = (_: any) => any;" in render_conversation(Conversation((ASK,), (unseen,)), "harmony-1").text


def test_the_json_form_is_scanned_without_its_own_marker():
    message = {"role": "assistant", "content": "{}", "content_type": "<|constrain|>json"}
    assert injection_in([message]) is None
    assert injection_in([{**message, "content_type": "<|constrain|>a<|end|>"}]) == ("<|end|>", "[0].content_type", 14)
