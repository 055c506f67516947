"""Harmony text for tests of what is compared: rendered conversations, and ready-made text in the dialects of others.

Belongs here: strategies. Does not: what is expected of a text.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from nemo_assets.errors import Rejected
from nemo_assets.harmony import TEMPLATES, encode_conversation, find_special_token
from nemo_assets_tests.dedup.hostile import texts
from nemo_assets_tests.harmony.test_encode import conversations

_NEAR_TOKENS = ["<|", "<|start", "|>", "<|start|", "<", "<|message", "<|end|<", "<|return |>", "start|>", "<|<|"]
_near = st.sampled_from(_NEAR_TOKENS)
_at_the_end_of_a_block = st.builds(lambda size, token: "x" * size + token, st.integers(50, 70), _near)

bodies = (
    st.lists(_near | _at_the_end_of_a_block | texts | st.text(max_size=9), max_size=4)
    .map("".join)
    .filter(lambda body: find_special_token(body) is None)
)

_TOOLS = ["python", "search", "functions.search", "a.b-c:d", "functions.functions.x", "имя"]


def _rendered(conversation: Any, template: str) -> bytes | None:
    try:
        return encode_conversation(conversation, template).text
    except Rejected:
        return None


rendered = st.builds(
    _rendered, conversations(bodies, st.sampled_from(_TOOLS)), st.sampled_from(list(TEMPLATES))
).filter(lambda text: text is not None)
"""Conversations with hostile bodies, rendered by the templates of the project."""

_HEADERS = [
    "system", "developer", "user", "user:alice", "assistant:x", "system:y", "developer:z", "tool", "tool:python",
    "python", "functions.f", "functions.f to=assistant<|channel|>commentary", "assistants", "systemic", "developers",
    "assistant", "assistant<|channel|>analysis", "assistant<|channel|>final", "assistant<|channel|>",
    "assistant to=python<|channel|>analysis", "assistant to=functions.f<|channel|>commentary <|constrain|>json",
    "assistant<|channel|>commentary to=functions.f <|constrain|>json",
    "assistant<|channel|>commentary to=functions.f<|constrain|>json", "assistant<|channel|>analysis to=python code",
    "assistant to=a to=b code", "assistant to=<|channel|>commentary", "assistant  to=имя", "assistant\n\tto=functions.",
    "assistant<|constrain|>json", "assistant auto=x", "assistant<|channel|> to=python", " assistant to=x", "user to=x",
    "assistant<|channel|>to=x",
]  # fmt: skip
_messages = st.builds(
    lambda header, body, end: f"<|start|>{header}<|message|>{body}<|{end}|>",
    st.sampled_from(_HEADERS),
    bodies,
    st.sampled_from(["end", "call", "return"]),
)

ready_made = st.lists(_messages, max_size=6).map(lambda messages: "".join(messages).encode())
"""Text in which each message is well-formed, with headers that other writers of Harmony use."""

harmony = rendered | ready_made
