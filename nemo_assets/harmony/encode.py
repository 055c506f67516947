"""A conversation to UTF-8 with all that a row needs of it, as fast as Python goes.

Conversations have few forms: by whom the turns are, on which channels, with which tools. What follows from the form is
worked out once, and what is left to do for each of millions of rows is done by functions in C over all its bodies.

Belongs here: that fast way, for the forms that nearly all conversations have. It gives at once what
`render_conversation`, `loss_spans` and `content_sha1` do one after the other. They say what is right: tests hold it to
them, other forms are left to them, and so is to refuse what cannot be written.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from nemo_assets.errors import Rejected
from nemo_assets.harmony.conversation import (
    PYTHON_TOOLS,
    Conversation,
    Role,
    Turn,
    Use,
    interpreter_code,
    turn_of,
    use_of,
)
from nemo_assets.harmony.identity import content_sha1, fields_before_body
from nemo_assets.harmony.messages import Message
from nemo_assets.harmony.render import last_terminator, opening_text, render_messages
from nemo_assets.harmony.spans import loss_spans
from nemo_assets.harmony.special_tokens import CALL, END, search_utf8
from nemo_assets.harmony.templates import TEMPLATES, render_conversation

LONG = 64  # turns; hardly two conversations with more have one form, and such a form takes much memory


class Encoded(NamedTuple):
    """Harmony text as UTF-8, its length in code points, how many messages it has, and the digest of its content.

    `spans` are where the assistant's bodies lie in code points, without empty ones: the loss of `assistant_all`.
    `spoken` are begin and end of the same bodies, empty or not, in bytes, one after the other. `use` and `tags` are
    those of the conversation, by `use_of` and its template.
    """

    text: bytes
    length: int
    messages: int
    spans: tuple[tuple[int, int], ...]
    spoken: list[int]
    content_sha1: str
    use: Use
    tags: tuple[str, ...]


class Form(NamedTuple):
    """What conversations share whose turns have the same roles, channels and tools in the same order.

    `pieces` are those of the text: the prologue, then what stands before a body and the body by turns, and the last
    terminator. Prologue and bodies are empty, as they are in `lengths`, the lengths of the pieces. `spoken` are the
    numbers of the pieces behind which the assistant's bodies begin and end. `content` is what is hashed: for every turn
    the fields before its body, the length of the body and the body, the latter two empty. `written` are the turns that
    the template has a place for, None where those are all; `interpreted` the calls whose body may be bare code; `final`
    the last final answer.
    """

    pieces: list[bytes]
    lengths: list[int]
    spoken: list[int]
    content: list[bytes]
    written: list[int] | None
    interpreted: list[int]
    final: int | None
    use: Use
    tags: tuple[str, ...]


def encode_conversation(conversation: Conversation, template_name: str) -> Encoded:
    """Write `conversation` with the template of this name. Raises as `render_conversation`."""
    template = TEMPLATES[template_name]
    prologue, first = template.prologue(conversation)
    turns = conversation.turns[first:]
    try:
        start, length, count = start_of(tuple(prologue))
        roles, bodies, channels, tools, _ = zip(*turns, strict=True) if turns else ((),) * 5
        form = (known_form if len(turns) <= LONG else _form_of)(template_name, roles, channels, tools)
    except Rejected:
        render_conversation(conversation, template_name)
        raise
    if form is None:
        return _encoded_plainly(conversation, template_name)
    counted = written = list(bodies)
    codes = [(place, interpreter_code(turns[place])) for place in form.interpreted]
    if codes:
        counted = [*bodies]
        for place, code in codes:
            counted[place] = bodies[place] if code is None else code
    data = [body.encode() for body in counted]
    content = _content_of(form, data)
    # As JSON, code holds a special token exactly if it does so bare. What the template has no place for may hold one.
    if search_utf8(content) is not None:
        render_conversation(conversation, template_name)
    if template.writes_code:
        written = counted
    elif codes:
        data = [body.encode() for body in written]
    if form.written is not None:
        written, data = [written[place] for place in form.written], [data[place] for place in form.written]
    pieces, lengths = form.pieces.copy(), form.lengths.copy()
    pieces[0], lengths[0] = start, length
    pieces[2::2], lengths[2::2] = data, map(len, written)
    text, ends = b"".join(pieces), list(accumulate(lengths))
    spoken = [ends[number] for number in form.spoken]
    spans = tuple(zip(spoken[::2], spoken[1::2], strict=True))
    if "" in written:
        spans = tuple([span for span in spans if span[0] < span[1]])
    if len(text) > ends[-1]:  # not all of it is ASCII
        sizes = list(accumulate(map(len, pieces)))
        spoken = [sizes[number] for number in form.spoken]
    use = form.use if form.final is None else Use(form.use.has_tool, form.use.calls, bodies[form.final])
    digest = hashlib.sha1(content).hexdigest()
    return Encoded(text, ends[-1], count + len(written), spans, spoken, digest, use, form.tags)


def _content_of(form: Form, data: list[bytes]) -> bytes:
    """What `content_sha1` hashes, of these bodies."""
    content = form.content.copy()
    content[1::3] = [b"%d:" % len(each) for each in data]
    content[2::3] = data
    return b"".join(content)


def _encoded_plainly(conversation: Conversation, template_name: str) -> Encoded:
    """The same by the plain functions, for any conversation."""
    text, messages = render_conversation(conversation, template_name)
    spoken: list[int] = []
    for message in messages:
        if message.role == "assistant":
            spoken += (len(text[: message.body_start].encode()), len(text[: message.body_end].encode()))
    return Encoded(
        text.encode(),
        len(text),
        len(messages),
        loss_spans(messages, "assistant_all"),
        spoken,
        content_sha1(conversation.turns),
        use_of(conversation.turns),
        TEMPLATES[template_name].tags(conversation),
    )


@lru_cache(maxsize=32)  # few, as a system prompt or tools can be a megabyte
def start_of(prologue: tuple[Message, ...]) -> tuple[bytes, int, int]:
    """The messages before the turns, none of them the last, their length and count: the same for many conversations."""
    text, messages = render_messages(prologue, closing="none")
    return text.encode(), len(text), len(messages)


class _Frame(NamedTuple):
    """What stands around the body of a turn: `fields` in what is hashed, the others in text.

    There `opening` is None where the template has no place for the turn; `terminator` ends its message, and `last` does
    if that is the last one.
    """

    fields: bytes
    opening: bytes | None = None
    terminator: bytes = b""
    last: bytes = b""
    is_spoken: bool = False


@lru_cache(maxsize=16384)
def _frame_of(name: str, role: Role, channel: str | None, tool: str | None) -> _Frame:
    """The frame of a turn that is not the system's: few, even where many forms are made of them."""
    template = TEMPLATES[name]
    fields = fields_before_body(role, channel, tool)
    message = template.message_of(Turn(role, "", channel, tool))
    if message is None:
        return _Frame(fields)
    author, _, channel, recipient, content_type, tool = message
    opening = opening_text(author, tool, recipient, channel, content_type)
    terminator = CALL if author == "assistant" and recipient is not None else END
    last = last_terminator(author, recipient, template.closing)
    return _Frame(fields, opening.encode(), terminator.encode(), last.encode(), author == "assistant")


