"""Template `harmony-1`: canonical Harmony as openai-harmony 0.0.8 renders it for training, all reasoning kept."""

from __future__ import annotations

import itertools

from nemo_assets.harmony.contents import FUNCTIONS, developer_content, system_content
from nemo_assets.harmony.conversation import UNNAMED_TOOL, Conversation, Turn
from nemo_assets.harmony.messages import Message
from nemo_assets.harmony.special_tokens import CONSTRAIN
from nemo_assets.harmony.template import Template


def _prologue(conversation: Conversation) -> tuple[list[Message], int]:
    """Canonical Harmony without a date: the source's system turns as instructions, its tools as functions."""
    leading = list(itertools.takewhile(lambda turn: turn.role == "system", conversation.turns))
    spoken = [turn.body for turn in leading if turn.body.strip()]
    tools = conversation.tools
    messages = [Message("system", system_content(conversation.effort, has_functions=bool(tools)))]
    if spoken or tools:
        messages.append(Message("developer", developer_content("\n\n".join(spoken) if spoken else None, tools)))
    return messages, len(leading)


def _message_of(turn: Turn) -> Message | None:
    role, body, channel, tool, _ = turn
    if role == "system":
        return Message("developer", developer_content(body)) if body.strip() else None
    if role == "assistant" and tool is not None:
        return Message("assistant", body, "commentary", f"{FUNCTIONS}.{tool}", f"{CONSTRAIN}json")
    if role == "assistant":
        return Message("assistant", body, channel)
    if role == "tool":
        author = UNNAMED_TOOL if tool is None else f"{FUNCTIONS}.{tool}"
        return Message("tool", body, "commentary", "assistant", name=author)
    return Message(role, body)


TEMPLATE = Template("harmony-1", "training", _prologue, _message_of)
