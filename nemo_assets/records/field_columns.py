"""Columns of many rows in one pass, from the strings and numbers of the fields beside the messages.

Belongs here: moving bytes and computing with numbers. Does not: which field goes where (`known_fields`), where fields
come from (`line_scan`), what an evaluation is: that is said by `evaluation`, and done here again for many rows.
"""

from __future__ import annotations

import math
from array import array
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nemo_assets.compiled import compiled, lowest_bit, put_word, word_at
from nemo_assets.records.evaluation import Z_95
from nemo_assets.records.line_scan import SLACK, STRING, Scanned
from nemo_assets.records.line_texts import Literals, append_bytes

NOTHING = -1  # in the place of a field: null
MEASURES = 12  # best, own and lower bound; then for each effort the better one, without and with tool
MOST_ATTEMPTS = 10_000_000  # up to here all sums and products of attempts are exact floats

_U64 = np.uint64
_UNKNOWN = np.int64(np.iinfo(np.int64).min)


class Condition(NamedTuple):
    """Fields of the results under a condition, or NOTHING; whether it is the row's own; its place in `CONDITIONS`, or
    NOTHING; the literal of its name.
    """

    accuracy: int
    attempts: int
    passes: int
    is_own: bool
    place: int
    name: int


class Evaluated(NamedTuple):
    """Evaluations of n rows: `measures` (n, MEASURES), NaN for null; `counts` (n, 3) are attempts and passes of the
    best condition and whether the row's own one was passed, with the least integer for null; `settings` are literals
    of the best condition or NOTHING; rows that are `odd` have numbers too large to be computed with here.
    """

    measures: NDArray[np.float64]
    counts: NDArray[np.int64]
    settings: NDArray[np.int64]
    odd: NDArray[np.bool_]


def evaluate(
    plans: NDArray[np.int64], first_fields: NDArray[np.int64], numbers: NDArray[np.float64],
    conditions: NDArray[np.int64], ends: NDArray[np.int64],
) -> Evaluated:  # fmt: skip
    """Evaluate rows by plan and first field of each; plan i has the conditions [ends[i], ends[i + 1])."""
    rows = len(plans)
    made = Evaluated(
        np.full((rows, MEASURES), np.nan),
        np.full((rows, 3), _UNKNOWN),
        np.full(rows, NOTHING),
        np.zeros(rows, np.bool_),
    )
    _evaluate(plans, first_fields, numbers, conditions, ends, *made)
    return made


@compiled
def _evaluate(
    plans: Any, first_fields: Any, numbers: Any, conditions: Any, ends: Any, measures: Any, counts: Any, settings: Any,
    odd: Any,
) -> None:  # fmt: skip
    for row in range(len(plans)):
        passed, count, best = 0.0, 0.0, -math.inf
        for each in range(ends[plans[row]], ends[plans[row] + 1]):
            accuracy, attempts, passes = conditions[each, 0], conditions[each, 1], conditions[each, 2]
            tried = numbers[first_fields[row] + attempts] if attempts != NOTHING else math.nan
            solved = numbers[first_fields[row] + passes] if passes != NOTHING else math.nan
            odd[row] |= abs(tried) > MOST_ATTEMPTS or abs(solved) > MOST_ATTEMPTS
            if accuracy != NOTHING:
                measured = numbers[first_fields[row] + accuracy]
                _put_measure(measures[row], measured, conditions[each, 3], conditions[each, 4])
                if measured > best:
                    best, settings[row] = measured, conditions[each, 5]
                    counts[row, 0], counts[row, 1] = _whole(tried), _whole(solved)
            if tried != 0 and 0 <= solved <= tried:
                passed, count = passed + solved, count + tried
            if conditions[each, 3] and passes != NOTHING:
                counts[row, 2] = solved >= 1
        odd[row] |= count > MOST_ATTEMPTS
        measures[row, 0] = best if best > -math.inf else math.nan
        measures[row, 2] = _wilson_lower_bound(passed, count) if count > 0 else math.nan


