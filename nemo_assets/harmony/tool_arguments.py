"""Tool arguments against the tool's JSON schema.

Belongs here: one question, answered yes, no or not answerable. Does not: whether arguments are JSON at all (the
adapters and `quality`), how a schema is shown to the model (`tool_types`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NoReturn

import jsonschema_rs
import msgspec

from nemo_assets.harmony.conversation import canonical_json


def arguments_match(tool: Mapping[str, Any], arguments: Any) -> bool | None:
    """Whether `arguments` satisfy the `parameters` schema of `tool`; None where that schema cannot judge.

    A tool without parameters accepts anything. A broken schema, one that refers to another document, and values nested
    deeper than the validator goes give None. Nothing is fetched.
    """
    parameters = tool.get("parameters")
    if parameters is None:
        return True
    validator = _validator(canonical_json(parameters))
    if validator is None:
        return None
    try:
        return bool(validator.is_valid(arguments))
    except (ValueError, RecursionError):
        return None


@lru_cache(maxsize=4096)
def _validator(schema: str) -> Any | None:
    """The compiled validator of a schema given as canonical JSON, None when it does not compile."""
    try:
        return jsonschema_rs.validator_for(msgspec.json.decode(schema), retriever=_refuse)
    except (ValueError, TypeError, RecursionError):
        return None


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"a schema may not refer to another document: {uri}")
