"""The fast lane: lines whose form is known already become rows without being parsed.

Nearly all lines of a file have one of a few forms (`line_scan`). What follows from the form alone, the turns of the
conversation, the pieces of its text, tools, the census, is worked out when it is first met; of the lines that follow
only strings are copied, and the small fields beside the messages are read. A line with anything new goes the plain way,
and this way too: a form is used from then on only if both gave the very same row. So this module could be taken out, and
nothing would change but the time.

Belongs here: which lines may go this way, and their rows. Does not: what a row is (`rows`), what is rejected: that is
said by the plain way alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from nemo_assets.errors import Rejected
from nemo_assets.harmony import (
    TEMPLATES,
    Conversation,
    Form,
    Turn,
    canonical_json,
    interpreter_code,
    known_form,
    satisfies,
    start_of,
    turn_of,
    validators_of,
)
from nemo_assets.records.adapters import load_adapter, reads_bodies
from nemo_assets.records.census import Census
from nemo_assets.records.draft import Draft
from nemo_assets.records.line_scan import SLACK, room_for, scan_lines
from nemo_assets.records.line_texts import FINAL, NO_SLOT, SPOKEN, Pieces
from nemo_assets.records.messages import ROLES, KnownTurns, turns_of
from nemo_assets.records.rows import Row, SourceFileRef, Written, row_from
from nemo_assets.records.text_measures import TOO_SHORT
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
_Outcome = TypeVar("_Outcome")


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

    `turns` stand for those of the record; `sample` is a record of this form. `calls` are, of each call of a tool on
    offer, the slot of the code and the compiled schema.
    """

    pieces: int
    sample: dict[str, Any]
    turns: KnownTurns
    outline: Form
    tools: ToolsEntry | None
    calls: list[tuple[int, Any]]


class _Candidate(NamedTuple):
    """A line on its way: its forms, what its other fields say, the literal and message count of its prologue, and its
    first slot.
    """

    form: bytes
    kind: bytes
    known: _Known
    record: dict[str, Any]
    draft: Draft
    prologue: int
    messages: int
    first_slot: int


