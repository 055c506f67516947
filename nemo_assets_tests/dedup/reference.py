"""What near-duplicate removal compares, in plain Python: the words of a rule, to hold compiled code against.

Belongs here: tokens, shingles, Jaccard, each as short as it can be said. Does not: hashes, signatures, anything fast.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

Ranges = Sequence[tuple[int, int]]
Shingles = frozenset[tuple[bytes, ...]]

SHINGLE = 5  # tokens

# Ranges, not `unicodedata`: tokens must not change with the version of Python.
SPACES: Ranges = (
    (0x0085, 0x0085), (0x00A0, 0x00A0), (0x1680, 0x1680), (0x2000, 0x200B), (0x2028, 0x2029), (0x202F, 0x202F),
    (0x205F, 0x2060), (0x3000, 0x3000), (0xFEFF, 0xFEFF),
)  # fmt: skip
"""Code points above U+007F that separate tokens, among them zero-width ones."""

LETTERS: Ranges = (
    (0x00AA, 0x00AA), (0x00B5, 0x00B5), (0x00BA, 0x00BA), (0x00C0, 0x00D6), (0x00D8, 0x00F6), (0x00F8, 0x1FFF),
    (0x2C00, 0x2DFF), (0xA640, 0xABFF), (0xFB00, 0xFDFF), (0xFE70, 0xFEFE),
    (0x10000, 0x1CFFF), (0x1D400, 0x1D7FF),
)  # fmt: skip
"""Blocks of alphabets, old scripts and mathematical alphabets. Spaces and numbers among them are not letters."""

NUMBERS: Ranges = (
    (0x00B2, 0x00B3), (0x00B9, 0x00B9), (0x00BC, 0x00BE), (0x0660, 0x0669), (0x06F0, 0x06F9), (0x07C0, 0x07C9),
    (0x0966, 0x096F), (0x09E6, 0x09EF), (0x09F4, 0x09F9), (0x0A66, 0x0A6F), (0x0AE6, 0x0AEF), (0x0B66, 0x0B6F),
    (0x0B72, 0x0B77), (0x0BE6, 0x0BF2), (0x0C66, 0x0C6F), (0x0C78, 0x0C7E), (0x0CE6, 0x0CEF), (0x0D58, 0x0D5E),
    (0x0D66, 0x0D78), (0x0DE6, 0x0DEF), (0x0E50, 0x0E59), (0x0ED0, 0x0ED9), (0x0F20, 0x0F33), (0x1040, 0x1049),
    (0x1090, 0x1099), (0x1369, 0x137C), (0x16EE, 0x16F0), (0x17E0, 0x17E9), (0x17F0, 0x17F9), (0x1810, 0x1819),
    (0x1946, 0x194F), (0x19D0, 0x19DA), (0x1A80, 0x1A89), (0x1A90, 0x1A99), (0x1B50, 0x1B59), (0x1BB0, 0x1BB9),
    (0x1C40, 0x1C49), (0x1C50, 0x1C59), (0x2070, 0x2070), (0x2074, 0x2079), (0x2080, 0x2089), (0x2150, 0x2182),
    (0x2185, 0x2189), (0x2460, 0x249B), (0x24EA, 0x24FF), (0x2776, 0x2793), (0x2CFD, 0x2CFD), (0x3007, 0x3007),
    (0x3021, 0x3029), (0x3038, 0x303A), (0x3192, 0x3195), (0x3220, 0x3229), (0x3248, 0x324F), (0x3251, 0x325F),
    (0x3280, 0x3289), (0x32B1, 0x32BF), (0xA620, 0xA629), (0xA6E6, 0xA6EF), (0xA830, 0xA835), (0xA8D0, 0xA8D9),
    (0xA900, 0xA909), (0xA9D0, 0xA9D9), (0xA9F0, 0xA9F9), (0xAA50, 0xAA59), (0xABF0, 0xABF9), (0xFF10, 0xFF19),
    (0x1D7CE, 0x1D7FF),
)  # fmt: skip
"""Digits and numerals from U+0080 to U+FFFF: Unicode's categories Nd, Nl and No; beyond, the mathematical digits."""


def _class(ranges: Ranges) -> str:
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


_token = re.compile(
    r"\\[A-Za-z]+"  # a LaTeX command, or what looks like one
    r"|[A-Za-z]+"
    r"|[0-9]+"
    rf"|(?:(?![{_class(NUMBERS)}{_class(SPACES)}])[{_class(LETTERS)}])+"
    rf"|[^\x00-\x20{_class(SPACES)}]"
)
_number = re.compile(rf"[0-9]+|[{_class(NUMBERS)}]")
_word = re.compile(r"[^\x00-\x20]+")


def tokens(text: str) -> list[bytes]:
    r"""The tokens of `text` as UTF-8, in order.

    A run of ASCII letters, in lower case · a run of ASCII digits · a backslash and the letters behind it, in their own
    case, since `\Delta` is not `\delta` · a run of other letters, in their own case · every other character by itself:
    ASCII punctuation, symbols, CJK, and each digit or numeral that is not ASCII. ASCII up to the blank and the spaces
    of Unicode separate tokens and belong to none.
    """
    return [
        (token.lower() if token.isascii() and token.isalpha() else token).encode() for token in _token.findall(text)
    ]


def words(text: str) -> list[bytes]:
    """What stands between bytes up to the blank, as it is: the plain words that most tools compare."""
    return [word.encode() for word in _word.findall(text)]


def numbers(text: str) -> list[bytes]:
    """Those of its tokens that are numbers: runs of ASCII digits, and other digits and numerals one by one."""
    return [number.encode() for number in _number.findall(text)]


def shingles(sequence: Iterable[bytes], length: int = SHINGLE) -> Shingles:
    """Every run of `length` tokens; of fewer tokens the one run of all of them; of none, none."""
    given = list(sequence)
    if 0 < len(given) < length:
        return frozenset([tuple(given)])
    return frozenset(zip(*(given[start:] for start in range(length)), strict=False))


def jaccard(one: Shingles, other: Shingles) -> float:
    """Shared shingles as a share of all. Two empty sets are not similar: 0."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if shared else 0.0


def numerals(text: str) -> list[str]:
    """Numbers in ASCII digits as they are written, with a minus sign that no term stands before; sorted."""
    signed = re.sub(r"(?<![0-9A-Za-z)\]}])[-\u2212](?=[0-9])", "~", text)
    return sorted(re.findall(r"~?[0-9]+(?:[.,/:][0-9]+)*", signed))
