"""Texts that stand on the edges of what compiled code does: blocks of 64 bytes, words of 8, classes of characters.

Belongs here: strategies that several tests of this room need. Does not: conversations (`conversations`).
"""

from __future__ import annotations

from hypothesis import strategies as st

_REPEATED = ["a", "Z", "7", "\\", "é", "ж", "设", "\U0001d465", "😀", "²", "\u3000", " ", "+", "\0", "\\a", "A1"]
_TIMES = [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 62, 63, 64, 65, 127, 128, 129]
_runs = st.builds(lambda piece, times: piece * times, st.sampled_from(_REPEATED), st.sampled_from(_TIMES))
_PIECES = [
    "\\frac", "\\\\frac", "\\Delta", "x²", "2x+3", "½", "Ⅷ", "naïve", "<|", "{}$^_", "\t\r\n", "\u2028", "\u00a0",
    "\ufeff", "\x7f", "\x80", "\x85", "\u07ff", "\u0800", "\uffff", "\U00010348", "\U0001d7ce", "\U0001d7ff",
    "\U0010ffff",
]  # fmt: skip
characters = st.characters(exclude_categories=["Cs"])  # all of Unicode that UTF-8 can say

texts = st.lists(_runs | st.sampled_from(_PIECES) | st.text(characters, max_size=6), max_size=12).map("".join)
"""All Unicode, runs that end around the edges, and pieces whose classes differ."""
