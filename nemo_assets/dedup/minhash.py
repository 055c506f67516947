"""MinHash signatures, as datasketch 2.0 computes them with `scheme="affine32"`.

A shingle hash is cut to 32 bits, mixed (fmix32 of MurmurHash3), and slot i of the signature is the smallest
a_i·h + b_i modulo 2^32 over all shingles, with the a and b that datasketch draws for the same seed. The share of equal
slots of two signatures estimates the Jaccard similarity of their sets of shingles (Broder 1997).

Belongs here: from shingles to a signature. Does not: which signatures are compared (`bands`, `candidates`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nemo_assets.compiled import compiled

SLOTS = 128
SEED = 1  # the default of datasketch
EMPTY = 0xFFFFFFFF  # every slot of the signature of no shingle

U32 = np.uint32
_AT_ONCE = 8  # shingles taken together, so that a slot is loaded and stored once for all of them

Permutations = tuple[NDArray[np.uint32], NDArray[np.uint32]]


def permutations(slots: int = SLOTS, seed: int = SEED) -> Permutations:
    """The factors (odd) and summands of datasketch's `affine32`, each (slots,)."""
    generator = np.random.RandomState(seed)
    factors = generator.randint(0, 1 << 31, slots, dtype=np.uint32) * U32(2) + U32(1)
    return factors, generator.randint(0, 1 << 32, slots, dtype=np.uint32)


def minhash_of(shingles: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """The signature (SLOTS,) of one set of shingle hashes."""
    signature = np.full(SLOTS, EMPTY, np.uint32)
    room = np.empty(len(shingles) + _AT_ONCE, np.uint32)
    absorb(shingles, len(shingles), *permutations(), room, signature)
    return signature


@compiled
def absorb(shingles: Any, count: int, factors: Any, summands: Any, room: Any, signature: Any) -> None:
    """Lower the slots of `signature` to what the first `count` shingles give. `room` has place for count + 8 values."""
    if count == 0:
        return
    for place in range(count):
        room[place] = _fmix32(U32(shingles[place]))
    padded = (count + 7) & ~7
    for place in range(count, padded):
        room[place] = room[0]  # a repeated shingle changes nothing
    for place in range(0, padded, 8):
        h0, h1, h2, h3 = room[place], room[place + 1], room[place + 2], room[place + 3]
        h4, h5, h6, h7 = room[place + 4], room[place + 5], room[place + 6], room[place + 7]
        for slot in range(SLOTS):
            a, b = factors[slot], summands[slot]
            low = min(min(_image(h0, a, b), _image(h1, a, b)), min(_image(h2, a, b), _image(h3, a, b)))
            high = min(min(_image(h4, a, b), _image(h5, a, b)), min(_image(h6, a, b), _image(h7, a, b)))
            signature[slot] = min(signature[slot], min(low, high))


@compiled
def _image(value: Any, factor: Any, summand: Any) -> Any:
    return U32(U32(value * factor) + summand)  # what numba does with 32 bits, it does in 64


@compiled
def _fmix32(value: Any) -> Any:
    value = U32(U32(value ^ U32(value >> U32(16))) * U32(0x85EBCA6B))
    value = U32(U32(value ^ U32(value >> U32(13))) * U32(0xC2B2AE35))
    return U32(value ^ U32(value >> U32(16)))
