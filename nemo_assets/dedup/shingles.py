"""Shingles of a text, and digests of its tokens.

Belongs here: everything that is computed from the token hashes of one text. Does not: MinHash over shingles
(`minhash`), which texts are compared (`compared`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nemo_assets.compiled import compiled
from nemo_assets.dedup.tokens import NUMBER, U64, tokens_of

SHINGLE_TOKENS = 5
"""Tokens of a shingle; a text with fewer is one shingle of all its tokens."""

_BASE = 0xC2B2AE3D27D4EB4F  # odd constant of xxHash: a shingle is a polynomial in it, modulo 2^64
_POWERS = tuple(U64(pow(_BASE, exponent, 1 << 64)) for exponent in range(SHINGLE_TOKENS))
_SPREAD = U64(0xD6E8FEB86659FD93)  # of the rrmxmx mixer
_STEP = U64(0x9E3779B97F4A7C15)
_MASKED = U64(0x8CB92BA72F3D8DD6)  # stands for any number


def shingles_of(text: bytes) -> NDArray[np.uint64]:
    """Shingle hashes of one text of valid UTF-8, in order, repeated ones included."""
    tokens = tokens_of(text)
    shingles = np.empty(len(tokens), np.uint64)
    return shingles[: shingle(tokens, len(tokens), shingles)]


@compiled
def shingle(tokens: Any, count: int, shingles: Any) -> int:
    """Write the shingle hashes of `count` tokens and return how many they are: at most `count`, none without tokens."""
    if count < SHINGLE_TOKENS:
        if count == 0:
            return 0
        whole = U64(0)
        for place in range(count):
            whole = whole * _POWERS[1] + tokens[place]
        shingles[0] = mixed(whole)
        return 1
    size = count - SHINGLE_TOKENS + 1
    first, second, third, fourth = tokens[:size], tokens[1:], tokens[2:], tokens[3:]  # views, so that vectors are used
    fifth = tokens[4:]
    for place in range(size):
        shingles[place] = mixed(
            first[place] * _POWERS[4]
            + second[place] * _POWERS[3]
            + third[place] * _POWERS[2]
            + fourth[place] * _POWERS[1]
            + fifth[place]
        )
    return size


@compiled
def mixed(value: Any) -> Any:
    """`value` with its bits spread."""
    value = (value ^ (value >> U64(32))) * _SPREAD
    return value ^ (value >> U64(32))


@compiled
def numbers_digest(tokens: Any, count: int) -> Any:
    """Equal for equal multisets of numbers, whatever stands between them: a sum over the number tokens."""
    total = U64(0)
    for place in range(count):
        token = tokens[place]
        total += mixed(token) * (token & NUMBER)
    return total


@compiled
def masked_digest(tokens: Any, count: int) -> Any:
    """Equal for texts that are equal token by token once every number is replaced by the same one."""
    total = U64(count)
    for place in range(count):
        token = tokens[place]
        token = _MASKED if token & NUMBER else token
        total += mixed(token + U64(place) * _STEP)
    return total


@compiled
def sequence_digest(tokens: Any, count: int) -> Any:
    """Equal for texts that are equal token by token, so up to case and white space."""
    total = U64(count)
    for place in range(count):
        total += mixed(tokens[place] + U64(place) * _STEP)
    return total
