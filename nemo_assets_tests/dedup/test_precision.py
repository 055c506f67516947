"""The sample of removals and the page that shows them."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_assets.dedup import precision
from nemo_assets.dedup.precision import Removal, precision_report, sample_of, stretches, summary_of

REMOVAL = Removal(
    id="r1", partition="alpha/low", text="", survivor_id="r2", survivor_partition="alpha/high", survivor_text="",
    similarity=0.85, spoken_similarity=0.9, containment=0.95, shared_bands=3, threshold=0.8,
)  # fmt: skip


def removal(gone: str, stays: str, asked: str = "Why?", asked_there: str = "Why?", **figures: float | str) -> Removal:
    def text(question: str, answer: str) -> str:
        user = f"<|start|>user<|message|>{question}<|end|>"
        return f"{user}<|start|>assistant<|channel|>final<|message|>{answer}<|return|>"

    return replace(REMOVAL, text=text(asked, gone), survivor_text=text(asked_there, stays), **figures)


def marked(pair: Removal) -> list[str]:
    """What the article of a pair strikes out (-) and marks (+), in order."""
    article = precision_report("distilled", [pair], 1).partition("<article")[2]
    found = re.findall(r"<(del|ins)>(.*?)</\1>", article, re.DOTALL)
    return [f"{'-' if tag == 'del' else '+'}{html.unescape(text)}" for tag, text in found]


@pytest.mark.parametrize(
    ("gone", "stays", "marks"),
    [
        ("so x is 12 now", "so x is 13 now", ["-12", "+13"]),
        ("so it is", "so it really is", ["+really"]),
        ("so it really is", "so it is", ["-really"]),
        (r"$\frac{x+1}{2}$", r"$\frac{x-1}{2}$", ["-+", "+-"]),  # one sign of a formula, not all of it
        (r"\Delta", r"\delta", ["-\\Delta", "+\\delta"]),
        ("今天天气很好", "今天天气不好", ["-很", "+不"]),
        ("one\n\ntwo  three", "one two three", []),
        ("", "word", ["+word"]),
        ("aé1" * 66 + "x" * 9, "aé1" * 66 + "x" * 8 + "y", ["-" + "x" * 9, "+" + "x" * 8 + "y"]),  # one word of 99s
        ("a < b && c", "a > b && c", ["-<", "+>"]),
    ],
)
def test_exactly_the_words_that_differ_are_marked(gone: str, stays: str, marks: list[str]) -> None:
    assert marked(removal(gone, stays)) == marks


def test_what_is_asked_is_told_apart_from_what_is_answered() -> None:
    page = precision_report("distilled", [removal("Red.", "Blue.", "Which one?", "Which?")], 1)
    others, assistant = page.partition("What others say")[2].split("What the assistant says", 1)
    assert ("<del>one</del>" in others, "<del>Red</del><ins>Blue</ins>" in assistant) == (True, True)


@given(st.text("ab \n<&\\1é好'", max_size=40), st.text("ab \n<&\\1é好'", max_size=40))
def test_no_word_is_lost_or_made_up(gone: str, stays: str) -> None:
    found = list(stretches(gone, stays))
    assert "".join(word for stretch in found for word in stretch.gone) == gone.rstrip()
    assert "".join(word for stretch in found for word in stretch.added) == stays.rstrip()
    for stretch in found:
        bare = [[word.lstrip() for word in side] for side in (stretch.gone, stretch.added)]
        assert (bare[0] == bare[1]) == (stretch.kind == "equal")


def test_text_of_rows_is_never_markup() -> None:
    attack = '<script>alert("1")</script><img src=x onerror=y> &lt;'
    asked = " ".join([attack] * 9)  # so long that it is folded
    spoiled = removal(attack, f"{attack} {attack}", asked, asked, id=attack, partition=attack, survivor_id=attack)
    page = precision_report(attack, [replace(spoiled, survivor_partition=attack)], 1)
    names = set(re.findall(r"<([a-z]+)", page.replace("<!doctype", "")))
    assert "<details>" in page
    assert not names & {"script", "img", "iframe", "object", "link"}
    assert page.count(html.escape(attack)) >= 7  # title, headline, ids, splits, texts


def test_the_page_loads_and_runs_nothing() -> None:
    page = precision_report("distilled", [removal("see https://example.org", "see nothing")], 1)
    assert not re.search(r"<script|<link|@import|url\(|\bsrc=|\bon\w+=", page)
    assert {target[:1] for target in re.findall(r'href="([^"]*)"', page)} == {"#"}
    assert "default-src 'none'" in page
    anchors, targets = set(re.findall(r'href="#(\w+)"', page)), set(re.findall(r'\bid="(\w+)"', page))
    assert anchors <= targets


def test_long_equal_stretches_fold_away() -> None:
    words = [f"w{number}" for number in range(100)]
    page = precision_report("distilled", [removal(" ".join([*words, "end"]), " ".join([*words, "stop"]))], 1)
    # Of 100 equal words 12 stay on either side.
    assert "⋯ 76 equal words" in page
    folded = re.search("<details><summary>.*?</summary>(.*?)</details>", page)
    assert folded is not None
    assert folded[1].split() == words[12:88]
    short = [*words[:36], "end"]
    assert "<details>" not in precision_report("distilled", [removal(" ".join(short), " ".join(short[:36]))], 1)


def test_a_text_too_long_to_compare_is_cut_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "WORDS_COMPARED", 3)
    pair = removal("same a b c d e f ending", "same u v w x y ending")
    assert marked(pair) == ["-a b c", "+u v w"]
    page = precision_report("distilled", [pair], 1)
    assert "[too long: 3 words of the removed row and 2 of the one that stays are not compared here]" in page
    assert page.count("ending") == 1  # what is equal at the end is still shown


def test_a_difference_deep_in_a_long_text_is_found() -> None:
    many = "word " * 20_000
    pair = removal(f"{many} left {many}", f"{many} right {many}")
    assert marked(pair) == ["-left", "+right"]
    page = precision_report("distilled", [pair], 1)
    assert page.count("⋯ 19,976 equal words") == 2
    assert page.count("word ") < 4_100  # of what is folded away not all is in the page


def test_the_least_similar_come_first_however_they_are_given() -> None:
    pairs = [
        removal("a b", "a c", id="far", similarity=0.81), removal("a b", "a d", id="near", similarity=0.99),
        removal("a b", "a e", id="also far", similarity=0.81),
    ]  # fmt: skip
    lines = summary_of(pairs)
    assert [line["removed"] for line in lines] == ["also far", "far", "near"]
    assert lines == summary_of(pairs[::-1])
    page = precision_report("distilled", pairs, 1_234)
    assert page == precision_report("distilled", pairs[::-1], 1_234)
    assert "3 of 1,234 rows" in page
    assert page.index("also far") < page.index(">far<") < page.index(">near<")


def test_a_line_tells_how_many_words_differ_and_the_first_of_them() -> None:
    (line,) = summary_of([removal("a b c", "a x y c z", "Why 1?", "Why 2?")])
    assert (line["words_that_differ"], line["first"], line["survivor"]) == (1 + 2 + 1, "1 → 2", "r2")
    assert summary_of([removal("a  b", "a b")])[0]["first"] == "white space"
    assert summary_of([removal("a", "a b")])[0]["first"] == "∅ → b"
    long = summary_of([removal("a", "a " + "b " * 500)])[0]
    assert (len(str(long["first"])), long["words_that_differ"]) == (161, 500)


def test_no_removal_is_no_table() -> None:
    page = precision_report("rendered", [], 0)
    assert "No row was removed for its similarity" in page
    assert "<table>" not in page


@given(st.permutations([bytes([number]) * 16 for number in range(120)]))
def test_the_sample_does_not_depend_on_the_order_of_rows(uids: list[bytes]) -> None:
    ordered = sorted(uids)
    chosen, places = {ordered[place] for place in sample_of(ordered)}, sample_of(uids)
    assert {uids[place] for place in places} == chosen
    assert len(chosen) == 50
    assert (np.diff(places) > 0).all()


def test_of_few_rows_all_are_taken() -> None:
    assert sample_of([b"a" * 16, b"b" * 16]).tolist() == [0, 1]
    assert sample_of([]).tolist() == []
