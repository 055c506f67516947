"""Where words of a pasted text stand in the texts of a split, word for word.

Belongs here: which windows of a paste are looked for, which records hold them, and the spans both have in common. Does
not: reading the texts (`index`), what else a paste may be (`find`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nemo_assets.lineage.index import IndexFile, LineageIndex, connection
from nemo_assets.stages.search_words import FREQUENCY_SLOTS, slot_of, word_pattern

WINDOW = 8  # words that are looked for as one phrase
SHORT_WINDOW = 4  # the same, where no record holds eight in a row
MOST_WINDOWS = 12
_OF_A_WINDOW = 25  # records taken of those that hold one window: more of them say that it is nothing special
MOST_OCCURRENCES = 500_000  # of rarest words of windows that are followed through; two or three windows of common words
_MOST_SEEDS = 200  # windows of a paste that are tried on a text
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


def rare_windows(paste: Words, indexes: Sequence[LineageIndex], size: int = WINDOW) -> list[Window]:
    """Up to MOST_WINDOWS windows of `size` words, those with the rarest words; all of a paste that has no more words.

    Those that share no word with another come first, so that no piece of the paste is looked over.
    """
    count = len(paste.words)
    if count <= size:
        return [Window(0, count, 0)] if count else []
    frequencies = np.zeros(FREQUENCY_SLOTS, np.int64)
    for index in indexes:
        with index.damage_told():
            frequencies += np.sum([_frequencies(file) for file in index.text_files], axis=0, dtype=np.int64)
    slots = {word: slot_of(word) for word in set(paste.words)}
    counts = frequencies[[slots[word] for word in paste.words]]
    rarest = np.lib.stride_tricks.sliding_window_view(counts, size).min(axis=1)
    apart, others = [], []
    taken = np.zeros(count, bool)
    for begin in np.argsort(rarest, kind="stable").tolist():
        window = Window(begin, begin + size, int(rarest[begin]))
        if taken[begin : begin + size].any():
            others.append(window)
        else:
            taken[begin : begin + size] = True
            apart.append(window)
    return [*apart, *others][:MOST_WINDOWS]


@lru_cache(256)
def _frequencies(file: IndexFile) -> NDArray[np.uint32]:
    (counts,) = connection(file).execute("SELECT counts FROM frequencies").fetchone()
    return np.frombuffer(counts, np.uint32)


class Votes(NamedTuple):
    """What speaks for each record, as (place of its index, record): a window that few hold says more.

    left_out: windows that were not looked up.
    """

    weights: dict[tuple[int, int], float]
    left_out: int


def votes(
    paste: Words, windows: Sequence[Window], indexes: Sequence[LineageIndex], most: int = MOST_OCCURRENCES
) -> Votes:
    """Look windows up, those that come first first.

    As soon as one was found, those are left out whose words would have been followed through more than `most` places in
    all: a phrase of common words costs a tenth of a second in a gigabyte of text. Where none is found, all were asked.
    """
    weights: defaultdict[tuple[int, int], float] = defaultdict(float)
    followed = left_out = 0
    for window in windows:
        if weights and followed + window.frequency > most:
            left_out += 1
            continue
        followed += window.frequency
        for place, index in enumerate(indexes):
            for file in index.text_files:
                found = _holding(file, paste.phrase(window), index)
                for number in found:
                    weights[place, number] += 1 / len(found)
    return Votes(weights, left_out)


def _holding(file: IndexFile, phrase: str, index: LineageIndex) -> list[int]:
    asked = "SELECT rowid FROM words WHERE words MATCH ? LIMIT ?"
    with index.damage_told():
        return [number for (number,) in connection(file).execute(asked, (phrase, _OF_A_WINDOW))]


def with_all_between(paste: Words, windows: Sequence[Window], size: int) -> list[Window]:
    """These windows and more all over the paste: once a text is read, each of them costs little."""
    step = max(size // 2, len(paste.words) // _MOST_SEEDS)
    more = (Window(begin, begin + size, 0) for begin in range(0, len(paste.words) - size + 1, step))
    return [*windows, *more]


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