@compiled
def _put_measure(measures: Any, measured: float, is_own: int, place: int) -> None:
    """Note the accuracy under a condition; of an effort the better one counts, of equals the first."""
    if is_own:
        measures[1] = measured
    if place != NOTHING:
        effort = 3 + 3 * (place // 2)
        measures[effort + 1 + place % 2] = measured
        if not measures[effort] >= measured:
            measures[effort] = measured


@compiled
def _whole(number: float) -> Any:
    return np.int64(number) if abs(number) <= MOST_ATTEMPTS else _UNKNOWN


@compiled
def _wilson_lower_bound(passed: float, count: float) -> float:
    """As `evaluation.wilson_lower_bound`, step by step, so that not a bit differs."""
    z = Z_95
    share = passed / count
    centre = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, (centre - spread) / (1 + z * z / count))


def gather_texts(places: NDArray[np.int64], scanned: Scanned, literals: Literals) -> list[pa.Array]:
    """Columns of strings by the `places` (columns, rows) of each: a field, NOTHING, or a literal as `literal_place`."""
    columns, rows = places.shape
    pool, table = literals.arrays
    is_field, is_literal = places >= 0, places < NOTHING
    fields, fixed = scanned.fields[places[is_field]], table[-2 - places[is_literal]]
    size = int((fields[:, 1] - fields[:, 0]).sum() + (fixed[:, 1] - fixed[:, 0]).sum())
    out, offsets = np.empty(size + SLACK, np.uint8), np.zeros((columns, rows + 1), np.int32)
    _gather(places, scanned.strings, scanned.fields, pool, table, out, offsets)
    made, begin = [], 0
    for column in range(columns):
        end = begin + int(offsets[column, -1])
        valid = is_field[column] | is_literal[column]
        bitmap = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
        data = [bitmap, pa.py_buffer(offsets[column]), pa.py_buffer(out[begin:end])]
        made.append(pa.Array.from_buffers(pa.string(), rows, data))
        begin = end
    return made


def literal_place(literal: Any) -> Any:
    """What stands for a literal, or for an array of them, where `gather_texts` expects a place."""
    return -2 - literal


@compiled
def _gather(places: Any, strings: Any, fields: Any, pool: Any, literals: Any, out: Any, offsets: Any) -> None:
    at = 0
    for column in range(places.shape[0]):
        begin = at
        for row in range(places.shape[1]):
            place = places[column, row]
            if place >= 0:
                at = append_bytes(out, at, strings, fields[place, 0], fields[place, 1])
            elif place < NOTHING:
                at = append_bytes(out, at, pool, literals[-2 - place, 0], literals[-2 - place, 1])
            offsets[column, row + 1] = at - begin


