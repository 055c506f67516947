"""What can be seen of a line of JSON without parsing it, in one pass at the speed of memory.

Belongs here: cheap signs that a rare thing may be there. Whether it is there, `parsing` finds out in the record itself.
"""

from __future__ import annotations

import numpy as np

from nemo_assets.records.compiled import compiled

LONG_DIGITS = 1
"""Somewhere 19 digits stand in a row, as they do in every integer that 64 bits cannot hold."""
LONG = 19
ESCAPED_NUL = 2
"""Somewhere a `\\u` is followed by four characters that begin and end with 0, as in the escape of NUL."""


@compiled
def line_marks(line: bytes) -> int:
    """The signs found in a line, as a sum of LONG_DIGITS and ESCAPED_NUL; 0 says that neither thing can be there."""
    return _long_digits(line) + _escaped_nul(line)


@compiled
def _long_digits(line: bytes) -> int:
    # A byte is a digit if its high half is 3 and stays so when 6 is added; eight bytes are tested as one word. A run of
    # 15 fills at least one word, so only lines with a filled one are looked at byte by byte.
    words = np.frombuffer(line[: len(line) & ~7], np.uint64)
    high, three, six = np.uint64(0xF0F0F0F0F0F0F0F0), np.uint64(0x3030303030303030), np.uint64(0x0606060606060606)
    found = np.uint64(0)
    for word in words:
        found |= np.uint64((word & high == three) & ((word + six) & high == three))
    if not found:
        return 0
    run = 0
    for byte in line:
        run = run + 1 if 48 <= byte <= 57 else 0
        if run == LONG:
            return LONG_DIGITS
    return 0


@compiled
def _escaped_nul(line: bytes) -> int:
    places = len(line) - 5
    if places <= 0:
        return 0
    # Shifted views instead of an index: this way the compiler uses vector instructions.
    first, second, third, last = line[:places], line[1:], line[2:], line[5:]
    found = np.uint8(0)
    for i in range(places):
        found |= np.uint8((first[i] == 92) & (second[i] == 117) & (third[i] == 48) & (last[i] == 48))
    return ESCAPED_NUL if found else 0
