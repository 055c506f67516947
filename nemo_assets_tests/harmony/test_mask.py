"""Which tokens are scored, given their characters."""

from __future__ import annotations

from typing import get_args

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nemo_assets.harmony import LossMode, Message, find_special_token, loss_spans, render_messages, token_mask


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


bodies = st.text(max_size=8).filter(lambda body: find_special_token(body) is None) | st.sampled_from(
    ["x = 1\n\n", "naïve 👩‍🚀 ∑", " <|", "|>", "  ", "to=python"]
)
messages = st.builds(
    Message,
    st.sampled_from(["user", "assistant", "assistant"]),
    bodies.filter(lambda body: body.isascii() or all(not "\ud800" <= c <= "\udfff" for c in body)),
    st.sampled_from([None, "analysis", "final"]),
    st.sampled_from([None, "python", "functions.f"]),
    st.sampled_from([None, "code", "<|constrain|>json"]),
    st.sampled_from([None, "bob"]),
)


@settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
@given(st.lists(messages, min_size=1, max_size=5), st.sampled_from(get_args(LossMode)), st.booleans())
def test_the_tokens_of_the_student_lie_wholly_inside_or_outside_of_the_mask(official, spoken, mode, terminators):
    text = render_messages(spoken, closing="training").text
    spans = loss_spans(text, mode, terminators)
    pieces = official.pieces(official.encode(text))
    mask = token_mask(offsets_of(text, pieces), spans)
    assert mask.straddlers == 0
    scored = b"".join(piece for piece, within in zip(pieces, mask.scored, strict=True) if within)
    assert scored == "".join(text[start:end] for start, end in spans).encode()


def offsets_of(text: str, pieces: list[bytes]) -> list[tuple[int, int]]:
    """Code points that each token touches; the pieces of one character all carry its range."""
    character_at = [number for number, character in enumerate(text) for _ in character.encode()]
    offsets, at = [], 0
    for piece in pieces:
        offsets.append((character_at[at], character_at[at + len(piece) - 1] + 1))
        at += len(piece)
    assert at == len(character_at)
    return offsets
