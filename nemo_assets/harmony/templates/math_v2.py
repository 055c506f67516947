"""Template `math-v2`: the dialect of the published rendering of Nemotron-Math-v2."""

from __future__ import annotations

from nemo_assets.harmony.contents import system_content
from nemo_assets.harmony.conversation import (
    PYTHON_TOOLS,
    UNNAMED_TOOL,
    Conversation,
    Turn,
    canonical_json,
    interpreter_code,
)
from nemo_assets.harmony.messages import Message
from nemo_assets.harmony.template import Template

_DEVELOPER = Message(
    "developer",
    "# Instructions\n\nYou will solve the problem and return the final answer in \\boxed{}. "
    "Do not guess the answer, unless specifically given permission to.",
)
_SYSTEM = {effort: Message("system", system_content(effort)) for effort in ("low", "medium", "high")}


def _to_messages(conversation: Conversation) -> list[Message]:
    """The dialect of the published rendering of Math-v2: calls on the analysis channel, tool results without recipient.

    A system turn, which Math-v2 does not have, stays a plain system message where it stands.
    """
    messages = [_SYSTEM[conversation.effort], _DEVELOPER]
    for turn in conversation.turns:
        if turn.role == "assistant":
            if turn.tool is not None:
                messages.append(_call(turn, turn.tool))
            elif turn.channel != "commentary":
                messages.append(Message("assistant", turn.body, turn.channel))
        elif turn.role == "tool":
            author = UNNAMED_TOOL if turn.tool is None else turn.tool
            messages.append(Message("tool", turn.body, "commentary", name=author))
        elif turn.role == "user" or turn.body.strip():
            messages.append(Message(turn.role, turn.body))
    return messages


def _call(turn: Turn, tool: str) -> Message:
    if tool not in PYTHON_TOOLS:
        return Message("assistant", canonical_json(turn.arguments), "analysis", tool)
    code = interpreter_code(turn)
    return Message("assistant", canonical_json(turn.arguments) if code is None else code, "analysis", "python")


TEMPLATE = Template("math-v2", "dialect", _to_messages, drops_content_beside_calls=True)
