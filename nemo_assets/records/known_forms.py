"""The fast lane: lines whose form is known already become rows without being parsed.

Nearly all lines of a file have one of a few forms (`line_scan`). What follows from the form alone, the turns of the
conversation, the pieces of its text, tools, the census, is worked out when it is first met; of the lines that follow
only strings and numbers are moved. A line with anything new goes the plain way, and this way too: a form is used from
then on only if both gave the very same row. So this module could be taken
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
from nemo_assets.records.adapters import load_adapter, looks_at
from nemo_assets.records.census import Census
from nemo_assets.records.known_fields import ALWAYS_LOOKED_AT, KnownFields, Plan
from nemo_assets.records.line_scan import SLACK, looked_at, room_for, scan_lines
from nemo_assets.records.line_texts import FINAL, NO_SLOT, SPOKEN, Literals, Pieces, Texts
from nemo_assets.records.messages import ROLES, KnownTurns, turns_of
from nemo_assets.records.parsing import parse_record
from nemo_assets.records.row_groups import OWN_SCHEMA, Rows, repeated
from nemo_assets.records.rows import Row, SourceFileRef, identity, odd_tags
from nemo_assets.records.text_measures import TOO_SHORT, length_tags
from nemo_assets.records.tools import ToolsEntry, tools_entry

MOST_BYTES = 2 << 20  # of all forms together: what they are made into takes some ten times as much
MOST_TURNS = 64  # as `harmony.encode` has it: hardly two longer conversations have one form
BYTES_OF_USE = 500  # what is made of two forms together counts as much as so many bytes of a form
TRIED = 500  # lines after which the lane is closed if fewer than half of them were of a known form

# What a line may raise on the way. The plain way then says what becomes of it.
_ODD = (
    TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError, RecursionError, Rejected,
    msgspec.MsgspecError,
)  # fmt: skip
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

    `beside` are the fields that it stands for, as adapters take them, and `sample` as the census does. `verdicts` say
    of each call of a tool on offer whether its arguments satisfy the schema. `uses` are made with forms of the other
    fields, by their numbers.
    """

    pieces: int
    sample: dict[str, Any]
    beside: dict[str, Any]
    outline: Form
    tools: ToolsEntry | None
    verdicts: list[bool | None]
    uses: dict[int, _Use | None]


class _Kind(NamedTuple):
    """A form of the other fields: its number, and fields of this form."""

    number: int
    sample: dict[str, Any]


class _Use(NamedTuple):
    """What follows from both forms of a line: literal and message count of its prologue, and its tags."""

    plan: Plan
    prologue: int
    messages: int
    tags: list[str]


class _Candidate(NamedTuple):
    """A line on its way: its place in the block, its forms, and its first slot and field."""

    line: int
    form: bytes
    kind: bytes
    known: _Known
    use: _Use
    first_slot: int
    first_field: int


