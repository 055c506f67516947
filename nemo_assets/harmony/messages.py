"""One Harmony message before it is text.

Belongs here: the shape, and the error of whoever does not keep to it. How it is written is `render`, how it is read
back is `parse`.
"""

from __future__ import annotations

from typing import NamedTuple

ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})


class HarmonyError(ValueError):
    """A conversation that cannot be written, or a text that openai-harmony refuses to read.

    Where one message is at fault, `message_index` counts it from 0 and `field` names what in it is wrong, as a path:
    `role`, `content[0].text`. Both also lead the message of the error.
    """

    def __init__(self, reason: str, message_index: int | None = None, field: str | None = None) -> None:
        place = "" if message_index is None else f"messages[{message_index}].{field}: "
        super().__init__(place + reason)
        self.reason = reason
        self.message_index = message_index
        self.field = field


class Message(NamedTuple):
    """One message of a Harmony conversation.

    `name` is the author's name: of the tool for the role `tool` (which is then written alone), of the speaker for any
    other role (written `role:name`). `recipient`, `channel` and `content_type` are left out of the header when None.
    """

    role: str
    body: str
    channel: str | None = None
    recipient: str | None = None
    content_type: str | None = None
    name: str | None = None
