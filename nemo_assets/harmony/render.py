"""Messages to Harmony text, with the place of every message in it.

Belongs here: header, body, terminator, and the refusal of content that would read back as something else.
Does not: what a source's conversation becomes (`templates`), the official library's JSON form (`official`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
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


PlacedFields = tuple[str, str | None, str | None, int, int, int, int]
placed_message: Callable[[PlacedFields], RenderedMessage] = partial(tuple.__new__, RenderedMessage)
"""One from all its fields in order, at a quarter of the cost of the constructor that takes them by name."""


class Rendered(NamedTuple):
    """Harmony text and its messages in order, so that a loss mask needs no second reading."""

    text: str
    messages: tuple[RenderedMessage, ...]


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
def opening_text(
    role: str, name: str | None, recipient: str | None, channel: str | None, content_type: str | None
) -> str:
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


def last_terminator(role: str, recipient: str | None, closing: Closing) -> str:
    """How the last message ends, by who speaks to whom and the closing of the template."""
    if role == "assistant" and recipient is not None:
        return CALL
    if closing == "dialect" or (closing == "training" and role == "assistant"):
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
        role, body, channel, recipient, content_type, name = message
        try:
            if (found := special_token_in(body)) is not None:
                raise Rejected("special_token_in_content", token=found.token, field="body", offset=found.offset)
            opening = opening_text(role, name, recipient, channel, content_type)
        except HarmonyError as error:
            raise HarmonyError(error.reason, number, error.field) from None
        except Rejected as rejection:
            field = f"messages[{number}].{rejection.evidence['field']}"
            raise Rejected(rejection.code, **{**rejection.evidence, "field": field}) from None
        if number == last:
            terminator = last_terminator(role, recipient, closing)
        else:
            terminator = CALL if role == "assistant" and recipient is not None else END
        body_start = position + len(opening)
        body_end = body_start + len(body)
        end = body_end + len(terminator)
        pieces += (opening, body, terminator)
        placed.append(placed_message((role, channel, recipient, position, body_start, body_end, end)))
        position = end
    return Rendered("".join(pieces), tuple(placed))