class JsonForms:
    """Forms of JSON text: literals, and the fields that stand between them."""

    def __init__(self, literals: Literals) -> None:
        self._literals = literals
        self._numbers: dict[tuple[tuple[bytes, int], ...], int] = {}
        self._pieces, self._ends, self._fixed = array("q"), array("q", [0]), array("q")  # they grow row by row
        self._arrays: tuple[NDArray[np.int64], ...] | None = None

    def form(self, pieces: tuple[tuple[bytes, int], ...]) -> int:
        """The number of a form: texts and the field behind each, or NOTHING."""
        number = self._numbers.setdefault(pieces, len(self._numbers))
        if number == len(self._fixed):
            for text, field in pieces:
                self._pieces.extend((self._literals.number(text), field))
            self._ends.append(len(self._pieces) // 2)
            self._fixed.append(sum(len(text) for text, _ in pieces))
            self._arrays = None
        return number

    def write(self, forms: NDArray[np.int64], first_fields: NDArray[np.int64], scanned: Scanned) -> pa.Array:
        """Strings of JSON, null where the form is NOTHING, by form and first field of each."""
        if self._arrays is None:
            self._arrays = np.array(self._pieces).reshape(-1, 2), np.array(self._ends), np.array(self._fixed)
        pieces, ends, fixed = self._arrays
        pool, table = self._literals.arrays
        offsets = np.zeros(len(forms) + 1, np.int32)
        fields = _bytes_of_fields(forms, first_fields, pieces, ends, scanned.fields)
        bound = int(fixed[forms[forms != NOTHING]].sum()) + 2 * fields
        out = np.empty(bound + SLACK, np.uint8)
        _write_json(forms, first_fields, scanned.strings, scanned.fields, pool, table, pieces, ends, out, offsets)
        valid = forms != NOTHING
        bitmap = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
        return pa.Array.from_buffers(pa.string(), len(forms), [bitmap, pa.py_buffer(offsets), pa.py_buffer(out)])


@compiled
def _bytes_of_fields(forms: Any, first_fields: Any, pieces: Any, ends: Any, fields: Any) -> int:
    size = 0
    for each in range(len(forms)):
        if forms[each] == NOTHING:
            continue
        for piece in range(ends[forms[each]], ends[forms[each] + 1]):
            if pieces[piece, 1] != NOTHING:
                field = first_fields[each] + pieces[piece, 1]
                size += fields[field, 1] - fields[field, 0]
    return size


@compiled
def _write_json(
    forms: Any, first_fields: Any, strings: Any, fields: Any, pool: Any, literals: Any, pieces: Any, ends: Any,
    out: Any, offsets: Any,
) -> None:  # fmt: skip
    at = 0
    for each in range(len(forms)):
        if forms[each] != NOTHING:
            for piece in range(ends[forms[each]], ends[forms[each] + 1]):
                literal = pieces[piece, 0]
                at = append_bytes(out, at, pool, literals[literal, 0], literals[literal, 1])
                if pieces[piece, 1] != NOTHING:
                    field = first_fields[each] + pieces[piece, 1]
                    if fields[field, 2] == STRING:
                        at = _escaped(out, at, strings, fields[field, 0], fields[field, 1])
                    else:
                        at = append_bytes(out, at, strings, fields[field, 0], fields[field, 1])
        offsets[each + 1] = at


@compiled
def _escaped(out: Any, to: int, text: Any, at: int, end: int) -> int:
    r"""Write text as it stands in a JSON string; where it ends.

    Of control characters `line_scan` leaves only those that have a short escape. What is written takes at most twice
    the bytes.
    """
    source, target = _U64(text.ctypes.data), _U64(out.ctypes.data)
    while at < end:
        word = word_at(source + _U64(at))
        put_word(target + _U64(to), word)
        marked = _below_blank(word) | _equal_to(word, _QUOTES) | _equal_to(word, _BACKSLASHES)
        clean = lowest_bit(marked) >> 3 if marked else 8
        if at + clean >= end:
            return to + end - at
        at, to = at + clean, to + clean
        if marked:
            byte = text[at]
            out[to] = 92
            out[to + 1] = _ESCAPES[byte] if byte < 32 else byte
            at, to = at + 1, to + 2
    return to


_ONES, _HIGHS = _U64(0x0101010101010101), _U64(0x8080808080808080)
_QUOTES, _BACKSLASHES, _BLANKS = _U64(0x2222222222222222), _U64(0x5C5C5C5C5C5C5C5C), _U64(0x2020202020202020)
_ESCAPES = np.zeros(32, np.uint8)
for _letter, _meant in zip(b"bfnrt", b"\b\f\n\r\t", strict=True):
    _ESCAPES[_meant] = _letter


@compiled
def _below_blank(word: Any) -> Any:
    """The high bit of bytes below 32: the lowest one that is set is right, which is all that is asked for."""
    return (word - _BLANKS) & ~word & _HIGHS


@compiled
def _equal_to(word: Any, eight: Any) -> Any:
    """The high bit of bytes equal to those in `eight`, as above."""
    differs = word ^ eight
    return (differs - _ONES) & ~differs & _HIGHS