def load_compiled() -> None:
    """Load the machine code of this way, which the first line of a process otherwise does."""
    nothing, none = np.full(SLACK, ord("\n"), np.uint8), np.empty(0, np.int64)
    scanned = room_for(0)
    scan_lines(nothing, none, none, *looked_at(()), *scanned)
    literals = Literals()
    pieces = Pieces(literals)
    pieces.form([(literals.number(b""), NO_SLOT, 0)], [])
    pieces.write(none, none, none, scanned)
    KnownFields(literals, ()).columns([], none, scanned)


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
        names = looks_at(file.split)
        is_open = source.loss_mode == "assistant_all" and not source.loss_terminators and names is not None
        self._limit = size if is_open else 0
        self._scanned = room_for(self._limit)
        self._literals = Literals()
        self._pieces = Pieces(self._literals)
        self._looked_at = (*ALWAYS_LOOKED_AT, *(names or ()))
        self._fields = KnownFields(self._literals, self._looked_at)
        self._known: dict[bytes, _Known | None] = {}
        self._kinds: dict[bytes, _Kind | None] = {}
        self._proven: set[bytes] = set()  # forms of either sort for which both ways gave the same row
        self._counted: dict[bytes, int] = {}  # of such, those met in this piece: how many lines the census lacks
        self._bytes = self._tried = self._found = 0

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
                census.repeat(kind.sample, times, objects=0)

    def _candidates(self, block: Block) -> list[_Candidate]:
        """The lines of known forms."""
        if len(block.content) > self._limit + SLACK:
            return []
        scanned = self._scanned
        scan_lines(block.content, block.starts, block.stops, *looked_at(self._looked_at), *scanned)
        forms, kinds = scanned.forms.data, scanned.kinds.data
        candidates = []
        lines = len(block.starts)
        slot = form_begin = kind_begin = field = 0
        for line, (slot_end, form_end, kind_end, field_end) in enumerate(scanned.ends[:lines].tolist()):
            if kind_end > kind_begin:
                form, kind = bytes(forms[form_begin:form_end]), bytes(kinds[kind_begin:kind_end])
                known, other = self._known_form(form), self._known_kind(kind)
                use = self._use(known, other) if known and other else None
                if known and use:
                    candidates.append(_Candidate(line, form, kind, known, use, slot, field))
            slot, form_begin, kind_begin, field = slot_end, form_end, kind_end, field_end
        self._tried, self._found = self._tried + lines, self._found + len(candidates)
        if self._tried > TRIED and 2 * self._found < self._tried:
            self._limit = 0
        return self._without_odd_numbers(candidates, field)

    def _without_odd_numbers(self, candidates: list[_Candidate], fields: int) -> list[_Candidate]:
        """The lines all of whose numbers are written as this project writes them."""
        refused = self._fields.settle(self._scanned, fields)
        if not len(refused):
            return candidates
        odd = set(np.searchsorted([each.first_field for each in candidates], refused, "right") - 1)
        return [each for place, each in enumerate(candidates) if place not in odd]

    def _known_form(self, form: bytes) -> _Known | None:
        """What follows from the form of messages and tools, worked out if it is new."""
        try:
            return self._known[form]
        except KeyError:
            known = None
            if self._has_room(len(form)):
                with contextlib.suppress(*_ODD):
                    known = self._worked_out(_sample(b"{%b}" % form[:-1]))
                self._known[form] = known
            return known

    def _known_kind(self, kind: bytes) -> _Kind | None:
        try:
            return self._kinds[kind]
        except KeyError:
            known = None
            if self._has_room(len(kind)):
                with contextlib.suppress(*_ODD):
                    fields = _sample(kind).items()
                    sample = {name: value for name, value in fields if name not in ("messages", "tools")}
                    known = _Kind(len(self._kinds), sample)
                self._kinds[kind] = known
            return known

    def _has_room(self, size: int) -> bool:
        """Whether something more of this size may be kept; it counts from now on if so."""
        has_room = self._bytes + size <= MOST_BYTES
        self._bytes += size * has_room
        return has_room

    def _use(self, known: _Known, kind: _Kind) -> _Use | None:
        """What follows from both forms."""
        try:
            return known.uses[kind.number]
        except KeyError:
            use = None
            if self._has_room(BYTES_OF_USE):
                with contextlib.suppress(*_ODD):
                    use = self._used(known, kind)
                known.uses[kind.number] = use
            return use

    def _used(self, known: _Known, kind: _Kind) -> _Use | None:
        plan = self._fields.plan(kind.sample, known.beside, self._adapt, self.file.split)
        if plan is None:
            return None
        beside = known.beside
        conversation = Conversation(beside["messages"].turns, functions_of(beside.get("tools")), plan.effort)  # type: ignore[arg-type]
        prologue, _ = TEMPLATES[self._template].prologue(conversation)
        text, _, messages = start_of(tuple(prologue))
        tags = [*plan.tags, *known.outline.tags, *odd_tags(known.verdicts, False, b"")]
        return _Use(plan, self._literals.number(text), messages + len(conversation.turns), tags)

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
        beside = {**sample, "messages": KnownTurns(shells, tags)}
        return _Known(number, sample, beside, outline, entry, verdicts, {})

    def _pieces_of(
        self, outline: Form, slots: Sequence[int]
    ) -> tuple[list[tuple[int, int, int]], list[tuple[int, int]]]:
        """The pieces of text and content of a form, whose turns have these slots."""
        spoken = set(outline.spoken[::2])
        text = [(0, NO_SLOT, 0)]
        for number, turn in enumerate(range(len(slots)) if outline.written is None else outline.written):
            opening = 2 * number + 1
            kind = SPOKEN * (opening in spoken) | FINAL * (turn == outline.final)
            text.append((self._literals.number(outline.pieces[opening]), slots[turn], kind))
        text.append((self._literals.number(outline.pieces[-1]), NO_SLOT, 0))
        fields = map(self._literals.number, outline.content[::3])
        return text, list(zip(fields, slots, strict=True))

    def _rows(self, candidates: list[_Candidate], block: Block) -> Rows | None:
        """The rows of candidates. Those that may have nothing to say, or say odd numbers, are struck off the list."""
        written = self._written(candidates)
        calls = np.array([each.known.outline.use.calls for each in candidates])
        first_fields = np.array([each.first_field for each in candidates])
        fields, is_odd = self._fields.columns([each.use.plan for each in candidates], first_fields, self._scanned)
        is_odd |= (written.measures[:, 4] == 0) & (calls == 0)
        if is_odd.any():
            candidates[:] = [each for each, odd in zip(candidates, is_odd.tolist(), strict=True) if not odd]
            return self._rows(candidates, block) if candidates else None
        own = self._own_columns(candidates, block, written, calls, fields)
        return Rows(
            written.texts,
            written.ends[:, 0],
            pa.RecordBatch.from_arrays(own, schema=OWN_SCHEMA),
            self._tags(candidates, written),
            written.spoken,
            written.ends[:, 3],
            [each.known.tools for each in candidates],
        )

    def _own_columns(
        self,
        candidates: list[_Candidate],
        block: Block,
        written: Texts,
        calls: NDArray[np.int64],
        fields: dict[str, Any],
    ) -> list[pa.Array]:
        count, policy = len(candidates), self.file.split.source.identity
        known = [each.known for each in candidates]
        lengths, loss_chars = written.measures[:, 0], written.measures[:, 1]
        text_ids = _digests(written.texts, written.ends[:, 0])
        contents = _digests(written.contents, written.ends[:, 1])
        lines = np.array([each.line for each in candidates])
        numbers = lines + block.number
        uuids = fields["source_uuid"].to_pylist()
        columns: dict[str, Any] = fields | {
            "id": [identity(policy, *names) for names in zip(uuids, contents, text_ids, strict=True)],
            "template": repeated(self._template, pa.string(), count),
            "content_sha1": contents,
            "text_sha1": text_ids,
            "mask_sha1": _digests(written.spans, written.ends[:, 2], self._mask),
            "stats_loss_chars": loss_chars,
            "quality_valid_harmony": repeated(True, pa.bool_(), count),
            "quality_completion_nonempty": repeated(True, pa.bool_(), count),
            "quality_has_tool": [each.outline.use.has_tool for each in known],
            "quality_valid_tool_schema": [False not in each.verdicts for each in known],
            "stats_char_len": lengths,
            "stats_approx_tokens": lengths // 4,
            "stats_messages": [each.use.messages for each in candidates],
            "stats_tool_calls": calls,
            "source_tools_id": [each.tools.id if each.tools else None for each in known],
            "source_tools_count": [each.tools.size if each.tools else 0 for each in known],
            "source_row": numbers,
            "source_offset": block.starts[lines] + block.offset,
            "record_uid": list(map(self.file.record_uid, numbers.tolist())),
        }
        return [
            value if isinstance(value := columns[field.name], pa.Array) else pa.array(value, field.type)
            for field in OWN_SCHEMA
        ]

    def _tags(self, candidates: list[_Candidate], written: Texts) -> list[list[str]]:
        lengths, finals = written.measures[:, 0].tolist(), self._short_finals(written)
        return [
            [*each.use.tags, *length_tags(length, final)]
            for each, length, final in zip(candidates, lengths, finals, strict=True)
        ]

    def _written(self, candidates: list[_Candidate]) -> Texts:
        chosen = np.array([(each.known.pieces, each.use.prologue, each.first_slot) for each in candidates])
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
