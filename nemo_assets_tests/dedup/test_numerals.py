"""Numbers as they are written, against a slow reading of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_assets.dedup.numerals import numerals_digest
from nemo_assets.dedup.shingles import numbers_digest
from nemo_assets.dedup.tokens import PADDING, tokens_of
from nemo_assets_tests.dedup import reference


def digest(text: str) -> int:
    data = text.encode()
    tokens = tokens_of(data)
    written = int(numerals_digest(np.frombuffer(data + b" " * PADDING, np.uint8), len(data)))
    return (written + int(numbers_digest(tokens, len(tokens)))) % (1 << 64)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3.12", "12.3"), ("2.5 and 3.4", "2.4 and 3.5"), ("3/4", "4/3"), ("-3", "3"), ("(-3)", "(3)"),
        ("10^{5}", "10^{-5}"), ("1,234", "1.234"), ("is \u22122", "is 2"), ("10:30", "30:10"),
    ],
)  # fmt: skip
def test_the_same_digits_written_otherwise_are_other_numbers(one: str, other: str) -> None:
    assert digest(one) != digest(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("so 12 and 7.", "7 then 12!"), ("x is 3.\n4. Then", "4 is where 3 was"), ("(-3)", "is -3"),
        ("", "none at all"),
        ("12-7", "12+7"), ("is \u22122", "is -2"), ("x-2", "2 of x"),
    ],
)  # fmt: skip
def test_what_stands_around_numbers_does_not_count(one: str, other: str) -> None:
    assert digest(one) == digest(other)


texts = st.text(st.sampled_from("019.,/:-+^= ({a\u2212é"), max_size=90)


@given(texts, texts, st.integers(0, 70))
def test_equal_digests_are_equal_multisets_of_numerals(one: str, other: str, shift: int) -> None:
    moved = f"{'a' * shift} {one}"
    assert (digest(one) == digest(moved)) == (reference.numerals(one) == reference.numerals(moved))
    assert (digest(one) == digest(other)) == (reference.numerals(one) == reference.numerals(other))
