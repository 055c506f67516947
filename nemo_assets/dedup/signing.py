"""One pass over the texts of rows: everything that near-duplicate search needs of them, without a Python object a row.

Belongs here: the loops over rows, and threads. Does not: what happens to one text (`compared`, `tokens`, `shingles`,
`minhash`), tables (`signatures`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nemo_assets.compiled import compiled
from nemo_assets.dedup.compared import ROOM, Texts, separate
from nemo_assets.dedup.minhash import EMPTY, SLOTS, U32, absorb, permutations
from nemo_assets.dedup.numerals import numerals_digest
from nemo_assets.dedup.shingles import (
    masked_digest,
    mixed,
    numbers_digest,
    sequence_digest,
    shingle,
)
from nemo_assets.dedup.tokens import CLASSES, PADDING, U64, tokenize

_KEYS = (U64(0x9E3779B97F4A7C15), U64(0xC2B2AE3D27D4EB4F), U64(0x165667B19E3779F9))  # odd: digests keep all bits
_SLICE_BYTES = 4 << 20  # of text a thread takes at once: short enough that threads finish together


class Signed(NamedTuple):
    """Of n rows: `minhash` (n, SLOTS) of all that is compared, `spoken_minhash` (n, SLOTS) the low byte of the same of
    what is spoken alone; `numbers` (n, 2), of what is spoken and heard, equal for equal multisets of numbers; `masked`
    (n,), equal where all is equal but the numbers; `prompt` (n,), equal for equal prompts up to case and white space;
    `shingles` (n,), how many there are, repeated ones included; `sequence` (n,), equal where all is equal up to case
    and white space; `calls` (n,), equal for equal calls of tools up to case and white space.
    """

    minhash: NDArray[np.uint32]
    spoken_minhash: NDArray[np.uint8]
    numbers: NDArray[np.uint64]
    masked: NDArray[np.uint64]
    prompt: NDArray[np.uint64]
    shingles: NDArray[np.int64]
    sequence: NDArray[np.uint64]
    calls: NDArray[np.uint64]

    @classmethod
    def empty(cls, rows: int) -> Signed:
        """Room for so many rows."""

        def digests() -> NDArray[np.uint64]:
            return np.empty(rows, np.uint64)

        minhash, spoken = np.empty((rows, SLOTS), np.uint32), np.empty((rows, SLOTS), np.uint8)
        numbers, shingles = np.empty((rows, 2), np.uint64), np.empty(rows, np.int64)
        return cls(minhash, spoken, numbers, digests(), digests(), shingles, digests(), digests())

    def must_agree(self, numbers_too: bool) -> NDArray[np.uint64]:
        """One digest a row of what duplicates have in common: calls of tools and, it may be, numbers."""
        keys: NDArray[np.uint64] = self.calls * _KEYS[0]
        if numbers_too:
            keys += self.numbers[:, 0] * _KEYS[1] + self.numbers[:, 1] * _KEYS[2]
        return keys


def sign(texts: Texts, threads: int = 1) -> Signed:
    """Sign rows of Harmony text. What is written does not depend on `threads`."""
    rows = len(texts.offsets) - 1
    signed = Signed.empty(rows)
    factors, summands = permutations()
    in_threads(lambda first, last: _sign(*texts, first, last, CLASSES, factors, summands, *signed), texts, threads)
    return signed


def in_threads(work: Callable[[int, int], None], texts: Texts, threads: int) -> None:
    """Do `work` on ranges of rows that cover all of them."""
    offsets = texts.offsets
    cuts = np.searchsorted(offsets, np.arange(offsets[0], offsets[-1], _SLICE_BYTES))
    ranges = np.unique(np.concatenate((cuts, [0, len(offsets) - 1]))).tolist()
    pairs = list(itertools.pairwise(ranges))
    if threads == 1 or len(pairs) < 2:
        for first, last in pairs:
            work(first, last)
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, first, last) for first, last in pairs]:
            done.result()


@compiled
def _sign(
    data: Any, offsets: Any, first: int, last: int, classes: Any, factors: Any, summands: Any, minhash: Any,
    spoken_minhash: Any, numbers: Any, masked: Any, prompts: Any, shingle_counts: Any,
    sequences: Any, calls_made: Any,
) -> None:  # fmt: skip
    text, spoken, heard, calls, tokens, shingles = buffers(longest_of(offsets, first, last))
    room = np.empty(len(tokens) + 8, np.uint32)
    for row in range(first, last):
        size = copied(data, offsets[row], offsets[row + 1], text)
        said, prompt, rest, called = separate(text, size, spoken, heard, calls)
        calls_made[row] = sequence_digest(tokens, tokenize(calls, called, classes, tokens))

        count = tokenize(spoken, said, classes, tokens)
        found = shingle(tokens, count, shingles)
        signature = minhash[row]
        signature[:] = U32(EMPTY)
        absorb(shingles, found, factors, summands, room, signature)
        for slot in range(SLOTS):
            spoken_minhash[row, slot] = np.uint8(signature[slot] & U32(0xFF))
        numbers[row, 0] = numbers_digest(tokens, count) + numerals_digest(spoken, said)
        sequence = mixed(sequence_digest(tokens, count))
        mask = mixed(masked_digest(tokens, count))

        count = tokenize(heard, prompt, classes, tokens)
        prompts[row] = sequence_digest(tokens, count)
        count += tokenize(heard[prompt + PADDING :], rest, classes, tokens[count:])
        shingle_counts[row] = found
        found = shingle(tokens, count, shingles)
        absorb(shingles, found, factors, summands, room, signature)
        shingle_counts[row] += found
        rest_begin = prompt + PADDING
        numbers[row, 1] = numbers_digest(tokens, count) + numerals_digest(heard, rest_begin + rest)
        sequences[row] = sequence + sequence_digest(tokens, count)
        masked[row] = mask + masked_digest(tokens, count)


@compiled
def table_size(entries: int) -> int:
    """Slots of an open addressing table that stays half empty."""
    size = 64
    while size < 2 * entries:
        size *= 2
    return size


@compiled
def longest_of(offsets: Any, first: int, last: int) -> int:
    """Bytes of the longest text among rows [first, last)."""
    longest = 0
    for row in range(first, last):
        longest = max(longest, offsets[row + 1] - offsets[row])
    return longest


@compiled
def buffers(longest: int) -> Any:
    """Room for one text and what is made of it: text, spoken, heard, calls, tokens, shingles."""
    text, spoken, heard, calls = (
        np.empty(longest + ROOM, np.uint8),
        np.empty(longest + ROOM, np.uint8),
        np.empty(longest + ROOM, np.uint8),
        np.empty(longest + ROOM, np.uint8),
    )
    return text, spoken, heard, calls, np.empty(longest + 1, np.uint64), np.empty(longest + 1, np.uint64)


@compiled
def copied(data: Any, begin: int, end: int, text: Any) -> int:
    """Copy a text to where nothing but spaces follows it."""
    size = end - begin
    text[:size] = data[begin:end]
    text[size : size + PADDING] = np.uint8(0x20)
    return size
