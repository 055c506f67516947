"""Template `harmony-1`: canonical Harmony as openai-harmony 0.0.8 renders it for training, all reasoning kept."""

from __future__ import annotations

import itertools

from nemo_assets.harmony.contents import FUNCTIONS, developer_content, system_content
from nemo_assets.harmony.conversation import UNNAMED_TOOL, Conversation, Turn, canonical_json
from nemo_assets.harmony.messages import Message
from nemo_assets.harmony.special_tokens import CONSTRAIN
from nemo_assets.harmony.template import Template


def _to_messages(conversation: Conversation) -> list[Message]:
    """Canonical Harmony without a date: the source's system turns as instructions, its tools as functions."""
    turns = conversation.turns
    leading = list(itertools.takewhile(lambda turn: turn.role == "system", turns))
    spoken = [turn.body for turn in leading if turn.body.strip()]
    tools = conversation.tools
    messages = [Message("system", system_content(conversation.effort, has_functions=bool(tools)))]
    if spoken or tools:
        messages.append(Message("developer", developer_content("\n\n".join(spoken) if spoken else None, tools)))
    for turn in turns[len(leading) :]:
        if turn.role == "system":
            if turn.body.strip():
                messages.append(Message("developer", developer_content(turn.body)))
        else:
            messages.append(_message(turn))
    return messages


def _message(turn: Turn) -> Message:
    if turn.role == "assistant" and turn.tool is not None:
        recipient = f"{FUNCTIONS}.{turn.tool}"
        return Message("assistant", canonical_json(turn.arguments), "commentary", recipient, f"{CONSTRAIN}json")
    if turn.role == "assistant":
        return Message("assistant", turn.body, turn.channel)
    if turn.role == "tool":
        author = UNNAMED_TOOL if turn.tool is None else f"{FUNCTIONS}.{turn.tool}"
        return Message("tool", turn.body, "commentary", "assistant", name=author)
    return Message(turn.role, turn.body)


TEMPLATE = Template("harmony-1", "training", _to_messages)
