"""Who is removed for whom, against the rule said in plain Python over all pairs of rows."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.dedup.bands import Buckets, buckets_of, optimal_banding
from nemo_assets.dedup.candidates import DUPLICATE, PROMPT_SIMILAR, Rows
from nemo_assets.dedup.compared import Texts, compared, texts_of
from nemo_assets.dedup.minhash import SLOTS
from nemo_assets.dedup.near import SIMILAR, Found, near_duplicates
from nemo_assets.dedup.signing import Signed, sign
from nemo_assets.dedup.verification import Similarity, similarity
from nemo_assets_tests.dedup import reference

THRESHOLD = 0.8

Removal = tuple[int, int]
"""The rank of a survivor, and the kind of twin that it is, or SIMILAR."""


def removals(twins: Sequence[Sequence[int]], nearness: Callable[[int, int], float]) -> dict[int, Removal]:
    """The rule: best first, a row is removed for a row that stays, a twin of it or else the one most similar to it.

    `twins` names for each kind and rank the group of equal rows, `nearness` of two ranks is 0 if they are not similar.
    """
    removed: dict[int, Removal] = {}
    for rank in range(len(twins[0])):
        staying = [better for better in range(rank) if better not in removed]
        equal = [
            (better, kind) for kind, groups in enumerate(twins) for better in staying if groups[better] == groups[rank]
        ]
        near = max(staying, key=lambda better: (nearness(rank, better), -better), default=None)
        if equal:
            removed[rank] = equal[0]
        elif near is not None and nearness(rank, near) > 0:
            removed[rank] = (near, SIMILAR)
    return removed


def removed_of(found: Found) -> dict[int, Removal]:
    ranks = np.flatnonzero(found.survivor >= 0).tolist()
    return {rank: (int(found.survivor[rank]), int(found.rule[rank])) for rank in ranks}


def first_of(groups: Sequence[int]) -> list[int]:
    """Of each rank the first rank of its group."""
    return [list(groups).index(group) for group in groups]


# Invented rows: any graph of similar pairs, any estimates, any buckets.


class Invented(NamedTuple):
    """Contents, of which several rows may have the same; similarities and signatures are those of contents."""

    rows: Rows
    buckets: Buckets
    groups: list[list[int]]
    jaccard: list[list[float]]
    spoken: list[list[float]]

    def measure(self, first: np.ndarray, second: np.ndarray) -> Similarity:
        contents = np.array(self.groups[0])
        one, other = contents[first], contents[second]
        jaccard = np.array(self.jaccard)[one, other]
        return Similarity(jaccard, np.array(self.spoken)[one, other], jaccard)

    def nearness(self, rank: int, better: int) -> float:
        row, other = int(self.rows.ranked[rank]), int(self.rows.ranked[better])
        shared = (self.buckets.of_rank[rank] == self.buckets.of_rank[better]) & (self.buckets.of_rank[rank] >= 0)
        one, two = self.groups[0][row], self.groups[0][other]
        measured = min(self.jaccard[one][two], self.spoken[one][two])
        signed = self.rows.signed
        if not shared.any() or measured < THRESHOLD:
            return 0
        differ = (signed.numbers[row] != signed.numbers[other]).any()
        if differ and (self.rows.guarded[row] or self.rows.guarded[other]):
            return 0
        if signed.masked[row] == signed.masked[other] and signed.sequence[row] != signed.sequence[other]:
            return 0
        return measured

    def by_rank(self) -> list[list[int]]:
        return [[groups[row] for row in self.rows.ranked] for groups in self.groups]


@st.composite
def invented(draw: st.DrawFn) -> Invented:
    """Every pair is near enough by estimate to be compared, and some, those of one centre, so near that they cover."""
    count = draw(st.integers(1, 24))
    seed, contents = draw(st.integers(0, 1 << 32)), draw(st.integers(1, count))
    levels = draw(st.sampled_from([(0.7, 0.8, 0.9), (0.79, 0.8), (0.8, 0.85, 0.9, 1.0), (0.1, 0.2, 0.9)]))
    numbers, guards = draw(st.sampled_from([(1, 1), (2, 1), (2, 2), (3, 2)]))
    centres = draw(st.sampled_from([1, 2, 3, 6, 100]))
    kinds, bands = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    generator = np.random.default_rng(seed)

    def symmetric() -> list[list[float]]:
        values = np.triu(generator.choice(levels, (contents, contents)), 1)
        whole: list[list[float]] = (values + values.T + np.eye(contents)).tolist()
        return whole

    signatures = np.zeros((contents, SLOTS), np.uint32)
    signatures[:, 92:] = generator.integers(0, centres, contents)[:, None]
    content = generator.integers(0, contents, count)
    groups = [content, *(generator.integers(0, 2 * count, count) for _ in range(kinds - 1))]
    ranked = generator.permutation(count)
    signed = Signed(
        signatures[content],
        signatures[content].astype(np.uint8),
        generator.integers(0, numbers, (contents, 2)).astype(np.uint64)[content],
        generator.integers(0, 3, contents).astype(np.uint64)[content],
        np.zeros(count, np.uint64),
        np.full(count, 100),
        generator.integers(0, 2, contents).astype(np.uint64)[content],
        np.zeros(count, np.uint64),
    )
    buckets = generator.integers(-1, draw(st.sampled_from([1, 3])), (contents, bands))
    buckets += np.where(buckets >= 0, 3 * np.arange(bands), 0)
    rows = Rows(
        signed,
        generator.integers(0, guards, contents).astype(bool)[content],
        ranked,
        np.array([first_of(group[ranked].tolist()) for group in groups]),
    )
    of_rank = buckets[content][ranked].astype(np.int32)
    return Invented(rows, Buckets(of_rank, 9, count), [g.tolist() for g in groups], symmetric(), symmetric())


@settings(deadline=None, max_examples=200)  # the first call compiles
@given(invented())
def test_it_is_the_rule_whatever_is_similar_estimated_and_in_one_bucket(world: Invented) -> None:
    found = near_duplicates(world.rows, world.buckets, THRESHOLD, world.measure)
    expected = removals(world.by_rank(), world.nearness)
    assert removed_of(found) == expected
    assert found.overflowing == 0
    for rank, (survivor, rule) in expected.items():
        assert survivor not in expected  # it stays itself
        pair = found.pair[rank]
        if rule == SIMILAR:
            assert (found.compared.worse[pair], found.compared.better[pair]) == (rank, survivor)
            assert found.compared.passes[pair]
            assert found.compared.similarity.jaccard[pair] >= THRESHOLD <= found.compared.similarity.spoken[pair]
        else:
            assert pair == -1
    compared_pairs = list(zip(found.compared.worse.tolist(), found.compared.better.tolist(), strict=True))
    assert compared_pairs == sorted(set(compared_pairs))


def by_centre(centres: list[int], similar: set[tuple[int, int]]) -> tuple[Rows, Buckets, Callable[..., Similarity]]:
    """Rows in rank order; those with the same centre are equal by estimate, and those that are named are similar."""
    count = len(centres)
    signatures = np.zeros((count, SLOTS), np.uint32)
    signatures[:, 92:] = np.array(centres)[:, None]
    nothing = np.zeros(count, np.uint64)
    signed = Signed(
        signatures, signatures.astype(np.uint8), np.zeros((count, 2), np.uint64), nothing, nothing, np.arange(count),
        nothing, nothing,
    )  # fmt: skip

    def measure(first: np.ndarray, second: np.ndarray) -> Similarity:
        pairs = zip(first.tolist(), second.tolist(), strict=True)
        values = np.array([0.9 if tuple(sorted(pair)) in similar else 0.5 for pair in pairs])
        return Similarity(values, values, values)

    rows = Rows(signed, np.ones(count, bool), np.arange(count), np.arange(count)[None])
    return rows, Buckets(np.zeros((count, 1), np.int32), 1, count), measure


@pytest.mark.parametrize(
    ("similar", "survivors", "rounds"),
    [
        ({(0, 1), (1, 2)}, [-1, 0, -1], 2),  # a chain: its middle is gone and stands for nobody
        ({(0, 2), (1, 2)}, [-1, -1, 0], 2),
        ({(1, 2)}, [-1, -1, 1], 2),  # estimates said that both go for the first, so they did not meet at once
        ({(0, 1), (0, 2), (1, 2)}, [-1, 0, 0], 1),
        (set(), [-1, -1, -1], 2),
    ],
)
def test_three_rows_by_hand(similar: set[tuple[int, int]], survivors: list[int], rounds: int) -> None:
    rows, buckets, measure = by_centre([0, 0, 0], similar)
    found = near_duplicates(rows, buckets, THRESHOLD, measure)
    assert (found.survivor.tolist(), found.rounds) == (survivors, rounds)


def test_a_row_whose_survivor_goes_after_all_is_looked_at_again() -> None:
    # 1 and 3 are taken for copies of 0 and 2 at first. 1 is none, so it stays, and 2 goes for it; then 3 stays as well.
    rows, buckets, measure = by_centre([0, 0, 1, 1, 2], {(1, 2), (2, 3), (3, 4)})
    found = near_duplicates(rows, buckets, THRESHOLD, measure)
    assert (found.survivor.tolist(), found.rounds) == ([-1, -1, 1, -1, 3], 3)


def test_both_similarities_must_reach_the_threshold() -> None:
    rows, buckets, _ = by_centre([0, 0, 0], set())
    for jaccard, spoken, removed in ((0.8, 0.8, 2), (0.7999, 1.0, 0), (1.0, 0.7999, 0)):

        def measure(
            first: np.ndarray, second: np.ndarray, jaccard: float = jaccard, spoken: float = spoken
        ) -> Similarity:
            return Similarity(np.full(len(first), jaccard), np.full(len(first), spoken), np.ones(len(first)))

        found = near_duplicates(rows, buckets, THRESHOLD, measure)
        assert np.count_nonzero(found.survivor >= 0) == removed


# Real texts, all the way from Harmony.


def conversation(question: str, answer: str, system: str = "low") -> str:
    return (
        f"<|start|>system<|message|>Reasoning: {system}<|end|><|start|>user<|message|>{question}<|end|>"
        f"<|start|>assistant<|channel|>final<|message|>{answer}<|return|>"
    )


def words(seed: int, count: int) -> list[str]:
    chooser = random.Random(seed)
    return ["".join(chooser.choices("abcdefghij", k=6)) for _ in range(count)]


def edited(text: list[str], places: Sequence[int]) -> list[str]:
    return ["z" + word if place in places else word for place, word in enumerate(text)]


def corpus(seed: int) -> list[str]:
    """Rows of every sort: chains, copies, siblings, shared prompts, shared solutions, a flood, and strangers."""
    rows, chooser = [], random.Random(seed)
    for base in range(6):
        number = 1000 * seed + 10 * base
        question, answer = " ".join(words(number, 60)), words(number + 1, 120)
        chain = [answer]
        for step in range(4):  # neighbours share 110 or so of 122 shingles, the ends of the chain half
            chain.append(edited(chain[-1], [25 * step + 10, 25 * step + 20]))
        rows += [conversation(question, " ".join(link)) for link in chain]
        rows += [conversation(question, " ".join(answer), "high"), conversation(question, " ".join(answer).upper())]
        rows += [conversation(question, " ".join(words(number + place, 120))) for place in (3, 4)]  # other solutions
        rows += [conversation(" ".join(words(number + 5, 60)), " ".join(answer))]  # another question, as long as half
        with_numbers = [*answer[:50], "12", *answer[50:], "7"]
        rows += [conversation(question, " ".join(with_numbers).replace("12", str(other))) for other in (12, 13, 14)]
        moved = [*answer[:50], "7", *answer[50:], "12"]  # the same numbers, though elsewhere
        rows += [conversation(question, " ".join(moved))]
    flood = words(1000 * seed + 99, 100)
    rows += [conversation("Say it.", " ".join(edited(flood, [place]))) for place in range(0, 100, 2)]
    rows += [conversation("Short.", answer) for answer in ("Yes.", "yes .", "No.", "Yes. 3", "Yes. 4", "")]
    chooser.shuffle(rows)
    return rows


class Solved(NamedTuple):
    found: Found
    kept: set[str]
    survivor: dict[str, str]


def solve(
    texts: Sequence[str],
    ranked: Sequence[int],
    guarded: Sequence[bool],
    *,
    cap: int = 256,
    threads: int = 1,
    in_one_bucket: bool = False,
) -> Solved:
    """What is found of these rows, by their texts; in one bucket no pair is missed."""
    column: Texts = texts_of(pa.array(texts))
    signed = sign(column, threads)
    places = np.array(ranked)
    everybody = Buckets(np.zeros((len(ranked), 1), np.int32), 1, len(ranked))
    buckets = everybody if in_one_bucket else buckets_of(signed.minhash, places, optimal_banding(THRESHOLD), threads)
    rows = Rows(signed, np.array(guarded), places, np.arange(len(ranked))[None])
    found = near_duplicates(
        rows, buckets, THRESHOLD, lambda first, second: similarity(column, first, second, threads), cap
    )
    survivor = {
        texts[ranked[rank]]: texts[ranked[other]] for rank, other in enumerate(found.survivor.tolist()) if other >= 0
    }
    return Solved(found, {texts[row] for row in ranked} - set(survivor), survivor)


class Read(NamedTuple):
    """What the rule compares of a row."""

    all: reference.Shingles
    spoken: reference.Shingles
    numbers: list[tuple[list[bytes], list[str]]]
    masked: list[list[bytes]]
    order: list[list[bytes]]


def read(text: str) -> Read:
    said, listened = (part.decode() for part in compared(text.encode())[:2])
    spoken, heard = (reference.shingles(reference.tokens(part)) for part in (said, listened))
    masked = []
    for part in (said, listened):
        numbers = reference.numbers(part)
        masked.append([b"#" if token in numbers else token for token in reference.tokens(part)])
    parts = (said, listened)
    multisets = [(sorted(reference.numbers(part)), reference.numerals(part)) for part in parts]
    order = [reference.numbers(part) for part in parts]
    return Read(spoken | heard, spoken, multisets, masked, order)


def nearness_of(texts: Sequence[str], ranked: Sequence[int], guarded: Sequence[bool]) -> Callable[[int, int], float]:
    all_read = [read(text) for text in texts]

    def nearness(rank: int, better: int) -> float:
        row, other = ranked[rank], ranked[better]
        one, two = all_read[row], all_read[other]
        if one.masked == two.masked and one.order != two.order:
            return 0
        if one.numbers != two.numbers and (guarded[row] or guarded[other]):
            return 0
        measured = min(reference.jaccard(one.all, two.all), reference.jaccard(one.spoken, two.spoken))
        return measured if measured >= THRESHOLD else 0

    return nearness


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("guard", ["all", "none", "some"])
def test_of_real_texts_exactly_those_are_removed_that_the_rule_removes(seed: int, guard: str) -> None:
    texts = corpus(seed)
    ranked = random.Random(seed + 1).sample(range(len(texts)), len(texts))
    guarded = [guard == "all" or (guard == "some" and len(text) % 2 == 0) for text in texts]
    found = solve(texts, ranked, guarded, in_one_bucket=True).found
    nearness = nearness_of(texts, ranked, guarded)
    expected = removals([range(len(texts))], nearness)
    assert len(expected) > 50
    assert removed_of(found) == expected
    kept = [rank for rank in range(len(texts)) if found.survivor[rank] < 0]
    assert not any(nearness(rank, better) for rank in kept for better in kept if better < rank)  # no kept two similar
    assert all(found.survivor[survivor] < 0 for survivor, _ in expected.values())
    for rank, (survivor, _) in expected.items():
        similar = found.compared.similarity
        assert min(similar.jaccard[found.pair[rank]], similar.spoken[found.pair[rank]]) == nearness(rank, survivor)


def test_neither_the_order_of_the_input_nor_threads_change_anything() -> None:
    texts = corpus(7)
    preferred = sorted(range(len(texts)), key=lambda row: texts[row])
    guarded = [len(text) % 3 > 0 for text in texts]
    expected = solve(texts, preferred, guarded)
    for seed in range(4):
        order = random.Random(seed).sample(range(len(texts)), len(texts))
        shuffled = [texts[row] for row in order]
        ranked = sorted(range(len(texts)), key=lambda row: shuffled[row])
        again = solve(shuffled, ranked, [guarded[row] for row in order], threads=1 + seed)
        assert (again.kept, again.survivor) == (expected.kept, expected.survivor)
        assert again.found.survivor.tolist() == expected.found.survivor.tolist()


def test_rows_that_do_not_take_part_change_nothing() -> None:
    texts = corpus(8)
    ranked = random.Random(0).sample(range(len(texts)), len(texts) // 2)
    some = [texts[row] for row in ranked]
    whole, part = solve(texts, ranked, [True] * len(texts)), solve(some, range(len(some)), [True] * len(some))
    assert whole.found.survivor.tolist() == part.found.survivor.tolist()


@pytest.mark.parametrize("copies", [50, 1500])
def test_a_flood_larger_than_the_cap_leaves_its_best_row_and_hides_nobody(copies: int) -> None:
    answer = words(1, 150)
    others = [conversation("Q", " ".join(edited(answer, places))) for places in ([70], [20, 80], [30, 60, 90])]
    texts = [*[conversation("Q", " ".join(answer), f"{system}") for system in range(copies)], *others]
    solved = solve(texts, range(len(texts)), [True] * len(texts), cap=8)
    nearness = nearness_of(texts[:1] + others, range(4), [True] * 4)
    assert [nearness(rank, 0) > 0 for rank in range(1, 4)] == [True] * 3
    assert solved.kept == {texts[0]}
    assert (solved.found.survivor[1:] == 0).all()
    assert solved.found.overflowing == 0
    assert len(solved.found.compared.worse) < 2 * copies


def test_what_a_guard_holds_back_is_reported_and_siblings_are_not() -> None:
    question, answer = " ".join(words(1, 400)), words(2, 60)
    texts = [
        conversation(question, " ".join([*answer, "so 12."])),
        conversation(question, " ".join([*answer, "so 13."])),  # a sibling of the first
        conversation(question, " ".join([*answer[1:], "so 13"])),  # other numbers, and not the same otherwise
        conversation(question, " ".join(words(3, 12))),  # only its question is similar
    ]
    found = solve(texts, range(4), [True] * 4).found
    kinds = {
        (int(worse), int(better)): int(kind)
        for worse, better, kind in zip(found.related.worse, found.related.better, found.related.kind, strict=True)
    }
    assert kinds == {(3, 0): PROMPT_SIMILAR}
    assert DUPLICATE not in kinds.values()
    assert found.survivor.tolist() == [-1, -1, 1, -1]
