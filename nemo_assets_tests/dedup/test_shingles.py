"""Shingles and digests, worked out again from the tokens."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.dedup.shingles import masked_digest, numbers_digest, sequence_digest, shingles_of
from nemo_assets.dedup.tokens import tokens_of
from nemo_assets_tests.dedup import reference
from nemo_assets_tests.dedup.hostile import texts

WORD = (1 << 64) - 1


def mixed(value: int) -> int:
    value = (value ^ value >> 32) * 0xD6E8FEB86659FD93 & WORD
    return value ^ value >> 32


def polynomial(tokens: list[int]) -> int:
    value = 0
    for token in tokens:
        value = (value * 0xC2B2AE3D27D4EB4F + token) & WORD
    return mixed(value)


def digests(text: str) -> tuple[int, int, int]:
    """Of its numbers, of its tokens without the values of numbers, of all its tokens."""
    tokens = tokens_of(text.encode())
    return (
        int(numbers_digest(tokens, len(tokens))),
        int(masked_digest(tokens, len(tokens))),
        int(sequence_digest(tokens, len(tokens))),
    )


@settings(deadline=None)  # the first call compiles
@given(texts | st.text("ab1 +", max_size=12))
def test_a_shingle_is_the_polynomial_of_five_tokens_or_of_all_if_they_are_fewer(text: str) -> None:
    tokens = [int(token) for token in tokens_of(text.encode())]
    if 0 < len(tokens) < 5:
        expected = [polynomial(tokens)]
    else:
        expected = [polynomial(tokens[place : place + 5]) for place in range(len(tokens) - 4)]
    assert shingles_of(text.encode()).tolist() == expected


@settings(deadline=None)
@given(texts)
def test_shingles_are_equal_where_their_tokens_are(text: str) -> None:
    assert len(set(shingles_of(text.encode()).tolist())) == len(reference.shingles(reference.tokens(text)))


@pytest.mark.parametrize(
    ("text", "count"), [("", 0), (" \n", 0), ("a", 1), ("a b c d", 1), ("a b c d e", 1), ("a+b+c+", 2)]
)
def test_how_many_there_are(text: str, count: int) -> None:
    assert len(shingles_of(text.encode())) == count


def test_the_order_of_tokens_matters_in_short_texts_too() -> None:
    one, moved, longer = (shingles_of(text).tolist() for text in (b"a b c", b"b a c", b"a b c d"))
    assert one != moved
    assert one != longer


@settings(deadline=None)
@given(st.lists(st.integers(0, 99).map(str) | st.sampled_from(["x", "+", "²", "设"]), max_size=20), st.randoms())
def test_numbers_may_move_but_not_change(words: list[str], order: random.Random) -> None:
    numbers, *_ = digests(" ".join(words))
    moved = order.sample(words, len(words))
    assert digests(" ".join(moved))[0] == numbers
    assert digests(" ".join([*moved, "7"]))[0] != numbers  # one more
    assert digests(" ".join(word for word in words if not reference.numbers(word)))[0] == digests("")[0]


@settings(deadline=None)
@given(texts, texts)
def test_digests_are_equal_exactly_where_what_they_stand_for_is(one: str, other: str) -> None:
    def what(text: str) -> tuple[list[bytes], list[bytes], list[bytes]]:
        numbers = reference.numbers(text)
        masked = [b"0" if token in numbers else token for token in reference.tokens(text)]
        return sorted(numbers), masked, reference.tokens(text)

    for first, second in ((one, other), (one, one.upper()), (one, one + " "), (one + "1", one + "2")):
        ours = [a == b for a, b in zip(digests(first), digests(second), strict=True)]
        assert ours == [a == b for a, b in zip(what(first), what(second), strict=True)]


def test_digests_by_hand() -> None:
    one, other, swapped = digests("Add 2 and 3."), digests("add 5  and 3."), digests("Add 3 and 2.")
    assert (one[0] == other[0], one[1] == other[1], one[2] == other[2]) == (False, True, False)
    assert (one[0] == swapped[0], one[1] == swapped[1], one[2] == swapped[2]) == (True, True, False)
    assert digests("Add 2 and 3.") == digests("ADD  2 and 3 .")
    assert digests("2 2 3")[0] != digests("2 3 3")[0]
    assert digests("a 1")[1] != digests("1 a")[1]
    assert np.uint64(digests("")[2]) == digests(" ")[2]
