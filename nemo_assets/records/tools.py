"""The `tools` field of a record: the functions it offers and its key in the tools catalog."""

from __future__ import annotations

import hashlib
from typing import Any

from nemo_assets.harmony import canonical_json


def functions_of(tools: Any) -> tuple[dict[str, Any], ...]:
    """The function objects {name, description, parameters} of an OpenAI-style tools list; odd entries are left out."""
    if not isinstance(tools, list):
        return ()
    functions = (tool.get("function", tool) for tool in tools if isinstance(tool, dict))
    return tuple(f for f in functions if isinstance(f, dict) and isinstance(f.get("name"), str))


def catalog_entry(tools: Any) -> tuple[str, str] | None:
    """(source_tools_id, canonical JSON) of a non-empty tools list, None where there are no tools."""
    if not isinstance(tools, list) or not tools:
        return None
    text = canonical_json(tools)
    return hashlib.sha1(text.encode()).hexdigest(), text
