"""Text to tokens that keep what mathematics and code mean.

Tokens: a run of ASCII letters, folded to lower case · a run of ASCII digits · a LaTeX command, backslash and letters
with their case, as \\Delta is not \\delta · any other ASCII byte above 0x20 by itself · a run of other letters · any
other code point by itself, such as a CJK character, a symbol or a superscript. Bytes up to 0x20 and the spaces of
Unicode separate. Digits, operators and brackets are never dropped: `2x+3` is not `2x-3`.

The classes of 64 bytes at once become bit masks, from which the places where tokens begin and end are read off.

Belongs here: from bytes to token hashes. Does not: which bytes are compared (`compared`), shingles (`shingles`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from nemo_assets.compiled import compiled, lowest_bit, word_at

PADDING = 128  # bytes of space that must follow a text: blocks of 64 and words of 8 are read past its end

U8, U64 = np.uint8, np.uint64
_MIX = (U64(0x9E3779B97F4A7C15), U64(0x165667B19E3779F9))  # odd constants of xxHash, which spread the bits of a word
_ALL = U64(0xFFFFFFFFFFFFFFFF)
_TO_LOWER = U64(0x2020202020202020)  # the bit that an upper case letter lacks, in each of eight bytes
NUMBER = U64(1)  # lowest bit of the hash of a token that is a number

SINGLE, _SPACE, _LETTER, _NUMERAL = range(4)  # classes of code points beyond ASCII

# Ranges instead of `unicodedata`: tokens must not change with the version of Python.
_SPACES = (
    (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200B), (0x2028, 0x2029), (0x202F, 0x202F),
    (0x205F, 0x2060), (0x3000, 0x3000), (0xFEFF, 0xFEFF),
)  # fmt: skip
_LETTERS = (
    (0xAA, 0xAA), (0xB5, 0xB5), (0xBA, 0xBA), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x1FFF), (0x2C00, 0x2DFF),
    (0xA640, 0xABFF), (0xFB00, 0xFDFF), (0xFE70, 0xFEFE),
)  # fmt: skip
_NUMERALS = (
    (0xB2, 0xB3), (0xB9, 0xB9), (0xBC, 0xBE), (0x660, 0x669), (0x6F0, 0x6F9), (0x7C0, 0x7C9), (0x966, 0x96F),
    (0x9E6, 0x9EF), (0x9F4, 0x9F9), (0xA66, 0xA6F), (0xAE6, 0xAEF), (0xB66, 0xB6F), (0xB72, 0xB77), (0xBE6, 0xBF2),
    (0xC66, 0xC6F), (0xC78, 0xC7E), (0xCE6, 0xCEF), (0xD58, 0xD5E), (0xD66, 0xD78), (0xDE6, 0xDEF), (0xE50, 0xE59),
    (0xED0, 0xED9), (0xF20, 0xF33), (0x1040, 0x1049), (0x1090, 0x1099), (0x1369, 0x137C), (0x16EE, 0x16F0), (0x17E0,
    0x17E9), (0x17F0, 0x17F9), (0x1810, 0x1819), (0x1946, 0x194F), (0x19D0, 0x19DA), (0x1A80, 0x1A89), (0x1A90,
    0x1A99), (0x1B50, 0x1B59), (0x1BB0, 0x1BB9), (0x1C40, 0x1C49), (0x1C50, 0x1C59), (0x2070, 0x2070), (0x2074,
    0x2079), (0x2080, 0x2089), (0x2150, 0x2182), (0x2185, 0x2189), (0x2460, 0x249B), (0x24EA, 0x24FF), (0x2776,
    0x2793), (0x2CFD, 0x2CFD), (0x3007, 0x3007), (0x3021, 0x3029), (0x3038, 0x303A), (0x3192, 0x3195), (0x3220,
    0x3229), (0x3248, 0x324F), (0x3251, 0x325F), (0x3280, 0x3289), (0x32B1, 0x32BF), (0xA620, 0xA629), (0xA6E6,
    0xA6EF), (0xA830, 0xA835), (0xA8D0, 0xA8D9), (0xA900, 0xA909), (0xA9D0, 0xA9D9), (0xA9F0, 0xA9F9), (0xAA50,
    0xAA59), (0xABF0, 0xABF9), (0xFF10, 0xFF19),
)  # fmt: skip


def _classes() -> NDArray[np.uint8]:
    """The class of every code point below 0x10000."""
    table = np.zeros(0x10000, np.uint8)
    for ranges, kind in ((_LETTERS, _LETTER), (_NUMERALS, _NUMERAL), (_SPACES, _SPACE)):
        for first, last in ranges:
            table[first : last + 1] = kind
    return table


CLASSES = _classes()


def _class_masks(_typing: Any, _address: Any) -> Any:
    """(letters, digits, spaces, not ASCII, lead bytes, backslashes) of the 64 bytes at an address, a bit a byte."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, block = ir.IntType(8), ir.VectorType(ir.IntType(8), 64)
        data = builder.load(builder.inttoptr(arguments[0], block.as_pointer()))
        data.align = 1

        def each(value: int) -> Any:
            return ir.Constant(block, [ir.Constant(byte, value)] * 64)

        def among(data: Any, first: int, count: int) -> Any:
            return builder.icmp_unsigned("<", builder.sub(data, each(first)), each(count))

        masks = (
            among(builder.or_(data, each(0x20)), 0x61, 26),
            among(data, 0x30, 10),
            among(data, 0, 0x21),
            builder.icmp_unsigned(">=", data, each(0x80)),
            builder.icmp_unsigned(">=", data, each(0xC0)),
            builder.icmp_unsigned("==", data, each(0x5C)),
        )
        words = [builder.bitcast(mask, ir.IntType(64)) for mask in masks]
        return context.make_tuple(builder, signature.return_type, words)

    tuple_of: Any = types.UniTuple
    return tuple_of(types.uint64, 6)(types.uint64), generate


