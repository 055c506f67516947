"""Texts of many rows in one pass: the pieces that rows of one form have in common, and the strings of their own.

Belongs here: putting bytes together. Does not: which pieces a form has (`known_forms`), where strings come from
(`line_scan`).
"""

from __future__ import annotations

from array import array
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nemo_assets.compiled import compiled, copy_bytes
from nemo_assets.records.line_scan import Scanned

NO_SLOT = -1
SPOKEN, FINAL = 1, 2  # of a piece: the assistant wrote it; it is the last final answer

_U64 = np.uint64
_DIGITS = 20  # of the longest number


class Literals:
    """Fixed texts, each known by a number."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._pool, self._table = bytearray(), array("q")
        self._arrays: tuple[NDArray[np.uint8], NDArray[np.int64]] | None = None

    def number(self, text: bytes) -> int:
        number = self._numbers.setdefault(text, len(self._numbers))
        if 3 * number == len(self._table):
            begin = len(self._pool)
            self._pool += text
            self._table.extend((begin, len(self._pool), len(text.decode())))
            self._arrays = None
        return number

    def size(self, number: int) -> int:
        """Bytes of a text."""
        return self._table[3 * number + 1] - self._table[3 * number]

    @property
    def arrays(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The texts one behind the other, and begin, end and code points (n, 3) of each."""
        if self._arrays is None:
            self._arrays = np.frombuffer(bytes(self._pool), np.uint8), np.array(self._table).reshape(-1, 3)
        return self._arrays


