"""What a template is. The templates themselves are one module each in `templates`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nemo_assets.harmony.conversation import Conversation, Turn
from nemo_assets.harmony.messages import Message
from nemo_assets.harmony.render import Closing

CONTENT_BESIDE_CALLS = "dialect:content_beside_calls"
UNNAMED_TOOL_RESULT = "dialect:unnamed_tool_result"


@dataclass(frozen=True)
class Template:
    """A named way to write conversations.

    `prologue` gives the messages before the first turn that is written as itself, and the number of that turn;
    `message_of` what such a turn becomes, None where the template has no place for it. Unless the system speaks, that
    depends on role, channel and tool of the turn alone but for its body, which is written as it is; a template that
    `writes_code` gives calls to the Python interpreter bare code for a body. `closing` says how the last message ends.
    """

    name: str
    closing: Closing
    prologue: Callable[[Conversation], tuple[Sequence[Message], int]]
    message_of: Callable[[Turn], Message | None]
    drops_content_beside_calls: bool = False
    writes_code: bool = False

    def to_messages(self, conversation: Conversation) -> list[Message]:
        """The messages of a conversation, in order."""
        prologue, first = self.prologue(conversation)
        written = map(self.message_of, conversation.turns[first:])
        return [*prologue, *(message for message in written if message is not None)]

    def tags(self, conversation: Conversation) -> tuple[str, ...]:
        """Quality tags for what this template could not write as the source has it."""
        dropped = unnamed = False
        for role, _, channel, tool, _ in conversation.turns:
            if tool is None:
                unnamed = unnamed or role == "tool"
                dropped = dropped or (channel == "commentary" and self.drops_content_beside_calls)
        found = ((CONTENT_BESIDE_CALLS, dropped), (UNNAMED_TOOL_RESULT, unnamed))
        return tuple([tag for tag, holds in found if holds])
