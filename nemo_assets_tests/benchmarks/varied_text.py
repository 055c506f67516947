"""Endless text that looks like the bundled sample and hardly repeats itself.

Belongs here: a word chain over given texts, drawn by many walkers at once so that 100 MB take seconds. Does not: what a
record looks like (`amplified_source`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]

WALKERS = 2_048
SPELLINGS = 200  # different numbers that may stand for one shape of number, `00` say

_word = re.compile(r"\s*\S+")
_digits = re.compile(r"\d+")


class WordChain:
    """A chain over the words of texts: the next word is one that followed the last two, now and then the last alone.

    Numbers are shapes, drawn anew each time. `loose` is the share of steps that look at one word only, `free` of those
    that look at none: the higher, the more varied, and the less does text compress. `signs` are fragments strewn in,
    none in one stretch of text, more in the next.
    """

    def __init__(self, texts: Sequence[str], loose: float, free: float, signs: Sequence[str] = ()) -> None:
        shapes = [_digits.sub(_shape, word) for text in texts for word in _word.findall(text)]
        self.words = list(dict.fromkeys(shapes))
        number = {word: n for n, word in enumerate(self.words)}
        self.track = np.array([number[shape] for shape in shapes])
        pairs = np.append(-1, self.track[:-1]) * len(self.words) + self.track
        self.after_word, self.after_pair = _alike(self.track), _alike(pairs)
        self.loose, self.free, self.signs = loose, free, list(signs)

    def text(self, characters: int, seed: int) -> str:
        """At least `characters` of text; the same seed gives the same text."""
        draw = np.random.default_rng(seed)
        spelled, first, count = self._spellings(draw)
        steps = int(characters / WALKERS / self._mean_length(spelled, first, count) * 1.05) + 2
        words = self._walk(draw, steps)
        chosen = first[words] + (draw.random(words.shape) * count[words]).astype(np.int64)
        if self.signs:
            rate = draw.choice((0, 0.004, 0.01, 0.03), WALKERS)[:, None]
            strewn = draw.random(words.shape) < rate
            chosen[strewn] = len(spelled) + draw.integers(len(self.signs), size=int(strewn.sum()))
            spelled = [*spelled, *self.signs]
        text = "".join(map(spelled.__getitem__, chosen.ravel().tolist()))
        return text if len(text) >= characters else text + self.text(characters - len(text), seed + 1)

    def _walk(self, draw: np.random.Generator, steps: int) -> Numbers:
        """Numbers of the words that each walker passes, one row a walker."""
        place = draw.integers(len(self.track), size=WALKERS)
        passed = np.empty((steps, WALKERS), np.int64)
        for step in passed:
            look, where = draw.random((2, WALKERS))
            place = np.where(
                look < self.loose, _another(self.after_word, place, where), _another(self.after_pair, place, where)
            )
            place = np.where(look < self.free, (where * len(self.track)).astype(np.int64), place)
            place = (place + 1) % len(self.track)
            step[:] = self.track[place]
        return passed.T

    def _spellings(self, draw: np.random.Generator) -> tuple[list[str], Numbers, Numbers]:
        """Every way to write every word, and for each word where its ways begin and how many there are."""
        spelled: list[str] = []
        first = np.empty(len(self.words), np.int64)
        for n, word in enumerate(self.words):
            first[n] = len(spelled)
            ways = 1 if "0" not in word else SPELLINGS
            pattern = word.replace("%", "%%").replace("0", "%d")
            digits = draw.integers(1, 10, size=(ways, word.count("0"))).tolist()
            spelled += [pattern % tuple(each) for each in digits]
        return spelled, first, np.diff(np.append(first, len(spelled)))

    def _mean_length(self, spelled: Sequence[str], first: Numbers, count: Numbers) -> float:
        return float(np.mean([len(spelled[place]) for place in first[self.track]]))


def _shape(digits: re.Match[str]) -> str:
    return "0" * len(digits[0])


def _alike(keys: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Places sorted by key; for each place, where those of its key begin in that order and how many they are."""
    order = np.argsort(keys, kind="stable")
    _, inverse, count = np.unique(keys, return_inverse=True, return_counts=True)
    begin = np.cumsum(count) - count
    return order, begin[inverse], count[inverse]


def _another(alike: tuple[Numbers, Numbers, Numbers], place: Numbers, where: NDArray[np.float64]) -> Numbers:
    """A place of the same key, `where` in [0, 1) saying which."""
    order, begin, count = alike
    return order[begin[place] + (where * count[place]).astype(np.int64)]
