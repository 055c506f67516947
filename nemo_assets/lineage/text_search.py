"""Where words of a pasted text stand in the texts of a split, word for word.

Belongs here: which windows of a paste are looked for, which records hold them, and the spans both have in common. Does
not: reading the texts (`index`), what else a paste may be (`find`).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nemo_assets.lineage.index import LineageIndex, connection
from nemo_assets.stages.search_words import slot_of, word_pattern

WINDOW = 8  # words that are looked for as one phrase
MOST_WINDOWS = 20
_OF_A_WINDOW = 200  # records taken of those that hold one window: more of them say that it is nothing special
_SEEDS = 50  # places in a text at which a window is tried


@dataclass(frozen=True)
class Words:
    """The words of a text that count in a search, lower case, with the code points [begin, end) they stand at."""

    text: str
    words: tuple[str, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> Words:
        found = [(match.group(), match.start(), match.end()) for match in word_pattern.finditer(text)]
        words, begins, ends = zip(*found, strict=True) if found else ((), (), ())
        return cls(text, tuple(word.lower() for word in words), begins, ends)

    def phrase(self, window: Window) -> str:
        """The window as FTS5 is asked for it."""
        return f'"{" ".join(self.words[window.begin : window.end])}"'


@dataclass(frozen=True)
class Window:
    """Words [begin, end) of a paste; `frequency`: how often the rarest of them occurs in what is searched, at most."""

    begin: int
    end: int
    frequency: int


@dataclass(frozen=True)
class Span:
    """Code points [begin, end) of the paste whose words are those of [row_begin, row_end) of a row's text.

    is_exact: all that stands between the words is equal too, and upper and lower case.
    """

    begin: int
    end: int
    row_begin: int
    row_end: int
    words: int
    is_exact: bool


def rare_windows(paste: Words, indexes: Sequence[LineageIndex]) -> list[Window]:
    """Up to MOST_WINDOWS windows of the paste, those with the rarest words, none of them sharing a word with another.

    A paste of fewer words is one window.
    """
    count = len(paste.words)
    if count <= WINDOW:
        return [Window(0, count, 0)] if count else []
    frequencies = np.sum([_frequencies(path) for index in indexes for path in index.text_files], axis=0, dtype=np.int64)
    slots = {word: slot_of(word) for word in set(paste.words)}
    counts = np.asarray(frequencies)[[slots[word] for word in paste.words]]
    rarest = np.lib.stride_tricks.sliding_window_view(counts, WINDOW).min(axis=1)
    chosen: list[Window] = []
    taken = np.zeros(count, bool)
    for begin in np.argsort(rarest, kind="stable").tolist():
        if not taken[begin : begin + WINDOW].any():
            taken[begin : begin + WINDOW] = True
            chosen.append(Window(begin, begin + WINDOW, int(rarest[begin])))
            if len(chosen) == MOST_WINDOWS:
                break
    return chosen


@lru_cache(256)
def _frequencies(path: Path) -> NDArray[np.uint32]:
    (counts,) = connection(path).execute("SELECT counts FROM frequencies").fetchone()
    return np.frombuffer(counts, np.uint32)


def votes(paste: Words, windows: Sequence[Window], index: LineageIndex) -> Counter[int]:
    """How many of the windows each record of a split holds."""
    counted: Counter[int] = Counter()
    with index.damage_told():
        for path, window in itertools.product(index.text_files, windows):
            found = connection(path).execute(
                "SELECT rowid FROM words WHERE words MATCH ? LIMIT ?", (paste.phrase(window), _OF_A_WINDOW)
            )
            counted.update(number for (number,) in found)
    return counted


def common_spans(paste: Words, windows: Sequence[Window], text: str) -> list[Span]:
    """The longest stretches of words around these windows that the paste and the text have in common, longest first."""
    row = Words.of(text)
    stretches = {_extended(paste, row, window, place) for window in windows for place in _places(paste, row, window)}
    spans = [_span(paste, row, *stretch) for stretch in stretches]
    return sorted(spans, key=lambda span: (-span.words, span.begin, span.row_begin))


def _places(paste: Words, row: Words, window: Window) -> Iterator[int]:
    """Where the words of the window stand among those of the row."""
    wanted = paste.words[window.begin : window.end]
    place, found = -1, 0
    while found < _SEEDS:
        try:
            place = row.words.index(wanted[0], place + 1)
        except ValueError:
            return
        if row.words[place : place + len(wanted)] == wanted:
            found += 1
            yield place


def _extended(paste: Words, row: Words, window: Window, place: int) -> tuple[int, int, int]:
    """First word in the paste, in the row, and number of words of the longest common stretch with this one in it."""
    begin, end, shift = window.begin, window.end, place - window.begin
    while begin > 0 and begin + shift > 0 and paste.words[begin - 1] == row.words[begin + shift - 1]:
        begin -= 1
    last = min(len(paste.words), len(row.words) - shift)
    while end < last and paste.words[end] == row.words[end + shift]:
        end += 1
    return begin, begin + shift, end - begin


def _span(paste: Words, row: Words, first: int, row_first: int, words: int) -> Span:
    begin, end = paste.begins[first], paste.ends[first + words - 1]
    row_begin, row_end = row.begins[row_first], row.ends[row_first + words - 1]
    is_exact = paste.text[begin:end] == row.text[row_begin:row_end]
    return Span(begin, end, row_begin, row_end, words, is_exact)
