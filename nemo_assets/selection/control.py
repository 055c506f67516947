"""The random control of a subset: rows drawn blindly, in the same strata, of as many tokens.

At a million rows most selectors do not beat random choice (arXiv 2503.01807, 2410.09335); whoever trains on a subset
should be able to tell.

Belongs here: a random order within each stratum, and stretches of it. Does not: what a subset took (`select`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nemo_assets.compiled import compiled
from nemo_assets.selection.ordering import Key, grouped, sorted_within

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class RandomOrder:
    """Rows that a control may have, in order of stratum, within it in random order.

    begins: where each stratum begins in `rows`, and the end. tokens: of every row of the table. seed: of the places
    where controls begin.
    """

    rows: Array
    begins: Array
    tokens: Array
    seed: int

    @classmethod
    def of(cls, rows: Array, stratum: Array, tokens: Array, strata: int, keys: Sequence[Key], seed: int) -> RandomOrder:
        """The order of `rows`, which are places in `stratum` and `tokens`, by random keys."""
        rows, begins = grouped(rows, stratum, strata)
        return cls(sorted_within(rows, begins, keys), begins, tokens, seed)

    def matching(self, name: str, tokens: Array) -> Array:
        """Rows, ascending, whose tokens add up as nearly as may be to `tokens` in each stratum; all if these are fewer.

        Each subset begins at another place of the random order and goes round, so that controls do not resemble each
        other more than chance has it.
        """
        wanted = tokens[: len(self.begins) - 1]  # rows in no stratum have no like
        chosen = [self._stretch(name, int(stratum), int(wanted[stratum])) for stratum in np.flatnonzero(wanted)]
        return np.sort(np.concatenate([self.rows[:0], *chosen]))

    def _stretch(self, name: str, stratum: int, tokens: int) -> Array:
        here = self.rows[self.begins[stratum] : self.begins[stratum + 1]]
        if not len(here):
            return here
        named = f"{self.seed}|{name}|{stratum}".encode()
        start = int.from_bytes(hashlib.blake2b(named, digest_size=8).digest()) % len(here)
        end = start + _nearest_count(here, start, self.tokens, tokens)
        return np.concatenate([here[start:end], here[: max(end - len(here), 0)]])


@compiled
def _nearest_count(rows: Array, start: int, tokens: Array, wanted: int) -> int:
    """How many rows from `start` on, going round, have the sum of tokens nearest to `wanted`; the fewer of two."""
    total = 0
    for count in range(len(rows)):
        more = tokens[rows[(start + count) % len(rows)]]
        if total + more >= wanted:
            return count if wanted - total <= total + more - wanted else count + 1
        total += more
    return len(rows)
