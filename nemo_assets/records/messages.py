"""Chat messages as the sources write them, to template-neutral turns.

Sources differ in where they put things, hardly in what they mean: contents of any JSON type, reasoning beside content,
calls whose arguments are an object or a JSON string. All of it is read here once.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from nemo_assets.errors import Rejected
from nemo_assets.harmony import Role, Turn, canonical_json, turn_of
from nemo_assets.records.parsing import parse_json_text

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}

# Results without name and call id follow their calls in order in every source seen so far.
PAIRED_BY_ORDER = "dialect:tool_result_paired_by_order"


class KnownTurns(NamedTuple):
    """What `turns_of` gives for messages of a known form, in the place of a `messages` field. Bodies are left out."""

    turns: tuple[Turn, ...]
    tags: Sequence[str]


def turns_of(messages: Any, tags: list[str]) -> tuple[Turn, ...]:
    """The turns of a `messages` field; appends to `tags` what was odd.

    Raises Rejected: `no_messages` where there are none, `invalid_harmony` for a message without a usable role,
    `invalid_tool_schema` for a call that names no function or whose arguments are no JSON.
    """
    if type(messages) is KnownTurns:
        tags += messages.tags
        return messages.turns
    messages = _as_list(messages, tags)
    calls = _Calls()
    turns: list[Turn] = []
    for place, message in enumerate(messages):
        try:
            role = ROLES[message["role"]]
        except (KeyError, TypeError, IndexError):
            raise _unknown_role(message, place) from None
        content = message.get("content")
        if type(content) is not str:
            content = as_text(content)
        if role == "assistant":
            turns += _assistant_turns(message, content, place, calls)
        elif role == "tool":
            turns.append(turn_of(("tool", content, None, calls.answered_by(message, tags), None)))
        else:
            turns.append(turn_of((role, content, None, None, None)))
    return tuple(turns)


def _unknown_role(message: Any, place: int) -> Rejected:
    found = message.get("role") if isinstance(message, dict) else type(message).__name__
    return Rejected("invalid_harmony", reason="unknown_role", message=place, role=str(found)[:100])


class _Calls:
    """The calls made so far, to tell which one a result answers: by its name, its call id, or by order."""

    def __init__(self) -> None:
        self._by_id: dict[str, str] = {}
        self._unanswered: list[str] = []

    def begin(self) -> None:
        """A new assistant message: calls that nobody answered until now stay unanswered."""
        self._unanswered.clear()

    def made(self, name: str, call_id: Any) -> None:
        self._unanswered.append(name)
        if call_id is not None:
            self._by_id[str(call_id)] = name

    def answered_by(self, result: dict[str, Any], tags: list[str]) -> str | None:
        """The tool that speaks in `result`, None where it cannot be told."""
        name = as_text(result.get("name")).strip() or self._by_id.get(str(result.get("tool_call_id")))
        if name is None and result.get("tool_call_id") is None and self._unanswered:
            name = self._unanswered[0]
            if PAIRED_BY_ORDER not in tags:
                tags.append(PAIRED_BY_ORDER)
        if name in self._unanswered:
            self._unanswered.remove(name)
        return name


def as_text(value: Any) -> str:
    """A string as it is, null as nothing, any other JSON value as canonical JSON."""
    if type(value) is str:
        return value
    return "" if value is None else canonical_json(value)


def optional_text(value: Any) -> str | None:
    """The same, but None for null."""
    return value if value is None or type(value) is str else canonical_json(value)


def is_blank(text: str) -> bool:
    return not text or text.isspace()


def _as_list(messages: Any, tags: list[str]) -> list[Any]:
    if isinstance(messages, str):
        messages = _read_literal(messages)
        tags.append("dialect:messages_as_text")
    if not isinstance(messages, list) or not messages:
        raise Rejected("no_messages", type=type(messages).__name__)
    return messages


def _read_literal(text: str) -> Any:
    """Some exports hold messages as JSON text or as a Python literal."""
    try:
        return parse_json_text(text)
    except (ValueError, RecursionError):
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise Rejected("no_messages", type="str", reason="neither_json_nor_literal") from None


def _assistant_turns(message: dict[str, Any], content: str, place: int, made: _Calls) -> list[Turn]:
    made.begin()
    turns = []
    reasoning = message.get("reasoning_content")
    if type(reasoning) is not str:
        reasoning = as_text(reasoning)
    if reasoning and not reasoning.isspace():
        turns.append(turn_of(("assistant", reasoning, "analysis", None, None)))
    calls = message.get("tool_calls") or ()
    if calls and not isinstance(calls, list):
        raise Rejected("invalid_tool_schema", reason="tool_calls_is_no_list", message=place)
    if content and not content.isspace():
        turns.append(turn_of(("assistant", content, "commentary" if calls else "final", None, None)))
    for call in calls:
        turn = _call_turn(call, place)
        turns.append(turn)
        made.made(turn.tool or "", call.get("id"))
    return turns


def _call_turn(call: Any, place: int) -> Turn:
    function = call.get("function") if isinstance(call, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or is_blank(name):
        raise Rejected("invalid_tool_schema", reason="call_names_no_function", message=place)
    assert isinstance(function, dict)  # a name was found in it
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = parse_json_text(arguments)
        except (ValueError, RecursionError) as error:
            detail = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            raise Rejected(
                "invalid_tool_schema",
                reason="arguments_are_no_json",
                message=place,
                tool=name[:100],
                detail=detail[:200],
            ) from None
    return turn_of(("assistant", canonical_json(arguments), "commentary", name.strip(), arguments))
