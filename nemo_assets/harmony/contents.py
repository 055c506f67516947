"""The bodies of canonical system and developer messages, exactly as openai-harmony 0.0.8 writes them.

Belongs here: identity, effort, channels, instructions and the tools section. Does not: headers (`render`), the type of
a tool's parameters (`tool_types`), fixed texts of other dialects (`templates`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import msgspec

from nemo_assets.harmony.tool_types import compact_json, typescript_of

Effort = Literal["low", "medium", "high"]

IDENTITY = "You are ChatGPT, a large language model trained by OpenAI."
KNOWLEDGE_CUTOFF = "2024-06"
CHANNELS = ("analysis", "commentary", "final")
FUNCTIONS = "functions"


def system_content(
    effort: str | None = "medium",
    *,
    has_functions: bool = False,
    identity: str | None = IDENTITY,
    knowledge_cutoff: str | None = KNOWLEDGE_CUTOFF,
    date: str | None = None,
    channels: Sequence[str] = CHANNELS,
    channel_required: bool = True,
    tools_section: str | None = None,
) -> str:
    """The body of the system message; `has_functions` says that the developer message defines function tools.

    There is no date unless one is given, so that the text of a row does not depend on the day it was written.
    """
    top = [
        identity,
        None if knowledge_cutoff is None else f"Knowledge cutoff: {knowledge_cutoff}",
        None if date is None else f"Current date: {date}",
    ]
    sections = ["\n".join(line for line in top if line is not None)] if any(line is not None for line in top) else []
    if effort is not None:
        sections.append(f"Reasoning: {effort}")
    if tools_section is not None:
        sections.append(tools_section)
    if channels:
        line = f"# Valid channels: {', '.join(channels)}."
        if channel_required:
            line += " Channel must be included for every message."
        if has_functions:
            line += f"\nCalls to these tools must go to the commentary channel: '{FUNCTIONS}'."
        sections.append(line)
    return "\n\n".join(sections)


def developer_content(instructions: str | None, tools: Sequence[Mapping[str, Any]] = ()) -> str:
    """The body of the developer message: instructions, and `tools` as the `functions` namespace.

    `tools` are function objects with `name`, `description`, `parameters`.
    """
    section = tools_section([(FUNCTIONS, None, tools)]) if tools else None
    return developer_sections(instructions, section)


def developer_sections(instructions: str | None, section: str | None) -> str:
    """`# Instructions` (an empty text keeps its heading), then a tools section that is already written."""
    parts = [] if instructions is None else ["# Instructions", instructions]
    return "\n\n".join(parts if section is None else [*parts, section])


def tools_section(namespaces: Iterable[tuple[str, str | None, Sequence[Mapping[str, Any]]]]) -> str:
    """`# Tools` and one block for each namespace: its name, its description, its tools."""
    return "\n\n".join(["# Tools", *(_namespace(*namespace) for namespace in namespaces)])


def _namespace(name: str, description: str | None, tools: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"## {name}\n"]
    prefix = "// " if tools else ""
    lines += [prefix + line for line in _lines(description or "")]
    if tools:
        lines.append(f"namespace {name} {{\n")
        lines += [_declared(msgspec.json.encode(tool)) for tool in tools]
        lines.append(f"}} // namespace {name}")
    return "\n".join(lines)


@lru_cache(maxsize=4096)
def _declared(tool_json: bytes) -> str:
    """A tool as the namespace declares it. Given as JSON, because many conversations offer the same tools."""
    tool = msgspec.json.decode(tool_json)
    lines = [f"// {line}" for line in _lines(_text(tool.get("description")))]
    return "\n".join([*lines, f"type {_text(tool.get('name'))} = {_parameters(tool.get('parameters'))} => any;\n"])


def _parameters(schema: Any) -> str:
    return "()" if schema is None else f"(_: {typescript_of(schema)})"


def _text(value: Any) -> str:
    """Names and descriptions are strings; of anything else the JSON stands for it, and nothing for null."""
    if isinstance(value, str):
        return value
    return "" if value is None else compact_json(value)


def _lines(text: str) -> list[str]:
    r"""Lines as Rust's `str::lines` cuts them: at \n and \r\n only, without an empty last line."""
    *ended, rest = text.split("\n")
    lines = [line.removesuffix("\r") for line in ended]
    return [*lines, rest] if rest else lines
