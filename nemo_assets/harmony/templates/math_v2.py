"""Template `math-v2`: the dialect of the published rendering of Nemotron-Math-v2."""

from __future__ import annotations

from nemo_assets.harmony.contents import system_content
from nemo_assets.harmony.conversation import (
    PYTHON_TOOLS,
    UNNAMED_TOOL,
    Conversation,
    Turn,
    interpreter_code,
)
from nemo_assets.harmony.messages import Message
from nemo_assets.harmony.template import Template

_DEVELOPER = Message(
    "developer",
    "# Instructions\n\nYou will solve the problem and return the final answer in \\boxed{}. "
    "Do not guess the answer, unless specifically given permission to.",
)
_PROLOGUE = {effort: (Message("system", system_content(effort)), _DEVELOPER) for effort in ("low", "medium", "high")}


def _prologue(conversation: Conversation) -> tuple[tuple[Message, ...], int]:
    return _PROLOGUE[conversation.effort], 0


def _message_of(turn: Turn) -> Message | None:
    """The dialect of the published rendering of Math-v2: calls on the analysis channel, tool results without recipient.

    A system turn, which Math-v2 does not have, stays a plain system message where it stands; content beside a call has
    no place.
    """
    role, body, channel, tool, _ = turn
    if role == "assistant" and tool is not None:
        code = interpreter_code(turn)
        recipient = "python" if tool in PYTHON_TOOLS else tool
        return Message("assistant", body if code is None else code, "analysis", recipient)
    if role == "assistant":
        return None if channel == "commentary" else Message("assistant", body, channel)
    if role == "tool":
        return Message("tool", body, "commentary", name=UNNAMED_TOOL if tool is None else tool)
    return Message(role, body) if role == "user" or body.strip() else None


TEMPLATE = Template("math-v2", "dialect", _prologue, _message_of, drops_content_beside_calls=True, writes_code=True)
