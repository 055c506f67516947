"""Whether a line of JSON can hold an integer beyond 64 bits, seen at the speed of memory.

Belongs here: that one look at the bytes. Whether there is such an integer, `parsing` finds out in the record itself.
"""

from __future__ import annotations

import numpy as np

from nemo_assets.compiled import compiled

LONG = 19
"""Digits of the shortest integer that 64 bits with a sign may not hold."""


@compiled
def has_long_digits(line: bytes) -> bool:
    """Whether LONG digits stand in a row anywhere in the line."""
    # A byte is a digit if its high half is 3 and stays so when 6 is added; eight bytes are tested as one word.
    words = np.frombuffer(line[: len(line) & ~7], np.uint64)
    high, three, six = np.uint64(0xF0F0F0F0F0F0F0F0), np.uint64(0x3030303030303030), np.uint64(0x0606060606060606)
    found = np.uint64(0)
    for word in words:
        found |= np.uint64((word & high == three) & ((word + six) & high == three))
    if not found:
        return False
    # A run of 15 and more fills at least one word: only around such words is it looked for.
    for number in range(len(words)):
        word = words[number]
        if word & high == three and (word + six) & high == three:
            first, last = 8 * number, 8 * number + 7
            while first > 0 and 48 <= line[first - 1] <= 57:
                first -= 1
            while last + 1 < len(line) and 48 <= line[last + 1] <= 57:
                last += 1
            if last - first + 1 >= LONG:
                return True
    return False
