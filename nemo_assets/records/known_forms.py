"""The fast lane: lines whose form is known already become rows without being parsed.

Nearly all lines of a file have one of a few forms (`line_scan`). What follows from the form alone, the turns of the
conversation, the pieces of its text, tools, the census, is worked out when it is first met; of the lines that follow
only strings are copied, and the small fields beside the messages are read. A line with anything new goes the plain
way, and this way too: a form is used from then on only if both gave the very same row. So this module could be taken
out, and nothing would change but the time.

Belongs here: which lines may go this way, and their rows. Does not: what a row is (`rows`), what is rejected: that is
said by the plain way alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nemo_assets.errors import Rejected
from nemo_assets.harmony import (
    TEMPLATES,
    Conversation,
    Form,
    Turn,
    canonical_json,
    functions_of,
    interpreter_code,
    judges_any_code_alike,
    known_form,
    satisfies,
    start_of,
    turn_of,
    validators_of,
)
from nemo_assets.records.adapters import load_adapter, reads_bodies
from nemo_assets.records.census import Census
from nemo_assets.records.draft import Draft
from nemo_assets.records.evaluation import Evaluation
from nemo_assets.records.line_scan import SLACK, room_for, scan_lines
from nemo_assets.records.line_texts import FINAL, NO_SLOT, SPOKEN, Pieces, Texts
from nemo_assets.records.messages import ROLES, KnownTurns, turns_of
from nemo_assets.records.parsing import parse_record
from nemo_assets.records.row_groups import OWN_SCHEMA, Rows, repeated
from nemo_assets.records.rows import AS_IN_SOURCE, Row, SourceFileRef, as_in_source, identity, meta_of, odd_tags
from nemo_assets.records.text_measures import TOO_SHORT, length_tags
from nemo_assets.records.tools import ToolsEntry, tools_entry

MOST_BYTES = 2 << 20  # of all forms together: what they are made into takes some ten times as much
MOST_TURNS = 64  # as `harmony.encode` has it: hardly two longer conversations have one form
TRIED = 500  # lines after which the lane is closed if fewer than half of them were of a known form

# What a line may raise on the way. The plain way then says what becomes of it.
_ODD = (
    TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError, RecursionError, Rejected,
    msgspec.MsgspecError,
)  # fmt: skip
_decode = msgspec.json.Decoder().decode
_Rejection = TypeVar("_Rejection")


class Block(NamedTuple):
    """Whole lines of a file: line i are the bytes [starts[i], stops[i]) of `content`, which has a line end and
    `line_scan.SLACK` bytes more behind the last. The first is the file's line `number` and begins at its byte `offset`.
    """

    content: NDArray[np.uint8]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    number: int
    offset: int


class _Known(NamedTuple):
    """What follows from a form, whose pieces have a number.

    `turns` stand for those of the record; `sample` has the fields of this form. `verdicts` say of each call of a tool
    on offer whether its arguments satisfy the schema.
    """

    pieces: int
    sample: dict[str, Any]
    turns: KnownTurns
    outline: Form
    tools: ToolsEntry | None
    verdicts: list[bool | None]


class _Candidate(NamedTuple):
    """A line on its way: its place in the block, its forms, what its other fields say, the literal and message count of
    its prologue, and its first slot.
    """

    line: int
    form: bytes
    kind: bytes
    known: _Known
    record: dict[str, Any]
    draft: Draft
    prologue: int
    messages: int
    first_slot: int


def load_compiled() -> None:
    """Load the machine code of this way, which the first line of a process otherwise does."""
    nothing, none = np.full(SLACK, ord("\n"), np.uint8), np.empty(0, np.int64)
    scanned = room_for(0)
    scan_lines(nothing, none, none, *scanned)
    pieces = Pieces()
    pieces.form([(pieces.literal(b""), NO_SLOT, 0)], [])
    pieces.write(none, none, none, scanned)


_latest: list[KnownForms] = []


def known_forms(file: SourceFileRef, size: int) -> KnownForms:
    """Those of a file, whose pieces are done one after the other, for blocks of up to `size` bytes."""
    if not _latest or (_latest[0].file, _latest[0].size) != (file, size):
        _latest[:] = [KnownForms(file, size)]
    _latest[0].begin()
    return _latest[0]


class KnownForms:
    """The forms met in a file so far, and the way of the lines that have them, one piece of the file after another."""

    def __init__(self, file: SourceFileRef, size: int) -> None:
        """For blocks of up to `size` bytes; larger ones go the plain way."""
        source = file.split.source
        self.file, self.size = file, size
        self._adapt, self._template = load_adapter(file.split), source.template
        self._mask = hashlib.sha1(f"{source.loss_mode}|{int(source.loss_terminators)}|".encode())
        is_open = source.loss_mode == "assistant_all" and not source.loss_terminators and not reads_bodies(file.split)
        self._limit = size if is_open else 0
        self._scanned = room_for(self._limit)
        self._pieces = Pieces()
        self._known: dict[bytes, _Known | None] = {}
        self._kinds: dict[bytes, dict[str, Any] | None] = {}  # a sample of each form of other fields
        self._proven: set[bytes] = set()  # forms of either sort for which both ways gave the same row
        self._counted: dict[bytes, int] = {}  # of such, those met in this piece: how many lines the census lacks
        self._bytes = self._tried = self._found = 0
        self._prologues: dict[tuple[int, str], tuple[int, int]] = {}

    def begin(self) -> None:
        """Be ready for another piece."""
        self._counted.clear()

    def outcomes(
        self, block: Block, plain: Callable[[int, int, bytes], Row | _Rejection], census: Census
    ) -> Iterator[Row | Rows | _Rejection]:
        """What becomes of every line; `plain` tells it, the plain way, by number, offset and bytes.

        It also counts the line in the census; the lines that do not go this way are counted by `finish`.
        """
        candidates = self._candidates(block)
        rows = self._rows(candidates, block) if candidates else None
        view, begin, place = block.content.data, 0, 0
        for line, (start, stop) in enumerate(zip(block.starts.tolist(), block.stops.tolist(), strict=True)):
            candidate = candidates[place] if place < len(candidates) and candidates[place].line == line else None
            if candidate is not None and candidate.form in self._counted and candidate.kind in self._counted:
                self._counted[candidate.form] += 1
                self._counted[candidate.kind] += 1
                place += 1
                continue
            content = bytes(view[start:stop])
            if candidate is not None and candidate.form in self._proven and candidate.kind in self._proven:
                census.add(parse_record(content)[0])
                is_right = True
            else:
                outcome = plain(block.number + line, block.offset + start, content)
                is_right = candidate is not None and rows is not None and self._judge(candidate, rows, place, outcome)
            if candidate is not None and is_right:
                self._counted.setdefault(candidate.form, 0)
                self._counted.setdefault(candidate.kind, 0)
                place += 1
                continue
            if rows is not None and begin < place:
                yield rows.cut(begin, place)
            yield outcome
            begin = place = place + (candidate is not None)
        if rows is not None and begin < place:
            yield rows.cut(begin, place)

    def _judge(self, candidate: _Candidate, rows: Rows, place: int, outcome: Any) -> bool:
        """Whether both ways gave the same row: its forms are used from now on, or else never."""
        is_right = isinstance(outcome, Row) and rows.is_row(place, outcome) and self._known[candidate.form] is not None
        if is_right:
            self._proven |= {candidate.form, candidate.kind}
        elif candidate.form not in self._proven:
            self._known[candidate.form] = None
        return is_right

    def finish(self, census: Census) -> None:
        """Count the lines of this piece that went this way."""
        for form, times in self._counted.items():
            known, kind = self._known.get(form), self._kinds.get(form)
            if times and known is not None:
                census.repeat(known.sample, times)
            elif times and kind is not None:
                census.repeat(kind, times, objects=0)

    def _candidates(self, block: Block) -> list[_Candidate]:
        """The lines of known forms."""
        if len(block.content) > self._limit + SLACK:
            return []
        scanned = self._scanned
        scan_lines(block.content, block.starts, block.stops, *scanned)
        forms, kinds, others = scanned.forms.data, scanned.kinds.data, scanned.others.data
        candidates = []
        lines = len(block.starts)
        slot = form_begin = kind_begin = other_begin = 0
        for line, (slot_end, form_end, kind_end, other_end) in enumerate(scanned.ends[:lines].tolist()):
            if other_end > other_begin:
                form, kind = bytes(forms[form_begin:form_end]), bytes(kinds[kind_begin:kind_end])
                candidate = self._candidate(line, form, kind, others[other_begin:other_end], slot)
                if candidate is not None:
                    candidates.append(candidate)
            slot, form_begin, kind_begin, other_begin = slot_end, form_end, kind_end, other_end
        self._tried, self._found = self._tried + lines, self._found + len(candidates)
        if self._tried > TRIED and 2 * self._found < self._tried:
            self._limit = 0
        return candidates

    def _met(self, form: bytes, kind: bytes) -> None:
        """Work out what follows from the forms of a line as far as they are new."""
        new = len(form) * (form not in self._known) + len(kind) * (kind not in self._kinds)
        self._bytes += new
        if self._bytes > MOST_BYTES:
            self._bytes -= new
            return
        if form not in self._known:
            self._known[form] = None
            with contextlib.suppress(*_ODD):
                self._known[form] = self._worked_out(_sample(b"{%b}" % form[:-1]))
        if kind not in self._kinds:
            self._kinds[kind] = None
            with contextlib.suppress(*_ODD):
                self._kinds[kind] = {
                    name: value for name, value in _sample(kind).items() if name not in ("messages", "tools")
                }

    def _worked_out(self, sample: dict[str, Any]) -> _Known | None:
        tags: list[str] = []
        slots = _Slots()
        turns = turns_of(slots.marked(sample["messages"]), tags)
        places = [slots.of(turn) for turn in turns]
        roles, _, channels, tools, _ = zip(*turns, strict=True)
        outline = known_form(self._template, roles, channels, tools)
        if outline is None or None in places or len(turns) > MOST_TURNS:
            return None
        entry = tools_entry(sample.get("tools"))
        validators = validators_of(entry.json) if entry else {}
        if outline.interpreted and not TEMPLATES[self._template].writes_code:
            return None
        judged = [turn.tool for turn in turns if turn.is_call and turn.tool is not None and turn.tool in validators]
        schemas = {tool["name"]: tool.get("parameters") for tool in functions_of(sample.get("tools"))}
        if not all(judges_any_code_alike(schemas[tool]) for tool in judged):
            return None
        verdicts = [satisfies(validators[tool], {"code": ""}) for tool in judged]
        number = self._pieces.form(*self._pieces_of(outline, [place for place in places if place is not None]))
        shells = tuple([turn_of((turn.role, "", turn.channel, turn.tool, None)) for turn in turns])
        return _Known(number, sample, KnownTurns(shells, tags), outline, entry, verdicts)

    def _pieces_of(
        self, outline: Form, slots: Sequence[int]
    ) -> tuple[list[tuple[int, int, int]], list[tuple[int, int]]]:
        """The pieces of text and content of a form, whose turns have these slots."""
        spoken = set(outline.spoken[::2])
        text = [(0, NO_SLOT, 0)]
        for number, turn in enumerate(range(len(slots)) if outline.written is None else outline.written):
            opening = 2 * number + 1
            kind = SPOKEN * (opening in spoken) | FINAL * (turn == outline.final)
            text.append((self._pieces.literal(outline.pieces[opening]), slots[turn], kind))
        text.append((self._pieces.literal(outline.pieces[-1]), NO_SLOT, 0))
        fields = map(self._pieces.literal, outline.content[::3])
        return text, list(zip(fields, slots, strict=True))

    def _candidate(self, line: int, form: bytes, kind: bytes, other: memoryview, slot: int) -> _Candidate | None:
        """A line of these forms, read but for its messages; None where it has to go the plain way."""
        if form not in self._known or kind not in self._kinds:
            self._met(form, kind)
        known = self._known.get(form)
        if known is None or self._kinds.get(kind) is None:
            return None
        try:
            record = _decode(other)
            record["messages"] = known.turns
            if "tools" in record:
                record["tools"] = known.sample["tools"]
            draft = self._adapt(record, self.file.split)
            start = self._prologues.get((known.pieces, draft.effort)) or self._prologue(known, draft)
        except _ODD:
            return None
        if draft.text is not None or draft.template is not None or draft.tools_field is not record.get("tools"):
            return None
        return _Candidate(line, form, kind, known, record, draft, *start, slot)

    def _prologue(self, known: _Known, draft: Draft) -> tuple[int, int]:
        conversation = Conversation(draft.turns, draft.tools, draft.effort)  # type: ignore[arg-type]
        prologue, _ = TEMPLATES[self._template].prologue(conversation)
        text, _, messages = start_of(tuple(prologue))
        start = self._pieces.literal(text), messages
        self._prologues[known.pieces, draft.effort] = start
        return start

    def _rows(self, candidates: list[_Candidate], block: Block) -> Rows | None:
        """The rows of candidates. Those that may have nothing to say are struck off the list."""
        written = self._written(candidates)
        calls = np.array([each.known.outline.use.calls for each in candidates])
        silent = (written.measures[:, 4] == 0) & (calls == 0)
        if silent.any():
            candidates[:] = [each for each, is_silent in zip(candidates, silent, strict=True) if not is_silent]
            return self._rows(candidates, block) if candidates else None
        count, split = len(candidates), self.file.split
        drafts, records = [each.draft for each in candidates], [each.record for each in candidates]
        known = [each.known for each in candidates]
        lengths, loss_chars = written.measures[:, 0], written.measures[:, 1]
        text_ids = _digests(written.texts, written.ends[:, 0])
        contents = _digests(written.contents, written.ends[:, 1])
        metas = [
            meta_of(record, draft.evaluation.meta_eval_json) for record, draft in zip(records, drafts, strict=True)
        ]
        sources = dict(zip(AS_IN_SOURCE, zip(*map(as_in_source, records), strict=True), strict=True))
        lines = np.array([each.line for each in candidates])
        numbers = lines + block.number
        columns: dict[str, Any] = dict(
            zip(Evaluation._fields, zip(*[draft.evaluation for draft in drafts], strict=True), strict=True)
        )
        columns |= {
            "id": [
                identity(split.source.identity, *names)
                for names in zip(sources["source_uuid"], contents, text_ids, strict=True)
            ],
            "template": repeated(self._template, pa.string(), count),
            "content_sha1": contents,
            "text_sha1": text_ids,
            "mask_sha1": _digests(written.spans, written.ends[:, 2], self._mask),
            "stats_loss_chars": loss_chars,
            "meta_expected_answer": [draft.expected_answer for draft in drafts],
            "meta_tags": [list(draft.source_tags) for draft in drafts],
            "meta_problem_id": [draft.problem_id for draft in drafts],
            "meta_reasoning": [draft.reasoning for draft in drafts],
            "meta_capability_target": [draft.capability_target for draft in drafts],
            "quality_valid_harmony": repeated(True, pa.bool_(), count),
            "quality_completion_nonempty": repeated(True, pa.bool_(), count),
            "quality_has_tool": [each.outline.use.has_tool for each in known],
            "quality_valid_tool_schema": [False not in each.verdicts for each in known],
            "stats_char_len": lengths,
            "stats_approx_tokens": lengths // 4,
            "stats_messages": [each.messages + len(each.known.turns.turns) for each in candidates],
            "stats_tool_calls": calls,
            **sources,
            "source_tools_id": [each.tools.id if each.tools else None for each in known],
            "source_tools_count": [each.tools.size if each.tools else 0 for each in known],
            "source_meta_json": metas,
            "source_row": numbers,
            "source_offset": block.starts[lines] + block.offset,
            "record_uid": list(map(self.file.record_uid, numbers.tolist())),
        }
        for name in ("source_meta_json", "meta_eval_json"):  # UTF-8 already, which making strings of it would check
            binary = pa.array(columns[name], pa.binary())
            columns[name] = pa.Array.from_buffers(pa.string(), count, binary.buffers())
        own = [
            value if isinstance(value := columns[field.name], pa.Array) else pa.array(value, field.type)
            for field in OWN_SCHEMA
        ]
        tags = [
            [
                *each.draft.tags,
                *each.known.outline.tags,
                *odd_tags(each.known.verdicts, False, meta),
                *length_tags(length, final),
            ]
            for each, meta, length, final in zip(
                candidates, metas, lengths.tolist(), self._short_finals(written), strict=True
            )
        ]
        return Rows(
            written.texts,
            written.ends[:, 0],
            pa.RecordBatch.from_arrays(own, schema=OWN_SCHEMA),
            tags,
            written.spoken,
            written.ends[:, 3],
            [each.tools for each in known],
        )

    def _written(self, candidates: list[_Candidate]) -> Texts:
        chosen = np.array([(each.known.pieces, each.prologue, each.first_slot) for each in candidates])
        forms, prologues, first_slots = np.ascontiguousarray(chosen.T)
        return self._pieces.write(forms, prologues, first_slots, self._scanned)

    def _short_finals(self, written: Texts) -> list[str | None]:
        """The final answers that may be too short, None for all others."""
        return [
            None if slot == NO_SLOT or visible >= TOO_SHORT else self._string(slot)
            for slot, visible in written.measures[:, 2:4].tolist()
        ]

    def _string(self, slot: int) -> str:
        begin, end, _ = self._scanned.slots[slot].tolist()
        return str(self._scanned.strings.data[begin:end], "utf-8")


def _digests(content: NDArray[np.uint8], ends: NDArray[np.int64], prefix: Any = None) -> list[str]:
    """sha1, hex, of every stretch of the content, behind what `prefix` was given already."""
    begin = (prefix or hashlib.sha1()).copy
    view, digests = content.data, []
    for start, end in itertools.pairwise(ends.tolist()):
        state = begin()
        state.update(view[start:end])
        digests.append(state.hexdigest())
    return digests


def _sample(form: bytes) -> dict[str, Any]:
    """The JSON object that a form is; raises ValueError if it is none, or an object has a key twice."""
    made: dict[str, Any] = json.loads(form, object_pairs_hook=_without_twins)
    return made


def _without_twins(members: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(members)
    if len(made) < len(members):
        raise ValueError("an object has a key twice")
    return made


class _Slots:
    """The slots of a form: `line_scan` numbers the strings of messages but for roles and names."""

    def __init__(self) -> None:
        self._count = 0
        self._numbers: dict[str, int] = {}

    def marked(self, value: Any, key: str = "") -> Any:
        """The same messages with strings by which their slots are known; KeyError where a turn may depend on them."""
        if isinstance(value, dict):
            if ROLES.get(value.get("role", "")) == "tool":
                value["name"][0]  # else who answers depends on the ids of calls
            return {name: self.marked(each, name) for name, each in value.items()}
        if isinstance(value, list):
            return [self.marked(each, key) for each in value]
        if not isinstance(value, str) or key in ("role", "name"):
            return value
        mark = f"\ue000{self._count}" if value else ""
        self._numbers.setdefault(mark, self._count)
        self._count += 1
        return canonical_json({"code": mark}) if value == "c" else mark

    def of(self, turn: Turn) -> int | None:
        """The slot of a turn's body, None where it has none or is not written as it is."""
        if turn.role == "system":
            return None
        return self._numbers.get(
            turn.body if turn.tool is None or turn.role == "tool" else interpreter_code(turn) or " "
        )
