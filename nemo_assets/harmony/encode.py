"""A conversation to UTF-8 in one walk: what a row needs of it, as fast as Python goes.

Belongs here: the one loop over the turns of millions of rows. It does at once what `render_conversation` and
`content_sha1` do one after the other. They say what is right: tests hold it to them, and what it cannot write it leaves
to them to refuse.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import NamedTuple

from nemo_assets.errors import Rejected
from nemo_assets.harmony.conversation import Conversation, Role, Turn, interpreter_code
from nemo_assets.harmony.identity import fields_before_body
from nemo_assets.harmony.messages import Message
from nemo_assets.harmony.render import (
    RenderedMessage,
    last_terminator,
    opening_text,
    placed_message,
    render_messages,
)
from nemo_assets.harmony.special_tokens import CALL, END, search_utf8
from nemo_assets.harmony.template import Template
from nemo_assets.harmony.templates import TEMPLATES, render_conversation


class Encoded(NamedTuple):
    """Harmony text as UTF-8, its messages in order with offsets in code points, and the digest of its content.

    `spoken` are begin and end, in bytes, of the assistant's bodies, one after the other.
    """

    text: bytes
    messages: list[RenderedMessage]
    spoken: list[int]
    content_sha1: str


class _Frame(NamedTuple):
    """What stands around the body of a message, and what its digest begins with; `length` is that of the opening."""

    role: str
    channel: str | None
    recipient: str | None
    opening: bytes
    length: int
    terminator: bytes


def encode_conversation(conversation: Conversation, template_name: str) -> Encoded:
    """Write `conversation` with the template of this name. Raises as `render_conversation`."""
    try:
        return _encode(conversation, TEMPLATES[template_name])
    except Rejected:
        render_conversation(conversation, template_name)
        raise


def _encode(conversation: Conversation, template: Template) -> Encoded:
    prologue, first = template.prologue(conversation)
    text, start = _start_of(tuple(prologue))
    pieces, placed = [text], list(start)
    spoken: list[int] = []
    content: list[bytes] = []
    size, position = len(text), start[-1].end if start else 0
    name = template.name
    for turn in conversation.turns[first:]:
        role, body, channel, tool, arguments = turn
        if arguments is None and role != "system":
            frame, fields = _frame_of_turn(name, role, channel, tool)
            data = body.encode()
            content += (fields, b"%d:" % len(data), data)
        else:
            message = template.message_of(turn)
            frame = None if message is None else _frame_of(message._replace(body=""))
            code = interpreter_code(turn)
            counted = body if code is None else code
            data = counted.encode()
            if role != "system":
                content += (fields_before_body(role, channel, tool), b"%d:" % len(data), data)
            if message is not None and message.body is not counted:
                data = message.body.encode()
            body = body if message is None else message.body
        if frame is None:
            continue
        if search_utf8(data) is not None:
            raise Rejected("special_token_in_content")
        author, channel, recipient, opening, length, terminator = frame
        begin = position + length
        end = begin + len(body)
        placed.append(placed_message((author, channel, recipient, position, begin, end, end + len(terminator))))
        position = end + len(terminator)
        pieces += (opening, data, terminator)
        size += length
        if author == "assistant":
            spoken += (size, size + len(data))
        size += len(data) + len(terminator)
    if placed:
        _end(placed, pieces, template)
    return Encoded(b"".join(pieces), placed, spoken, hashlib.sha1(b"".join(content)).hexdigest())


def _end(placed: list[RenderedMessage], pieces: list[bytes], template: Template) -> None:
    """Give the last message the terminator of a last message."""
    last = placed[-1]
    terminator = last_terminator(last.role, last.recipient, template.closing)
    pieces[-1] = pieces[-1][: last.body_end - last.end] + terminator.encode()
    placed[-1] = placed_message((*last[:6], last.body_end + len(terminator)))


@lru_cache(maxsize=32)  # few, as a system prompt or tools can be a megabyte
def _start_of(prologue: tuple[Message, ...]) -> tuple[bytes, tuple[RenderedMessage, ...]]:
    """The messages before the turns, none of them the last: the same for many conversations."""
    text, messages = render_messages(prologue, closing="none")
    return text.encode(), messages


@lru_cache(maxsize=16384)
def _frame_of_turn(name: str, role: Role, channel: str | None, tool: str | None) -> tuple[_Frame | None, bytes]:
    """Frame and digest fields of turns whose message has their own body; they are few, whatever the bodies are."""
    message = TEMPLATES[name].message_of(Turn(role, "", channel, tool))
    return None if message is None else _frame_of(message), fields_before_body(role, channel, tool)


@lru_cache(maxsize=16384)
def _frame_of(message: Message) -> _Frame:
    role, _, channel, recipient, content_type, name = message
    opening = opening_text(role, name, recipient, channel, content_type)
    terminator = CALL if role == "assistant" and recipient is not None else END
    return _Frame(role, channel, recipient, opening.encode(), len(opening), terminator.encode())
