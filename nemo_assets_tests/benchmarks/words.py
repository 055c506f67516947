"""Shingles of words between white space, as other tools make them, on the kernels of this project.

Belongs here: what makes a comparison with peers fair. Does not: anything the project itself uses.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nemo_assets.compiled import compiled, lowest_bit, word_at
from nemo_assets.dedup.compared import Texts
from nemo_assets.dedup.minhash import EMPTY, SLOTS, U32, absorb, permutations
from nemo_assets.dedup.shingles import shingle
from nemo_assets.dedup.signing import buffers, copied, in_threads, longest_of
from nemo_assets.dedup.tokens import U64, hashed, masks_at


def sign(texts: Texts, threads: int = 1) -> NDArray[np.uint32]:
    """The MinHash signature (rows, SLOTS) of each whole text."""
    minhash = np.empty((len(texts.offsets) - 1, SLOTS), np.uint32)
    factors, summands = permutations()
    in_threads(lambda first, last: _sign(*texts, first, last, factors, summands, minhash), texts, threads)
    return minhash


@compiled
def split(data: Any, size: int, tokens: Any) -> int:
    """Write the hashes of the words among the first `size` bytes; `data` has spaces behind them."""
    base, space_before = U64(data.ctypes.data), U64(1)
    count, begin = 0, 0
    for block in range(0, size + 1, 64):
        spaces = masks_at(base + U64(block))[2]
        edges = spaces ^ ((spaces << U64(1)) | space_before)
        space_before = spaces >> U64(63)
        while edges:
            place = lowest_bit(edges)
            if (spaces >> U64(place)) & U64(1):
                tokens[count] = hashed(base, begin, block + place, word_at(base + U64(begin)), U64(0))
                count += 1
            else:
                begin = block + place
            edges &= edges - U64(1)
    return count


@compiled
def _sign(data: Any, offsets: Any, first: int, last: int, factors: Any, summands: Any, minhash: Any) -> None:
    text, _, _, _, tokens, shingles = buffers(longest_of(offsets, first, last))
    room = np.empty(len(tokens) + 8, np.uint32)
    for row in range(first, last):
        size = copied(data, offsets[row], offsets[row + 1], text)
        minhash[row] = U32(EMPTY)
        found = shingle(tokens, split(text, size, tokens), shingles)
        absorb(shingles, found, factors, summands, room, minhash[row])
