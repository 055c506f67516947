"""Template `proofs-statement`: a problem, and its Lean 4 statement as the only answer."""

from __future__ import annotations

from nemo_assets.harmony.contents import IDENTITY, KNOWLEDGE_CUTOFF
from nemo_assets.harmony.conversation import Conversation
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


def _to_messages(conversation: Conversation) -> list[Message]:
    """A problem as the user's message and its Lean statement as the only answer; source system turns have no place."""
    turns = [Message(turn.role, turn.body, turn.channel) for turn in conversation.turns if turn.role != "system"]
    return [*_PROMPT, *turns]


TEMPLATE = Template("proofs-statement", "training", _to_messages)
