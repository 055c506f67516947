"""The words by which a text is found again.

A word is a run of at least three letters or digits, in lower case as far as ASCII goes; of scripts that do not put
spaces between words each character is one. Shorter runs say little and are a third of all text full of formulas.

Belongs here: from bytes to words, and how often each occurs. Does not: the index over them (`lineage_index`),
looking for them (`lineage.text_search`).
"""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nemo_assets.compiled import compiled
from nemo_assets.dedup.compared import Texts
from nemo_assets.dedup.minhash import U32
from nemo_assets.dedup.tokens import U64

SHORTEST = 3  # characters of a word
FREQUENCY_SLOTS = 1 << 16  # words share slots: a frequency is an upper bound

_BREAK, _JOIN, _ALONE, _FURTHER = 0, 1, 2, 3
_SPACE = np.uint8(0x20)
_MASK = (1 << 64) - 1
_SEED, _PRIME = U64(0xCBF29CE484222325), U64(0x100000001B3)  # FNV-1a

word_pattern = re.compile(rf"[A-Za-z0-9\u00c0-\u1fff]{{{SHORTEST},}}|[\u3000-\U0010ffff]")
"""Finds the same words in a `str`, with their places."""


def _classes() -> NDArray[np.uint8]:
    """What a byte is: part of a word, a character that is a word, a break, or what the byte before it is."""
    table = np.full(256, _BREAK, np.uint8)
    table[0x80:0xC0] = _FURTHER
    for first, last in ((0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A), (0xC3, 0xDF), (0xE0, 0xE1)):
        table[first : last + 1] = _JOIN
    table[0xE3:0xF5] = _ALONE
    return table


def _lower_case() -> NDArray[np.uint8]:
    table = np.arange(256, dtype=np.uint8)
    table[0x41:0x5B] += 0x20
    return table


CLASSES, LOWER = _classes(), _lower_case()


def words_of(texts: Texts, frequencies: NDArray[np.uint32]) -> list[bytes]:
    """The words of each text with a space between, and how often each occurs added to `frequencies`."""
    begin, end = int(texts.offsets[0]), int(texts.offsets[-1])
    room = np.empty(2 * (end - begin) + len(texts.offsets), np.uint8)
    offsets = np.zeros(len(texts.offsets), np.int64)
    _write_words(texts.data, texts.offsets, CLASSES, LOWER, room, offsets, frequencies)
    data, places = room[: offsets[-1]].tobytes(), offsets.tolist()
    return [data[first:last] for first, last in itertools.pairwise(places)]


def slot_of(word: str) -> int:
    """Where in `frequencies` a word is counted: as the loop below does it, without loading that for a few words."""
    state = int(_SEED)
    for byte in word.encode():
        state = (state ^ int(LOWER[byte])) * int(_PRIME) & _MASK
    return (state ^ (state >> 32)) & (FREQUENCY_SLOTS - 1)


@compiled
def _write_words(data: Any, texts: Any, classes: Any, lower: Any, room: Any, offsets: Any, frequencies: Any) -> None:
    """Write the words of every text into `room`, which takes two bytes for each of data and one for each text."""
    size = 0
    for text in range(len(texts) - 1):
        begin, characters, state, kind = size, 0, _SEED, _BREAK
        for place in range(texts[text], texts[text + 1] + 1):
            byte = data[place] if place < texts[text + 1] else _SPACE
            found = classes[byte]
            if found == _FURTHER:
                found = kind
            elif found == _JOIN and kind == _JOIN:
                characters += 1
            else:
                if characters >= SHORTEST or kind == _ALONE:
                    frequencies[slot(state)] += U32(1)
                    room[size] = _SPACE
                    begin = size + 1
                size, characters, state, kind = begin, 1, _SEED, found
            if found != _BREAK:
                value = lower[byte]
                room[size] = value
                size += 1
                state = (state ^ U64(value)) * _PRIME
        size = begin
        offsets[text + 1] = size


@compiled
def slot(state: Any) -> Any:
    return (state ^ (state >> U64(32))) & U64(FREQUENCY_SLOTS - 1)
