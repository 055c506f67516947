"""Which tokens are scored, given their characters."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nemo_assets.harmony import token_mask


def scored_by(tokens: list[tuple[int, int]], spans: list[tuple[int, int]]) -> tuple[list[int], int]:
    mask = token_mask(tokens, spans)
    return np.flatnonzero(mask.scored).tolist(), mask.straddlers


def test_a_token_is_scored_iff_it_begins_inside_a_span():
    tokens = [(0, 5), (5, 8), (8, 10), (10, 14), (14, 15)]
    assert scored_by(tokens, [(5, 10), (14, 15)]) == ([1, 2, 4], 0)


def test_a_token_that_begins_inside_a_span_and_ends_behind_it_is_scored():
    assert scored_by([(0, 3), (3, 9)], [(3, 5)]) == ([1], 0)


def test_a_token_that_begins_before_a_span_and_ends_inside_it_is_left_out_and_counted():
    assert scored_by([(0, 2), (2, 6), (6, 7)], [(4, 7)]) == ([2], 1)


def test_all_pieces_of_a_character_that_takes_several_tokens_are_scored():
    # an astronaut emoji at code points 3..6 in four tokens, the span ends with it
    assert scored_by([(0, 3), (3, 4), (3, 4), (4, 5), (5, 6), (6, 8)], [(3, 6)]) == ([1, 2, 3, 4], 0)


def test_the_first_token_has_no_predecessor_and_is_not_scored():
    assert scored_by([(0, 2), (2, 4)], [(0, 4)]) == ([1], 0)


def test_tokens_without_characters_and_empty_spans_do_not_count():
    assert scored_by([(0, 0), (0, 2), (2, 2), (2, 3)], [(0, 0), (2, 3)]) == ([3], 0)


def test_no_spans_and_no_tokens():
    assert scored_by([(0, 2)], []) == ([], 0)
    assert scored_by([], [(0, 2)]) == ([], 0)


@given(
    st.lists(st.integers(0, 4), max_size=30),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), max_size=6),
)
def test_the_mask_is_the_definition(widths: list[int], gaps_and_lengths: list[tuple[int, int]]):
    edges = np.cumsum([0, *widths])
    tokens = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    spans, at = [], 0
    for gap, length in gaps_and_lengths:
        spans.append((at + gap, at + gap + length))
        at += gap + length
    inside = [any(begin <= start < end for begin, end in spans) and stop > start for start, stop in tokens]
    straddles = [
        not within and any(start < begin < stop and end > begin for begin, end in spans)
        for (start, stop), within in zip(tokens, inside, strict=True)
    ]
    assert scored_by(tokens, spans) == ([k for k, within in enumerate(inside) if within and k >= 1], sum(straddles))
