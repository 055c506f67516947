"""What follows from the form of the fields beside the messages: where each of them goes in a row.

An adapter is asked once for a form, with marks in the place of strings and numbers. A mark that comes out somewhere
says that this field goes there, in every line of the form: an adapter that looks into strings names their fields in
`LOOKS_AT`, and those belong to the form. Where anything else comes out that depends on a mark, lines of the form go
the plain way.

Belongs here: fields of one form, and the columns of many rows. Does not: moving bytes (`field_columns`), messages and
their text (`known_forms`).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nemo_assets.records.adapters import Adapter
from nemo_assets.records.draft import Draft
from nemo_assets.records.evaluation import CONDITIONS, EFFORTS, in_order
from nemo_assets.records.field_columns import (
    NOTHING,
    Condition,
    JsonForms,
    evaluate,
    gather_texts,
    literal_place,
)
from nemo_assets.records.line_scan import UNSURE, Scanned
from nemo_assets.records.line_texts import Literals
from nemo_assets.records.rows import AS_IN_SOURCE, as_in_source, meta_of
from nemo_assets.records.sorted_json import sorted_json

ALWAYS_LOOKED_AT = ("used_in",)  # its strings are read as a list here

_TEXTS = {
    "meta_expected_answer": "expected_answer",
    "meta_problem_id": "problem_id",
    "meta_reasoning": "reasoning",
    "meta_capability_target": "capability_target",
}  # columns, and where a draft has them
_TEXTS_OF_SOURCE = ("source_uuid", "source_license", "source_data_source")
_MEASURES = (
    "meta_correctness", "meta_correctness_own", "meta_correctness_lcb",
    *(f"meta_correctness_{effort}{use}" for effort in EFFORTS for use in ("", "_no_tool", "_with_tool")),
)  # fmt: skip
_MARK = re.compile(r"(?:\ue000|\ue001)(\d+)\ue002")
_JSON_MARK = re.compile(rb'\xee\x80\x80(\d+)\xee\x80\x82|"\xee\x80\x81(\d+)\xee\x80\x82"')
_decode = msgspec.json.Decoder().decode


class Plan(NamedTuple):
    """Where the fields of a form go, together with messages and tools of a form: its number in the tables, and what is
    the same in all such lines.
    """

    number: int
    effort: str
    tags: tuple[str, ...]
    source_tags: list[str]
    used_in: list[str]
    changed_answer: bool | None


class KnownFields:
    """The plans made so far, and the columns of rows by plan and first field of each."""

    def __init__(self, literals: Literals, looks_at: Sequence[str]) -> None:
        self._literals, self._json = literals, JsonForms(literals)
        self._looks_at = frozenset(looks_at)
        # Tables of numbers, row by row, for they grow by a row at a time and become arrays again and again.
        self._texts, self._conditions, self._ends = array("q"), array("q"), array("q", [0])
        self._forms = array("q")  # of source_meta_json and meta_eval_json, by plan
        self._arrays: tuple[NDArray[np.int64], ...] | None = None
        self._fractions: dict[bytes, float | None] = {}  # values of those that are written as they would be here

    def plan(self, kind: Mapping[str, Any], beside: Mapping[str, Any], adapt: Adapter, split: Any) -> Plan | None:
        """How lines of this form become rows with such messages and tools; None where that depends on more."""
        if b"\xee\x80" in sorted_json(dict(kind)):  # a name that looks like a mark
            return None
        marked = [_Marks(sign, self._looks_at) for sign in ("\ue000", "\ue001")]
        records = [{**marks.marked_fields(kind), **beside} for marks in marked]
        drafts = [adapt(record, split) for record in records]
        left, right = drafts
        same = (left.effort, left.text, left.template, list(left.tags), list(left.source_tags))
        if same != (right.effort, None, None, list(right.tags), list(right.source_tags)):
            return None
        if any(draft.tools_field is not record.get("tools") for draft, record in zip(drafts, records, strict=True)):
            return None
        sources = [dict(zip(AS_IN_SOURCE, as_in_source(record), strict=True)) for record in records]
        constant = ("source_used_in", "source_changed_answer_to_majority")
        if any(sources[0][name] != sources[1][name] for name in constant):
            return None
        texts = [self._place(*(getattr(draft, name) for draft in drafts)) for name in _TEXTS.values()]
        texts += [self._place(*(source[name] for source in sources)) for name in _TEXTS_OF_SOURCE]
        if left.results is not None and left.results.block is not records[0].get("metadata"):
            return None
        conditions = self._conditions_of(left, marked[0])
        if None in texts or conditions is None:
            return None
        forms = self._json_forms(kind, beside, left)
        self._texts.extend([place for place in texts if place is not None])
        for condition in conditions:
            self._conditions.extend(condition)
        self._ends.append(len(self._conditions) // len(Condition._fields))
        self._forms.extend(forms)
        self._arrays = None
        used_in, changed = (sources[0][name] for name in constant)
        return Plan(len(self._ends) - 2, left.effort, tuple(left.tags), list(left.source_tags), used_in, changed)

    def _place(self, left: str | None, right: str | None) -> int | None:
        """Where a column comes from that says this with the one marks and that with the others."""
        if left is None and right is None:
            return NOTHING
        if left is None or right is None:
            return None
        if left == right:
            return int(literal_place(self._literals.number(left.encode())))
        found, other = _MARK.fullmatch(left), _MARK.fullmatch(right)
        return int(found[1]) if found and other and found[1] == other[1] else None

    def _conditions_of(self, draft: Draft, marks: _Marks) -> list[Condition] | None:
        """What the evaluation of a draft is worked out from."""
        if draft.results is None:
            return []
        block, own = draft.results
        places = {condition: place for place, condition in enumerate(CONDITIONS)}
        made = []
        for name in in_order(block):
            result = block[name]
            if type(result) is not dict:
                continue
            values = [result.get(key) for key in ("accuracy", "count", "pass")]
            if float in map(type, values[1:]):
                return None
            accuracy, attempts, passes = map(marks.number, values)
            place, literal = places.get(name, NOTHING), self._literals.number(name.encode())
            made.append(Condition(accuracy, attempts, passes, name == own, place, literal))
        return made

    def _json_forms(self, kind: Mapping[str, Any], beside: Mapping[str, Any], draft: Draft) -> tuple[int, int]:
        """The forms of `source_meta_json` and `meta_eval_json`."""
        record = {**_Marks("\ue000", self._looks_at, "\ue001").marked_fields(kind), **beside}
        evaluation = sorted_json(record["metadata"]) if draft.results is not None else None
        of_evaluation = NOTHING if evaluation is None else self._json.form(_pieces(evaluation))
        return self._json.form(_pieces(meta_of(record, evaluation))), of_evaluation

    def settle(self, scanned: Scanned, count: int) -> NDArray[np.int64]:
        """Look at the UNSURE ones of the first fields, as many as `count`, and give those that are as this project
        writes them their values; the places of all others.
        """
        unsure = np.flatnonzero(scanned.fields[:count, 2] == UNSURE)
        refused = []
        for place in unsure.tolist():
            begin, end, _ = scanned.fields[place].tolist()
            text = scanned.strings[begin:end].tobytes()
            if text not in self._fractions:
                if len(self._fractions) >= _MOST_FRACTIONS:
                    self._fractions.clear()
                self._fractions[text] = _fraction(text)
            value = self._fractions[text]
            if value is None:
                refused.append(place)
            else:
                scanned.numbers[place] = value
        return np.array(refused, np.int64)

    def columns(
        self, plans: Sequence[Plan], first_fields: NDArray[np.int64], scanned: Scanned
    ) -> tuple[dict[str, Any], NDArray[np.bool_]]:
        """The columns that come from fields, and which rows have numbers too large for it."""
        if self._arrays is None:
            self._arrays = (
                np.array(self._texts).reshape(-1, len(_TEXTS) + len(_TEXTS_OF_SOURCE)),
                np.array(self._conditions).reshape(-1, len(Condition._fields)),
                np.array(self._ends),
                np.array(self._forms).reshape(-1, 2),
            )
        texts, conditions, ends, forms = self._arrays
        numbers = np.array([plan.number for plan in plans], np.int64)
        evaluated = evaluate(numbers, first_fields, scanned.numbers, conditions, ends)
        places = np.ascontiguousarray(texts[numbers].T)
        places = np.where(places >= 0, places + first_fields, places)
        named = np.where(evaluated.settings == NOTHING, NOTHING, literal_place(evaluated.settings))
        made = gather_texts(np.concatenate([places, named[None]]), scanned, self._literals)
        columns: dict[str, Any] = dict(zip((*_TEXTS, *_TEXTS_OF_SOURCE, "meta_eval_best_setting"), made, strict=True))
        for name, values in zip(_MEASURES, np.ascontiguousarray(evaluated.measures.T), strict=True):
            columns[name] = pa.array(values, mask=np.isnan(values))
        unknown = evaluated.counts < np.iinfo(np.int64).min + 1
        for place, name in enumerate(("meta_pass_k", "meta_correct_count")):
            columns[name] = pa.array(evaluated.counts[:, place], mask=unknown[:, place])
        columns["meta_row_verified"] = pa.array(evaluated.counts[:, 2] == 1, mask=unknown[:, 2])
        columns["source_meta_json"] = self._json.write(forms[numbers, 0], first_fields, scanned)
        columns["meta_eval_json"] = self._json.write(forms[numbers, 1], first_fields, scanned)
        columns["meta_tags"] = [plan.source_tags for plan in plans]
        columns["source_used_in"] = [plan.used_in for plan in plans]
        columns["source_changed_answer_to_majority"] = [plan.changed_answer for plan in plans]
        return columns, evaluated.odd


_MOST_FRACTIONS = 100_000


class _Marks:
    """Stand for the strings and numbers of a form, by which it is known where they go.

    A string is `sign`, number of the field and U+E002. A number is one that comes once, or with `number_sign` such a
    string.
    """

    def __init__(self, sign: str, looks_at: frozenset[str], number_sign: str = "") -> None:
        self._sign, self._looks_at, self._number_sign = sign, looks_at, number_sign
        self._count = 0
        self._base = 1_000_000 * ord(sign)
        self._numbers: dict[int | float, int] = {}

    def marked_fields(self, kind: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._marked(value, name in self._looks_at) for name, value in kind.items()}

    def number(self, value: Any) -> int:
        """The field whose mark this number is; NOTHING for what is no number."""
        return self._numbers[value] if type(value) in (int, float) else NOTHING

    def _marked(self, value: Any, is_looked_at: bool) -> Any:
        if isinstance(value, dict):
            return {name: self._marked(each, is_looked_at) for name, each in value.items()}
        if isinstance(value, list):
            return [self._marked(each, is_looked_at) for each in value]
        if value is None or isinstance(value, bool) or (isinstance(value, str) and is_looked_at):
            return value
        field, self._count = self._count, self._count + 1
        if isinstance(value, str):
            return f"{self._sign}{field}\ue002" if value else ""
        if self._number_sign:
            return f"{self._number_sign}{field}\ue002"
        mark = self._base + field + (0.5 if isinstance(value, float) else 0)
        self._numbers[mark] = field
        return mark


def _pieces(json: bytes) -> tuple[tuple[bytes, int], ...]:
    """The literals of JSON with marks, and the field behind each, NOTHING behind the last."""
    return tuple(_cut(json))


def _cut(json: bytes) -> Iterator[tuple[bytes, int]]:
    at = 0
    for mark in _JSON_MARK.finditer(json):
        yield json[at : mark.start()], int(mark[1] or mark[2])
        at = mark.end()
    yield json[at:], NOTHING


def _fraction(text: bytes) -> float | None:
    """The value of a number that is written as this project writes it."""
    try:
        value = _decode(text)
    except msgspec.MsgspecError:
        return None
    return value if type(value) is float and sorted_json(value) == text else None