def _form_of(
    name: str, roles: tuple[Role, ...], channels: tuple[str | None, ...], tools: tuple[str | None, ...]
) -> Form | None:
    """The form of turns; None where their messages follow from more than it, or where they have none."""
    if "system" in roles:
        return None
    turns = [
        turn_of((role, "", channel, tool, None)) for role, channel, tool in zip(roles, channels, tools, strict=True)
    ]
    pieces, content = [b""], list[bytes]()
    spoken, written = list[int](), list[int]()
    terminator = last = b""
    for place, (role, _, channel, tool, _) in enumerate(turns):
        frame = _frame_of(name, role, channel, tool)
        content += (frame.fields, b"", b"")
        if frame.opening is not None:
            if frame.is_spoken:
                spoken += (len(pieces), len(pieces) + 1)
            pieces += (terminator + frame.opening, b"")
            terminator, last = frame.terminator, frame.last
            written.append(place)
    if not written:
        return None
    pieces.append(last)
    finals = [place for place, channel in enumerate(channels) if channel == "final"]
    return Form(
        pieces,
        list(map(len, pieces)),
        spoken,
        content,
        None if len(written) == len(turns) else written,
        [place for place, tool in enumerate(tools) if tool in PYTHON_TOOLS and roles[place] == "assistant"],
        finals[-1] if finals else None,
        use_of(turns),
        TEMPLATES[name].tags(Conversation(tuple(turns))),
    )


known_form = lru_cache(maxsize=1024)(_form_of)
