"""One record to one canonical row.

Belongs here: everything that is the same for every source: rendering, identity, loss mask, quality, statistics.
Does not: reading files, work units, what is particular to a source (`adapters`), what is the same for a whole file or
measured over many rows at once (`row_groups`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from nemo_assets.catalog import Split
from nemo_assets.errors import Rejected, UserError
from nemo_assets.harmony import (
    TEMPLATES,
    Conversation,
    Encoded,
    PlacedMessage,
    Turn,
    check_text,
    content_sha1,
    encode_conversation,
    loss_spans,
    mask_sha1,
    parse_harmony,
    satisfies,
    sha1_text_id,
    turns_of_parsed,
    use_of,
    validators_of,
)
from nemo_assets.records.adapters import Adapter
from nemo_assets.records.draft import Draft
from nemo_assets.records.evaluation import NO_EVALUATION, Evaluation, evaluation_of
from nemo_assets.records.messages import as_text, optional_text
from nemo_assets.records.sorted_json import sorted_json
from nemo_assets.records.text_measures import length_tags
from nemo_assets.records.tools import ToolsEntry, tools_entry

# Source fields that have columns of their own and do not belong into source_meta_json.
_NOT_META = ("messages", "tools", "text")


class Row(NamedTuple):
    """One canonical row on its way to a row group.

    `text` is UTF-8, `columns` are all else that differs from row to row, in the same order in every row. `bodies` are
    begin and end of what the assistant wrote, in bytes of `text`: the share of repeats is measured over them when the
    row group is written.
    """

    text: bytes
    evaluation: Evaluation
    columns: dict[str, Any]
    bodies: list[int]
    tools: ToolsEntry | None


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


class Written(NamedTuple):
    """A row's text and what is computed from its messages, `spans` being those in the loss; the turns it stands for."""

    encoded: Encoded
    turns: Sequence[Turn]
    template: str
    fault: str | None = None


def row_of(
    record: Mapping[str, Any],
    tags: Sequence[str],
    file: SourceFileRef,
    adapt: Adapter,
    number: int,
    offset: int | None,
    keep: frozenset[str] = frozenset(),
) -> Row:
    """The canonical row of a record.

    `keep` names drop codes, of invalid_harmony and empty_completion, that only lower the row's quality flag instead,
    as far as there is text to keep. Raises Rejected with a drop code and evidence where the record becomes no row.
    """
    split = file.split
    draft = adapt(record, split)
    encoded, turns, template, fault = _write(draft, split, keep)
    text, length, messages, spans, spoken, content, use, marks = encoded
    tools = tools_entry(draft.tools_field)
    verdicts = _schema_verdicts(turns, tools.json) if tools and use.calls else ()
    evaluation = evaluation_of(*draft.results) if draft.results else NO_EVALUATION
    meta = meta_of(record, evaluation.meta_eval_json)
    uuid, text_id = optional_text(record.get("uuid")), sha1_text_id(text)
    columns = {
        "id": identity(split.source.identity, uuid, content, text_id),
        "template": template,
        "content_sha1": content,
        "text_sha1": text_id,
        "mask_sha1": mask_sha1(split.source.loss_mode, split.source.loss_terminators, spans),
        "stats_loss_chars": sum([end - start for start, end in spans]),
        "meta_expected_answer": draft.expected_answer,
        "meta_tags": draft.source_tags,
        "meta_problem_id": draft.problem_id,
        "meta_reasoning": draft.reasoning,
        "meta_capability_target": draft.capability_target,
        "quality_valid_harmony": fault != "invalid_harmony",
        "quality_completion_nonempty": fault != "empty_completion",
        "quality_has_tool": use.has_tool,
        "quality_valid_tool_schema": False not in verdicts,
        "quality_tags": [
            *tags,
            *draft.tags,
            *marks,
            *odd_tags(verdicts, b"\0" in text, meta),
            *length_tags(length, use.final),
        ],
        "stats_char_len": length,
        "stats_approx_tokens": length // 4,
        "stats_messages": messages,
        "stats_tool_calls": use.calls,
        **dict(zip(AS_IN_SOURCE, as_in_source(record), strict=True)),
        "source_tools_id": tools.id if tools else None,
        "source_tools_count": tools.size if tools else 0,
        "source_meta_json": meta,
        "source_row": number,
        "source_offset": offset,
        "record_uid": file.record_uid(number),
    }
    return Row(text, evaluation, columns, spoken, tools)


AS_IN_SOURCE = (
    "source_uuid", "source_license", "source_used_in", "source_data_source", "source_changed_answer_to_majority",
)  # fmt: skip


