"""Messages to Harmony text, with the place of every message in it.

Belongs here: header, body, terminator, and the refusal of content that would read back as something else.
Does not: what a source's conversation becomes (`templates`), the official library's JSON form (`official`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from nemo_assets.errors import Rejected
from nemo_assets.harmony.messages import ROLES, HarmonyError, Message
from nemo_assets.harmony.special_tokens import (
    CALL,
    CHANNEL,
    CONSTRAIN,
    END,
    MESSAGE,
    RETURN,
    START,
    special_token_in,
)

Closing = Literal["dialect", "training", "none"]
"""How the last message ends.

`dialect`: `<|return|>` unless it ends `<|call|>`, whoever speaks. `training`: `<|return|>` if it is an assistant
message without recipient. `none`: as any other message.
"""

_SPEAKERS = ROLES - {"tool"}
_header_name = re.compile(r"[A-Za-z0-9_.:-]+").fullmatch
_content_type = re.compile(r"(?:<\|constrain\|>)?[A-Za-z0-9_.:/+-]+").fullmatch


class RenderedMessage(NamedTuple):
    """Where one message lies in the text. All offsets are code points; `end` is the one after the terminator."""

    role: str
    channel: str | None
    recipient: str | None
    start: int
    body_start: int
    body_end: int
    end: int


class Rendered(NamedTuple):
    """Harmony text and its messages in order, so that a loss mask needs no second reading.

    `pieces` are the text in parts: opening, body and terminator of every message. A caller who needs bytes encodes the
    bodies one by one; joined first, a single character beyond Latin-1 would double the width of the whole text.
    """

    pieces: list[str]
    messages: tuple[RenderedMessage, ...]

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)


def header_text(
    role: str, name: str | None, recipient: str | None, channel: str | None, content_type: str | None
) -> str:
    """What stands between `<|start|>` and `<|message|>`, exactly as openai-harmony 0.0.8 writes it, unchecked."""
    text = (name or "") if role == "tool" else role if name is None else f"{role}:{name}"
    if recipient is not None and recipient != "all":
        text += f" to={recipient}"
    if channel is not None:
        text += CHANNEL + channel
    if content_type is not None:
        text += f" {content_type}"
    return text


@lru_cache(maxsize=16384)
def _opening(role: str, name: str | None, recipient: str | None, channel: str | None, content_type: str | None) -> str:
    """`<|start|>`, checked header, `<|message|>`. Conversations use few different headers, so they are kept."""
    if role not in ROLES:
        raise HarmonyError(f"no role {role!r}; there are {', '.join(sorted(ROLES))}", field="role")
    for field, value in (("name", name), ("recipient", recipient), ("channel", channel)):
        if value is not None:
            _require_header_text(field, value, _header_name)
    if role == "tool" and (name is None or name.partition(":")[0] in _SPEAKERS):
        # A tool is written by its name alone: one called `user` would read back as the user.
        raise Rejected("invalid_harmony", header=name or "", field="name")
    if content_type is not None:
        _require_header_text("content_type", content_type, _content_type)
    return f"{START}{header_text(role, name, recipient, channel, content_type)}{MESSAGE}"


def _require_header_text(field: str, value: str, readable: Callable[[str], object]) -> None:
    """Refuse what would not read back as this field; a special token is an injection, not merely a bad character."""
    if readable(value):
        return
    begin = len(CONSTRAIN) if field == "content_type" and value.startswith(CONSTRAIN) else 0
    if (found := special_token_in(value[begin:])) is not None:
        raise Rejected("special_token_in_content", token=found.token, field=field, offset=begin + found.offset)
    raise Rejected("invalid_harmony", header=value, field=field)


def _opening_of(number: int, message: Message) -> str:
    """The same for one message of a conversation, whose number an error names."""
    try:
        return _opening(message.role, message.name, message.recipient, message.channel, message.content_type)
    except HarmonyError as error:
        raise HarmonyError(error.reason, number, error.field) from None
    except Rejected as rejection:
        place = f"messages[{number}].{rejection.evidence['field']}"
        raise Rejected(rejection.code, **{**rejection.evidence, "field": place}) from None


def _last_terminator(last: Message, closing: Closing) -> str:
    calls = last.role == "assistant" and last.recipient is not None
    if calls:
        return CALL
    if closing == "dialect" or (closing == "training" and last.role == "assistant"):
        return RETURN
    return END


def render_messages(messages: Sequence[Message], *, closing: Closing) -> Rendered:
    """Write `messages` as Harmony text.

    Raises:
        Rejected: `special_token_in_content` when a body or a part of a header spells a special token, which text cannot
            hold literally (evidence `token`, `field`, `offset` in code points of that field); `invalid_harmony` when a
            name, recipient, channel or content type has characters that a header cannot hold (evidence `header`,
            `field`).
        HarmonyError: there is no such role.
    """
    pieces: list[str] = []
    placed: list[RenderedMessage] = []
    position = 0
    last = len(messages) - 1
    for number, message in enumerate(messages):
        body = message.body
        if (found := special_token_in(body)) is not None:
            field = f"messages[{number}].body"
            raise Rejected("special_token_in_content", token=found.token, field=field, offset=found.offset)
        role, recipient, channel = message.role, message.recipient, message.channel
        opening = _opening_of(number, message)
        if number == last:
            terminator = _last_terminator(message, closing)
        else:
            terminator = CALL if role == "assistant" and recipient is not None else END
        body_start = position + len(opening)
        body_end = body_start + len(body)
        end = body_end + len(terminator)
        pieces += (opening, body, terminator)
        placed.append(RenderedMessage(role, channel, recipient, position, body_start, body_end, end))
        position = end
    return Rendered(pieces, tuple(placed))
