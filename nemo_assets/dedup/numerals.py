"""Digests of the numbers in a text, as they are written: with sign, decimal mark and fraction.

The multiset of runs of digits does not tell 3.12 from 12.3, 3/4 from 4/3 or -3 from 3. So runs that are joined by a
mark make one numeral, and a minus sign that is no operator between two terms belongs to it.

Belongs here: numerals in ASCII digits. Does not: which tokens are numbers (`tokens`); numbers in words or in other
scripts, which tokens alone tell apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nemo_assets.compiled import compiled
from nemo_assets.dedup.shingles import mixed
from nemo_assets.dedup.tokens import U64, lowest_bit, masks_at

_MIX = U64(0x9E3779B97F4A7C15)


def _marked(characters: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which bytes are one of these characters."""
    table = np.zeros(256, np.bool_)
    table[list(characters.encode())] = True
    return table


_DIGITS = _marked("0123456789")
_JOINERS = _marked(".,/:")  # between digits, without a blank
_TERM_ENDS = _marked("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ)]}")


@compiled
def numerals_digest(data: Any, size: int) -> Any:
    """Equal for equal multisets of numerals in the first `size` bytes of `data`, which has spaces behind them."""
    base, digit_before, behind = U64(data.ctypes.data), U64(0), 0
    total = U64(0)
    for block in range(0, size, 64):
        digits = masks_at(base + U64(block))[1]
        starts = digits & ~((digits << U64(1)) | digit_before)
        digit_before = digits >> U64(63)
        while starts:
            begin = block + lowest_bit(starts)
            starts &= starts - U64(1)
            if begin >= behind:  # else it is a later part of the numeral before
                value, behind = _numeral(data, begin)
                total += mixed(value ^ (_MIX if _is_negative(data, begin) else U64(0)))
    return total


@compiled
def _numeral(data: Any, place: int) -> Any:
    """The hash of the numeral that begins there, and where it ends."""
    value = U64(0)
    while _DIGITS[data[place]] or (_JOINERS[data[place]] and _DIGITS[data[place + 1]]):
        value = (value ^ U64(data[place])) * _MIX
        value ^= value >> U64(29)
        place += 1
    return value, place


@compiled
def _is_negative(data: Any, place: int) -> bool:
    """Whether a minus sign, - or U+2212, stands right before a numeral and no term before that."""
    if place >= 3 and data[place - 1] == 0x92 and data[place - 2] == 0x88 and data[place - 3] == 0xE2:
        place -= 2
    elif place < 1 or data[place - 1] != 0x2D:
        return False
    return place < 2 or not _TERM_ENDS[data[place - 2]]
