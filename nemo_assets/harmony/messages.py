"""One Harmony message before it is text.

Belongs here: the shape. How it is written is `render`, how it is read back is `parse`.
"""

from __future__ import annotations

from dataclasses import dataclass

ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})


@dataclass(frozen=True, slots=True)
class Message:
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
