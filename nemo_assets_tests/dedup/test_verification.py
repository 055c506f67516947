"""Exact similarity, against Python's sets."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.dedup import verification
from nemo_assets.dedup.compared import texts_of
from nemo_assets.dedup.signing import ShingleSets, shingle_sets
from nemo_assets.dedup.verification import Similarity, similarity

Row = tuple[set[int], set[int]]
"""What is spoken, and what is heard only."""

# Odd, as kept hashes are, and not 1. Some begin their search at the last slot of a table, or all at the same one.
_PLACES = [*range(1, 20), 63, 64, 127, 128, (1 << 35) - 1]
hashes = st.one_of(
    st.sampled_from([(number << 29) | 1 for number in _PLACES]),
    st.integers(1, (1 << 63) - 1).map(lambda number: 2 * number + 1),
)
rows = st.builds(
    lambda spoken, heard: (spoken, heard - spoken), st.sets(hashes, max_size=12), st.sets(hashes, max_size=12)
)


def kept(rows: list[Row]) -> ShingleSets:
    ends = np.cumsum([len(spoken) + len(heard) for spoken, heard in rows], dtype=np.int64)
    values = [value for spoken, heard in rows for part in (spoken, heard) for value in part]
    return ShingleSets(np.array(values, np.uint64), ends, np.array([len(spoken) for spoken, _ in rows], np.int64))


def by_hand(rows: list[Row], pairs: list[tuple[int, int]]) -> list[list[float]]:
    def share(part: set[int], whole: int) -> float:
        return len(part) / whole if whole else 1.0

    measured = []
    for first, second in pairs:
        (said, heard), (other_said, other_heard) = rows[first], rows[second]
        one, other = said | heard, other_said | other_heard
        measured.append([
            share(one & other, len(one | other)),
            share(said & other_said, len(said | other_said)),
            share(one & other, min(len(one), len(other))),
        ])  # fmt: skip
    return measured


def measured(sets: ShingleSets, pairs: list[tuple[int, int]], threads: int = 1) -> Similarity:
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    return similarity(sets, np.ascontiguousarray(first), np.ascontiguousarray(second), threads)


@settings(deadline=None)  # the first call compiles
@given(st.lists(rows, min_size=1, max_size=8), st.data())
def test_it_is_that_of_sets(rows: list[Row], data: st.DataObject) -> None:
    places = st.integers(0, len(rows) - 1)
    pairs = data.draw(st.lists(st.tuples(places, places), max_size=30))
    assert np.transpose(measured(kept(rows), pairs)).tolist() == by_hand(rows, pairs)


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("at_once", [1, 3, 4096])
def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch, threads: int, at_once: int) -> None:
    random = np.random.default_rng(0)
    rows = [
        (set((random.integers(0, 99, 50) * 2 + 1).tolist()), set((random.integers(100, 199, 9) * 2 + 1).tolist()))
        for _ in range(20)
    ]
    pairs = [(int(first), int(second)) for first, second in random.integers(0, 20, (100, 2))]
    monkeypatch.setattr(verification, "_PAIRS_AT_ONCE", at_once)
    assert np.transpose(measured(kept(rows), pairs, threads)).tolist() == by_hand(rows, pairs)


def harmony(question: str, answer: str) -> str:
    return f"<|start|>user<|message|>{question}<|end|><|start|>assistant<|message|>{answer}<|return|>"


def test_by_hand() -> None:
    # a to g: 3 shingles; with h for g the last one is another; a to j: 6, of which 3 are those of a to g.
    texts = [harmony("p q r s t", f"{answer}") for answer in ("a b c d e f g", "a b c d e f h", "a b c d e f g h i j")]
    sets = shingle_sets(texts_of(pa.array([*texts, harmony("u v w x y", "a b c d e f g"), ""])))
    found = measured(sets, [(0, 1), (0, 2), (0, 3), (0, 0), (4, 4), (0, 4)])
    assert found.spoken.tolist() == [2 / 4, 3 / 6, 1, 1, 1, 0]
    assert found.jaccard.tolist() == [3 / 5, 4 / 7, 3 / 5, 1, 1, 0]
    assert found.containment.tolist() == [3 / 4, 1, 3 / 4, 1, 1, 1]
