"""Evaluation records in rows: found whole, in part, with other numbers, and not where nobody copied them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.catalog import EvaluationSet
from nemo_assets.catalog.entries import ContaminationActions
from nemo_assets.dedup.compared import compared, texts_of
from nemo_assets.dedup.contamination import CONTAMINATION_SCHEMA, find_contamination, index_of
from nemo_assets.errors import UserError
from nemo_assets_tests.dedup.reference import numbers, shingles, tokens

# 21 tokens, hence 17 n-grams; each has a letter.
HENS = "A farmer has 12 hens and sells 7 eggs a day for 3 dollars each. How much is that?"
BALLS = "An urn holds five red balls, two of them are drawn: what is the chance that both are red?"

Texts = Mapping[str, Sequence[str]]
Hit = dict[str, Any]


def row(heard: str, spoken: str = "Let me think about this.") -> str:
    said = f"<|start|>assistant<|channel|>final<|message|>{spoken}<|return|>"
    return f"<|start|>system<|message|>Be brief.<|end|><|start|>user<|message|>{heard}<|end|>{said}"


def declared(names: Sequence[str], **fields: Any) -> dict[str, EvaluationSet]:
    return {name: EvaluationSet(columns=("question",), path="x.jsonl", **fields) for name in names}


def table_of(texts: Texts) -> pa.Table:
    lines = [
        {"evaluation_set": name, "evaluation_id": str(place), "column": "question", "text": text}
        for name, given in texts.items()
        for place, text in enumerate(given)
    ]
    names = ("evaluation_set", "evaluation_id", "column", "text")
    return pa.Table.from_pylist(lines, pa.schema([(name, pa.string()) for name in names]))


def hits(rows: Sequence[str], texts: Texts, threads: int = 1, **fields: Any) -> list[Hit]:
    found = find_contamination(
        texts_of(pa.array(rows, pa.string())), index_of(table_of(texts), declared(list(texts), **fields)), threads
    )
    assert found.schema == CONTAMINATION_SCHEMA
    lines: list[Hit] = found.to_pylist()
    return lines


def only(rows: Sequence[str], texts: Texts, **fields: Any) -> Hit:
    (hit,) = hits(rows, texts, **fields)
    return hit


@pytest.mark.parametrize(
    "text",
    [
        row(f"Solve this, and explain each step. {HENS} Answer in one line."),
        row("Tell me a riddle.", f"Here is one: {HENS}"),
        row(HENS.upper().replace(" ", "\n\t ")),
        row("Solve it.", "x") + row(HENS),
    ],
    ids=["in a longer prompt", "in what the assistant says", "other case and white space", "in a later turn"],
)
def test_a_whole_record_is_found_wherever_it_stands(text: str) -> None:
    assert only([row(BALLS), text], {"exam": [BALLS.replace("red", "blue"), HENS]}) == {
        "row": 1, "evaluation_set": "exam", "evaluation_id": "1", "column": "question", "tier": "verbatim",
        "share": 1.0, "action": "reject", "further": 0,
    }  # fmt: skip


def test_what_the_system_says_is_not_searched() -> None:
    assert hits([row("Hello").replace("Be brief.", HENS)], {"exam": [HENS]}) == []


def test_a_word_changed_at_the_end_is_near_and_in_the_middle_of_a_short_text_is_no_hit() -> None:
    """The last but one of 21 tokens is in 2 of the 17 n-grams; `eggs` in the middle is in 5, which leaves 12 of 17."""
    near = only([row(HENS.replace("that", "it"))], {"exam": [HENS]})
    assert (near["tier"], near["share"], near["action"]) == ("near", 15 / 17, "tag")
    assert hits([row(HENS.replace("eggs", "cakes"))], {"exam": [HENS]}) == []
    assert only([row(HENS.replace("eggs", "cakes"))], {"exam": [HENS]}, near=0.7)["share"] == 12 / 17


def test_changed_numbers_are_a_template_sibling_and_no_near_record() -> None:
    found = only([row(HENS.replace("12", "45").replace("7", "9").replace("3", "11"))], {"exam": [HENS]})
    assert (found["tier"], found["share"], found["action"]) == ("template_sibling", 1.0, "tag")


def test_ngrams_without_letters_are_no_evidence() -> None:
    """`compute` is in one n-gram only; of the last text all five but the one from `½` to `12` have a letter."""
    sums = "Compute 1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9 = ?"
    index = index_of(table_of({"exam": [sums, HENS, "½ ≤ ² ∑ 12 — 3 ; 4 . 5 ≈ 6", ""]}), declared(["exam"]))
    assert index.not_searchable == {"exam": 3}
    assert index.texts["evaluation_id"].to_pylist() == ["1"]
    with_letters = [sums + " Why is it so?", "设函数满足以下条件证明", "x ½ ≤ ² ∑ 12 y — 3"]
    assert index_of(table_of({"exam": with_letters}), declared(["exam"])).not_searchable == {"exam": 0}


def test_unrelated_rows_have_no_hit() -> None:
    """Each ends in the last 6 tokens of a record and begins with the first 5."""
    middles = ["sun", "moon", "river", "stone", "apple", "window", "garden", "letter", "paper", "bridge", "engine"]
    rows = [
        row(f"A farmer has 12 {' '.join(middles[(n + k * (n % 7 + 1)) % 11] for k in range(40))} How much is that?")
        for n in range(20)
    ]
    assert hits(rows, {"exam": [HENS, BALLS]}) == []


def test_the_best_record_of_each_set_is_named_and_the_others_are_counted() -> None:
    near = HENS.replace("that", "it")
    sibling = near.replace("12", "13").replace("7", "6").replace("3", "4")
    texts = {"exam": [sibling, near, HENS, HENS, BALLS], "quiz": [near, BALLS]}
    exam, quiz = hits([row(HENS)], texts)
    assert (exam["evaluation_set"], exam["evaluation_id"], exam["tier"], exam["further"]) == (
        ("exam", "2", "verbatim", 3)
    )
    assert (quiz["evaluation_set"], quiz["evaluation_id"], quiz["tier"], quiz["further"]) == ("quiz", "0", "near", 0)


def test_what_becomes_of_a_row_is_what_its_tier_says() -> None:
    strict = ContaminationActions("reject", "reject", "reject")
    lenient = ContaminationActions("tag", "tag", "tag")
    sibling = row(HENS.replace("12", "13").replace("7", "6").replace("3", "4"))
    rows = [row(HENS), row(HENS.replace("that", "it")), sibling]
    assert [hit["action"] for hit in hits(rows, {"exam": [HENS]}, actions=strict)] == ["reject"] * 3
    assert [hit["action"] for hit in hits(rows, {"exam": [HENS]}, actions=lenient)] == ["tag"] * 3


def test_nothing_declared_and_no_rows_find_nothing() -> None:
    assert hits([row(HENS)], {}) == []
    assert hits([], {"exam": [HENS]}) == []


def test_a_table_of_other_sets_is_refused() -> None:
    with pytest.raises(UserError, match=r"^evaluation_sets holds exam, the catalog declares quiz\. Materialise"):
        index_of(table_of({"exam": [HENS]}), declared(["quiz"]))


def test_threads_change_nothing() -> None:
    """Rows for several slices of four megabytes."""
    rows = [
        row(f"{HENS} {n} " + f"word{n} filler " * 40_000) if n % 3 else row(f"{n} nothing " * 30) for n in range(24)
    ]
    one, several = (hits(rows, {"exam": [HENS, BALLS]}, threads) for threads in (1, 3))
    assert one == several
    assert [hit["row"] for hit in one] == [n for n in range(24) if n % 3]


WORDS = ["a", "b", "c", "12", "7", "3", "+", "="]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=8, max_size=30).map(" ".join), min_size=1, max_size=5),
    st.lists(st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join), min_size=1, max_size=4),
    st.sampled_from([0.3, 0.5, 0.7, 0.8, 1.0]),
)
def test_hits_are_those_of_the_plain_rule(records: list[str], heard: list[str], near: float) -> None:
    rows = [row(text, records[0] if place == 2 else "c b a") for place, text in enumerate(heard)]
    found = {(hit["row"]): hit for hit in hits(rows, {"exam": records}, near=near)}
    for place, text in enumerate(rows):
        expected = _plain_hits(text, records, near)
        assert (place in found) is bool(expected)
        if expected:
            tier, share, record = min(expected)
            told = found[place]
            assert told["tier"] == ["verbatim", "near", "template_sibling"][tier]
            assert (told["share"], told["evaluation_id"]) == (pytest.approx(-share), str(record))
            assert told["further"] == len(expected) - 1


def _plain_hits(text: str, records: Sequence[str], near: float) -> list[tuple[int, float, int]]:
    """(tier, minus share, record) of every record found in a row, by sets of tuples of tokens."""
    there = compared(text.encode())
    exact, masked = set(), set()
    for part in (there.spoken.decode(), there.heard.decode()):
        exact |= shingles(tokens(part))
        masked |= shingles(_masked(part))
    found = []
    for number, record in enumerate(records):
        pairs = dict(zip(zip(*(tokens(record)[k:] for k in range(5)), strict=False), _windows(record), strict=True))
        evidence = {gram: mask for gram, mask in pairs.items() if any(re.search(rb"[a-z]", token) for token in gram)}
        if len(evidence) < 4:
            continue
        as_it_is = len(evidence.keys() & exact) / len(evidence)
        blind = sum(mask in masked for mask in evidence.values()) / len(evidence)
        if as_it_is == 1 or (as_it_is >= near and blind < 1):
            found.append((0 if as_it_is == 1 else 1, -as_it_is, number))
        elif blind >= near:
            found.append((2, -blind, number))
    return found


def _masked(text: str) -> list[bytes]:
    return [b"#" if numbers(token.decode()) == [token] else token for token in tokens(text)]


def _windows(text: str) -> list[tuple[bytes, ...]]:
    return list(zip(*(_masked(text)[k:] for k in range(5)), strict=False))
