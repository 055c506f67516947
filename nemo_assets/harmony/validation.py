"""What is wrong or odd about Harmony text, and whether it may become a row: the one set of rules.

Belongs here: the names of deviations, which of them are fatal, and the flags that follow from text. Does not: where
messages begin and end (`parse`), rules over the content of other sources, which their adapters check before rendering.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from nemo_assets.harmony.contents import FUNCTIONS
from nemo_assets.harmony.conversation import PYTHON_TOOLS, UNNAMED_TOOL, canonical_json
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
    parse,
)
from nemo_assets.harmony.special_tokens import CALL, CHANNEL, CONSTRAIN, RETURN, special_token_in
from nemo_assets.harmony.tool_arguments import satisfies, validators_of

RETURN_BEFORE_THE_END = "return_before_the_end"
UNKNOWN_ROLE = "unknown_role"
MISSING_CHANNEL = "missing_channel"
RECIPIENT_WITHOUT_CALL = "recipient_without_call"
CALL_WITHOUT_RECIPIENT = "call_without_recipient"
TOOL_RESULT_WITHOUT_CALL = "tool_result_without_call"
ARGUMENTS_NOT_JSON = "arguments_not_json"
ARGUMENTS_BREAK_SCHEMA = "arguments_break_schema"
BROKEN_SCHEMA = "broken_schema"

FATAL: Mapping[str, str] = {
    JUNK_BETWEEN_MESSAGES: "invalid_harmony",
    HEADER_WITHOUT_MESSAGE: "invalid_harmony",
    MISSING_ROLE: "invalid_harmony",
    MISSING_TERMINATOR: "invalid_harmony",
    SPECIAL_TOKEN_IN_HEADER: "special_token_in_content",
    SPECIAL_TOKEN_IN_BODY: "special_token_in_content",
    # Before the last message it is a forged end.
    RETURN_BEFORE_THE_END: "special_token_in_content",
    ARGUMENTS_NOT_JSON: "invalid_tool_schema",
}
"""Deviations that keep a text from becoming a row, and the drop code of each."""

_TAGS = {
    RECIPIENT_AFTER_CHANNEL: "dialect:native_call_header",
    EMPTY_CHANNEL: "dialect:empty_channel",
    EXTRA_HEADER_WORDS: "dialect:extra_header_words",
    UNKNOWN_ROLE: "dialect:unknown_role",
    RECIPIENT_WITHOUT_CALL: "dialect:recipient_without_call",
    CALL_WITHOUT_RECIPIENT: "dialect:call_without_recipient",
    TOOL_RESULT_WITHOUT_CALL: "dialect:tool_result_without_call",
    BROKEN_SCHEMA: "dialect:broken_schema",
}
_EVERYONE = "all"
_INTERPRETER, _BROWSER = "python", "browser"
_NOTHING: Mapping[str, Any] = {}


class Deviation(NamedTuple):
    """One thing that is not as it should be: its name, the message counted from 0, its offset in the text.

    `field` says what in the message is meant where a name alone does not: `header` or `body` that hold a special token,
    the tool whose arguments or schema are at fault.
    """

    name: str
    message: int
    at: int
    field: str | None = None


class Validation(NamedTuple):
    """The verdict on one text. Offsets are code points.

    `fatal` is the drop code of a text that cannot become a row, with the `evidence` for it; `tags` name what is kept
    though odd. `flags` are those of `basic_quality_flags_from_text`.
    """

    messages: tuple[ParsedMessage, ...]
    deviations: tuple[Deviation, ...]
    fatal: str | None
    evidence: dict[str, Any]
    tags: tuple[str, ...]
    flags: dict[str, bool | int]


def validate(text: str, tools: str | Sequence[Mapping[str, Any]] | None = None) -> Validation:
    """Judge ready-made text; any string whatever gives a verdict.

    `tools` is what the conversation offers, as a tools list or as the JSON of one (the entry of a tools catalog, whose
    compiled schemas are then kept). Without it arguments only have to be JSON.
    """
    return validate_messages(parse(text), tools)


def validate_messages(
    messages: Sequence[ParsedMessage], tools: str | Sequence[Mapping[str, Any]] | None = None
) -> Validation:
    """Judge a text by the messages that `parse` made of it; a null text has none.

    The first fault in the order of the text decides, faults of form before an empty completion, that before arguments.
    A last answer without a letter or digit is an empty completion even after reasoning.
    """
    validators = _NOTHING
    if tools:
        validators = validators_of(tools if isinstance(tools, str) else canonical_json(list(tools)))
    deviations = (*_of_form(messages), *_of_tools(messages, validators))
    if len(deviations) > 1:
        deviations = tuple(sorted(deviations, key=lambda deviation: deviation.message))
    spoken = [message for message in messages if message.role]
    assistant = [message for message in spoken if message.role == "assistant"]
    faults = [deviation for deviation in deviations if deviation.name in FATAL]
    form = next((fault for fault in faults if fault.name != ARGUMENTS_NOT_JSON), None)
    completion = _completion_fault(assistant)
    arguments = next((fault for fault in faults if fault.name == ARGUMENTS_NOT_JSON), None)
    fatal, evidence = None, {}
    if all(not message.role and message.raw.isspace() for message in messages):
        fatal, evidence = "no_messages", {"reason": "only blanks" if messages else "no text"}
    elif form is not None:
        fatal, evidence = FATAL[form.name], _evidence(form, messages)
    elif completion is not None:
        fatal, evidence = "empty_completion", completion
    elif arguments is not None:
        fatal, evidence = FATAL[arguments.name], _evidence(arguments, messages)
    names = {deviation.name for deviation in deviations}
    flags: dict[str, bool | int] = {
        "valid_harmony": bool(spoken) and form is None,
        "has_assistant": bool(assistant),
        "completion_nonempty": completion is None,
        "has_tool": any(m.role == "tool" for m in spoken) or any(m.recipient is not None for m in assistant),
        "valid_tool_schema": ARGUMENTS_NOT_JSON not in names and ARGUMENTS_BREAK_SCHEMA not in names,
        "has_return_tag": bool(spoken) and spoken[-1].terminator == RETURN,
        "num_messages": len(spoken),
        "num_assistant_messages": len(assistant),
    }
    tags = () if fatal else _tags(spoken, names)
    return Validation(tuple(messages), deviations, fatal, evidence, tags, flags)


def basic_quality_flags_from_text(text: str | None) -> dict[str, bool | int]:
    """Flags that follow from the text alone; a null text has no messages.

    Keys: `valid_harmony`, `has_assistant`, `completion_nonempty`, `has_tool`, `valid_tool_schema`, `has_return_tag`,
    `num_messages`, `num_assistant_messages`.
    """
    return validate(text or "").flags


def _of_form(messages: Sequence[ParsedMessage]) -> Iterator[Deviation]:
    """What the marks and headers show, message by message."""
    last = len(messages) - 1
    while last > 0 and JUNK_BETWEEN_MESSAGES in messages[last].deviations:
        last -= 1  # junk behind the last message does not make its end an early one
    for number, message in enumerate(messages):
        for name in message.deviations:
            field = {SPECIAL_TOKEN_IN_HEADER: "header", SPECIAL_TOKEN_IN_BODY: "body"}.get(name)
            yield Deviation(name, number, message.start, field)
        terminator = message.terminator
        if terminator == RETURN and number < last:
            yield Deviation(RETURN_BEFORE_THE_END, number, message.body_end)
        if message.role == "assistant":
            if message.channel is None:
                yield Deviation(MISSING_CHANNEL, number, message.start)
            called = message.recipient is not None and message.recipient != _EVERYONE
            if called and terminator and terminator != CALL:
                yield Deviation(RECIPIENT_WITHOUT_CALL, number, message.body_end, message.recipient)
            elif terminator == CALL and message.recipient is None:
                yield Deviation(CALL_WITHOUT_RECIPIENT, number, message.body_end)


def _of_tools(messages: Sequence[ParsedMessage], validators: Mapping[str, Any | None]) -> Iterator[Deviation]:
    """What calls and their results show, each held against the calls before it."""
    unanswered: Counter[str] = Counter()
    for number, message in enumerate(messages):
        if message.role == "assistant" and message.recipient is not None and message.recipient != _EVERYONE:
            unanswered[_bare(message.recipient)] += 1
            if _takes_json(message):
                yield from _of_arguments(number, message, message.recipient, validators)
        elif message.role == "tool":
            tool = _bare(message.name or UNNAMED_TOOL)
            answered = next(iter(unanswered), tool) if tool == UNNAMED_TOOL else tool
            if answered in unanswered:
                unanswered[answered] -= 1
                if not unanswered[answered]:
                    del unanswered[answered]
            elif _is_tool(message, tool, validators):
                yield Deviation(TOOL_RESULT_WITHOUT_CALL, number, message.start, message.name)
            else:
                yield Deviation(UNKNOWN_ROLE, number, message.start, message.name)


def _of_arguments(
    number: int, message: ParsedMessage, recipient: str, validators: Mapping[str, Any | None]
) -> Iterator[Deviation]:
    try:
        arguments = _decode(message.body)
    except RecursionError:
        # Deeper than the reader goes: whatever it is, it began as JSON, and depth is no fault of the arguments.
        return
    except ValueError:
        yield Deviation(ARGUMENTS_NOT_JSON, number, message.body_start, recipient)
        return
    tool = recipient if recipient in validators else recipient.removeprefix(f"{FUNCTIONS}.")
    if tool not in validators:
        return
    if validators[tool] is None:
        yield Deviation(BROKEN_SCHEMA, number, message.start, recipient)
    elif satisfies(validators[tool], arguments) is False:
        yield Deviation(ARGUMENTS_BREAK_SCHEMA, number, message.body_start, recipient)


def _bare(name: str) -> str:
    """A tool's name without its namespace of functions; the interpreter, and the browser, under one name."""
    name = name.removeprefix(f"{FUNCTIONS}.")
    if name in PYTHON_TOOLS:
        return _INTERPRETER
    return _BROWSER if name.startswith(f"{_BROWSER}.") else name


