"""Chat messages as the sources write them, to template-neutral turns.

Sources differ in where they put things, hardly in what they mean: contents of any JSON type, reasoning beside content,
calls whose arguments are an object or a JSON string. All of it is read here once.
"""

from __future__ import annotations

import ast
import json
from typing import Any

from nemo_assets.errors import Rejected
from nemo_assets.harmony import Turn, canonical_json
from nemo_assets.records.parsing import parse_json_text

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


def turns_of(messages: Any, tags: list[str]) -> tuple[Turn, ...]:
    """The turns of a `messages` field; appends to `tags` what was odd.

    Raises Rejected: `no_messages` where there are none, `invalid_harmony` for a message without a usable role,
    `invalid_tool_schema` for a call that names no function or whose arguments are no JSON.
    """
    messages = _as_list(messages, tags)
    names: dict[str, str] = {}  # tool name by call id, for results that do not name their tool
    turns: list[Turn] = []
    for place, message in enumerate(messages):
        found = message.get("role") if isinstance(message, dict) else type(message).__name__
        role = ROLES.get(found, "") if isinstance(message, dict) and isinstance(found, str) else ""
        if not role:
            raise Rejected("invalid_harmony", reason="unknown_role", message=place, role=str(found)[:100])
        content = as_text(message.get("content"))
        if role == "assistant":
            turns += _assistant_turns(message, content, place, names)
        elif role == "tool":
            name = message.get("name") or names.get(str(message.get("tool_call_id")))
            turns.append(Turn("tool", content, tool=as_text(name).strip() or None if name is not None else None))
        else:
            turns.append(Turn(role, content))  # type: ignore[arg-type]  # ROLES holds Turn's roles only
    return tuple(turns)


def as_text(value: Any) -> str:
    """A string as it is, null as nothing, any other JSON value as canonical JSON."""
    if type(value) is str:
        return value
    return "" if value is None else canonical_json(value)


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


def _assistant_turns(message: dict[str, Any], content: str, place: int, names: dict[str, str]) -> list[Turn]:
    turns = []
    reasoning = as_text(message.get("reasoning_content"))
    if not is_blank(reasoning):
        turns.append(Turn("assistant", reasoning, channel="analysis"))
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise Rejected("invalid_tool_schema", reason="tool_calls_is_no_list", message=place)
    if not is_blank(content):
        turns.append(Turn("assistant", content, channel="commentary" if calls else "final"))
    for call in calls:
        turns.append(_call_turn(call, place))
        if isinstance(call, dict) and call.get("id") is not None:
            names[str(call["id"])] = turns[-1].tool or ""
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
    return Turn("assistant", canonical_json(arguments), channel="commentary", tool=name.strip(), arguments=arguments)
