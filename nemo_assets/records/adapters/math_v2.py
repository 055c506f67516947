"""Nemotron-Math-v2: one trajectory of a problem, with the teacher's evaluation on that problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nemo_assets.catalog import Split
from nemo_assets.errors import Rejected
from nemo_assets.harmony import functions_of
from nemo_assets.records.draft import Draft
from nemo_assets.records.evaluation import Results
from nemo_assets.records.messages import optional_text, turns_of
from nemo_assets.records.parsing import parse_json_text

LOOKS_AT = ("metadata",)


def adapt(record: Mapping[str, Any], split: Split) -> Draft:
    """`uuid` names the problem, not the row; `metadata` holds six evaluation blocks, in some exports as JSON text."""
    tags: list[str] = []
    turns = turns_of(record.get("messages"), tags)
    tools = record.get("tools")
    with_tool = (isinstance(tools, list) and bool(tools)) or any(turn.tool for turn in turns)
    own_condition = f"reason_{split.entry.effort}_{'with_tool' if with_tool else 'no_tool'}"
    block = _evaluation_block(record.get("metadata"), tags)
    return Draft(
        turns,
        effort=split.entry.effort or "medium",
        tools=functions_of(tools),
        tools_field=tools,
        results=Results(block, own_condition) if block else None,
        expected_answer=optional_text(record.get("expected_answer")),
        problem_id=optional_text(record.get("uuid")),
        tags=tags,
    )


def _evaluation_block(metadata: Any, tags: list[str]) -> dict[str, Any] | None:
    if isinstance(metadata, str) and metadata.strip():
        tags.append("dialect:metadata_as_text")
        try:
            metadata = parse_json_text(metadata)
        except (ValueError, RecursionError) as error:
            raise Rejected("unparseable", reason="invalid_json", field="metadata", detail=str(error)[:200]) from None
    return metadata if isinstance(metadata, dict) else None
