"""Nineteen digits in a row are seen wherever they stand, and nothing else is taken for them."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nemo_assets.records.long_integers import has_long_digits

# What the search over words could take for digits: neighbours of 0 and 9 in ASCII, and bytes that differ in one bit.
LOOKALIKES = b"/:;<=>?\x20\xb0\xb9\x10\x70"
lookalikes = st.lists(st.sampled_from(LOOKALIKES), max_size=30).map(bytes)
digits = st.integers(1, 40).flatmap(lambda count: st.lists(st.sampled_from(b"0189"), min_size=count, max_size=count))
lines = st.lists(st.binary(max_size=12) | lookalikes | digits.map(bytes), max_size=6).map(b"".join)


@settings(deadline=None)  # the first call compiles
@given(lines)
@example(b"")
@example(b"1234567")
def test_it_sees_what_the_pattern_sees(line: bytes) -> None:
    assert has_long_digits(line) == bool(re.search(rb"[0-9]{19}", line))


@pytest.mark.parametrize("count", range(14, 24))
def test_a_run_counts_at_every_alignment_and_at_either_end(count: int) -> None:
    for before in range(17):
        for behind in range(17):
            line = b"x" * before + b"7" * count + b"x" * behind
            assert has_long_digits(line) == (count >= 19), line


@pytest.mark.parametrize("before", range(8))
def test_what_looks_like_a_digit_ends_a_run(before: int) -> None:
    for lookalike in LOOKALIKES:
        line = b"x" * before + b"7" * 18 + bytes([lookalike]) + b"9" * 18
        assert not has_long_digits(line), line


def test_a_long_run_behind_many_short_ones_is_seen() -> None:
    short = b"123456789012345678," * 1000
    assert not has_long_digits(short)
    assert has_long_digits(short + b"1234567890123456789")
