"""Tokens against the rule in plain Python, and by hand where a mistake would change what mathematics means."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nemo_assets.dedup.tokens import NUMBER, tokens_of
from nemo_assets_tests.dedup import reference
from nemo_assets_tests.dedup.hostile import characters, texts


def hashes(text: str) -> list[int]:
    return [int(token) for token in tokens_of(text.encode())]


def is_same_partition(text: str) -> None:
    """Equal tokens have equal hashes, different ones different hashes, and numbers are marked."""
    expected, found = reference.tokens(text), hashes(text)
    assert len(found) == len(expected)
    pairs = set(zip(expected, found, strict=True))
    assert len(pairs) == len(set(expected)) == len(set(found))
    numbers = [token for token, value in zip(expected, found, strict=True) if value & int(NUMBER)]
    assert numbers == reference.numbers(text)


@settings(deadline=None, max_examples=400)  # the first call compiles
@given(texts)
@example("")
@example("a" * 64)
@example("\\" * 63 + "\\x")
@example("a" * 63 + "1")
@example("1" * 64 + "2")
@example("x" * 62 + "é")
@example("ж" * 32 + "ж1")
def test_tokens_are_those_of_the_rule(text: str) -> None:
    is_same_partition(text)


@settings(deadline=None)
@given(st.integers(0, 130), characters, st.sampled_from(["", "a", "1", " ", "ж", "\\", "设"]))
def test_a_character_at_any_place_of_a_block_is_read_whole(place: int, character: str, behind: str) -> None:
    for filling in ("a", "1", " ", "\\", "+"):
        is_same_partition(filling * place + character + behind)


def test_every_code_point_has_the_class_that_the_rule_gives_it() -> None:
    planes = (range(0x80, 0xD800), range(0xE000, 0x32000), range(0xE0000, 0xE0200), range(0x10FF00, 0x110000))
    points = [chr(point) for plane in planes for point in plane]  # between them nothing is assigned
    for begin in range(0, len(points), 1 << 15):
        is_same_partition("".join(f"α{character}β " for character in points[begin : begin + (1 << 15)]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2x+3", "2x-3"), ("2x+3", "3x+2"), (r"\Delta", r"\delta"), ("x²", "x³"), ("x_1", "x_2"), ("a<b", "a≤b"),
        ("12", "1 2"), ("ab", "a b"), ("设函数", "设函"), (r"\\frac", r"\frac"), ("x", "𝑥"), ("(a)", "[a]"),
        ("aaaaaaaa", "aaaaaaaaa"), ("1" * 8, "1" * 9), ("a", "aa"), ("É", "é"),
    ],
)  # fmt: skip
def test_what_means_something_else_has_other_tokens(one: str, other: str) -> None:
    assert hashes(one) != hashes(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Let X be", "let x  BE"), ("a\u2028b", "a b"), ("a\0b", "a\tb"), ("设 函 数", "设函数"), ("2x + 3", "2x+3"),
        ("\ufeffa\u200bb", "a b"), (r"\\frac", r"\ \frac"),
    ],
)  # fmt: skip
def test_case_and_white_space_change_nothing(one: str, other: str) -> None:
    assert hashes(one) == hashes(other)


def test_by_hand() -> None:
    two, x, plus, three = hashes("2x+3")
    assert [value & 1 for value in (two, x, plus, three)] == [1, 0, 0, 1]
    assert hashes("3+X 2") == [three, plus, x, two]
    backslash, command = hashes(r"\\frac")
    assert hashes("\\") == [backslash]
    assert hashes(r"\frac") == [command] != hashes("frac")
    assert [value & 1 for value in hashes("x²𝟘٣½设")] == [0, 1, 1, 1, 1, 0]
