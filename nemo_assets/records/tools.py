"""The `tools` field of a record: its entry in the tools catalog."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from nemo_assets.harmony import canonical_json


class ToolsEntry(NamedTuple):
    """A list of tools: `id` is the sha1, hex, of its canonical `json`; `size` says how many there are."""

    id: str
    size: int
    json: str


def tools_entry(tools: Any) -> ToolsEntry | None:
    """The catalog entry of a non-empty tools list, None where there are no tools."""
    if not isinstance(tools, list) or not tools:
        return None
    return _entry_of(msgspec.json.encode(tools))


@lru_cache(maxsize=1024)
def _entry_of(tools_as_they_stand: bytes) -> ToolsEntry:
    """Many rows offer the same tools, written in the same order."""
    tools = msgspec.json.decode(tools_as_they_stand)
    text = canonical_json(tools)
    return ToolsEntry(hashlib.sha1(text.encode()).hexdigest(), len(tools), text)
