"""Content identity: equal content has an equal digest whatever the source, split or template.

Belongs here: the digests and the way from parsed text back to neutral turns. Does not: row ids and record uids
(`records`), near duplicates (`dedup`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from nemo_assets.harmony.contents import FUNCTIONS
from nemo_assets.harmony.conversation import PYTHON_TOOLS, UNNAMED_TOOL, Turn, canonical_json, interpreter_code
from nemo_assets.harmony.parse import ParsedMessage


def sha1_text_id(text: str | bytes) -> str:
    """sha1 of the UTF-8 of `text`, hex."""
    return hashlib.sha1(text.encode() if isinstance(text, str) else text).hexdigest()


def content_sha1(turns: Iterable[Turn]) -> str:
    """sha1, hex, over role, channel, recipient and body of every turn that is not the system's.

    Each field is written `<byte length>:<UTF-8>`, None as `-`. A call to the Python interpreter with nothing but `code`
    counts as recipient `python` with that code, under whichever name and wrapping a source has it. User and tool turns
    have no channel, and who answers for a tool does not count; an assistant turn without channel is an answer.
    """
    fields: list[bytes] = []
    for turn in turns:
        if turn.role != "system":
            code = interpreter_code(turn)
            encoded = (turn.body if code is None else code).encode()
            fields += (fields_before_body(turn.role, turn.channel, turn.tool), b"%d:" % len(encoded), encoded)
    return hashlib.sha1(b"".join(fields)).hexdigest()


@lru_cache(maxsize=4096)
def fields_before_body(role: str, channel: str | None, tool: str | None) -> bytes:
    """Role, channel and recipient as `content_sha1` hashes them before the body of a turn that is not the system's."""
    if role != "assistant":
        return b"".join(map(_field, (role, None, None)))
    if tool is None:
        return b"".join(map(_field, (role, channel or "final", None)))
    return b"".join(map(_field, (role, "commentary", "python" if tool in PYTHON_TOOLS else tool)))


def _field(value: str | None) -> bytes:
    if value is None:
        return b"-"
    encoded = value.encode()
    return b"%d:%b" % (len(encoded), encoded)


def turns_of_parsed(messages: Sequence[ParsedMessage]) -> tuple[Turn, ...]:
    """The neutral turns that parsed text stands for, in any dialect the templates write or the sources hold.

    Text between messages is no turn. An assistant message without channel is an answer.
    """
    return tuple(_turn(message) for message in messages if message.role)


def _turn(message: ParsedMessage) -> Turn:
    role, body = message.role, message.body
    if role in ("system", "developer"):
        return Turn("system", body)
    if role == "tool":
        name = None if message.name == UNNAMED_TOOL else message.name
        return Turn("tool", body, tool=name and name.removeprefix(f"{FUNCTIONS}."))
    if role != "assistant":
        return Turn("user", body)
    if message.recipient is None or message.recipient == "all":
        return Turn("assistant", body, message.channel or "final")
    return _call(message.recipient, message.channel, body)


def _call(recipient: str, channel: str | None, body: str) -> Turn:
    if channel == "analysis":
        # The interpreter gets bare source on this channel, every other tool JSON under its bare name.
        if recipient in PYTHON_TOOLS:
            arguments = {"code": body}
            return Turn("assistant", canonical_json(arguments), "commentary", recipient, arguments)
        return Turn("assistant", body, "commentary", recipient, _json_or_none(body))
    tool = recipient.removeprefix(f"{FUNCTIONS}.")
    return Turn("assistant", body, "commentary", tool, _json_or_none(body))


def _json_or_none(body: str) -> Any:
    """Arguments as a value; None where the text is no JSON or nests deeper than the reader goes: `body` has it all."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
