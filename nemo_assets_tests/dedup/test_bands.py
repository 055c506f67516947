"""Bands: the choice of datasketch, and buckets as a dictionary would make them."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from datasketch.lsh import _optimal_param
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nemo_assets.dedup.bands import ALONE, Banding, Buckets, band_hash, buckets_of, optimal_banding
from nemo_assets.dedup.minhash import SLOTS


@pytest.mark.parametrize("threshold", [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95])
@pytest.mark.parametrize("slots", [64, 128])
def test_bands_are_those_that_datasketch_chooses(threshold: float, slots: int) -> None:
    assert optimal_banding(threshold, slots) == _optimal_param(threshold, slots, 0.01, 0.99)


def test_at_the_default_threshold_few_pairs_are_missed() -> None:
    banding = optimal_banding(0.8)
    assert banding == (18, 7)
    assert banding.collision_probability(0.85) == pytest.approx(0.9990, abs=5e-5)
    assert banding.collision_probability(0.8) == pytest.approx(1 - (1 - 0.8**7) ** 18)
    assert (banding.collision_probability(0), banding.collision_probability(1)) == (0, 1)


def test_two_rows_collide_as_often_as_the_formula_says() -> None:
    banding, similarity, pairs = Banding(8, 4), 0.6, 4000
    random = np.random.default_rng(0)
    one = random.integers(0, 1 << 32, (pairs, SLOTS), dtype=np.uint32)
    other = np.where(random.random((pairs, SLOTS)) < similarity, one, ~one)
    buckets = buckets_of(np.concatenate((one, other)), np.arange(2 * pairs), banding)
    together = (buckets.of_rank[:pairs] == buckets.of_rank[pairs:]) & (buckets.of_rank[:pairs] != ALONE)
    assert together.any(axis=1).mean() == pytest.approx(banding.collision_probability(similarity), abs=0.025)


def members(buckets: Buckets) -> list[set[int]]:
    """Who is in each bucket, by rank."""
    found: list[set[int]] = [set() for _ in range(buckets.count)]
    for rank, numbers in enumerate(buckets.of_rank.tolist()):
        for number in numbers:
            if number != ALONE:
                found[number].add(rank)
    return found


def grouped(minhash: NDArray[np.uint32], ranked: NDArray[np.int64], banding: Banding) -> list[set[int]]:
    groups: defaultdict[tuple[int, tuple[int, ...]], set[int]] = defaultdict(set)
    for rank, row in enumerate(ranked):
        for band in range(banding.bands):
            slots = minhash[row, band * banding.rows : (band + 1) * banding.rows]
            groups[band, tuple(slots.tolist())].add(rank)
    return [group for group in groups.values() if len(group) > 1]


def in_order(groups: list[set[int]]) -> list[list[int]]:
    return sorted(sorted(group) for group in groups)


@settings(deadline=None)  # the first call compiles
@given(
    st.integers(0, 40),
    st.integers(0, 1 << 32),
    st.integers(1, 5),
    st.sampled_from([Banding(18, 7), Banding(1, 1), Banding(64, 2), Banding(5, 3)]),
    st.sampled_from([1, 2, 4]),
)
def test_buckets_are_those_a_dictionary_makes(
    count: int, seed: int, values: int, banding: Banding, threads: int
) -> None:
    random = np.random.default_rng(seed)
    minhash = random.integers(0, values, (count + 3, SLOTS), dtype=np.uint32)
    if count:
        minhash[random.integers(0, count, 5)] = minhash[random.integers(0, count, 5)]  # some copies
    ranked = random.permutation(count + 3)[:count]  # not everybody takes part
    buckets = buckets_of(minhash, ranked, banding, threads)
    expected = grouped(minhash, ranked, banding)
    assert in_order(members(buckets)) == in_order(expected)
    assert buckets.count == len(expected)
    assert buckets.largest == max(map(len, expected), default=1)
    assert np.array_equal(buckets.of_rank, buckets_of(minhash, ranked, banding, 1).of_rank)


def test_a_band_hash_has_32_bits_and_depends_on_every_slot_of_its_band_and_no_other() -> None:
    signature = np.random.default_rng(0).integers(0, 1 << 32, SLOTS, dtype=np.uint32)
    value = int(band_hash(signature, np.uint64(0), 7, 7))
    assert value < 1 << 32
    assert value != int(band_hash(signature, np.uint64(1), 7, 7))
    for slot in range(SLOTS):
        changed = signature.copy()
        for bit in (0, 15, 16, 31):
            changed[slot] = signature[slot] ^ np.uint32(1 << bit)
            assert (int(band_hash(changed, np.uint64(0), 7, 7)) == value) == (not 7 <= slot < 14)
