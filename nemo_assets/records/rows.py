"""One record to one canonical row.

Belongs here: everything that is the same for every source: rendering, identity, loss mask, quality, statistics.
Does not: reading files, work units, what is particular to a source (`adapters`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nemo_assets.catalog import Split
from nemo_assets.errors import Rejected, UserError
from nemo_assets.harmony import (
    TEMPLATES,
    Conversation,
    Turn,
    canonical_json,
    check_text,
    content_sha1,
    loss_spans,
    mask_sha1,
    parse_harmony,
    render_conversation,
    satisfies,
    sha1_text_id,
    turns_of_parsed,
    validators_of,
)
from nemo_assets.records.adapters import Adapter
from nemo_assets.records.draft import Draft
from nemo_assets.records.evaluation import NO_EVALUATION
from nemo_assets.records.messages import as_text
from nemo_assets.records.text_measures import length_tags, repeat_ratio
from nemo_assets.records.tools import catalog_entry

Row = dict[str, Any]

# Source fields that have columns of their own and do not belong into source_meta_json.
_NOT_META = frozenset({"messages", "tools", "text"})


@dataclass(frozen=True)
class SourceFileRef:
    """The file a record comes from. `content_id` is the sha256 of the whole upstream file."""

    split: Split
    path: str
    content_id: str
    revision: str

    @cached_property
    def uid_prefix(self) -> Any:
        """blake2b state over what names this file: dataset, subset, split, path, content; a zero byte after each."""
        fields = (self.split.repo, self.split.source.subset, self.split.name, self.path, self.content_id)
        return hashlib.blake2b("".join(f"{field}\0" for field in fields).encode(), digest_size=16)

    def record_uid(self, row: int) -> bytes:
        """16 bytes that name the record at `row` of this file for ever."""
        state = self.uid_prefix.copy()
        state.update(str(row).encode())
        return bytes(state.digest())


@dataclass(frozen=True, slots=True)
class Written:
    """A row's text with what is computed from its messages."""

    text: str
    turns: tuple[Turn, ...]
    messages: Sequence[Any]
    template: str
    tags: tuple[str, ...]
    fault: str | None = None


def row_of(
    record: Mapping[str, Any],
    tags: Sequence[str],
    file: SourceFileRef,
    adapt: Adapter,
    number: int,
    offset: int | None,
    keep: frozenset[str] = frozenset(),
) -> tuple[Row, tuple[str, str] | None]:
    """The canonical row of a record, and its tools catalog entry (id, canonical JSON) if it has tools.

    `keep` names drop codes, of invalid_harmony and empty_completion, that only lower the row's quality flag instead,
    as far as there is text to keep. Raises Rejected with a drop code and evidence where the record becomes no row.
    """
    split = file.split
    draft = adapt(record, split)
    written = _write(draft, split, keep)
    tools = catalog_entry(draft.tools_field)
    verdicts = _schema_verdicts(written.turns, tools[1] if tools else None)
    content = content_sha1(written.turns)
    mode, terminators = split.source.loss_mode, split.source.loss_terminators
    spans = loss_spans(written.messages, mode, terminators)
    bodies = [turn.body for turn in written.turns if turn.role == "assistant"]
    ratio = repeat_ratio(bodies)
    length, uuid = len(written.text), record.get("uuid")
    row: Row = {
        "id": "",
        "dataset": split.repo,
        "subset": split.source.subset,
        "split": split.name,
        "text": written.text,
        "loss_mode": mode,
        "template": written.template,
        "content_sha1": content,
        "text_sha1": sha1_text_id(written.text),
        "loss_terminators": terminators,
        "mask_sha1": mask_sha1(mode, terminators, spans),
        "stats_loss_chars": sum(end - start for start, end in spans),
        "meta_domain": split.source.domain,
        "meta_difficulty_bin": split.entry.difficulty,
        **NO_EVALUATION,
        "meta_expected_answer": None,
        "meta_tags": [],
        "meta_problem_id": None,
        "meta_reasoning": None,
        "meta_capability_target": None,
        "quality_valid_harmony": written.fault != "invalid_harmony",
        "quality_completion_nonempty": written.fault != "empty_completion",
        "quality_has_tool": any(turn.tool or turn.role == "tool" for turn in written.turns),
        "quality_valid_tool_schema": False not in verdicts,
        "quality_is_duplicate": False,
        "quality_tags": _tags(tags, draft, written, ratio, verdicts),
        "stats_char_len": length,
        "stats_approx_tokens": length // 4,
        "stats_messages": len(written.messages),
        "stats_tool_calls": sum(turn.is_call for turn in written.turns),
        "stats_repeat_ratio": ratio,
        "source_uuid": _optional_text(uuid),
        "source_license": _optional_text(record.get("license")),
        "source_used_in": _texts(record.get("used_in")),
        "source_data_source": _optional_text(record.get("data_source", record.get("source"))),
        "source_changed_answer_to_majority": _optional_bool(record.get("changed_answer_to_majority")),
        "source_tools_id": tools[0] if tools else None,
        "source_tools_count": len(draft.tools_field) if tools else 0,
        "source_meta_json": canonical_json({key: value for key, value in record.items() if key not in _NOT_META}),
        "source_revision": file.revision,
        "source_file": file.path,
        "source_row": number,
        "source_offset": offset,
        "record_uid": file.record_uid(number),
        **draft.columns,
    }
    row["id"] = identity(split.source.identity, row)
    return row, tools


