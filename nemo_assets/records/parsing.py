"""Bytes of one line to one JSON object, or a rejection that says why not.

A strict fast parser does nearly every line; a lenient one takes only the lines it refuses, so that NaN, Infinity, a
byte order mark and integers of any size are accepted and noted, and everything else is refused with its reason.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from nemo_assets.errors import Rejected
from nemo_assets.records.long_integers import has_long_digits

MAX_DEPTH = 1_000  # levels of objects and arrays
MAX_DIGITS = 100_000  # of one integer: reading longer ones takes quadratic time
BOM = b"\xef\xbb\xbf"

_strict = msgspec.json.Decoder().decode
# A string that is cut off runs to the end of the line: looking on inside it would take quadratic time.
_brackets_or_strings = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)


@contextmanager
def long_integers() -> Iterator[None]:
    """Room for integers of MAX_DIGITS digits; the interpreter reads 4,300 of its own accord."""
    digits = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(MAX_DIGITS)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(digits)


@contextmanager
def deep_recursion() -> Iterator[None]:
    """Room for records nested to MAX_DEPTH in the parsers and writers of the standard library."""
    depth = sys.getrecursionlimit()
    sys.setrecursionlimit(max(depth, 12 * MAX_DEPTH))
    try:
        with long_integers():
            yield
    finally:
        sys.setrecursionlimit(depth)


def parse_record(line: bytes) -> tuple[dict[str, Any], list[str]]:
    """The object on a line and the tags of what was odd about its JSON.

    Raises:
        Rejected: `unparseable` (evidence `reason`: blank_line, nesting, invalid_utf8, invalid_json, lone_surrogate)
            or `not_an_object` (evidence `type`).
        RecursionError: the record is nested deeper than the interpreter goes now; try again in `deep_recursion`.
    """
    if sys.getrecursionlimit() > MAX_DEPTH:  # else the parser itself refuses what is too deep
        _require_depth(line)
    tags: list[str] = []
    try:
        record = _strict(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        record = _parse_leniently(line, tags)
    if type(record) is not dict:
        raise Rejected("not_an_object", type=type(record).__name__)
    if has_long_digits(line) and _holds_big_integer(record):
        tags.append("json:big_integer")
    return record, tags


def _require_depth(line: bytes) -> None:
    if line.count(b"[") + line.count(b"{") > MAX_DEPTH and (depth := nesting_depth(line)) > MAX_DEPTH:
        raise Rejected("unparseable", reason="nesting", depth=depth, limit=MAX_DEPTH)


def parse_json_text(text: str) -> Any:
    """JSON inside a string field, as leniently as a line. Raises ValueError where it is no JSON."""
    try:
        return _strict(text)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        value = json.loads(text, parse_constant=lambda _: None, parse_float=_finite_float)
        json.dumps(value, ensure_ascii=False).encode()
        return value


def nesting_depth(line: bytes) -> int:
    """Deepest level of objects and arrays, brackets inside strings left out."""
    depth = deepest = 0
    for match in _brackets_or_strings.finditer(line):
        token = match[0][:1]
        if token in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token in b"]}":
            depth -= 1
    return deepest


def _parse_leniently(line: bytes, tags: list[str]) -> Any:
    if not line.strip():
        raise Rejected("unparseable", reason="blank_line")
    if line.startswith(BOM):
        tags.append("json:byte_order_mark")
        line = line.removeprefix(BOM)
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise Rejected("unparseable", reason="invalid_utf8", at_byte=error.start, detail=error.reason) from None
    nonfinite: list[str] = []

    def number(digits: str) -> float | None:
        value = _finite_float(digits)
        if value is None:
            nonfinite.append(digits)
        return value

    try:
        record = json.loads(text, parse_constant=nonfinite.append, parse_float=number)
    except ValueError as error:
        raise Rejected("unparseable", reason="invalid_json", detail=str(error)[:200]) from None
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise Rejected(
            "unparseable", reason="lone_surrogate", surrogate=f"U+{ord(error.object[error.start]):04X}"
        ) from None
    if nonfinite:
        tags.append("json:nonfinite_number")
    return record


def _finite_float(digits: str) -> float | None:
    value = float(digits)
    return value if math.isfinite(value) else None


def _values(value: Any) -> Iterator[Any]:
    """Every key and leaf of a JSON value, without recursion."""
    stack = [value]
    while stack:
        each = stack.pop()
        if type(each) is dict:
            stack += each.keys()
            stack += each.values()
        elif type(each) is list:
            stack += each
        else:
            yield each


def _holds_big_integer(record: Any) -> bool:
    return any(type(v) is int and not -(1 << 63) <= v < 1 << 64 for v in _values(record))
