"""How much of a text repeats what stood earlier in it, estimated at several gigabytes a second.

Windows of WINDOW bytes are looked at where content says so: at anchors, places whose four bytes hash to 0 in five bits.
Equal passages have equal anchors wherever they stand, so a repeated passage is found by the windows at its anchors. An
anchor speaks for the bytes since the one before; where none comes for GAP bytes, the last of them is one, so that a
short loop without a natural anchor is seen as well.

Belongs here: the measure over a buffer of texts. Does not: what follows from it (`text_measures`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nemo_assets.compiled import compiled, lowest_bit, word_at

WINDOW = 32  # bytes that must be equal to count as repeated: a phrase of about six words
GAP = 64  # bytes without an anchor after which the next place is taken as one

_U8, _U16, _U64 = np.uint8, np.uint16, np.uint64
_ANCHOR_BELOW = _U16(1 << 11)  # of 1 << 16: one place in 32
_MIX = (_U64(0x9E3779B97F4A7C15), _U64(0xC2B2AE3D27D4EB4F))  # odd constants of xxHash, which spread the bits of a word
_TRIED = 64  # slots of the smallest table, and how many a window may lie in: no text makes the search endless or slow
_ROW_BITS = _U64(44)  # of a table entry the upper 20 bits name the row, the lower 44 the window


def repeat_ratios(data: NDArray[np.uint8], spans: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each row the estimated share, in [0, 1), of bytes that repeat what stood earlier in the same row.

    `spans` (n, 2) are byte ranges of `data` to look at, and row i has the spans [rows[i], rows[i + 1]). Windows do not
    reach across the end of a span.
    """
    lengths = np.maximum(spans[:, 1] - spans[:, 0] - WINDOW + 1, 0)
    places = np.diff(np.concatenate(([0], np.cumsum(lengths)))[rows])
    table = np.zeros(max(_TRIED, 1 << (int(places.max(initial=0)) >> 2).bit_length()), np.uint64)
    anchors = np.zeros((int(lengths.max(initial=0)) + 15) & ~7, np.uint8)
    ratios = np.zeros(len(rows) - 1)
    _measure(data, spans, rows, places, table, anchors, ratios)
    return ratios


def repeat_ratio(texts: Sequence[bytes]) -> float:
    """The same of one row of these texts."""
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    spans = np.stack([np.concatenate(([0], ends[:-1])), ends], axis=1).astype(np.int64)
    data = np.frombuffer(b"".join(texts), np.uint8)
    return float(repeat_ratios(data, spans, np.array([0, len(texts)]))[0])


@compiled
def _measure(data: Any, spans: Any, rows: Any, places: Any, table: Any, anchors: Any, ratios: Any) -> None:
    for row in range(len(ratios)):
        size = _TRIED
        while size < places[row] >> 2 and size < len(table):
            size <<= 1
        repeated = 0
        for span in range(rows[row], rows[row + 1]):
            begin, length = spans[span, 0], spans[span, 1] - spans[span, 0] - WINDOW + 1
            if length > 0:
                text = data[begin : begin + length + WINDOW - 1]
                _find_anchors(text, anchors[:length])
                anchors[length : length + 8] = 0
                repeated += _repeated_bytes(text, length, anchors, table[:size], _U64(row + 1))
        if repeated:
            ratios[row] = repeated / places[row]


@compiled
def _find_anchors(text: Any, anchors: Any) -> None:
    """Mark the places that are anchors. Shifted views instead of an index: this way the compiler uses vectors."""
    second, third, fourth = text[1:], text[2:], text[3:]
    for place in range(len(anchors)):
        mixed = _U16(_U16(text[place]) * _U16(0x9E37)) + _U16(_U16(second[place]) * _U16(0x79B9))
        mixed = _U16(mixed) + _U16(_U16(third[place]) * _U16(0x7F4B)) + _U16(_U16(fourth[place]) * _U16(0xC2B3))
        anchors[place] = np.uint8(_U16(mixed) < _ANCHOR_BELOW)


@compiled
def _repeated_bytes(text: Any, places: int, anchors: Any, table: Any, row: Any) -> int:
    """Bytes that repeated windows speak for. Eight marks are read as one word and only those set are looked at."""
    repeated, previous = 0, 0
    marks = anchors[: (places + 7) & ~7].view(np.uint64)
    for number in range(len(marks)):
        marked = marks[number]
        while marked:
            place = 8 * number + (lowest_bit(marked) >> 3)
            marked &= marked - _U64(1)
            while place - previous > GAP:
                previous += GAP
                repeated += GAP * _stood_before(text, previous, table, row)
            repeated += (place - previous) * _stood_before(text, place, table, row)
            previous = place
    while places - 1 - previous >= GAP:
        previous += GAP
        repeated += GAP * _stood_before(text, previous, table, row)
    return repeated


@compiled
def _stood_before(text: Any, place: int, table: Any, row: Any) -> bool:
    """Whether the window at `place` is in the table. Entries of earlier rows count as empty.

    It is from now on, unless its slots are taken: text can be made to have an anchor at every place, far more than the
    table is for.
    """
    address = _U64(text.ctypes.data + place)
    mixed = word_at(address) * _MIX[0]
    mixed = (mixed ^ (mixed >> _U64(29))) + word_at(address + _U64(8)) * _MIX[1]
    mixed = (mixed ^ (mixed >> _U64(29))) + word_at(address + _U64(16)) * _MIX[0]
    mixed = (mixed ^ (mixed >> _U64(29))) + word_at(address + _U64(24)) * _MIX[1]
    mixed ^= mixed >> _U64(31)
    mixed *= _MIX[0]
    entry = (row << _ROW_BITS) | (mixed >> _U64(20))
    slot = (mixed ^ (mixed >> _U64(33))) & _U64(len(table) - 1)
    for _ in range(_TRIED):
        found = table[slot]
        if found == entry:
            return True
        if found >> _ROW_BITS != row:
            table[slot] = entry
            return False
        slot = (slot + _U64(1)) & _U64(len(table) - 1)
    return False
