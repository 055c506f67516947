"""Which rows share buckets: guards, and crowds that one text dominates."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from nemo_assets.dedup.bands import Buckets, optimal_banding
from nemo_assets.dedup.candidates import Rows
from nemo_assets.dedup.compared import texts_of
from nemo_assets.dedup.near import near_duplicates
from nemo_assets.dedup.sharing import buckets_to_walk
from nemo_assets.dedup.signing import sign
from nemo_assets.dedup.verification import similarity

BANDING, CAP = optimal_banding(0.8), 40


def conversation(user: str, answer: str) -> str:
    return f"<|start|>user<|message|>{user}<|end|><|start|>assistant<|channel|>final<|message|>{answer}<|return|>"


def meet(buckets: Buckets, first: int, second: int) -> bool:
    one, other = buckets.of_rank[first], buckets.of_rank[second]
    return bool(((one == other) & (one >= 0)).any())


def test_rows_whose_numbers_differ_meet_only_where_neither_is_guarded() -> None:
    words = " ".join(f"word{chr(97 + n)}" for n in range(26))
    texts = texts_of(pa.array([conversation(words, f"{words} {number}") for number in (1, 2, 3, 1)]))
    guarded = np.array([True, False, False, True])
    buckets = buckets_to_walk(sign(texts), np.arange(4), guarded, BANDING, CAP)
    met = {(one, other) for one in range(4) for other in range(one) if meet(buckets, one, other)}
    assert met == {(2, 1), (3, 0)}


def test_a_long_template_of_prompts_hides_no_pair_of_answers() -> None:
    generator = np.random.default_rng(7)
    template = " ".join(generator.choice(["red", "green", "blue", "black"], 600))

    def answer() -> list[str]:
        return [f"w{chr(97 + letter)}{chr(97 + other)}" for letter, other in generator.integers(0, 26, (60, 2))]

    answers = [answer() for _ in range(6 * CAP)]
    edited = [[*words[:30], "edited", *words[31:]] for words in answers[-CAP:]]  # the worst of a crowded bucket
    texts = texts_of(pa.array([conversation(template, " ".join(words)) for words in [*answers, *edited]]))
    signed, count = sign(texts), len(answers) + len(edited)
    rows = Rows(signed, np.ones(count, np.bool_), np.arange(count), np.arange(count)[None])
    buckets = buckets_to_walk(signed, rows.ranked, rows.guarded, BANDING, CAP)
    found = near_duplicates(rows, buckets, 0.8, lambda one, other: similarity(texts, one, other), CAP)
    assert np.flatnonzero(found.survivor >= 0).tolist() == list(range(len(answers), count))
    assert found.survivor[len(answers) :].tolist() == list(range(len(answers) - CAP, len(answers)))
    assert (buckets.relieved > 0, found.overflowing, found.unsure) == (True, 0, 0)
