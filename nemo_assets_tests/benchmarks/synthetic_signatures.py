"""MinHash signatures of rows that never were, as many as one likes, some of them near-duplicates of an earlier one.

Belongs here: what to feed a search for candidates where texts would take too long. Does not: texts (`dedup_corpus`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nemo_assets.compiled import compiled

SLOTS = 128
DUPLICATED = 0.12  # share of rows
SIMILARITY = {1.0: 0.3, 0.9: 0.2, 0.8: 0.2, 0.7: 0.15, 0.5: 0.15}  # of a duplicate to its origin, and how frequent
AT_ONCE = 1 << 17  # rows drawn together: 64 MB


class Origins(NamedTuple):
    """Which rows are duplicates, in order, of which earlier row, and how alike: the chance of a slot to be the same."""

    row: NDArray[np.int64]
    origin: NDArray[np.int64]
    similarity: NDArray[np.float64]


def synthetic_origins(rows: int, seed: int) -> Origins:
    """What `synthetic_signatures` plants. An origin may be a duplicate itself, so there are chains."""
    draw = np.random.default_rng([seed, 1])
    copies = np.sort(draw.choice(rows - 1, size=int(rows * DUPLICATED), replace=False)) + 1
    origins = (draw.random(len(copies)) * copies).astype(np.int64)
    return Origins(copies, origins, draw.choice(list(SIMILARITY), size=len(copies), p=list(SIMILARITY.values())))


def synthetic_signatures(rows: int, seed: int) -> NDArray[np.uint32]:
    """Signatures (rows, SLOTS), the same for the same arguments. Needs 512 bytes a row and some 200 MB more."""
    draw = np.random.Generator(np.random.SFC64(seed))
    signatures = np.empty((rows, SLOTS), np.uint32)
    for start in range(0, rows, AT_ONCE):
        part = signatures[start : start + AT_ONCE]
        part[:] = draw.integers(1 << 64, size=part.size // 2, dtype=np.uint64).view(np.uint32).reshape(part.shape)
    planted = synthetic_origins(rows, seed)
    for start in range(0, len(planted.row), AT_ONCE):
        row, origin, similarity = (column[start : start + AT_ONCE] for column in planted)
        same = draw.random((len(row), SLOTS), dtype=np.float32) < similarity[:, None].astype(np.float32)
        _copy(signatures, row, origin, same)
    return signatures


@compiled
def _copy(signatures: Any, rows: Any, origins: Any, same: Any) -> None:
    """One row after the other, so that an origin is complete when it is copied."""
    for place in range(len(rows)):
        for slot in range(signatures.shape[1]):
            if same[place, slot]:
                signatures[rows[place], slot] = signatures[origins[place], slot]
