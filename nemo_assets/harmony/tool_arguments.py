"""Tool arguments against the tool's JSON schema.

Belongs here: the functions of a tools list, their compiled schemas, and one question, answered yes, no or not
answerable. Does not: whether arguments are JSON at all (the adapters and `validation`), how a schema is shown to the
model (`tool_types`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NoReturn

import jsonschema_rs
import msgspec

from nemo_assets.harmony.conversation import canonical_json


def functions_of(tools: Any) -> tuple[dict[str, Any], ...]:
    """The function objects {name, description, parameters} of an OpenAI-style tools list; odd entries are left out."""
    if not isinstance(tools, list):
        return ()
    functions = [tool.get("function", tool) for tool in tools if isinstance(tool, dict)]
    return tuple([f for f in functions if isinstance(f, dict) and isinstance(f.get("name"), str)])


def arguments_match(tool: Mapping[str, Any], arguments: Any) -> bool | None:
    """Whether `arguments` satisfy the `parameters` schema of `tool`; None where that schema cannot judge.

    A tool without parameters accepts anything. A broken schema, one that refers to another document, and values nested
    deeper than the validator goes give None. Nothing is fetched.
    """
    parameters = tool.get("parameters")
    return True if parameters is None else satisfies(_validator(canonical_json(parameters)), arguments)


def satisfies(validator: Any | None, arguments: Any) -> bool | None:
    """Whether a compiled schema accepts `arguments`; None where there is none or where it cannot judge them."""
    if validator is None:
        return None
    try:
        return bool(validator.is_valid(arguments))
    except (ValueError, RecursionError):
        return None


_OF_ANY_VALUE = frozenset({"type", "title", "description", "default", "examples"})
_OF_ANY_CODE = _OF_ANY_VALUE | {"properties", "required", "additionalProperties"}


def judges_any_code_alike(parameters: Any) -> bool:
    """Whether a schema says the same of `{"code": text}` whatever the text is; False where that is not plain to see."""
    if not isinstance(parameters, dict) or not _OF_ANY_CODE.issuperset(parameters):
        return parameters is None
    properties = parameters.get("properties", {})
    code = properties.get("code") if isinstance(properties, dict) else None
    others = parameters.get("additionalProperties", True)
    return isinstance(code, dict) and _OF_ANY_VALUE.issuperset(code) and isinstance(others, bool)


@lru_cache(maxsize=1024)
def validators_of(catalog_entry: str) -> Mapping[str, Any | None]:
    """The compiled schema of every function of a tools list, by name; None for a schema that does not compile.

    The list is given as JSON, as the tools catalog holds it, so that rows which share an entry share its validators.
    Text that is no tools list has no functions.
    """
    try:
        tools = functions_of(msgspec.json.decode(catalog_entry))
    except (ValueError, RecursionError):
        tools = ()
    parameters = ((tool["name"], tool.get("parameters")) for tool in tools)
    # A function without parameters takes anything, which is what the schema `true` says.
    return MappingProxyType(
        {name: _validator("true" if schema is None else canonical_json(schema)) for name, schema in parameters}
    )


@lru_cache(maxsize=4096)
def _validator(schema: str) -> Any | None:
    """The compiled validator of a schema given as canonical JSON, None when it does not compile."""
    try:
        return jsonschema_rs.validator_for(msgspec.json.decode(schema), retriever=_refuse)
    except (ValueError, TypeError, RecursionError):
        return None


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"a schema may not refer to another document: {uri}")