class KnownForms:
    """The forms met in one piece of a file, and the way of the lines that have them."""

    def __init__(self, file: SourceFileRef, size: int) -> None:
        """For blocks of up to `size` bytes; larger ones go the plain way."""
        source = file.split.source
        self._file, self._adapt, self._template = file, load_adapter(file.split), source.template
        self._mask = hashlib.sha1(f"{source.loss_mode}|{int(source.loss_terminators)}|".encode())
        is_open = source.loss_mode == "assistant_all" and not source.loss_terminators and not reads_bodies(file.split)
        self._size = size if is_open else 0
        self._scanned = room_for(self._size)
        self._pieces = Pieces()
        self._known: dict[bytes, _Known | None] = {}
        self._kinds: dict[bytes, dict[str, Any] | None] = {}  # a sample of each form of other fields
        self._counted: dict[bytes, int] = {}  # of proven forms, of either sort: lines that went this way
        self._bytes = self._tried = self._found = 0
        self._prologues: dict[tuple[int, str], tuple[int, int]] = {}

    def outcomes(
        self, block: Block, plain: Callable[[int, int, bytes], _Outcome]
    ) -> Iterator[_Outcome | Row]:
        """What becomes of every line; `plain` tells it, the plain way, by number, offset and bytes."""
        candidates = self._candidates(block)
        rows = self._rows(candidates, block) if candidates else {}
        view = memoryview(block.content)
        for line, (start, stop) in enumerate(zip(block.starts.tolist(), block.stops.tolist(), strict=True)):
            row = rows.get(line)
            form, kind = (candidates[line].form, candidates[line].kind) if row is not None else (b"", b"")
            if form in self._counted and kind in self._counted:
                self._counted[form] += 1
                self._counted[kind] += 1
                yield row
                continue
            outcome = plain(block.number + line, block.offset + start, bytes(view[start:stop]))
            if row is not None and outcome == row:
                self._counted.setdefault(form, 0)
                self._counted.setdefault(kind, 0)
            elif row is not None and form not in self._counted:
                self._known[form] = None
            yield outcome

    def count(self, census: Census) -> None:
        """Count the lines that went this way."""
        for form, times in self._counted.items():
            known, kind = self._known.get(form), self._kinds.get(form)
            if times and known is not None:
                census.repeat(known.sample, times)
            elif times and kind is not None:
                census.repeat(kind, times, objects=0)

    def _candidates(self, block: Block) -> dict[int, _Candidate]:
        """The lines of known forms, by their place in the block."""
        if len(block.content) > self._size + SLACK:
            return {}
        scanned = self._scanned
        scan_lines(block.content, block.starts, block.stops, *scanned)
        forms, kinds, others = map(memoryview, (scanned.forms, scanned.kinds, scanned.others))
        candidates = {}
        lines = len(block.starts)
        slot = form_begin = kind_begin = other_begin = 0
        for line, (slot_end, form_end, kind_end, other_end) in enumerate(scanned.ends[:lines].tolist()):
            if other_end > other_begin:
                form, kind = bytes(forms[form_begin:form_end]), bytes(kinds[kind_begin:kind_end])
                candidate = self._candidate(form, kind, others[other_begin:other_end], slot)
                if candidate is not None:
                    candidates[line] = candidate
            slot, form_begin, kind_begin, other_begin = slot_end, form_end, kind_end, other_end
        self._tried, self._found = self._tried + lines, self._found + len(candidates)
        if self._tried > TRIED and 2 * self._found < self._tried:
            self._size = 0
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
        calls = [
            (place, validators[turn.tool])
            for turn, place in zip(turns, places, strict=True)
            if turn.is_call and turn.tool in validators
        ]
        number = self._pieces.form(*self._pieces_of(outline, [place for place in places if place is not None]))
        shells = tuple([turn_of((turn.role, "", turn.channel, turn.tool, None)) for turn in turns])
        return _Known(number, sample, KnownTurns(shells, tags), outline, entry, calls)

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

    def _candidate(self, form: bytes, kind: bytes, other: memoryview, slot: int) -> _Candidate | None:
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
            draft = self._adapt(record, self._file.split)
            start = self._prologues.get((known.pieces, draft.effort)) or self._prologue(known, draft)
        except _ODD:
            return None
        if draft.text is not None or draft.template is not None or draft.tools_field is not record.get("tools"):
            return None
        return _Candidate(form, kind, known, record, draft, *start, slot)

    def _prologue(self, known: _Known, draft: Draft) -> tuple[int, int]:
        conversation = Conversation(draft.turns, draft.tools, draft.effort)  # type: ignore[arg-type]
        prologue, _ = TEMPLATES[self._template].prologue(conversation)
        text, _, messages = start_of(tuple(prologue))
        start = self._pieces.literal(text), messages
        self._prologues[known.pieces, draft.effort] = start
        return start

    def _rows(self, candidates: dict[int, _Candidate], block: Block) -> dict[int, Row]:
        """The rows of candidates, as far as they have a word to say and an effect."""
        scanned, each = self._scanned, candidates.values()
        written = self._pieces.write(
            np.array([one.known.pieces for one in each]),
            np.array([one.prologue for one in each]),
            np.array([one.first_slot for one in each]),
            scanned,
        )
        numbers = zip(written.ends[:-1].tolist(), written.ends[1:].tolist(), written.measures.tolist(), strict=True)
        views = memoryview(written.texts), memoryview(written.contents), memoryview(written.spans)
        bodies = written.spoken.ravel().tolist()
        starts = block.starts
        rows = {}
        for (line, candidate), (begins, ends, measures) in zip(candidates.items(), numbers, strict=True):
            use = candidate.known.outline.use
            length, loss_chars, final, visible, has_word = measures
            if not (has_word or use.calls):
                continue
            text, content, spans = (view[begin:end] for view, begin, end in zip(views, begins, ends))
            mask = self._mask.copy()
            mask.update(spans)
            made = Written(
                text,
                length,
                candidate.messages + len(candidate.known.turns.turns),
                bodies[2 * begins[3] : 2 * ends[3]],
                loss_chars,
                mask.hexdigest(),
                hashlib.sha1(content).hexdigest(),
                self._template,
                use.has_tool,
                use.calls,
                candidate.known.outline.tags,
                None if final == NO_SLOT or visible >= TOO_SHORT else self._string(final),
                False,
                candidate.known.tools,
                [
                    satisfies(schema, {"code": self._string(candidate.first_slot + slot)})
                    for slot, schema in candidate.known.calls
                ],
            )
            rows[line] = row_from(
                candidate.record, (), candidate.draft, made, self._file, block.number + line,
                block.offset + int(starts[line]),
            )  # fmt: skip
        return rows

    def _string(self, slot: int) -> str:
        begin, end, _ = self._scanned.slots[slot].tolist()
        return str(memoryview(self._scanned.strings)[begin:end], "utf-8")


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
            if ROLES.get(value.get("role")) == "tool":
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
        return self._numbers.get(turn.body if turn.tool is None or turn.role == "tool" else interpreter_code(turn) or " ")
