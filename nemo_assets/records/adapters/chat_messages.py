"""Sources whose records are a conversation with optional tools: Science, Agentic, Instruction-Following-Chat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nemo_assets.catalog import Split
from nemo_assets.harmony import functions_of
from nemo_assets.records.draft import Draft
from nemo_assets.records.messages import optional_text, turns_of

LOOKS_AT = ("reasoning",)


def adapt(record: Mapping[str, Any], split: Split) -> Draft:
    """`reasoning` (on or off) and `capability_target` stand in some splits only; off lowers the reasoning effort."""
    tags: list[str] = []
    turns = turns_of(record.get("messages"), tags)
    tools, reasoning = record.get("tools"), record.get("reasoning")
    return Draft(
        turns,
        effort="low" if reasoning == "off" else split.entry.effort or "medium",
        tools=functions_of(tools),
        tools_field=tools,
        reasoning=optional_text(reasoning),
        capability_target=optional_text(record.get("capability_target")),
        tags=tags,
    )
