"""Whether ready-made Harmony text is fit to become a row, and what is odd about it.

Belongs here: the verdict on parsed text and the flags that follow from text alone. Does not: rules over the content of
other sources, which their adapters check before rendering.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from nemo_assets.harmony.contents import FUNCTIONS
from nemo_assets.harmony.parse import (
    EMPTY_CHANNEL,
    EXTRA_HEADER_WORDS,
    HEADER_WITHOUT_MESSAGE,
    JUNK_BETWEEN_MESSAGES,
    MISSING_ROLE,
    MISSING_TERMINATOR,
    RECIPIENT_AFTER_CHANNEL,
    SPECIAL_TOKEN_IN_BODY,
    SPECIAL_TOKEN_IN_HEADER,
    ParsedMessage,
    parse_harmony,
)
from nemo_assets.harmony.special_tokens import RETURN

_FATAL_DEVIATIONS = {
    JUNK_BETWEEN_MESSAGES: "invalid_harmony",
    HEADER_WITHOUT_MESSAGE: "invalid_harmony",
    MISSING_ROLE: "invalid_harmony",
    MISSING_TERMINATOR: "invalid_harmony",
    SPECIAL_TOKEN_IN_HEADER: "special_token_in_content",
    SPECIAL_TOKEN_IN_BODY: "special_token_in_content",
}
_DIALECT_TAGS = {
    RECIPIENT_AFTER_CHANNEL: "dialect:native_call_header",
    EMPTY_CHANNEL: "dialect:empty_channel",
    EXTRA_HEADER_WORDS: "dialect:extra_header_words",
}


class TextCheck(NamedTuple):
    """The verdict on one text: the drop code or None, what was measured, and tags for what is kept though odd."""

    fatal: str | None
    evidence: dict[str, Any]
    tags: tuple[str, ...]


def check_text(messages: Sequence[ParsedMessage]) -> TextCheck:
    """Judge ready-made text by its parsed messages; a null text has none.

    The first fault in the order of the text decides. A `<|return|>` before the last message is a forged end and counts
    as a special token in content. A last answer without a letter or digit is an empty completion even after reasoning.
    """
    if all(not message.role and message.raw.isspace() for message in messages):
        return TextCheck("no_messages", {"reason": "no text" if not messages else "only blanks"}, ())
    fault = _form_fault(messages) or _completion_fault(messages) or _arguments_fault(messages)
    if fault is not None:
        return TextCheck(fault[0], fault[1], ())
    return TextCheck(None, {}, _tags(messages))


_Fault = tuple[str, dict[str, Any]]


def _form_fault(messages: Sequence[ParsedMessage]) -> _Fault | None:
    last = max((number for number, m in enumerate(messages) if JUNK_BETWEEN_MESSAGES not in m.deviations), default=0)
    for number, message in enumerate(messages):
        for deviation in message.deviations:
            if deviation in _FATAL_DEVIATIONS:
                return _FATAL_DEVIATIONS[deviation], {"deviation": deviation, "message": number, "at": message.start}
        if message.terminator == RETURN and number != last:
            return "special_token_in_content", {"token": RETURN, "message": number, "at": message.body_end}
    return None


def _completion_fault(messages: Sequence[ParsedMessage]) -> _Fault | None:
    assistant = [message for message in messages if message.role == "assistant"]
    if not assistant:
        return "empty_completion", {"reason": "no assistant message"}
    # A call without arguments has a body of `{}` and still says something: which tool.
    if not any(message.recipient is not None or _says_something(message.body) for message in assistant):
        return "empty_completion", {"reason": "no letter or digit in any assistant message"}
    last = assistant[-1]
    if last.recipient is None and last.channel in (None, "final") and not _says_something(last.body):
        return "empty_completion", {"reason": "no letter or digit in the last answer", "at": last.body_start}
    return None


def _arguments_fault(messages: Sequence[ParsedMessage]) -> _Fault | None:
    for number, message in enumerate(messages):
        if _takes_json(message) and not _is_json(message.body):
            return "invalid_tool_schema", {
                "reason": "arguments are not JSON",
                "tool": message.recipient,
                "message": number,
            }
    return None


def _says_something(body: str) -> bool:
    return any(map(str.isalnum, body))


def _takes_json(message: ParsedMessage) -> bool:
    """Whether this is a call whose body must be JSON: to a function, or declared so."""
    if message.role != "assistant" or message.recipient is None:
        return False
    return message.recipient.startswith(f"{FUNCTIONS}.") or (message.content_type or "").endswith("json")


def _is_json(body: str) -> bool:
    try:
        json.loads(body)
    except RecursionError:
        # Deeper than the reader goes: whatever it is, it began as JSON, and depth is no fault of the arguments.
        return True
    except ValueError:
        return False
    return True


def _tags(messages: Sequence[ParsedMessage]) -> tuple[str, ...]:
    tags: set[str] = set()
    for message in messages:
        tags.update(_DIALECT_TAGS[deviation] for deviation in message.deviations if deviation in _DIALECT_TAGS)
        if message.role == "tool" and message.name == "python":
            tags.add("dialect:python_tool_name")
        elif message.role == "assistant" and message.channel is None and message.recipient is None:
            tags.add("dialect:channel_less_final")
    return tuple(sorted(tags))


def basic_quality_flags_from_text(text: str | None) -> dict[str, bool | int]:
    """Flags that follow from the text alone; a null text has no messages.

    Keys: `valid_harmony`, `has_assistant`, `completion_nonempty`, `has_tool`, `valid_tool_schema`, `has_return_tag`,
    `num_messages`, `num_assistant_messages`.
    """
    parsed = parse_harmony(text or "")
    messages = [message for message in parsed if message.role]
    assistant = [message for message in messages if message.role == "assistant"]
    return {
        "valid_harmony": bool(messages) and _form_fault(parsed) is None,
        "has_assistant": bool(assistant),
        "completion_nonempty": _completion_fault(messages) is None,
        "has_tool": any(m.role == "tool" or (m.role == "assistant" and m.recipient is not None) for m in messages),
        "valid_tool_schema": _arguments_fault(messages) is None,
        "has_return_tag": bool(messages) and messages[-1].terminator == RETURN,
        "num_messages": len(messages),
        "num_assistant_messages": len(assistant),
    }
