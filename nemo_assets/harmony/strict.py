"""Harmony text read exactly as openai-harmony 0.0.8 reads it, oddities and refusals included.

Belongs here: what that library makes of a text, so that our reading can be compared with it. Does not: the reading that
rows are judged by, which loses nothing and refuses nothing (`parse`).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from nemo_assets.harmony.messages import ROLES, HarmonyError
from nemo_assets.harmony.special_tokens import CHANNEL, CONSTRAIN, MESSAGE, START, TERMINATORS

_header_end_strict = re.compile(re.escape(MESSAGE)).search
_header_end_lenient = re.compile("|".join(map(re.escape, (MESSAGE, *TERMINATORS)))).search
_terminator = re.compile("|".join(map(re.escape, TERMINATORS))).search
_channel_end = re.compile(r"[\s<]").search


class StrictMessage(NamedTuple):
    """What openai-harmony makes of one message."""

    role: str
    name: str | None
    recipient: str | None
    channel: str | None
    content_type: str | None
    body: str


def parse_strict(text: str, role: str | None = None, *, strict: bool = True) -> list[StrictMessage]:
    """Read `text` as openai-harmony 0.0.8 does; `role` is that of a first message already begun.

    Its oddities are kept: an unterminated last message is accepted, a lone word after the role is the recipient even if
    it is `json`, an unknown role alone is refused. Without `strict` a message that ends before its body begins is left
    out, or is its own header's words where `role` says who speaks; every other fault is refused all the same.

    Raises:
        HarmonyError: the library refuses the text.
    """
    header_end_tokens = _header_end_strict if strict else _header_end_lenient
    messages: list[StrictMessage] = []
    position = 0
    while position < len(text) or role is not None:
        if role is None:
            if not text.startswith(START, position):
                raise HarmonyError(f"Unexpected token at character {position} while expecting start token")
            position += len(START)
        header_end = header_end_tokens(text, position)
        if header_end is None:
            raise HarmonyError("Unexpected EOS while waiting for message header to complete")
        header = text[position : header_end.start()]
        position = header_end.end()
        if header_end.group() == MESSAGE:
            body_end = _terminator(text, position)
            body = text[position : body_end.start() if body_end else len(text)]
            messages.append(StrictMessage(*_fields(header, role), body))
            position = body_end.end() if body_end else len(text)
        elif role is not None:
            messages += _bodiless(header, role)
        role = None
    return messages


_Fields = tuple[str, str | None, str | None, str | None, str | None]


def _channel_and_words(header: str) -> tuple[str | None, list[str]]:
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
    return channel, [word for word in re.split(r"[ \t\n\f\r]+", spaced) if word]


def _bodiless(header: str, role: str) -> list[StrictMessage]:
    """What `role` said in a message that ended in its header: its words; nothing where the header is empty."""
    if not header:
        return []
    channel, words = _channel_and_words(header)
    if words and words[0] == role:
        words.pop(0)
    return [StrictMessage(role, None, None, channel, None, " ".join(words))]


def _fields(header: str, role: str | None) -> _Fields:
    channel, words = _channel_and_words(header)
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
    recipient, content_type = _destination(words)
    return role, name, recipient, channel, content_type


def _destination(words: list[str]) -> tuple[str | None, str | None]:
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
