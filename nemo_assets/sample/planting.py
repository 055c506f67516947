"""How planted records find their place: which sound rows may be taken, where copies go.

Belongs here: choosing and inserting entries. Does not: what is planted (`defects`, `rendered_defects`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from nemo_assets.sample.tree import REMOVED, Entry, Planted, Record, SourceFile

LONG_LINE = 12_000
"""Longer lines are never altered or copied, so that the tree stays small."""

OTHER_WORDS = ("certainly", "plainly", "roughly", "surely", "likewise", "merely")


class Planter:
    """The files by split, and the entries already spoken for."""

    def __init__(self, rng: random.Random, files: list[SourceFile]) -> None:
        self.rng = rng
        self.files = {file.split: file for file in files}
        self.claimed: set[int] = set()

    def file(self, split: str) -> SourceFile:
        return self.files[split]

    def is_free(self, entry: Entry) -> bool:
        return entry.is_sound and id(entry) not in self.claimed

    def claim(self, split: str, accept: Callable[[Record], bool] = lambda record: bool(record["messages"])) -> Entry:
        """A sound entry of the split that nobody else gets. Raises LookupError when there is none left."""
        file = self.files[split]
        free = [
            entry
            for entry in file.entries
            if self.is_free(entry) and len(file.line(entry)) < LONG_LINE and accept(entry.record)
        ]
        if not free:
            raise LookupError(f"{split} has no row left to plant in")
        entry = self.rng.choice(free)
        self.claimed.add(id(entry))
        return entry

    def add(self, split: str, entry: Entry) -> None:
        """Insert an entry at a random place, but never first or last."""
        entries = self.files[split].entries
        entries.insert(self.rng.randrange(1, len(entries)), entry)

    def add_copy(self, split: str, original: Entry, twin: Record, kind: str, code: str = "exact_duplicate") -> None:
        """Insert a record that duplicates `original`, behind it where both are in one file."""
        entries = self.files[split].entries
        first = entries.index(original) + 1 if original in entries else 1
        entries.insert(self.rng.randint(first, len(entries)), Entry(twin, Planted(kind, REMOVED, code, original)))

    def add_pair(self, split: str, first: Record, second: Record, kind: str) -> None:
        """Insert two records that are kept, the second one listed with the first as its `of`."""
        original = Entry(first)
        self.claimed.add(id(original))
        self.add(split, original)
        self.add(split, Entry(second, Planted(kind, of=original)))


def changed_words(rng: random.Random, text: str) -> str:
    """The text with about one plain word in a hundred replaced, at least one. Numbers and formulas stay."""
    words = [match.span() for match in re.finditer(r"(?<![\\{$\w])[a-z]{4,}(?![}$\w])", text)]
    count = max(1, len(text.split()) // 100)
    for start, end in sorted(rng.sample(words, count), reverse=True):
        text = text[:start] + rng.choice(OTHER_WORDS) + text[end:]
    return text