masks_at: Any = intrinsic(_class_masks)


def tokens_of(text: bytes) -> NDArray[np.uint64]:
    """Token hashes of one text of valid UTF-8, in order; the lowest bit of a hash is set where it is of a number."""
    data = np.frombuffer(text + b" " * PADDING, np.uint8)
    tokens = np.empty(len(text) + 1, np.uint64)
    return tokens[: tokenize(data, len(text), CLASSES, tokens)]


@compiled
def tokenize(data: Any, size: int, classes: Any, tokens: Any) -> int:
    """Write the token hashes of the first `size` bytes of `data` and return how many they are, at most `size`.

    `data` has PADDING bytes of space behind the text, `classes` is CLASSES.
    """
    base = U64(data.ctypes.data)
    letter_before, digit_before, space_before, backslash_before = U64(0), U64(0), U64(1), U64(0)
    count, begin, done, is_open = 0, 0, 0, False
    for block in range(0, size + 1, 64):  # a text that fills its last block is closed by the one behind it
        letters, digits, spaces, others, leads, backslashes = masks_at(base + U64(block))
        goes_on = (letters & ((letters << U64(1)) | letter_before | (backslashes << U64(1)) | backslash_before)) | (
            digits & ((digits << U64(1)) | digit_before)
        )
        starts = leads | (~(spaces | others) & ~goes_on)
        ends = (starts | spaces) & ~((spaces << U64(1)) | space_before)
        letter_before, digit_before = letters >> U64(63), digits >> U64(63)
        space_before, backslash_before = spaces >> U64(63), backslashes >> U64(63)
        if starts and not is_open:
            begin, is_open = block + lowest_bit(starts), True
            starts &= starts - U64(1)
        while ends:
            end = block + lowest_bit(ends)
            ends &= ends - U64(1)
            word = word_at(base + U64(begin))
            first = word & U64(0xFF)
            if first < U64(0x80):
                fold = _TO_LOWER if (first | U64(0x20)) - U64(0x61) < U64(26) else U64(0)
                is_number = U64(first - U64(0x30) < U64(10))
                tokens[count] = hashed(base, begin, end, word, fold) & ~NUMBER | is_number
                count += 1
            elif begin >= done:
                kind, done = _beyond_ascii(base, begin, end, classes)
                if kind != _SPACE:
                    tokens[count] = hashed(base, begin, done, word, U64(0)) & ~NUMBER | U64(kind == _NUMERAL)
                    count += 1
            if starts:
                begin = block + lowest_bit(starts)
                starts &= starts - U64(1)
            else:
                is_open = False
    return count


@compiled
def hashed(base: Any, begin: int, end: int, word: Any, fold: Any) -> Any:
    """The hash of the token [begin, end): its bytes in words of eight, the last one filled up with zeros."""
    state, size = _MIX[1], end - begin
    while size > 8:
        state = _absorbed(state, word | fold)
        begin, size = begin + 8, size - 8
        word = word_at(base + U64(begin))
    state = _absorbed(state, (word | fold) & (_ALL >> U64(64 - 8 * size))) * _MIX[1]
    return state ^ (state >> U64(29))


@compiled
def _absorbed(state: Any, word: Any) -> Any:
    state = (state ^ word) * _MIX[0]
    return state ^ (state >> U64(32))


@compiled
def _beyond_ascii(base: Any, begin: int, end: int, classes: Any) -> Any:
    """Class of the code point [begin, end), and where its token ends: a run of letters is one token."""
    kind = _class_at(base, begin, classes)
    while kind == _LETTER and word_at(base + U64(end)) & U64(0xC0) == U64(0xC0):
        if _class_at(base, end, classes) != _LETTER:
            break
        lead = word_at(base + U64(end)) & U64(0xFF)
        end += 2 if lead < U64(0xE0) else 3 if lead < U64(0xF0) else 4
    return kind, end


@compiled
def _class_at(base: Any, begin: int, classes: Any) -> Any:
    """Class of the code point beyond ASCII that begins there."""
    word = word_at(base + U64(begin))
    lead, second, third = word & U64(0xFF), (word >> U64(8)) & U64(0x3F), (word >> U64(16)) & U64(0x3F)
    if lead < U64(0xE0):
        return classes[((lead & U64(0x1F)) << U64(6)) | second]
    if lead < U64(0xF0):
        return classes[((lead & U64(0x0F)) << U64(12)) | (second << U64(6)) | third]
    point = ((lead & U64(0x07)) << U64(18)) | (second << U64(12)) | (third << U64(6)) | ((word >> U64(24)) & U64(0x3F))
    if U64(0x1D7CE) <= point < U64(0x1D800):  # mathematical digits
        return _NUMERAL
    # Old scripts and mathematical letters; beyond them CJK, pictures and the like.
    return _LETTER if point < U64(0x1D000) or U64(0x1D400) <= point < U64(0x1D7CE) else SINGLE
