"""The share of repeats: against a count of every window, alone and among other rows, and for texts made to mislead."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nemo_assets.records.repetition import WINDOW, _find_anchors, repeat_ratio, repeat_ratios


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def every_window(texts: list[bytes]) -> float:
    """The exact share: of all windows of all texts, those that stood before."""
    windows = [text[at : at + WINDOW] for text in texts for at in range(len(text) - WINDOW + 1)]
    return (len(windows) - len(set(windows))) / len(windows) if windows else 0.0


small = st.binary(max_size=80) | st.builds(lambda loop, times: loop * times, st.binary(max_size=20), st.integers(0, 99))
small_rows = st.lists(st.lists(small, max_size=4), max_size=6)
phrases = st.lists(st.integers(0, 5).map(lambda seed: noise(1_000 + 137 * seed, seed)), min_size=1, max_size=8)


@settings(deadline=None)  # the first call compiles
@given(st.lists(small, max_size=4).filter(bool))
@example([b""])
@example([b"x" * (WINDOW - 1)] * 9)
@example([b"x" * WINDOW])
def test_a_share_is_below_one_and_zero_where_no_window_repeats(texts: list[bytes]) -> None:
    ratio = repeat_ratio(texts)
    assert 0 <= ratio < 1
    if every_window(texts) == 0:
        assert ratio == 0


@settings(deadline=None)  # the first call compiles
@given(phrases, st.integers(1, 5))
def test_it_estimates_the_share_of_all_windows(pieces: list[bytes], bodies: int) -> None:
    text = b"".join(pieces)
    cut = -(-len(text) // bodies)
    texts = [text[begin : begin + cut] for begin in range(0, len(text), cut)]
    assert repeat_ratio(texts) == pytest.approx(every_window(texts), abs=0.15)


@pytest.mark.parametrize("times", [2, 3, 10])
def test_a_text_that_stands_k_times_repeats_itself_for_all_but_one_of_them(times: int) -> None:
    once = noise(20_000)
    assert repeat_ratio([once]) == 0
    assert repeat_ratio([once * times]) == pytest.approx((times - 1) / times, abs=0.01)
    assert repeat_ratio([once] * times) == pytest.approx((times - 1) / times, abs=0.01)


@pytest.mark.parametrize("period", [1, 2, 3, 7, 14, 31, 32, 50, 63, 64, 65, 100])
def test_a_loop_is_seen_whatever_its_length_and_letters(period: int) -> None:
    loops = [noise(period, seed) for seed in range(50)]
    assert min(repeat_ratio([loop * (50_000 // period)]) for loop in loops) > 0.8


@pytest.mark.parametrize("behind", [b"", noise(100)], ids=["at the end", "before other text"])
def test_a_short_loop_without_an_anchor_is_seen(behind: bytes) -> None:
    assert repeat_ratio([b"ab" * 300 + behind]) > 0.5


@settings(deadline=None)  # the first call compiles
@given(small_rows, st.data())
def test_a_row_has_the_share_it_has_alone_whatever_stands_around_it(
    rows: list[list[bytes]], data: st.DataObject
) -> None:
    around = st.binary(max_size=40)
    buffer, spans, row_starts = data.draw(around), [], [0]
    for texts in rows:
        for text in texts:
            spans.append((len(buffer), len(buffer) + len(text)))
            buffer += text + data.draw(around)
        row_starts.append(len(spans))
    behind = data.draw(st.binary(max_size=8))
    ratios = repeat_ratios(
        np.frombuffer(buffer + behind, np.uint8), np.array(spans, np.int64).reshape(-1, 2), np.array(row_starts)
    )
    assert ratios.tolist() == [repeat_ratio(texts) if texts else 0 for texts in rows]


def measured(rows: list[bytes], behind: bytes = b"") -> list[float]:
    """The shares of rows of one body each, in one buffer, with the same bytes behind each."""
    ends = np.cumsum([len(row + behind) for row in rows])
    begins = ends - [len(row + behind) for row in rows]
    spans = np.stack([begins, ends - len(behind)], axis=1)
    data = np.frombuffer(b"".join(row + behind for row in rows), np.uint8)
    return list(map(float, repeat_ratios(data, spans, np.arange(len(rows) + 1))))


def test_rows_of_every_size_share_a_table_and_nothing_in_it() -> None:
    long, short = noise(100_000), noise(100_000)[:200]  # the short ones begin as the long one does
    rows = [short, long, short, long, long + long, long, short * 2, b"", short]
    ratios = measured(rows)
    assert ratios == [repeat_ratio([row]) for row in rows]
    assert np.flatnonzero(ratios).tolist() == [4, 6]


def test_many_rows_together_have_more_windows_than_the_table_and_each_is_measured() -> None:
    rows = [noise(500, seed) * 2 for seed in range(300)]
    ratios = measured(rows)
    assert ratios == [repeat_ratio([row]) for row in rows]
    assert min(ratios) > 0.2


@pytest.mark.parametrize("size", range(WINDOW, WINDOW + 16))
def test_anchors_of_a_longer_text_do_not_show_in_a_shorter_one(size: int) -> None:
    loop = b"ab" * WINDOW  # has no anchor of its own
    short = loop[:size]
    assert measured([of_anchors(200), short], behind=loop) == [0, 0]


def test_no_window_reaches_across_the_end_of_a_body() -> None:
    piece = noise(WINDOW - 1)
    assert repeat_ratio([piece * 100]) > 0.8
    assert repeat_ratio([piece] * 100) == 0


@pytest.mark.parametrize("seed", range(20))
def test_passages_one_byte_shorter_than_a_window_do_not_count(seed: int) -> None:
    piece = noise(WINDOW - 1, seed)
    assert repeat_ratio([b"".join(piece + bytes([number]) for number in range(256))]) == 0


def test_a_text_of_nothing_but_anchors_is_measured_too() -> None:
    text = of_anchors(5_000)  # far more windows than the table has slots
    assert repeat_ratio([text]) == 0
    assert 0 < repeat_ratio([text, text]) < 1


def of_anchors(size: int) -> bytes:
    """Bytes without rhyme that have an anchor at every place."""
    lots, text, marks = random.Random(0), bytearray(3), np.zeros(4 * 256, np.uint8)
    while len(text) < size:
        candidates = b"".join(text[-3:] + bytes([byte]) for byte in range(256))
        _find_anchors(np.frombuffer(candidates + bytes(3), np.uint8), marks)
        text.append(lots.choice(np.flatnonzero(marks[::4])))
    return bytes(text)
