"""Which words two texts share and which only one of them has.

Belongs here: cutting into words, aligning them. Does not: which texts are compared (`compare_rows`), how it looks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from rapidfuzz.distance import Indel

LONGEST = (
    20_000  # words of each text; time grows with the product of the lengths, and this many take a third of a second
)

_WORDS = re.compile(r"\w+|\s+|[^\w\s]")


@dataclass(frozen=True)
class Run:
    """Consecutive words. `equal`: both texts have them; `removed`: only the left one; `added`: only the right one."""

    kind: Literal["equal", "removed", "added"]
    text: str


@dataclass(frozen=True)
class WordDiff:
    """Runs in order: those that are not `added` joined are the left text, those not `removed` the right one.

    similarity: twice the shared words / words of both, runs of spaces and punctuation marks counting as words;
    clipped: only the first LONGEST words of each were compared.
    """

    runs: tuple[Run, ...]
    similarity: float
    clipped: bool


def word_diff(left: str, right: str) -> WordDiff:
    """The shortest way from one text to the other in words taken away and put in."""
    ours, theirs = _WORDS.findall(left), _WORDS.findall(right)
    clipped = max(len(ours), len(theirs)) > LONGEST
    ours, theirs = ours[:LONGEST], theirs[:LONGEST]
    codes = _codes(ours, theirs)
    runs: list[Run] = []
    for is_equal, steps in groupby(Indel.opcodes(*codes), lambda step: step.tag == "equal"):
        changes = list(steps)
        before = "".join(word for step in changes for word in ours[step.src_start : step.src_end])
        after = "".join(word for step in changes for word in theirs[step.dest_start : step.dest_end])
        found = [Run("equal", before)] if is_equal else [Run("removed", before), Run("added", after)]
        runs += [run for run in found if run.text]
    return WordDiff(tuple(runs), Indel.normalized_similarity(*codes), clipped)


def _codes(ours: list[str], theirs: list[str]) -> tuple[list[int], list[int]]:
    """The same small number for the same word: numbers are compared, not strings."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(w, len(numbers)) for w in ours], [numbers.setdefault(w, len(numbers)) for w in theirs]