def identity(policy: str, row: Row) -> str:
    """The row's `id` by the catalog's policy; content decides where the source names nothing."""
    if policy == "text":
        return str(row["text_sha1"])
    if row["source_uuid"] and policy == "uuid":
        return str(row["source_uuid"])
    if row["source_uuid"] and policy == "problem_uuid":
        return unique_id(row["source_uuid"], row["content_sha1"])
    return str(row["content_sha1"])


def unique_id(uuid: str, content: str) -> str:
    """An id for a row whose uuid is not its own: `<uuid>-<first 12 hex of content_sha1>`."""
    return f"{uuid}-{content[:12]}"


def _write(draft: Draft, split: Split, keep: frozenset[str]) -> Written:
    """Render the draft, or check its ready-made text."""
    if draft.text is not None:
        messages = parse_harmony(draft.text)
        check = check_text(messages)
        if check.fatal and check.fatal not in keep:
            raise Rejected(check.fatal, **check.evidence)
        return Written(draft.text, turns_of_parsed(messages), messages, split.source.template, check.tags, check.fatal)
    fault = _completion_fault(draft.turns)
    if fault and fault.code not in keep:
        raise fault
    name = draft.template or split.source.template
    if name not in TEMPLATES:
        known = ", ".join(TEMPLATES)
        raise UserError(f"nemo_assets/catalog/{split.slug}.yaml: no template {name!r}. There are {known}.")
    conversation = Conversation(draft.turns, draft.tools, draft.effort)  # type: ignore[arg-type]
    rendered = render_conversation(conversation, name)
    code = fault.code if fault else None
    return Written(rendered.text, draft.turns, rendered.messages, name, TEMPLATES[name].tags(conversation), code)


def _completion_fault(turns: Sequence[Turn]) -> Rejected | None:
    bodies = [turn.body for turn in turns if turn.role == "assistant"]
    if not bodies:
        return Rejected("empty_completion", reason="no_assistant_turn", turns=len(turns))
    # A call without arguments has a body of `{}` and still says something: which tool.
    if not any(turn.is_call for turn in turns) and not any(c.isalnum() for body in bodies for c in body):
        return Rejected("empty_completion", reason="no_letter_or_digit", characters=sum(map(len, bodies)))
    return None


def _tags(
    of_line: Sequence[str], draft: Draft, written: Written, ratio: float, verdicts: Sequence[bool | None]
) -> list[str]:
    tags = [*of_line, *draft.tags, *written.tags]
    if None in verdicts:
        tags.append("dialect:broken_schema")
    if "\0" in written.text and "nul" not in tags:  # JSON inside a string field or a Parquet row: no line showed it
        tags.append("nul")
    return tags + length_tags(len(written.text), _final_answer(written.turns), ratio)


def _schema_verdicts(turns: Sequence[Turn], tools_json: str | None) -> list[bool | None]:
    """Of each call of a tool on offer, whether its arguments satisfy the schema; None where the schema cannot judge."""
    if tools_json is None:
        return []
    validators = validators_of(tools_json)
    called = (turn for turn in turns if turn.is_call and turn.tool in validators)
    return [satisfies(validators[turn.tool or ""], turn.arguments) for turn in called]


def _final_answer(turns: Sequence[Turn]) -> str | None:
    return next((turn.body for turn in reversed(turns) if turn.role == "assistant" and turn.channel == "final"), None)


def _optional_text(value: Any) -> str | None:
    return None if value is None else as_text(value)


def _optional_bool(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _texts(value: Any) -> list[str]:
    """`used_in` is a list of strings, in some exports one string."""
    if value is None or value == "":
        return []
    return [as_text(each) for each in value] if isinstance(value, list) else [as_text(value)]
