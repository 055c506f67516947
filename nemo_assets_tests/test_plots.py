"""Figures and plots of a search for duplicates."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest

from nemo_assets import plots
from nemo_assets.dedup.bands import Banding

BANDING = Banding(18, 7)

PLOTS: dict[str, Callable[[], bytes]] = {
    "curve": lambda: plots.collision_curve(BANDING, 0.8),
    "similarities": lambda: plots.similarity_histogram({"80": 3, "100": 40_000}, {"64": 2, "80": 1}, 0.8),
    "no similarities": lambda: plots.similarity_histogram({}, {}, 0.8),
    "groups": lambda: plots.group_size_histogram({"1": 1500, "4": 2}),
    "no groups": lambda: plots.group_size_histogram({}),
}


def texts_in(picture: bytes) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize(
    ("similarity", "label"),
    # 1 - (1 - s^7)^18: 0.8^7 = 0.2097152, 1 - 0.7902848^18 = 0.985542; 0.85^7 = 0.3205771, 1 - 0.6794229^18 = 0.999048;
    # 0.9^7 = 0.4782969, 1 - 0.5217031^18 = 0.99999182; 1 is certain.
    [(0.8, "0.8: 98.55 %"), (0.85, "0.85: 99.90 %"), (0.9, "0.9: 99.99 %"), (1, "1: 100.00 %")],
)
def test_recall_is_that_of_the_formula_and_never_rounded_up(similarity: float, label: str) -> None:
    assert plots.recall_label(BANDING, similarity) == label


def test_the_curve_shows_bands_and_recall() -> None:
    shown = texts_in(PLOTS["curve"]())
    assert {"18 bands of 7 slots, threshold 0.8", "0.8: 98.55 %", "0.85: 99.90 %", "0.9: 99.99 %"} <= set(shown)


def test_the_curve_goes_through_what_the_formula_says() -> None:
    """Its line has a point each hundredth, x to the right and y downwards from the top, 460 by 220 pixels."""
    drawn = PLOTS["curve"]().decode()
    line = next(d for d in re.findall(r'd="(M[^"]+)"', drawn) if d.count("L") == 100)
    points = [tuple(map(float, point.split(","))) for point in re.split("[ML]", line)[1:]]
    assert points[0] == (0, 220)
    assert points[100] == (460, 0)
    assert points[50] == pytest.approx((230, 220 * (1 - 0.131665)), abs=0.01)  # 1 - (1 - 0.5^7)^18
    assert points[80] == pytest.approx((368, 220 * (1 - 0.985542)), abs=0.01)


def test_similarities_are_counted_by_hundredths_from_below() -> None:
    # 0.58 * 100 is 57.99… as a float, and so is 0.29 * 100 = 28.99…; both belong to their own hundredth.
    similarities = np.array([0.58, 0.5899, 0.29, 0.8, 0.799999, 1.0, 57 / 100])
    assert plots.similarity_bins(similarities) == {"29": 1, "57": 1, "58": 2, "79": 1, "80": 1, "100": 1}


def test_sizes_are_counted_by_doublings() -> None:
    sizes = np.array([1, 1, 2, 3, 4, 7, 8, 1023, 1024])
    assert plots.size_bins(sizes) == {"1": 2, "2": 2, "4": 2, "8": 1, "512": 1, "1024": 1}
    assert plots.size_bins(np.array([], np.int64)) == {}


def test_a_class_of_sizes_that_nobody_has_is_shown_as_none() -> None:
    shown = texts_in(PLOTS["groups"]())
    assert shown.count("2–3") == 1
    assert {"1,502 survivors of removed rows", "1.5k", "0", "2"} <= set(shown)


def test_ticks_of_small_and_large_counts_are_told_apart() -> None:
    """Vega would write each tick in the unit of the highest: `0k` for 300."""
    shown = texts_in(PLOTS["similarities"]())
    assert {"300", "1k", "30k"} <= set(shown)
    assert "0k" not in shown


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_is_svg_that_needs_nothing_else_and_always_the_same(name: str) -> None:
    picture = PLOTS[name]()
    root = ElementTree.fromstring(picture)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert picture == PLOTS[name]()
    assert not re.search(rb"href|url\(|<script|<image|@import", picture)
    assert b'fill="white"' in picture  # readable on a dark page too


def test_markdown_holds_the_picture_and_what_it_means() -> None:
    meaning, encoded = re.fullmatch(
        r"!\[(.*)\]\(data:image/svg\+xml;base64,(.*)\)", plots.as_markdown(b"<svg/>", "nothing")
    ).groups()  # type: ignore[union-attr]
    assert (meaning, base64.b64decode(encoded)) == ("nothing", b"<svg/>")
