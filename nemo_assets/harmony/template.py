"""What a template is. The templates themselves are one module each in `templates`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nemo_assets.harmony.conversation import Conversation, Turn
from nemo_assets.harmony.messages import Message
from nemo_assets.harmony.render import Closing

CONTENT_BESIDE_CALLS = "dialect:content_beside_calls"
UNNAMED_TOOL_RESULT = "dialect:unnamed_tool_result"


@dataclass(frozen=True)
class Template:
    """A named way to write conversations: what each turn becomes and how the last message ends."""

    name: str
    closing: Closing
    to_messages: Callable[[Conversation], list[Message]]
    drops_content_beside_calls: bool = False

    def drops(self, turn: Turn) -> bool:
        """Whether this template has no place for `turn`, so that its text does not hold it."""
        return self.drops_content_beside_calls and turn.channel == "commentary" and not turn.is_call

    def tags(self, conversation: Conversation) -> tuple[str, ...]:
        """Quality tags for what this template could not write as the source has it."""
        tags = []
        if any(self.drops(turn) for turn in conversation.turns):
            tags.append(CONTENT_BESIDE_CALLS)
        if any(turn.role == "tool" and turn.tool is None for turn in conversation.turns):
            tags.append(UNNAMED_TOOL_RESULT)
        return tuple(tags)
