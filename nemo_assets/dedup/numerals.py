"""Digests of the numbers in a text, as they are written: with sign, decimal mark and fraction.

The multiset of runs of digits does not tell 3.12 from 12.3, 3/4 from 4/3 or -3 from 3. So runs that are joined by a
mark make one numeral, and a minus sign that is no operator between two terms belongs to it.

Belongs here: numerals in ASCII digits. Does not: which tokens are numbers (`tokens`); numbers in words or in other
scripts, which tokens alone tell apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from nemo_assets.compiled import compiled, lowest_bit
from nemo_assets.dedup.shingles import mixed
from nemo_assets.dedup.tokens import U64

_MIX = U64(0x9E3779B97F4A7C15)


def _marked(characters: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which bytes are one of these characters."""
    table = np.zeros(256, np.bool_)
    table[list(characters.encode())] = True
    return table


_DIGITS = _marked("0123456789")
_JOINERS = _marked(".,/:")  # between digits, without a blank
_TERM_ENDS = _marked("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ)]}")


def _marks_before_digits(_typing: Any, _address: Any) -> Any:
    """A bit for each of the 64 bytes at an address: a joiner or the end of a minus sign, and a digit behind it."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        byte, block = ir.IntType(8), ir.VectorType(ir.IntType(8), 64)

        def among(address: Any, *ranges: tuple[int, int]) -> Any:
            data = builder.load(builder.inttoptr(address, block.as_pointer()))
            data.align = 1
            found = ir.Constant(ir.VectorType(ir.IntType(1), 64), [0] * 64)
            for first, count in ranges:
                begin, width = (ir.Constant(block, [ir.Constant(byte, value)] * 64) for value in (first, count))
                found = builder.or_(found, builder.icmp_unsigned("<", builder.sub(data, begin), width))
            return found

        marks = among(arguments[0], (0x2C, 4), (0x3A, 1), (0x92, 1))  # , - . / : and the last byte of U+2212
        digits = among(builder.add(arguments[0], ir.Constant(ir.IntType(64), 1)), (0x30, 10))
        return builder.bitcast(builder.and_(marks, digits), ir.IntType(64))

    return types.uint64(types.uint64), generate


_marks_before_digits_at: Any = intrinsic(_marks_before_digits)


@compiled
def numerals_digest(data: Any, size: int) -> Any:
    """Of the first `size` bytes of `data`, which has spaces behind them, a digest of those with a sign or joiner.

    With `numbers_digest`, of all runs of digits, it is equal for equal multisets of numerals: the runs that make these
    numerals taken away, the others are numerals by themselves.
    """
    base, behind = U64(data.ctypes.data), 0
    total = U64(0)
    for block in range(0, size, 64):
        marks = _marks_before_digits_at(base + U64(block))
        while marks:
            place = block + lowest_bit(marks)
            marks &= marks - U64(1)
            if place < behind:  # within the numeral before
                continue
            begin, sign = place + 1, U64(0)
            if _JOINERS[data[place]]:
                begin = place
                while begin > 0 and _DIGITS[data[begin - 1]]:
                    begin -= 1
            elif _is_negative(data, begin):
                sign = _MIX
            if begin < place or sign:
                value, behind = _numeral(data, begin)
                total += mixed(value ^ sign)
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
