"""The shapes of tool schemas.

Belongs here: how a function is described. Does not: which functions there are (`service_desks`, `tool_tasks`).
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def tool(function: Schema) -> Schema:
    return {"type": "function", "function": function}


def function(name: str, description: str, properties: Schema, required: list[str], *, typed: bool = False) -> Schema:
    """A function schema; the interactive source leaves out `"type": "object"` of the parameters."""
    parameters = {"type": "object"} if typed else {}
    return {
        "name": name,
        "description": description,
        "parameters": {**parameters, "properties": properties, "required": required},
    }


def text(description: str) -> Schema:
    return {"type": "string", "description": description}
