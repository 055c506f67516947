"""A conversation before a template turns it into messages.

Belongs here: the template-neutral shape that adapters fill and identity is computed from. Does not: any source's field
names, any rendering.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from json.encoder import encode_basestring
from typing import Any, Literal, NamedTuple

import msgspec

_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False).encode
_encode_string = msgspec.json.Encoder().encode

PYTHON_TOOLS = frozenset({"stateful_python_code_exec", "python_code_exec", "python"})
"""The names under which sources offer the one Python interpreter."""


UNNAMED_TOOL = "tool"
"""The author of a tool result whose tool the source does not name."""


class Turn(NamedTuple):
    """One turn as the source means it.

    `channel` is set for the assistant: `analysis` is reasoning, `final` an answer, `commentary` a tool call or content
    beside one. `tool` is the called tool as the source spells it, or the tool that answers (None when the source does
    not say). `arguments` of a call is the parsed JSON; `body` then holds its canonical JSON.
    """

    role: Literal["system", "user", "assistant", "tool"]
    body: str
    channel: str | None = None
    tool: str | None = None
    arguments: Any = None

    @property
    def is_call(self) -> bool:
        """Whether the assistant calls a tool here."""
        return self.role == "assistant" and self.tool is not None


Role = Literal["system", "user", "assistant", "tool"]
turn_of: Callable[[tuple[Role, str, str | None, str | None, Any]], Turn] = partial(tuple.__new__, Turn)
"""A turn from all its fields in order, at a quarter of the cost of the constructor that takes them by name."""


class Conversation(NamedTuple):
    """Turns in order, the tools on offer (function objects `name`, `description`, `parameters`), reasoning effort."""

    turns: tuple[Turn, ...]
    tools: tuple[dict[str, Any], ...] = ()
    effort: Literal["low", "medium", "high"] = "medium"


class Use(NamedTuple):
    """What turns use: tools or not, how often the assistant calls one, and the last final answer."""

    has_tool: bool
    calls: int
    final: str | None


def use_of(turns: Iterable[Turn]) -> Use:
    """Count what the turns use."""
    has_tool, calls, final = False, 0, None
    for role, body, channel, tool, _ in turns:
        if channel == "final":
            final = body
        elif tool is not None or role == "tool":
            has_tool = True
            calls += role == "assistant"
    return Use(has_tool, calls, final)


def call(tool: str, arguments: Any) -> Turn:
    """The turn in which the assistant calls `tool`."""
    return Turn("assistant", canonical_json(arguments), "commentary", tool, arguments)


def interpreter_code(turn: Turn) -> str | None:
    """The Python source a call runs when it goes to the interpreter with nothing but `code`, else None."""
    arguments = turn.arguments
    if turn.tool in PYTHON_TOOLS and isinstance(arguments, dict) and len(arguments) == 1:
        code = arguments.get("code")
        if isinstance(code, str):
            return code
    return None


def canonical_json(value: Any) -> str:
    """`json.dumps(value, sort_keys=True, ensure_ascii=False)`, at any depth of nesting and any size of integer.

    The same value always gives the same text. NaN and infinities are no JSON; whoever reads them replaces them first.
    """
    try:
        if type(value) is dict and len(value) == 1:  # the code of a call: an encoder is more than it needs
            ((key, only),) = value.items()
            if type(key) is str and type(only) is str:
                return f"{{{_quoted(key)}: {_quoted(only)}}}"
        return _encode(value)
    except RecursionError:
        return _encode_deep(value)


def _quoted(text: str) -> str:
    """A string as JSON, as `encode_basestring` writes it but in a quarter of the time."""
    try:
        return str(_encode_string(text), "utf-8")
    except UnicodeEncodeError:
        return encode_basestring(text)


class _Literal(str):
    """Text to write as it is, as opposed to a string value to encode."""

    __slots__ = ()


def _encode_deep(value: Any) -> str:
    """The same text with a stack of our own, for values nested deeper than the interpreter's."""
    written: list[str] = []
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, _Literal):
            written.append(item)
        elif isinstance(item, dict) and item:
            pending.append(_Literal("}"))
            for number, key in reversed(list(enumerate(sorted(item)))):
                pending += (item[key], _Literal(f"{', ' if number else '{'}{_encode(key)}: "))
        elif isinstance(item, list) and item:
            pending.append(_Literal("]"))
            for number, element in reversed(list(enumerate(item))):
                pending += (element, _Literal(", " if number else "["))
        else:
            written.append(_encode(item))
    return "".join(written)
