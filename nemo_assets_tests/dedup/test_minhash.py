"""Signatures, bit for bit those of datasketch."""

from __future__ import annotations

import datasketch
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nemo_assets.dedup.minhash import EMPTY, SLOTS, minhash_of
from nemo_assets.dedup.shingles import shingles_of


def of_datasketch(shingles: list[int]) -> list[int]:
    minhash = datasketch.MinHash(num_perm=SLOTS, scheme="affine32", hashfunc=lambda value: value)
    for value in shingles:
        minhash.update(value & 0xFFFFFFFF)
    return [int(value) for value in minhash.hashvalues]


def ours(shingles: list[int]) -> list[int]:
    return [int(value) for value in minhash_of(np.array(shingles, np.uint64))]


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.integers(0, (1 << 64) - 1), max_size=40))
@example([0])
@example([(1 << 64) - 1])
@example([0xFFFFFFFF, 1 << 32])
def test_signatures_are_those_of_datasketch(shingles: list[int]) -> None:
    assert ours(shingles) == of_datasketch(shingles)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9, 15, 16, 17, 1000])
def test_whatever_their_number(count: int) -> None:
    shingles = np.random.default_rng(count).integers(0, 1 << 64, count, dtype=np.uint64).tolist()
    assert ours(shingles) == of_datasketch(shingles)
    assert (ours(shingles) == [EMPTY] * SLOTS) == (count == 0)


def test_order_and_repetition_change_nothing() -> None:
    shingles = shingles_of(b"Let $f(x) = 2x + 3$. Then $f(4) = 11$, as $2 \\cdot 4 = 8$.")
    assert (minhash_of(shingles) == minhash_of(np.tile(shingles[::-1], 3))).all()
    assert ours(shingles.tolist()) == of_datasketch(shingles.tolist())


def test_the_share_of_equal_slots_is_near_the_jaccard_index() -> None:
    shingles = np.random.default_rng(0).integers(0, 1 << 64, 1500, dtype=np.uint64)
    equal = np.mean(minhash_of(shingles[:1200]) == minhash_of(shingles[300:]))
    assert equal == pytest.approx(900 / 1500, abs=0.13)  # three standard deviations
