"""Harmony text back to messages: leniently without losing a character, or exactly as strict as openai-harmony.

Belongs here: where messages begin and end, what a header says, and the names of what deviates. What a deviation means
for a record is `quality`; what the messages mean as turns is `identity`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from nemo_assets.harmony.messages import ROLES
from nemo_assets.harmony.official import HarmonyError
from nemo_assets.harmony.special_tokens import (
    CHANNEL,
    CONSTRAIN,
    MESSAGE,
    START,
    TERMINATORS,
    find_special_token,
)

JUNK_BETWEEN_MESSAGES = "junk_between_messages"
HEADER_WITHOUT_MESSAGE = "header_without_message"
MISSING_TERMINATOR = "missing_terminator"
MISSING_ROLE = "missing_role"
SPECIAL_TOKEN_IN_HEADER = "special_token_in_header"
SPECIAL_TOKEN_IN_BODY = "special_token_in_body"
EXTRA_HEADER_WORDS = "extra_header_words"
EMPTY_CHANNEL = "empty_channel"
RECIPIENT_AFTER_CHANNEL = "recipient_after_channel"

_CLOSING = (*TERMINATORS, START)
_HEADER_ENDS = (MESSAGE, *_CLOSING)
_channel_end = re.compile(r"[\s<]").search


class Header(NamedTuple):
    """What a header says. A role nobody knows is the name of a tool."""

    role: str
    name: str | None = None
    recipient: str | None = None
    channel: str | None = None
    content_type: str | None = None
    deviations: tuple[str, ...] = ()


class ParsedMessage(NamedTuple):
    """One message as it stands in the text. Offsets are code points of the whole text.

    `raw` is all of it, `end` the offset after the terminator, `terminator` empty where it is missing. What lies between
    messages is a message with an empty role whose body is all of it.
    """

    raw: str
    header: str
    role: str
    name: str | None
    recipient: str | None
    channel: str | None
    content_type: str | None
    body: str
    start: int
    body_start: int
    body_end: int
    terminator: str
    end: int
    deviations: tuple[str, ...]


def parse_harmony(text: str) -> list[ParsedMessage]:
    """Read `text` without refusing or losing anything: the `raw` of all messages joined is `text`.

    A message runs from `<|start|>` to the first terminator; one that meets another `<|start|>` or the end of the text
    first has deviation `missing_terminator`, or `header_without_message` when it never got to its body.
    """
    messages: list[ParsedMessage] = []
    position, size = 0, len(text)
    while position < size:
        if text.startswith(START, position):
            message = _message_at(text, position)
        else:
            begin = text.find(START, position)
            message = _junk(text, position, size if begin < 0 else begin)
        messages.append(message)
        position = message.end
    return messages


def _next_of(text: str, tokens: tuple[str, ...], position: int) -> int:
    """The offset of the first of `tokens` at or after `position`, or the end of the text."""
    # Every token begins with the same two characters, which text rarely holds: a plain search is the fastest scan.
    position = text.find("<|", position)
    while position >= 0:
        if text.startswith(tokens, position):
            return position
        position = text.find("<|", position + 2)
    return len(text)


def _terminator_at(text: str, position: int) -> str:
    for token in TERMINATORS:
        if text.startswith(token, position):
            return token
    return ""


def _message_at(text: str, start: int) -> ParsedMessage:
    header_start = start + len(START)
    header_end = _next_of(text, _HEADER_ENDS, header_start)
    header_raw = text[header_start:header_end]
    header = parse_header(header_raw)
    deviations = header.deviations
    if text.startswith(MESSAGE, header_end):
        body_start = header_end + len(MESSAGE)
        body_end = _next_of(text, _CLOSING, body_start)
        terminator = _terminator_at(text, body_end)
        body = text[body_start:body_end]
        if "<|" in body and find_special_token(body) is not None:
            deviations = (*deviations, SPECIAL_TOKEN_IN_BODY)
        if not terminator:
            deviations = (*deviations, MISSING_TERMINATOR)
    else:
        body_start = body_end = header_end
        terminator = _terminator_at(text, header_end)
        body = ""
        deviations = (*deviations, HEADER_WITHOUT_MESSAGE)
    end = body_end + len(terminator)
    return ParsedMessage(
        text[start:end], header_raw, *header[:5], body, start, body_start, body_end, terminator, end, deviations
    )


def _junk(text: str, start: int, end: int) -> ParsedMessage:
    raw = text[start:end]
    return ParsedMessage(raw, "", "", None, None, None, None, raw, start, start, end, "", end, (JUNK_BETWEEN_MESSAGES,))


def parse_header(header: str) -> Header:
    """Read what stands between `<|start|>` and `<|message|>`.

    The recipient may stand before or after the channel; a word that is no recipient is the content type.
    """
    # Conversations use few different headers. A long one is no header but text that lost its `<|message|>`.
    return _kept_header(header) if len(header) <= 256 else _read_header(header)


def _read_header(header: str) -> Header:
    deviations: list[str] = []
    before, marker, after = header.partition(CHANNEL)
    channel: str | None = None
    if marker:
        found = _channel_end(after)
        cut = found.start() if found else len(after)
        channel, after = after[:cut], after[cut:]
        if not channel:
            deviations.append(EMPTY_CHANNEL)
    words = before.replace(CONSTRAIN, f" {CONSTRAIN}").split()
    role_part = words.pop(0) if words and not words[0].startswith((CONSTRAIN, "to=")) else ""
    first_after = len(words)
    words += after.replace(CONSTRAIN, f" {CONSTRAIN}").split()
    recipient, content_type, extra = None, None, False
    for number, word in enumerate(words):
        if word.startswith("to=") and recipient is None:
            recipient = word.removeprefix("to=")
            if number >= first_after:
                deviations.append(RECIPIENT_AFTER_CHANNEL)
        elif content_type is None:
            content_type = word
        else:
            extra = True
    if extra:
        deviations.append(EXTRA_HEADER_WORDS)
    role, name = _author(role_part)
    if not role:
        deviations.append(MISSING_ROLE)
    if find_special_token(f"{before} {after}".replace(CONSTRAIN, " ")) is not None:
        deviations.append(SPECIAL_TOKEN_IN_HEADER)
    return Header(role, name, recipient, channel, content_type, tuple(deviations))


_kept_header = lru_cache(maxsize=16384)(_read_header)


def _author(part: str) -> tuple[str, str | None]:
    """Role and name: `user`, `user:alice`, or a tool that stands for itself."""
    if part in ROLES or not part:
        return part, "tool" if part == "tool" else None
    role, _, name = part.partition(":")
    return (role, name) if role in ROLES and role != "tool" else ("tool", part)


class StrictMessage(NamedTuple):
    """What openai-harmony makes of one message."""

    role: str
    name: str | None
    recipient: str | None
    channel: str | None
    content_type: str | None
    body: str


def parse_strict(text: str, role: str | None = None) -> list[StrictMessage]:
    """Read `text` as openai-harmony 0.0.8 does in strict mode; `role` is that of a first message already begun.

    Its oddities are kept: an unterminated last message is accepted, a lone word after the role is the recipient even if
    it is `json`, an unknown role alone is refused.

    Raises:
        HarmonyError: the library refuses the text.
    """
    messages: list[StrictMessage] = []
    position = 0
    while position < len(text) or role is not None:
        if role is None:
            if not text.startswith(START, position):
                raise HarmonyError(f"Unexpected token at character {position} while expecting start token")
            position += len(START)
        header_end = text.find(MESSAGE, position)
        if header_end < 0:
            raise HarmonyError("Unexpected EOS while waiting for message header to complete")
        body_start = header_end + len(MESSAGE)
        body_end = _next_of(text, TERMINATORS, body_start)
        fields = _strict_header(text[position:header_end], role)
        messages.append(StrictMessage(*fields, text[body_start:body_end]))
        position = body_end + len(_terminator_at(text, body_end))
        role = None
    return messages


_StrictHeader = tuple[str, str | None, str | None, str | None, str | None]


def _strict_header(header: str, role: str | None) -> _StrictHeader:
    before, marker, after = header.partition(CHANNEL)
    channel: str | None = None
    if marker:
        found = _channel_end(after)
        channel = after[: found.start()] if found else after
        if not channel:
            raise HarmonyError("channel marker present but no channel value found in header")
        after = after[len(channel) :]
    spaced = (before + after).strip().replace(CONSTRAIN, f" {CONSTRAIN}")
    # ASCII blanks only, without the vertical tab: other blanks stay part of a word.
    words = [word for word in re.split(r"[ \t\n\f\r]+", spaced) if word]
    name: str | None = None
    if role is None:
        if not words:
            raise HarmonyError("message header did not contain a role")
        author = words[0]
        if author not in ROLES:
            if len(words) == 1 and not author.startswith("to="):
                raise HarmonyError(f"Unknown role: {author}")
            words.pop(0)
        role = author if author in ROLES else "tool"
        name = author if role == "tool" else None
    if words and words[0] == role:
        words.pop(0)
    recipient, content_type = _strict_destination(words)
    return role, name, recipient, channel, content_type


def _strict_destination(words: list[str]) -> tuple[str | None, str | None]:
    """Recipient and content type from what follows the role."""
    if not words:
        return None, None
    *rest, last = words
    content_type: str | None = None
    if last.startswith("to=") or not rest:
        recipient = last
    else:
        *rest, recipient = rest
        content_type = last
    if rest:
        raise HarmonyError(f"unexpected tokens remaining in message header: {' '.join(rest)}")
    return recipient.removeprefix("to="), content_type