class Pieces:
    """The pieces of all forms, each known by a number."""

    def __init__(self, literals: Literals) -> None:
        self.literals = literals
        # Tables of numbers, row by row, for they grow by a row at a time and become arrays again and again.
        self._text, self._content, self._fixed = (array("q") for _ in range(3))
        self._ends = array("q", [0, 0])
        self._arrays: tuple[NDArray[Any], ...] | None = None
        self._rooms = [np.empty(0, np.uint8) for _ in range(3)]

    def form(self, text: list[tuple[int, int, int]], content: list[tuple[int, int]]) -> int:
        """The number of a new form: (literal, slot that follows it, SPOKEN and FINAL) of its text, (literal, slot) of
        its content. The first literal of a text, its prologue, is given row by row.
        """
        for piece in text:
            self._text.extend(piece)
        for part in content:
            self._content.extend(part)
        self._ends.extend((len(self._text) // 3, len(self._content) // 2))
        literals = [piece[0] for piece in (*text, *content)]
        sizes = [self.literals.size(each) for each in literals]
        self._fixed.append(sum(sizes) + 2 * _DIGITS * len(sizes))
        self._arrays = None
        return len(self._fixed) - 1

    def write(
        self, forms: NDArray[np.int64], prologues: NDArray[np.int64], first_slots: NDArray[np.int64], scanned: Scanned
    ) -> Texts:
        """The texts of rows, by form, prologue and first slot of each.

        Their bytes lie in memory that is used again for the next: fresh memory costs more than filling it.
        """
        if self._arrays is None:
            self._arrays = (
                np.array(self._text).reshape(-1, 3),
                np.array(self._content).reshape(-1, 2),
                np.array(self._ends).reshape(-1, 2),
                np.array(self._fixed),
            )
        text, content, ends, fixed = self._arrays
        pool, literals = self.literals.arrays
        size = int(fixed[forms].sum() + (literals[prologues, 1] - literals[prologues, 0]).sum())
        rows, pieces = len(forms), int((ends[forms + 1, 0] - ends[forms, 0]).sum())
        needed = (size + len(scanned.strings), size + len(scanned.strings), size)
        rooms = self._rooms = [
            room if len(room) >= bytes_needed else np.empty(bytes_needed * 5 // 4, np.uint8)
            for room, bytes_needed in zip(self._rooms, needed, strict=True)
        ]
        texts = Texts(
            rooms[0],
            rooms[1],
            rooms[2],
            np.empty((pieces, 2), np.int64),
            np.zeros((rows + 1, 4), np.int64),
            np.empty((rows, 5), np.int64),
        )
        _write(
            forms, prologues, first_slots, scanned.strings, scanned.slots, pool, literals, text, content, ends, *texts
        )  # fmt: skip
        return texts


class Texts(NamedTuple):
    """The texts of some rows.

    `texts`, `contents` (what `content_sha1` hashes) and `spans` (as `mask_sha1` lists them) of the rows lie one behind
    the other; `spoken` (n, 2) are begin and end of what the assistant wrote, in bytes of the row's text. `ends` are
    where these four end, beginning with those of no row. `measures` are code points of the text and of what the
    assistant wrote in it; slot of the final answer, or NO_SLOT; its code points from the first visible character of
    ASCII to the last; and whether a letter or digit of ASCII is in what the assistant wrote.
    """

    texts: NDArray[np.uint8]
    contents: NDArray[np.uint8]
    spans: NDArray[np.uint8]
    spoken: NDArray[np.int64]
    ends: NDArray[np.int64]
    measures: NDArray[np.int64]


@compiled
def _write(
    forms: Any, prologues: Any, first_slots: Any, strings: Any, slots: Any, pool: Any, literals: Any, text_pieces: Any,
    content_pieces: Any, piece_ends: Any, texts: Any, contents: Any, spans: Any, spoken: Any, ends: Any, measures: Any,
) -> None:  # fmt: skip
    text = content = span = body = 0
    for row in range(len(forms)):
        form, first_slot, begin = forms[row], first_slots[row], text
        points = spoken_points = visible = has_word = 0
        final = NO_SLOT
        first_span = span
        for number in range(piece_ends[form, 0], piece_ends[form + 1, 0]):
            literal = prologues[row] if number == piece_ends[form, 0] else text_pieces[number, 0]
            text = append_bytes(texts, text, pool, literals[literal, 0], literals[literal, 1])
            points += literals[literal, 2]
            if text_pieces[number, 1] != NO_SLOT:
                slot, kind = first_slot + text_pieces[number, 1], text_pieces[number, 2]
                body_begin = text
                text = append_bytes(texts, text, strings, slots[slot, 0], slots[slot, 1])
                if kind & SPOKEN:
                    spoken[body, 0], spoken[body, 1] = body_begin - begin, text - begin
                    body += 1
                    if slots[slot, 2]:
                        span = _span_listed(spans, first_span, span, points, points + slots[slot, 2])
                    spoken_points += slots[slot, 2]
                    has_word = has_word or _has_word(texts, body_begin, text)
                    if kind & FINAL:
                        final, visible = slot, _visible_points(texts, body_begin, text)
                points += slots[slot, 2]
        for number in range(piece_ends[form, 1], piece_ends[form + 1, 1]):
            literal, slot = content_pieces[number, 0], first_slot + content_pieces[number, 1]
            content = append_bytes(contents, content, pool, literals[literal, 0], literals[literal, 1])
            content = _number_written(contents, content, slots[slot, 1] - slots[slot, 0])
            contents[content] = 58  # a colon
            content = append_bytes(contents, content + 1, strings, slots[slot, 0], slots[slot, 1])
        ends[row + 1, 0], ends[row + 1, 1], ends[row + 1, 2], ends[row + 1, 3] = text, content, span, body
        measures[row, 0], measures[row, 1], measures[row, 2] = points, spoken_points, final
        measures[row, 3], measures[row, 4] = visible, has_word


@compiled
def append_bytes(target: Any, at: int, source: Any, begin: int, end: int) -> int:
    """Copy bytes to `at`; the end of the copy."""
    copy_bytes(_U64(target.ctypes.data + at), _U64(source.ctypes.data + begin), _U64(end - begin))
    return at + end - begin


@compiled
def _span_listed(spans: Any, first: int, at: int, begin: int, end: int) -> int:
    if at > first:
        spans[at] = 44  # a comma
        at += 1
    at = _number_written(spans, at, begin)
    spans[at] = 45  # a minus
    return _number_written(spans, at + 1, end)


@compiled
def _number_written(target: Any, at: int, number: int) -> int:
    size, rest = 1, number
    while rest > 9:
        size, rest = size + 1, rest // 10
    for place in range(at + size - 1, at - 1, -1):
        target[place] = 48 + number % 10
        number //= 10
    return at + size


@compiled
def _has_word(text: Any, begin: int, end: int) -> bool:
    for place in range(begin, end):
        byte = text[place]
        if 48 <= byte <= 57 or 97 <= (byte | 32) <= 122:
            return True
    return False


@compiled
def _visible_points(text: Any, begin: int, end: int) -> int:
    """Code points from the first visible character of ASCII to the last."""
    while begin < end and not 32 < text[begin] < 127:
        begin += 1
    while begin < end and not 32 < text[end - 1] < 127:
        end -= 1
    points = 0
    for place in range(begin, end):
        points += text[place] & 0xC0 != 0x80
    return points
