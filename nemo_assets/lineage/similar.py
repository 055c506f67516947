"""Rows that are like a pasted text without holding it word for word.

A sketch is the lowest byte of 64 MinHash values. Two equal texts share all 64, two that have nothing in common a
quarter of one on average; the candidates that share most are compared exactly, as deduplication does it.

Belongs here: candidates by sketch, exact likeness. Does not: reading texts (`index`), wording (`find`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nemo_assets.compiled import compiled
from nemo_assets.dedup.compared import texts_of
from nemo_assets.dedup.verification import similarity
from nemo_assets.harmony import END, MESSAGE, START
from nemo_assets.lineage.index import IndexFile, LineageIndex
from nemo_assets.stages.lineage_index import SKETCH_SLOTS, sketches_of

NOTHING = 0xFF  # every value of the sketch of a text without words, and of a record that became no row
FEWEST_SHARED = 16  # values of a sketch: a Jaccard similarity of about a quarter


class Likeness(NamedTuple):
    """Exact similarity of a text and a row: Jaccard of 5-token shingles, and how much of the smaller the larger has."""

    jaccard: float
    containment: float


def prepare() -> None:
    """Load the machine code of all this, for a second: whoever is to answer soon does it before being asked."""
    text = as_harmony("some words to compare")
    sketches = sketches_of(texts_of(pa.array([text])))
    sketches.flags.writeable = False  # as those of an index are
    _count_shared(sketches, sketches[0].copy(), np.zeros(1, np.uint8))
    likeness(text, [text])


def as_harmony(text: str) -> str:
    """A paste as deduplication reads texts: one that is no Harmony counts as said by the assistant."""
    return text if START in text and MESSAGE in text else f"{START}assistant{MESSAGE}{text}{END}"


def candidates(text: str, index: LineageIndex, most: int) -> list[tuple[int, int]]:
    """Records of a split whose sketch is like that of the text: (values shared, record), the most alike first."""
    sketch = sketches_of(texts_of(pa.array([as_harmony(text)])))[0]
    if (sketch == NOTHING).all():
        return []
    shared = np.zeros(index.records, np.uint8)
    _count_shared(_sketches(index.sketch_file), sketch, shared)
    alike = np.flatnonzero(shared >= FEWEST_SHARED)
    best = alike[np.argsort(-shared[alike].astype(np.int64), kind="stable")[:most]]
    return [(int(shared[number]), int(number)) for number in best]


def likeness(text: str, others: Sequence[str]) -> list[Likeness]:
    """How like the text each of these Harmony texts is."""
    if not others:
        return []
    texts = texts_of(pa.array([*others, as_harmony(text)], pa.large_string()))
    places = np.arange(len(others))
    measured = similarity(texts, places, np.full(len(others), len(others)))
    pairs = zip(measured.jaccard.tolist(), measured.containment.tolist(), strict=True)
    return [Likeness(jaccard, containment) for jaccard, containment in pairs]


@lru_cache(256)
def _sketches(file: IndexFile) -> NDArray[np.uint8]:
    sketches: NDArray[np.uint8] = np.load(file.path, mmap_mode="r")
    return np.asarray(sketches)


@compiled
def _count_shared(sketches: Any, sketch: Any, shared: Any) -> None:
    for record in range(len(sketches)):
        count = 0
        for slot in range(SKETCH_SLOTS):
            count += sketches[record, slot] == sketch[slot]
        shared[record] = count
