"""The one walk writes, places, digests and refuses exactly as the plain functions do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_assets.errors import Rejected
from nemo_assets.harmony import (
    TEMPLATES,
    Conversation,
    Turn,
    call,
    content_sha1,
    encode_conversation,
    find_special_token,
    loss_spans,
    render_conversation,
    use_of,
)
from nemo_assets.harmony.encode import LONG

PYTHON = ("python", "stateful_python_code_exec", "python_code_exec")
characters = st.characters(exclude_categories=["Cs"]) | st.sampled_from("é😀\U0010ffff\0\n <|>")
plain = st.text(characters, max_size=12).filter(lambda text: find_special_token(text) is None)
blank = st.sampled_from(["", " ", "\n\t"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | plain,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(plain, inner, max_size=2),
    max_leaves=4,
)


def conversations(bodies: st.SearchStrategy[str], tools: st.SearchStrategy[str]) -> st.SearchStrategy[Conversation]:
    code = st.fixed_dictionaries({"code": bodies})
    code_and_more = st.fixed_dictionaries({"code": bodies, "timeout": st.integers()})
    code_that_is_none = st.fixed_dictionaries({"code": st.integers() | st.none()})
    arguments = code | code_and_more | code_that_is_none | json_values | bodies
    speakers = st.sampled_from(["system", "user"])
    channels = st.sampled_from(["analysis", "final", "commentary", None])
    turns = st.one_of(
        st.builds(lambda role, body: Turn(role, body), speakers, bodies),
        st.builds(lambda body, channel: Turn("assistant", body, channel), bodies, channels),
        st.builds(call, tools, arguments),
        st.builds(lambda body, tool: Turn("assistant", body, "commentary", tool), bodies, tools),  # parsed to nothing
        st.builds(lambda body, tool: Turn("tool", body, tool=tool), bodies, st.none() | tools),
    )
    offered = st.fixed_dictionaries({"name": tools}, optional={"description": bodies, "parameters": json_values})
    efforts = st.sampled_from(["low", "medium", "high"])
    return st.builds(
        lambda spoken, tools, effort: Conversation(tuple(spoken), tuple(tools), effort),
        st.lists(turns, max_size=7),
        st.lists(offered, max_size=2),
        efforts,
    )


sound = conversations(plain | blank, st.sampled_from([*PYTHON, "search", "functions.search", "a.b-c:d"]))
tokens = st.sampled_from(["<|end|>", "<|start|>assistant<|message|>x", "é<|reserved_1|>", "<|constrain|>json"])
odd = conversations(
    plain | blank | tokens, st.sampled_from(["python", "search", "user", "assistant:x", "имя", "a b", "", "f<|call|>"])
)


@pytest.mark.parametrize("template", TEMPLATES)
@given(conversation=sound)
def test_it_writes_places_and_digests_as_the_plain_functions(template: str, conversation: Conversation) -> None:
    if template == "proofs-statement":  # has no place for tools that answer
        conversation = conversation._replace(turns=tuple(turn for turn in conversation.turns if turn.role != "tool"))
    encoded = encode_conversation(conversation, template)
    rendered = render_conversation(conversation, template)
    assert encoded.text == rendered.text.encode()
    assert (encoded.length, encoded.messages) == (len(rendered.text), len(rendered.messages))
    assert encoded.spans == loss_spans(rendered.messages, "assistant_all")
    assert encoded.content_sha1 == content_sha1(conversation.turns)
    assert encoded.use == use_of(conversation.turns)
    assert encoded.tags == TEMPLATES[template].tags(conversation)
    spoken = [
        len(rendered.text[:place].encode())
        for message in rendered.messages
        if message.role == "assistant"
        for place in (message.body_start, message.body_end)
    ]
    assert encoded.spoken == spoken


def outcome(write: Callable[[Conversation, str], Any], conversation: Conversation, template: str) -> Any:
    try:
        written = write(conversation, template)
    except Rejected as rejection:
        return rejection.code, rejection.evidence
    return written.text if isinstance(written.text, bytes) else written.text.encode()


@pytest.mark.parametrize("template", TEMPLATES)
@given(conversation=odd)
def test_it_refuses_what_rendering_refuses_with_the_same_evidence(template: str, conversation: Conversation) -> None:
    assert outcome(encode_conversation, conversation, template) == outcome(render_conversation, conversation, template)


def test_a_message_that_was_the_last_of_one_conversation_is_written_anew_in_the_next() -> None:
    ask, answer = Turn("user", "?"), Turn("assistant", "é", "final")
    texts = [encode_conversation(Conversation(turns), "math-v2").text for turns in ((), (ask,), (ask, answer), (ask,))]
    assert [text.count(b"<|return|>") for text in texts] == [1, 1, 1, 1]
    assert all(text.endswith(b"<|return|>") for text in texts)
    assert texts[1] == texts[3]


def test_a_conversation_too_long_to_keep_its_form_is_written_as_any_other() -> None:
    steps = (Turn("user", "ü"), Turn("assistant", "a", "analysis"), call("python", {"code": "ж"}), Turn("tool", "😀"))
    conversation = Conversation(steps * LONG)
    encoded = encode_conversation(conversation, "math-v2")
    assert encoded.text == render_conversation(conversation, "math-v2").text.encode()
    assert encoded.content_sha1 == content_sha1(conversation.turns)


def test_spoken_are_byte_ranges_even_where_bodies_are_empty_or_beyond_ascii() -> None:
    turns = (Turn("user", "ü"), Turn("assistant", "", "analysis"), call("python", {"code": "ж"}), Turn("tool", "😀"))
    encoded = encode_conversation(Conversation((*turns, Turn("assistant", "42é", "final"))), "math-v2")
    ranges = zip(encoded.spoken[::2], encoded.spoken[1::2], strict=True)
    assert [encoded.text[begin:end].decode() for begin, end in ranges] == ["", "ж", "42é"]
