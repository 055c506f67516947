"""Nemotron-Math-Proofs-v1: proof conversations, and statements to be written in Lean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from nemo_assets.catalog import Split
from nemo_assets.errors import Rejected
from nemo_assets.harmony import Turn
from nemo_assets.records.draft import Draft
from nemo_assets.records.messages import as_text, is_blank, turns_of
from nemo_assets.records.parsing import parse_json_text

# At the start of a line, because comments speak of theorems too; a binder may follow the name without a blank.
_theorem = re.compile(r"^\s*theorem\s+([^\s:(\[{⦃]+)", re.MULTILINE).search
_lemma = re.compile(r"^\s*lemma\s+([^\s:(\[{⦃]+)", re.MULTILINE).search


def adapt(record: Mapping[str, Any], split: Split) -> Draft:
    """With messages: that conversation. Without, but with a formal statement: problem → Lean header and statement."""
    tags: list[str] = []
    messages, template = record.get("messages"), split.source.template
    if _has_messages(messages):
        turns = turns_of(messages, tags)
        first = next((turn.body for turn in turns if turn.role == "user"), "")
        task = "proof_correction" if "proof attempt" in first else "proof"
    else:
        turns, template, task = _statement_turns(record), "proofs-statement", "statement"
    return Draft(
        turns,
        template=template,
        tools_field=record.get("tools"),
        problem_id=_theorem_name(as_text(record.get("formal_statement"))),
        source_tags=[task],
        tags=tags,
    )


def _has_messages(messages: Any) -> bool:
    """Some exports write an empty list as the text `[]`."""
    if isinstance(messages, str):
        try:
            return bool(parse_json_text(messages))
        except (ValueError, RecursionError):
            return bool(messages.strip())
    return bool(messages)


def _statement_turns(record: Mapping[str, Any]) -> tuple[Turn, ...]:
    problem, statement = as_text(record.get("problem")), as_text(record.get("formal_statement"))
    if is_blank(problem) or is_blank(statement):
        raise Rejected("no_messages", reason="neither_messages_nor_formal_statement")
    header = as_text(record.get("lean_header"))
    completion = statement if is_blank(header) else f"{header}\n\n{statement}"
    return Turn("user", problem), Turn("assistant", completion, channel="final")


def _theorem_name(statement: str) -> str | None:
    """`problem_<number>` of the Lean theorem, which all records of a problem share."""
    named = _theorem(statement) or _lemma(statement)
    return named[1] if named else None
