"""What of a row is compared: the bodies of its messages, without the system's and the developer's.

`spoken` are the bodies of the assistant, each call behind the name of its tool; `heard` are those of everybody else;
the `prompt` is what is heard before the assistant first speaks. Bodies are separated by line breaks. Two rows are
similar if they are so in `spoken` and in both together: a shared problem, tool list or system prompt makes no two rows
similar.

Belongs here: from Harmony text that `normalized` found valid to these texts. Does not: reading Harmony that may be
broken (`harmony.parse`, which says what is right: tests hold this to it), tokens.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from nemo_assets.compiled import compiled, lowest_bit, word_at
from nemo_assets.dedup.tokens import PADDING, U64

ROOM = 3 * PADDING
"""Bytes that a buffer for `separate` is longer than the text."""

_SPACE, _LINE_BREAK = np.uint8(0x20), np.uint8(0x0A)


def _words(token: bytes) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64, int]:
    """First and second eight bytes of a token, the masks of those that count, and its length."""
    masks = (b"\xff" * len(token)).ljust(16, b"\0")
    filled = token.ljust(16, b"\0")
    parts = [U64(int.from_bytes(word, "little")) for word in (filled[:8], filled[8:], masks[:8], masks[8:])]
    return parts[0], parts[1], parts[2], parts[3], len(token)


_START, _MESSAGE = _words(b"<|start|>"), _words(b"<|message|>")
_END, _RETURN, _CALL = _words(b"<|end|>"), _words(b"<|return|>"), _words(b"<|call|>")
_ASSISTANT, _SYSTEM, _DEVELOPER = _words(b"assistant"), _words(b"system"), _words(b"developer")
_TO, _FUNCTIONS = _words(b"to="), _words(b"functions.")


class Compared(NamedTuple):
    """What is compared of one row, as UTF-8."""

    spoken: bytes
    heard: bytes
    prompt: bytes


class Texts(NamedTuple):
    """Strings as bytes: row i is data[offsets[i]:offsets[i + 1]]."""

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    @property
    def longest(self) -> int:
        return int(np.diff(self.offsets).max(initial=0))


def texts_of(column: pa.Array | pa.ChunkedArray) -> Texts:
    """A column of strings without nulls as bytes; a single chunk is not copied."""
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    width = np.int64 if pa.types.is_large_string(column.type) or pa.types.is_large_binary(column.type) else np.int32
    _, offsets, data = column.buffers()
    if len(column) == 0 or data is None:
        return Texts(np.zeros(0, np.uint8), np.zeros(len(column) + 1, np.int64))
    places = np.frombuffer(offsets, width)[column.offset : column.offset + len(column) + 1]
    return Texts(np.frombuffer(data, np.uint8), places.astype(np.int64))


def compared(text: bytes) -> Compared:
    """What is compared of one row with this Harmony text."""
    data = np.frombuffer(text + b" " * PADDING, np.uint8)
    spoken, heard, calls = (np.empty(len(text) + ROOM, np.uint8) for _ in range(3))
    size, prompt, rest, _ = separate(data, len(text), spoken, heard, calls)
    words = [heard[:prompt].tobytes(), heard[prompt + PADDING : prompt + PADDING + rest].tobytes()]
    return Compared(spoken[:size].tobytes(), b"".join(words), words[0])


def _marks(_typing: Any, _address: Any) -> Any:
    """A bit for each of the 64 bytes at an address: whether it and the one behind it are `<|`."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        block = ir.VectorType(ir.IntType(8), 64)

        def equal(address: Any, value: int) -> Any:
            data = builder.load(builder.inttoptr(address, block.as_pointer()))
            data.align = 1
            return builder.icmp_unsigned("==", data, ir.Constant(block, [ir.Constant(ir.IntType(8), value)] * 64))

        behind = builder.add(arguments[0], ir.Constant(ir.IntType(64), 1))
        return builder.bitcast(builder.and_(equal(arguments[0], 0x3C), equal(behind, 0x7C)), ir.IntType(64))

    return types.uint64(types.uint64), generate


