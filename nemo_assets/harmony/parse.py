"""Harmony text back to messages, leniently and without losing a character.

Belongs here: where messages begin and end, what a header says, and the names of what deviates in their form. What a
deviation means for a record is `validation`; what the messages mean as turns is `identity`; how openai-harmony reads
the same text is `strict`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from nemo_assets.harmony.messages import ROLES
from nemo_assets.harmony.special_tokens import (
    CHANNEL,
    CONSTRAIN,
    MESSAGE,
    SPECIAL_TOKEN,
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

LONGEST_HEADER = 256
"""Code points of a header that is worth remembering. A longer one is no header but text without `<|message|>`."""

_CLOSING = (*TERMINATORS, START)
# One pass over a body finds what ends it and what should not be in it. The engine looks for the literal "<|" that all
# special tokens begin with, which is faster than `str.find` with a needle as short.
_special = re.compile(SPECIAL_TOKEN).search
_closing = re.compile(r"<\|(?:start|end|return|call)\|>").search
_header_end = re.compile(r"<\|(?:message|start|end|return|call)\|>").search
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


def parse(text: str) -> list[ParsedMessage]:
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


parse_harmony = parse
"""The same under the name it has where other formats are read too."""


def _message_at(text: str, start: int) -> ParsedMessage:
    header_start = start + len(START)
    header_end = text.find(MESSAGE, header_start, header_start + LONGEST_HEADER + len(MESSAGE))
    header_text = text[header_start:header_end] if header_end >= 0 else ""
    # Too long to be a header, or one with another message in it: look again for whatever ends it first.
    if header_end < 0 or ("<|" in header_text and _closing(header_text)):
        found = _header_end(text, header_start)
        header_end = found.start() if found else len(text)
        header_text = text[header_start:header_end]
        if found is None or found.group() != MESSAGE:
            return _bodiless(text, start, header_text, header_end)
    role, name, recipient, channel, content_type, deviations = parse_header(header_text)
    body_start = header_end + len(MESSAGE)
    found = _special(text, body_start)
    terminator = "" if found is None else found.group()
    if found is not None and terminator not in _CLOSING:
        deviations = (*deviations, SPECIAL_TOKEN_IN_BODY)
        found = _closing(text, found.end())
        terminator = "" if found is None else found.group()
    body_end = len(text) if found is None else found.start()
    if terminator not in TERMINATORS:
        terminator = ""
        deviations = (*deviations, MISSING_TERMINATOR)
    end = body_end + len(terminator)
    return ParsedMessage(
        text[start:end],
        header_text,
        role,
        name,
        recipient,
        channel,
        content_type,
        text[body_start:body_end],
        start,
        body_start,
        body_end,
        terminator,
        end,
        deviations,
    )


def _bodiless(text: str, start: int, header_text: str, header_end: int) -> ParsedMessage:
    """A message that ends before its body begins."""
    header = parse_header(header_text)
    terminator = next((token for token in TERMINATORS if text.startswith(token, header_end)), "")
    end = header_end + len(terminator)
    deviations = (*header.deviations, HEADER_WITHOUT_MESSAGE)
    return ParsedMessage(
        text[start:end], header_text, *header[:5], "", start, header_end, header_end, terminator, end, deviations
    )


def _junk(text: str, start: int, end: int) -> ParsedMessage:
    raw = text[start:end]
    return ParsedMessage(raw, "", "", None, None, None, None, raw, start, start, end, "", end, (JUNK_BETWEEN_MESSAGES,))


def parse_header(header: str) -> Header:
    """Read what stands between `<|start|>` and `<|message|>`.

    The recipient may stand before or after the channel; a word that is no recipient is the content type.
    """
    # Conversations use few different headers.
    return _kept_header(header) if len(header) <= LONGEST_HEADER else _read_header(header)


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
