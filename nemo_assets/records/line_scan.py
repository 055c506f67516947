"""Lines of JSON to their forms, and to the strings and numbers that differ between lines of one form, without a Python
object for either.

The form of messages and tools is their JSON with "s" for every string that may differ between conversations alike,
which is all of messages but roles and names. The form of the other fields has "s" for every string as well, but for
those of fields that somebody looks at, and 1 or 1.5 for every number. Lines of one form have the same tokens in the
same order: one is JSON, with the same keys and types, if the other is. Strings and numbers themselves are checked as
they are read. Blanks between tokens are in no form.

Belongs here: one pass over a block of lines. Does not: what follows from a form (`known_forms`). A line that this pass
does not understand, broken or merely rare, is left alone: `parsing` says what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nemo_assets.compiled import compiled, copy_bytes, lowest_bit, put_word, word_at

SLACK = 16  # bytes behind the end of every buffer that may be read or written: memory is taken word by word
MOST_DEPTH = 60  # levels of objects and arrays
LONG_NUMBER = 18  # characters; up to here an integer fits into 64 bits
BYTES_OF_SLOT = 4  # a string takes two quotes, a comma or bracket and, unless it is empty, a character
BYTES_OF_FIELD = 2  # a number takes a digit and a comma or bracket
MOST_DIGITS = 15  # of a fraction: up to here its value is a quotient of two exact floats, and no shorter one has it

_U8, _U64 = np.uint8, np.uint64
_QUOTE, _BACKSLASH, _COMMA, _COLON, _LESS, _BAR, _NEWLINE = 34, 92, 44, 58, 60, 124, 10
_ANY, _ANY_CODE, _EMPTY = 115, 99, 34  # strings in a form: s is any text, c the code of a call
_BLANKS = (32, 9, 13)
_LITERAL = 49  # stands for the token before if that was a number, true, false or null
_OPEN_LIST, _CLOSE_LIST, _OPEN_OBJECT, _CLOSE_OBJECT = 91, 93, 123, 125
_OTHER, _LOOKED_AT, _MESSAGES, _TOOLS = 0, 1, 2, 3  # sections of a record
_TEXT, _NAME, _ARGUMENTS = 0, 1, 2  # what a string of a message is by its key


def _bytes(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), np.uint8).copy()


_MESSAGES_KEY, _TOOLS_KEY, _ROLE_KEY, _NAME_KEY, _ARGUMENTS_KEY = map(
    _bytes, ("messages", "tools", "role", "name", "arguments")
)
_CODE, _NULL, _WHOLE, _FRACTION = map(_bytes, ('{"code":', "null", "1", "1.5"))
_UNESCAPED = np.zeros(256, np.uint8)  # by the letter behind a backslash, 0 where there is no such escape
for _letter, _meant in zip(b'"\\/bfnrt', b'"\\/\b\f\n\r\t', strict=True):
    _UNESCAPED[_letter] = _meant


STRING, NUMBER, UNSURE = 0, 1, 2


class Scanned(NamedTuple):
    """What one pass wrote, to be overwritten by the next; of all buffers and lists only the beginning is in use.

    `strings` holds what differs between lines of one form, one behind the other. `slots` (n, 3) are begin, end and code
    points of each string of messages; a call with nothing but code has the code. `fields` (n, 3) are begin and end of
    each string and number of the other fields, and whether that is a STRING, a NUMBER as this project writes it, or
    UNSURE: a fraction of which this pass cannot tell. `numbers` are the values of fields that are a NUMBER. `forms` are
    of messages and tools, as members of an object with a comma behind each, `kinds` the forms of the records with null
    for these. `ends` (n, 4) are where slots, forms, kinds and fields of a line end: where they begin for a line that
    was left alone.
    """

    strings: NDArray[np.uint8]
    slots: NDArray[np.int64]
    fields: NDArray[np.int64]
    numbers: NDArray[np.float64]
    forms: NDArray[np.uint8]
    kinds: NDArray[np.uint8]
    ends: NDArray[np.int64]
    marks: NDArray[np.uint8]
    inner_marks: NDArray[np.uint8]


def room_for(size: int) -> Scanned:
    """Buffers for blocks of up to `size` bytes."""
    return Scanned(
        np.empty(2 * size + SLACK, np.uint8),
        np.empty((size // BYTES_OF_SLOT + 1, 3), np.int64),
        np.empty((size // BYTES_OF_FIELD + 1, 3), np.int64),
        np.empty(size // BYTES_OF_FIELD + 1, np.float64),
        np.empty(2 * size + SLACK, np.uint8),
        np.empty(2 * size + SLACK, np.uint8),
        np.empty((size + 1, 4), np.int64),
        np.empty(size + SLACK, np.uint8),
        np.empty(size + SLACK, np.uint8),
    )


class LookedAt(NamedTuple):
    """The names of fields whose strings belong to the form, one behind the other, and where each ends, 0 first."""

    names: NDArray[np.uint8]
    ends: NDArray[np.int64]


def looked_at(names: Sequence[str]) -> LookedAt:
    """These names as `scan_lines` takes them."""
    encoded = [name.encode() for name in names]
    return LookedAt(np.frombuffer(b"".join(encoded) or b"-", np.uint8), np.cumsum([0, *map(len, encoded)]))


@compiled
def scan_lines(
    block: Any, starts: Any, stops: Any, names: Any, name_ends: Any, strings: Any, slots: Any, fields: Any,
    numbers: Any, forms: Any, kinds: Any, ends: Any, marks: Any, inner_marks: Any,
) -> None:  # fmt: skip
    """Scan the lines [starts[i], stops[i]) of a block: a line end stands behind each, SLACK bytes behind the last."""
    _mark(block, marks)
    string = slot = form = kind = field = 0
    for line in range(len(starts)):
        scanned = _scan_line(
            block, marks, inner_marks, starts[line], stops[line], names, name_ends, strings, string, slots, slot,
            fields, field, numbers, forms, form, kinds, kind,
        )  # fmt: skip
        if scanned[0]:
            _, string, slot, field, form, kind = scanned
        ends[line, 0], ends[line, 1], ends[line, 2], ends[line, 3] = slot, form, kind, field


@compiled
def _mark(text: Any, marks: Any) -> None:
    """1 at every byte that does not simply stand for itself in a string: the compiler uses vectors for this loop."""
    for place in range(len(text)):
        byte = text[place]
        marks[place] = (
            _U8(byte == _U8(34)) | _U8(byte == _U8(92)) | _U8(byte == _U8(60)) | _U8(_U8(byte - _U8(32)) >= _U8(96))
        )


@compiled
def _scan_line(  # noqa: C901  (one loop over tokens; whatever is taken out of it is handed most of these places)
    block: Any, marks: Any, inner_marks: Any, at: int, stop: int, names: Any, name_ends: Any, strings: Any, string: int,
    slots: Any, slot: int, fields: Any, field: int, numbers: Any, forms: Any, form: int, kinds: Any, kind: int,
) -> Any:  # fmt: skip
    """(whether the line was understood, and the new ends of strings, slots, fields, forms and kinds)."""
    failed = (False, string, slot, field, form, kind)
    out, to = kinds, kind  # where the form of this section is written
    depth, in_object = 0, _U64(0)  # the lowest bit says whether the innermost container is an object
    before, section, key, key_begin, key_end = _U8(0), _OTHER, _TEXT, 0, 0
    while depth >= 0 and slot < len(slots) - 1 and field < len(fields) - 1:
        byte = block[at]
        if _begins_value(byte) and before in (_QUOTE, _LITERAL):
            return failed  # two values side by side, which without the blanks between might look like one
        if byte == _QUOTE:
            begin = at + 1
            if in_object & _U64(1) and before in (_OPEN_OBJECT, _COMMA):
                at = _behind_string(block, marks, begin)
                key_begin, key_end = begin, at - 1
                to = _copied(block, begin - 1, at, out, to)
            elif section in (_TOOLS, _LOOKED_AT) or (section == _MESSAGES and key == _NAME):
                at = _behind_string(block, marks, begin)
                to = _copied(block, begin - 1, at, out, to)
            else:
                at, end, points = _read_string(block, marks, begin, strings, string)
                if at == 0:
                    return failed
                letter = _ANY if end > string else _EMPTY
                if section == _OTHER:
                    fields[field, 0], fields[field, 1], fields[field, 2] = string, end, STRING
                    field += 1
                else:
                    if key == _ARGUMENTS:
                        code, code_end, code_points = _read_code(strings, string, end, inner_marks)
                        if code:
                            string, end, points, letter = code, code_end, code_points, _ANY_CODE
                    elif end > string and not _is_visible(strings, string, end):
                        return failed
                    slots[slot, 0], slots[slot, 1], slots[slot, 2] = string, end, points
                    slot += 1
                to = _any_string(out, to, letter)
                string = end
            if at > stop:
                return failed
        elif byte in (_OPEN_OBJECT, _OPEN_LIST):
            depth += 1
            in_object = (in_object << _U64(1)) | _U64(byte == _OPEN_OBJECT)
            out[to] = byte
            at, to = at + 1, to + 1
            if depth > MOST_DEPTH:
                return failed
        elif byte in (_CLOSE_OBJECT, _CLOSE_LIST, _COMMA):
            if depth == 1 and section != _OTHER:
                if section != _LOOKED_AT:
                    out[to] = _COMMA
                    form, out, to = to + 1, kinds, kind
                section = _OTHER
            if byte != _COMMA:
                depth -= 1
                in_object >>= _U64(1)
            out[to] = byte
            at, to = at + 1, to + 1
        elif byte == _COLON:
            out[to] = byte
            at, to = at + 1, to + 1
            if depth == 1:
                section = _section_of(block, key_begin, key_end, names, name_ends)
                if section in (_MESSAGES, _TOOLS):
                    kind, out = _copied(_NULL, 0, 4, kinds, to), forms
                    to = _copied(block, key_begin - 1, key_end + 1, forms, form) + 1
                    forms[to - 1] = _COLON
            else:
                key = _key_of(block, key_begin, key_end)
        elif byte in _BLANKS:
            at += 1
            continue
        elif at >= stop:
            break
        elif _begins_value(byte):
            begin, is_number = at, not 97 <= byte <= 122
            at, is_whole = _behind_literal(block, at)
            if is_number and section in (_OTHER, _LOOKED_AT):
                sort, numbers[field] = _number_at(block, begin, at) if is_whole else _fraction_at(block, begin, at)
                if sort == STRING:
                    return failed
                fields[field, 0], fields[field, 2] = string, sort
                string = _copied(block, begin, at, strings, string)
                fields[field, 1], field = string, field + 1
                to = _copied(_WHOLE if is_whole else _FRACTION, 0, 1 if is_whole else 3, out, to)
            elif is_number and (section == _MESSAGES or (is_whole and at - begin > LONG_NUMBER)):
                return failed  # of messages there is nobody to say whether this is a number
            else:
                to = _copied(block, begin, at, out, to)
            byte = _U8(_LITERAL)
        else:
            return failed
        before = byte
    if depth != 0 or at < stop:
        return failed
    return True, string, slot, field, form, to


@compiled
def _number_at(text: Any, begin: int, end: int) -> Any:
    """(NUMBER, its value) of a whole number as this project writes it; STRING for anything else."""
    first = begin + (text[begin] == 45)
    size = end - first
    if size < 1 or end - begin > LONG_NUMBER or (text[first] == 48 and end - begin > 1):
        return STRING, 0.0
    value = 0
    for place in range(first, end):
        if not 48 <= text[place] <= 57:
            return STRING, 0.0
        value = 10 * value + text[place] - 48
    return NUMBER, float(-value if first > begin else value)


@compiled
def _fraction_at(text: Any, begin: int, end: int) -> Any:
    """(NUMBER, its value) of digits, a point and digits that are as short as can be; else (UNSURE, 0).

    With so few digits no other fraction has its value, and that is the quotient of two numbers which a float holds
    exactly, so the nearest float to it (Clinger 1990).
    """
    first = begin + (text[begin] == 45)
    value, point = 0, -1
    for place in range(first, end):
        if text[place] == 46 and point < 0 and place > first:
            point = place
        elif 48 <= text[place] <= 57:
            value = 10 * value + text[place] - 48
        else:
            return UNSURE, 0.0
        if place - first > MOST_DIGITS:
            return UNSURE, 0.0
    behind = end - point - 1
    if point < 0 or behind < 1 or (text[first] == 48 and point > first + 1):
        return UNSURE, 0.0
    is_shortest = text[end - 1] != 48 or behind == 1
    is_plain = text[first] != 48 or 1000 * value >= 10**behind or end - begin == 3  # else it may have an exponent
    if not is_shortest or not is_plain:
        return UNSURE, 0.0
    scale = 1.0
    for _ in range(behind):
        scale *= 10.0
    return NUMBER, (-value if first > begin else value) / scale


@compiled
def _behind_literal(block: Any, at: int) -> Any:
    """(The place behind a number or word at `at`, whether it has but digits and signs of minus.)"""
    is_whole, byte = True, block[at]
    while 48 <= byte <= 57 or 97 <= byte <= 122 or byte in (43, 45, 46, 69):
        is_whole = is_whole and (byte == 45 or 48 <= byte <= 57)
        at += 1
        byte = block[at]
    return at, is_whole


@compiled
def _begins_value(byte: int) -> bool:
    return byte == _QUOTE or byte == 45 or 48 <= byte <= 57 or 97 <= byte <= 122


@compiled
def _section_of(block: Any, begin: int, end: int, names: Any, name_ends: Any) -> int:
    if _is_equal(block, begin, end, _MESSAGES_KEY):
        return _MESSAGES
    if _is_equal(block, begin, end, _TOOLS_KEY):
        return _TOOLS
    for name in range(len(name_ends) - 1):
        if _is_equal(block, begin, end, names[name_ends[name] : name_ends[name + 1]]):
            return _LOOKED_AT
    return _OTHER


@compiled
def _key_of(block: Any, begin: int, end: int) -> int:
    if _is_equal(block, begin, end, _ROLE_KEY) or _is_equal(block, begin, end, _NAME_KEY):
        return _NAME
    return _ARGUMENTS if _is_equal(block, begin, end, _ARGUMENTS_KEY) else _TEXT


@compiled
def _is_equal(block: Any, begin: int, end: int, text: Any) -> bool:
    if end - begin != len(text):
        return False
    for place in range(len(text)):
        if block[begin + place] != text[place]:
            return False
    return True


@compiled
def _copied(source: Any, begin: int, end: int, target: Any, at: int) -> int:
    """Copy the bytes [begin, end) to `at`; the end of the copy."""
    copy_bytes(_U64(target.ctypes.data + at), _U64(source.ctypes.data + begin), _U64(end - begin))
    return at + end - begin


@compiled
def _any_string(form: Any, at: int, letter: int) -> int:
    """Write a string of one letter, or an empty one, which stands for others like it; where it ends."""
    form[at], form[at + 1], form[at + 2] = _QUOTE, letter, _QUOTE
    return at + 2 if letter == _EMPTY else at + 3


@compiled
def _behind_string(block: Any, marks: Any, at: int) -> int:
    """The place behind the quote that ends the string whose text begins at `at`; behind the line if none does."""
    while True:
        marked = word_at(_U64(marks.ctypes.data + at))
        if marked == _U64(0):
            at += 8
            continue
        at += lowest_bit(marked) >> 3
        byte = block[at]
        if byte == _QUOTE:
            return at + 1
        if byte == _NEWLINE:
            return at + 1
        at += 2 if byte == _BACKSLASH and block[at + 1] != _NEWLINE else 1


@compiled
def _is_visible(text: Any, begin: int, end: int) -> bool:
    """Whether ASCII that is no blank stands there."""
    for place in range(begin, end):
        if 32 < text[place] < 127:
            return True
    return False


@compiled
def _read_string(block: Any, marks: Any, at: int, out: Any, to: int) -> Any:
    """Write the string whose text begins at `at` as UTF-8.

    (The place behind its quote, the end of what was written, how many code points that is.) The place is 0 if this is
    no string, or one that may spell a special token or a character below U+0080 by its number.
    """
    source, marked_from, target = _U64(block.ctypes.data), _U64(marks.ctypes.data), _U64(out.ctypes.data)
    begin, inside = to, 0  # bytes that continue a character
    while True:
        put_word(target + _U64(to), word_at(source + _U64(at)))
        marked = word_at(marked_from + _U64(at))
        if marked == _U64(0):
            at, to = at + 8, to + 8
            continue
        clean = lowest_bit(marked) >> 3
        at, to = at + clean, to + clean
        byte = block[at]
        if byte == _QUOTE:
            return at + 1, to, to - begin - inside
        if byte == _BACKSLASH:
            letter = block[at + 1]
            if letter == 117:
                size, point = _escaped_point(block, at)
                if size == 0:
                    return 0, to, 0
                written = _write_point(out, to, point)
                at, to, inside = at + size, to + written, inside + written - 1
            else:
                out[to] = _UNESCAPED[letter]
                if out[to] == 0:
                    return 0, to, 0
                at, to = at + 2, to + 1
        elif byte >= 128:
            size = _utf8_size(block, at)
            if size == 0:
                return 0, to, 0
            put_word(target + _U64(to), word_at(source + _U64(at)))
            at, to, inside = at + size, to + size, inside + size - 1
        elif byte == _LESS and block[at + 1] != _BAR:
            at, to = at + 1, to + 1
        else:
            return 0, to, 0


@compiled
def _utf8_size(text: Any, at: int) -> int:
    """Bytes of the character that begins with a byte from 128 on; 0 if that is no UTF-8."""
    first, second = text[at], text[at + 1]
    if 0xC2 <= first <= 0xDF:
        return 2 if second & 0xC0 == 0x80 else 0
    if text[at + 1] & 0xC0 != 0x80 or text[at + 2] & 0xC0 != 0x80:
        return 0
    if 0xE0 <= first <= 0xEF:
        return 0 if (first == 0xE0 and second < 0xA0) or (first == 0xED and second > 0x9F) else 3
    if text[at + 3] & 0xC0 != 0x80 or (first == 0xF0 and second < 0x90) or (first == 0xF4 and second > 0x8F):
        return 0
    return 4 if 0xF0 <= first <= 0xF4 else 0


@compiled
def _escaped_point(text: Any, at: int) -> Any:
    r"""(Bytes of the escape `\uXXXX` or the pair of them at `at`, its code point): none if that is below U+0080."""
    point = _unit(text, at)
    if point < 0x80 or 0xDC00 <= point <= 0xDFFF:
        return 0, 0
    if 0xD800 <= point <= 0xDBFF:
        low = _unit(text, at + 6)
        if not 0xDC00 <= low <= 0xDFFF:
            return 0, 0
        return 12, 0x10000 + ((point - 0xD800) << 10) + low - 0xDC00
    return 6, point


@compiled
def _unit(text: Any, at: int) -> int:
    r"""The number that `\uXXXX` at `at` spells, -1 if nothing of that kind is there."""
    if text[at] != _BACKSLASH or text[at + 1] != 117:
        return -1
    number = 0
    for place in range(at + 2, at + 6):
        byte = text[place]
        if 48 <= byte <= 57:
            digit = byte - 48
        elif 97 <= byte | 32 <= 102:
            digit = (byte | 32) - 87
        else:
            return -1
        number = 16 * number + digit
    return number


@compiled
def _write_point(out: Any, to: int, point: int) -> int:
    """Write a code point from U+0080 on as UTF-8; how many bytes."""
    if point < 0x800:
        out[to], out[to + 1] = 0xC0 | point >> 6, 0x80 | point & 0x3F
        return 2
    if point < 0x10000:
        out[to], out[to + 1], out[to + 2] = 0xE0 | point >> 12, 0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F
        return 3
    out[to], out[to + 1] = 0xF0 | point >> 18, 0x80 | point >> 12 & 0x3F
    out[to + 2], out[to + 3] = 0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F
    return 4


@compiled
def _read_code(strings: Any, begin: int, end: int, marks: Any) -> Any:
    """Begin, end and code points of the code, written behind `end`, if all that the text says is `{"code": "…"}`.

    All are 0 if it says anything else.
    """
    if end - begin < len(_CODE) or not _is_equal(strings, begin, begin + len(_CODE), _CODE):
        return 0, 0, 0
    at = begin + len(_CODE)
    while strings[at] == 32 and at < end:
        at += 1
    if strings[at] != _QUOTE or at >= end:
        return 0, 0, 0
    for place in range(end, end + SLACK):
        strings[place] = _NEWLINE
    text = strings[begin : end + SLACK]
    _mark(text, marks)
    behind, to, points = _read_string(text, marks, at + 1 - begin, strings, end + SLACK)
    if behind == 0 or behind + 1 != len(text) - SLACK or text[behind] != _CLOSE_OBJECT:
        return 0, 0, 0
    return end + SLACK, to, points