def as_in_source(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """The columns AS_IN_SOURCE of a record."""
    changed = record.get("changed_answer_to_majority")
    return (
        optional_text(record.get("uuid")),
        optional_text(record.get("license")),
        _texts(record.get("used_in")),
        optional_text(record.get("data_source", record.get("source"))),
        changed if isinstance(changed, bool) else None,
    )


def meta_of(record: Mapping[str, Any], evaluation: bytes | None) -> bytes:
    """The fields of a record that have no columns of their own; `evaluation` is the JSON of its block, made already."""
    fields = dict(record)
    for name in _NOT_META:
        fields.pop(name, None)
    if evaluation is not None and type(record["metadata"]) is dict:
        fields["metadata"] = msgspec.Raw(evaluation)
    return sorted_json(fields)


def identity(policy: str, uuid: str | None, content: str, text_id: str) -> str:
    """The row's `id` by the catalog's policy; content decides where the source names nothing."""
    if policy == "text":
        return text_id
    if uuid and policy == "uuid":
        return uuid
    if uuid and policy == "problem_uuid":
        return unique_id(uuid, content)
    return content


def unique_id(uuid: str, content: str) -> str:
    """An id for a row whose uuid is not its own: `<uuid>-<first 12 hex of content_sha1>`."""
    return f"{uuid}-{content[:12]}"


def _write(draft: Draft, split: Split, keep: frozenset[str]) -> Written:
    """Render the draft, or check its ready-made text."""
    return _checked(draft.text, split, keep) if draft.text is not None else _rendered(draft, split, keep)


def _checked(text: str, split: Split, keep: frozenset[str]) -> Written:
    messages = parse_harmony(text)
    check = check_text(messages)
    if check.fatal and check.fatal not in keep:
        raise Rejected(check.fatal, **check.evidence)
    turns = turns_of_parsed(messages)
    encoded = Encoded(
        text.encode(),
        messages[-1].end if messages else 0,
        len(messages),
        loss_spans(messages, split.source.loss_mode, split.source.loss_terminators),
        _assistant_bytes(text, messages),
        content_sha1(turns),
        use_of(turns),
        check.tags,
    )
    return Written(encoded, turns, split.source.template, check.fatal)


def _assistant_bytes(text: str, messages: Sequence[PlacedMessage]) -> list[int]:
    """Begin and end of the assistant's bodies in the UTF-8 of `text`, one after the other."""
    places: list[int] = []
    size = 0
    at = 0
    for message in messages:
        if message.role == "assistant":
            begin = size + len(text[at : message.body_start].encode())
            size = begin + len(text[message.body_start : message.body_end].encode())
            at = message.body_end
            places += (begin, size)
    return places


def _rendered(draft: Draft, split: Split, keep: frozenset[str]) -> Written:
    fault = _completion_fault(draft.turns)
    if fault and "empty_completion" not in keep:
        raise Rejected("empty_completion", **fault)
    name = draft.template or split.source.template
    if name not in TEMPLATES:
        known = ", ".join(TEMPLATES)
        raise UserError(f"nemo_assets/catalog/{split.slug}.yaml: no template {name!r}. There are {known}.")
    encoded = encode_conversation(Conversation(draft.turns, draft.tools, draft.effort), name)  # type: ignore[arg-type]
    mode, terminators = split.source.loss_mode, split.source.loss_terminators
    if mode != "assistant_all" or terminators:
        encoded = encoded._replace(spans=loss_spans(encoded.text.decode(), mode, terminators))
    return Written(encoded, draft.turns, name, "empty_completion" if fault else None)


def _completion_fault(turns: Sequence[Turn]) -> dict[str, Any] | None:
    """The evidence that the assistant says nothing; None where something is said."""
    for role, body, _, tool, _ in turns:
        # A call without arguments has a body of `{}` and still says something: which tool.
        if role == "assistant" and (tool is not None or any(map(str.isalnum, body))):
            return None
    bodies = [turn.body for turn in turns if turn.role == "assistant"]
    if not bodies:
        return {"reason": "no_assistant_content", "turns": len(turns)}
    return {"reason": "no_letter_or_digit", "characters": sum(map(len, bodies))}


def odd_tags(verdicts: Sequence[bool | None], holds_nul: bool, meta: bytes) -> list[str]:
    """Tags of a schema that cannot judge, and of NUL in the text or in the fields beside it."""
    tags = []
    if None in verdicts:
        tags.append("dialect:broken_schema")
    if holds_nul or (b"\\u0000" in meta and _holds_nul(msgspec.json.decode(meta))):
        tags.append("nul")
    return tags


def _holds_nul(value: Any) -> bool:
    """Whether a string in this JSON value, or a key, holds NUL itself and not its escape spelled out."""
    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, dict):
            pending += [*each, *each.values()]
        elif isinstance(each, list):
            pending += each
        elif isinstance(each, str) and "\0" in each:
            return True
    return False


def _schema_verdicts(turns: Sequence[Turn], tools_json: str) -> list[bool | None]:
    """Of each call of a tool on offer, whether its arguments satisfy the schema; None where the schema cannot judge."""
    validators = validators_of(tools_json)
    return [
        satisfies(validators[tool], arguments)
        for role, _, _, tool, arguments in turns
        if role == "assistant" and tool is not None and tool in validators
    ]


def _texts(value: Any) -> list[str]:
    """`used_in` is a list of strings, in some exports one string."""
    if value is None or value == "":
        return []
    return [as_text(each) for each in value] if isinstance(value, list) else [as_text(value)]