_marks_at: Any = intrinsic(_marks)


@compiled
def separate(text: Any, size: int, spoken: Any, heard: Any, calls: Any) -> Any:
    """Write what is spoken and heard in the Harmony text [0, size) and return the lengths: spoken, prompt, rest, calls.

    `text` has PADDING bytes behind it; the buffers are ROOM longer than it. In `heard` the rest begins PADDING behind
    the prompt, and what lies between and behind is spaces, as `tokenize` needs it. `calls` is what is spoken to tools.
    """
    base = U64(text.ctypes.data)
    said, listened, prompt, called = 0, 0, -1, 0
    place = _next(base, 0, size, _START, _START)
    while place < size:
        header = place + 9
        body = _next(base, header, size, _MESSAGE, _MESSAGE)
        begin = min(body + 11, size)
        end = _next(base, begin, size, _START, _END)
        while header < body and text[header] <= _SPACE:
            header += 1
        if _is_role(base, text, header, _ASSISTANT):
            if prompt < 0:
                prompt = listened
                listened = _padded(heard, listened)
            before = said
            said = _copy_recipient(base, text, header + 9, body, spoken, said)
            is_call = said > before
            said = _copy(text, begin, end, spoken, said)
            if is_call:
                calls[called : called + said - before] = spoken[before:said]
                called += said - before
        elif not _is_role(base, text, header, _SYSTEM) and not _is_role(base, text, header, _DEVELOPER):
            listened = _copy(text, begin, end, heard, listened)
        place = _next(base, end, size, _START, _START)
    if prompt < 0:
        prompt = listened
        listened = _padded(heard, listened)
    _padded(spoken, said)
    _padded(heard, listened)
    _padded(calls, called)
    return said, prompt, listened - prompt - PADDING, called


@compiled
def _next(base: Any, place: int, size: int, wanted: Any, closing: Any) -> Any:
    """Where the next `wanted` token begins, or `size`. With `closing` _END any terminator will do as well."""
    while place < size:
        marks = _marks_at(base + U64(place))
        while marks:
            found = place + lowest_bit(marks)
            marks &= marks - U64(1)
            if found >= size:
                return size
            if _is_at(base, found, wanted) or (closing[4] == 7 and _closes(base, found)):
                return found
        place += 64
    return size


@compiled
def _closes(base: Any, place: int) -> Any:
    return _is_at(base, place, _END) or _is_at(base, place, _CALL) or _is_at(base, place, _RETURN)


@compiled
def _is_at(base: Any, place: int, token: Any) -> Any:
    if word_at(base + U64(place)) & token[2] != token[0]:
        return False
    return token[4] <= 8 or word_at(base + U64(place + 8)) & token[3] == token[1]


@compiled
def _is_role(base: Any, text: Any, header: int, role: Any) -> Any:
    """Whether a header begins with this role, alone or with a name behind a colon."""
    behind = text[header + role[4]]
    return _is_at(base, header, role) and (behind <= _SPACE or behind == 0x3C or behind == 0x3A)


@compiled
def _copy_recipient(base: Any, text: Any, place: int, end: int, target: Any, size: int) -> int:
    """Copy the name of the called tool out of a header, if it is one of a call."""
    while place < end and not (text[place - 1] <= _SPACE and _is_at(base, place, _TO)):
        place += 1
    if place >= end:
        return size
    begin = place + 3
    if _is_at(base, begin, _FUNCTIONS):
        begin += 10
    stop = begin
    while stop < end and text[stop] > _SPACE and text[stop] != 0x3C:
        stop += 1
    return _copy(text, begin, stop, target, size)


@compiled
def _copy(text: Any, begin: int, end: int, target: Any, size: int) -> int:
    target[size : size + end - begin] = text[begin:end]
    size += end - begin
    target[size] = _LINE_BREAK
    return size + 1


@compiled
def _padded(target: Any, size: int) -> int:
    target[size : size + PADDING] = _SPACE
    return size + PADDING
