"""Exact similarity, against Python's sets of the reference's shingles."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.dedup import verification
from nemo_assets.dedup.compared import compared, texts_of
from nemo_assets.dedup.verification import Similarity, similarity
from nemo_assets_tests.dedup import reference

Pairs = list[tuple[int, int]]

# Few words, so that shingles repeat and are shared; some texts are shorter than a shingle.
words = st.lists(st.sampled_from("abc"), max_size=14).map(" ".join)
rows = st.builds(lambda question, answer: harmony(question, answer), words, words)


def harmony(question: str, answer: str) -> str:
    return f"<|start|>user<|message|>{question}<|end|><|start|>assistant<|message|>{answer}<|return|>"


def by_hand(texts: list[str], pairs: Pairs) -> list[list[float]]:
    def share(part: reference.Shingles, whole: int) -> float:
        return len(part) / whole if whole else 1.0

    measured = []
    for first, second in pairs:
        (said, one), (other_said, other) = sets_of(texts[first]), sets_of(texts[second])
        measured.append([
            share(one & other, len(one | other)),
            share(said & other_said, len(said | other_said)),
            share(one & other, min(len(one), len(other))),
        ])  # fmt: skip
    return measured


def sets_of(text: str) -> tuple[reference.Shingles, reference.Shingles]:
    """What is spoken, and everything."""
    spoken, heard = (reference.shingles(reference.tokens(part.decode())) for part in compared(text.encode())[:2])
    return spoken, spoken | heard


def measured(texts: list[str], pairs: Pairs, threads: int = 1) -> Similarity:
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    column = texts_of(pa.array(texts))
    return similarity(column, np.ascontiguousarray(first), np.ascontiguousarray(second), threads)


@settings(deadline=None)  # the first call compiles
@given(st.lists(rows, min_size=1, max_size=8), st.data())
def test_it_is_that_of_sets(texts: list[str], data: st.DataObject) -> None:
    places = st.integers(0, len(texts) - 1)
    pairs = data.draw(st.lists(st.tuples(places, places), max_size=30))
    assert np.transpose(measured(texts, pairs)).tolist() == by_hand(texts, pairs)


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("at_once", [1, 3, 4096])
def test_threads_change_nothing(
    sample_texts: list[str], monkeypatch: pytest.MonkeyPatch, threads: int, at_once: int
) -> None:
    texts = [*sample_texts[:20], ""]
    pairs = [(int(first), int(second)) for first, second in np.random.default_rng(0).integers(0, 21, (100, 2))]
    monkeypatch.setattr(verification, "_PAIRS_AT_ONCE", at_once)
    assert np.transpose(measured(texts, pairs, threads)).tolist() == by_hand(texts, pairs)


def test_by_hand() -> None:
    # a to g: 3 shingles; with h for g the last one is another; a to j: 6, of which 3 are those of a to g.
    texts = [harmony("p q r s t", f"{answer}") for answer in ("a b c d e f g", "a b c d e f h", "a b c d e f g h i j")]
    texts += [harmony("u v w x y", "a b c d e f g"), ""]
    found = measured(texts, [(0, 1), (0, 2), (0, 3), (0, 0), (4, 4), (0, 4)])
    assert found.spoken.tolist() == [2 / 4, 3 / 6, 1, 1, 1, 0]
    assert found.jaccard.tolist() == [3 / 5, 4 / 7, 3 / 5, 1, 1, 0]
    assert found.containment.tolist() == [3 / 4, 1, 3 / 4, 1, 1, 1]
