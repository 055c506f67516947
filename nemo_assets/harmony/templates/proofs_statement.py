"""Template `proofs-statement`: a problem, and its Lean 4 statement as the only answer."""

from __future__ import annotations

from nemo_assets.harmony.contents import IDENTITY, KNOWLEDGE_CUTOFF
from nemo_assets.harmony.conversation import Conversation, Turn
from nemo_assets.harmony.messages import Message
from nemo_assets.harmony.template import Template

_PROMPT = (
    Message(
        "system",
        f"{IDENTITY}\nKnowledge cutoff: {KNOWLEDGE_CUTOFF}\n\n# Task: Convert the user's math statement into Lean 4.",
    ),
    Message(
        "developer",
        "# Instructions\n\nConvert the math problem into a Lean 4 theorem statement. Return Lean code only.",
    ),
)


def _prologue(_: Conversation) -> tuple[tuple[Message, ...], int]:
    return _PROMPT, 0


def _message_of(turn: Turn) -> Message | None:
    """A problem as the user's message and its Lean statement as the only answer; source system turns have no place."""
    return None if turn.role == "system" else Message(turn.role, turn.body, turn.channel)


TEMPLATE = Template("proofs-statement", "training", _prologue, _message_of)