def _is_tool(message: ParsedMessage, tool: str, validators: Mapping[str, Any | None]) -> bool:
    """Whether the author is a tool even though nobody called it: addressed to somebody, or of a name tools have."""
    name = message.name or ""
    known = name in validators or tool in validators or tool in (_INTERPRETER, _BROWSER, UNNAMED_TOOL)
    return known or message.recipient is not None or name.startswith(f"{FUNCTIONS}.")


def _takes_json(message: ParsedMessage) -> bool:
    """Whether the body of this call must be JSON: to a function, or declared so."""
    return (message.recipient or "").startswith(f"{FUNCTIONS}.") or (message.content_type or "").endswith("json")


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _integer(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:  # more digits than the interpreter reads, and no fault of the text
        return float(digits)


_decode = json.JSONDecoder(parse_constant=_no_json, parse_int=_integer).decode


def _completion_fault(assistant: Sequence[ParsedMessage]) -> dict[str, Any] | None:
    """Why there is nothing to learn from, None where there is something."""
    if not assistant:
        return {"reason": "no assistant message"}
    # A call without arguments has a body of `{}` and still says something: which tool.
    if not any(message.recipient is not None or _says_something(message.body) for message in assistant):
        return {"reason": "no letter or digit in any assistant message"}
    last = assistant[-1]
    if last.recipient is None and last.channel in (None, "final") and not _says_something(last.body):
        return {"reason": "no letter or digit in the last answer", "at": last.body_start}
    return None


def _says_something(body: str) -> bool:
    return any(map(str.isalnum, body))


def _evidence(fault: Deviation, messages: Sequence[ParsedMessage]) -> dict[str, Any]:
    """What the ledger is told: for a special token also which, in which field and where in it."""
    evidence: dict[str, Any] = {"deviation": fault.name, "message": fault.message, "at": fault.at}
    message = messages[fault.message]
    if fault.name == ARGUMENTS_NOT_JSON:
        evidence["tool"] = fault.field
    elif fault.name == RETURN_BEFORE_THE_END:
        evidence |= {"token": RETURN, "field": f"messages[{fault.message}].body", "offset": len(message.body)}
    elif fault.field is not None:
        content = message.body
        if fault.field == "header":  # where one channel and what constrains the content may stand
            content = message.header.replace(CONSTRAIN, " " * len(CONSTRAIN)).replace(CHANNEL, " " * len(CHANNEL), 1)
        found = special_token_in(content)
        if found is not None:
            field = f"messages[{fault.message}].{fault.field}"
            evidence |= {"token": found.token, "field": field, "offset": found.offset}
    return evidence


def _tags(spoken: Sequence[ParsedMessage], names: set[str]) -> tuple[str, ...]:
    tags = {_TAGS[name] for name in names if name in _TAGS}
    for message in spoken:
        if message.role == "tool" and message.name == "python":
            tags.add("dialect:python_tool_name")
        elif message.role == "assistant" and message.channel is None:
            tags.add("dialect:channel_less_final" if message.recipient is None else "dialect:channel_less_call")
    return tuple(sorted(tags))
