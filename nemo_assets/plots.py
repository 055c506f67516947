"""Plots of what duplicate search did, as SVG: the same figures give the same bytes.

The UI shows a picture in Markdown at once only while the Markdown is shorter than 1,000 characters, which no plot with
axes is, and behind a click else. So figures that must be seen belong beside a plot, not only in it.

Belongs here: counting into bins, drawing, Markdown. Does not: which figures are too high (`dedup.guards`).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nemo_assets.dedup.bands import Banding

if TYPE_CHECKING:  # costs half a second and 150 MB, which only what draws should pay
    import altair as alt

Bins = Mapping[str, int]
"""Counts by the lower edge of a bin, as text, which the keys of JSON are."""

RECALL_AT = (0.8, 0.85, 0.9)
"""Jaccard similarities whose expected recall is written at the curve."""

_WIDTH, _HEIGHT = 460, 220  # pixels
_BLUE, _YELLOW, _RED = "#2a7f9e", "#c9a227", "#c0392b"
_OUTCOMES = ("removed a row", "removed nothing")
_LEAST_SIZES = 4  # classes of sizes in a plot, so that one that is alone does not fill all of it


def similarity_bins(similarity: NDArray[np.float64]) -> dict[str, int]:
    """How many similarities lie in [edge, edge + 1) hundredths; 100 is the bin of what is equal."""
    # 0.58 is a little less than 58 hundredths as a float.
    return _counted(np.floor(similarity * 100 + 1e-9).astype(np.int64))


def size_bins(sizes: NDArray[np.int64]) -> dict[str, int]:
    """How many sizes lie in [edge, 2 * edge), for edges that are powers of two. Sizes are at least 1."""
    return _counted(np.int64(1) << (np.frexp(sizes)[1].astype(np.int64) - 1))


def _counted(edges: NDArray[np.int64]) -> dict[str, int]:
    values, counts = np.unique(edges, return_counts=True)
    return {str(value): count for value, count in zip(values.tolist(), counts.tolist(), strict=True)}


def recall_label(banding: Banding, similarity: float) -> str:
    """`0.85: 99.93 %`, rounded down, so that nothing short of certain is called so."""
    hundredths = int(banding.collision_probability(similarity) * 10_000)
    return f"{similarity:g}: {hundredths / 100:.2f} %"


def collision_curve(banding: Banding, threshold: float) -> bytes:
    """How likely two rows are compared at all, by their Jaccard similarity, and the recall to expect of it."""
    import altair as alt

    x = alt.X("at:Q", title="Jaccard similarity of two rows", scale=alt.Scale(domain=(0, 1)))
    y = alt.Y("probability:Q", title="probability of being compared", scale=alt.Scale(domain=(0, 1)))
    curve = alt.Chart(_on_curve(banding, [place / 100 for place in range(101)])).mark_line(color=_BLUE).encode(x, y)
    points = (
        alt.Chart(_on_curve(banding, RECALL_AT)).mark_point(color=_BLUE, filled=True, size=45, opacity=1).encode(x, y)
    )
    # The points lie too close together for labels of their own.
    lines = ["expected recall at", *(recall_label(banding, at) for at in RECALL_AT)]
    labels = alt.Data(
        values=[{"at": 0.04, "probability": 0.93 - 0.1 * n, "text": text} for n, text in enumerate(lines)]
    )
    text = alt.Chart(labels).mark_text(align="left", fontSize=12).encode(x, y, alt.Text("text:N"))
    title = f"{banding.bands} bands of {banding.rows} slots, threshold {threshold:g}"
    return _svg(alt.layer(_threshold_rule(threshold), curve, points, text), title)


def _on_curve(banding: Banding, places: Iterable[float]) -> alt.Data:
    import altair as alt

    return alt.Data(values=[{"at": at, "probability": banding.collision_probability(at)} for at in places])


def similarity_histogram(removed: Bins, others: Bins, threshold: float) -> bytes:
    """Pairs compared exactly, by the similarity that decided, in `similarity_bins`: did they remove a row or not?"""
    import altair as alt

    pairs: list[dict[str, Any]] = [
        {"from": int(edge) / 100, "to": (int(edge) + 1) / 100, "pairs": count, "nothing": 0, "outcome": outcome}
        for outcome, bins in zip(_OUTCOMES, (removed, others), strict=True)
        for edge, count in bins.items()
    ]
    lowest = min((pair["from"] for pair in pairs), default=threshold)
    x = alt.X("from:Q", title="similarity", scale=alt.Scale(domain=(min(lowest, threshold) - 0.01, 1.01), nice=False))
    # Counts differ by orders of magnitude; on such a scale bars cannot be stacked, so they lie behind one another.
    y = alt.Y("pairs:Q", title="pairs", stack=None, **_orders_of_magnitude([*removed.values(), *others.values()]))
    colours = alt.Scale(domain=_OUTCOMES, range=(_BLUE, _YELLOW))
    colour = alt.Color("outcome:N", scale=colours, legend=alt.Legend(title=None, orient="top"))
    bars = alt.Chart(alt.Data(values=pairs)).mark_bar(opacity=0.75, binSpacing=1)
    title = f"{sum(removed.values()):,} pairs removed a row, {sum(others.values()):,} removed nothing"
    layers = (bars.encode(x, y, colour, alt.X2("to:Q"), alt.Y2("nothing:Q")), _threshold_rule(threshold))
    return _svg(alt.layer(*layers), title)


def group_size_histogram(sizes: Bins) -> bytes:
    """Survivors by the number of rows that each stands for, in `size_bins`."""
    import altair as alt

    counts = {int(edge): count for edge, count in sizes.items()}
    edges = [1 << power for power in range(max(max(counts, default=1).bit_length(), _LEAST_SIZES))]
    groups = [
        {"rows": f"{edge:,}" if edge == 1 else f"{edge:,}–{2 * edge - 1:,}", "survivors": counts.get(edge, 0)}
        for edge in edges
    ]
    x = alt.X("rows:O", title="rows that one survivor stands for", sort=None, axis=alt.Axis(labelAngle=-45))
    y = alt.Y("survivors:Q", title="survivors", **_orders_of_magnitude(counts.values()))
    bars = alt.Chart(alt.Data(values=groups)).encode(x, y)
    text = bars.mark_text(dy=-7).encode(alt.Text("survivors:Q", format=".3~s"))
    return _svg(alt.layer(bars.mark_bar(color=_BLUE), text), f"{sum(counts.values()):,} survivors of removed rows")


def _orders_of_magnitude(counts: Iterable[int]) -> dict[str, Any]:
    """Scale and axis for counts from none to many, with ticks at 0, 1, 3, 10, 30, 100 and so on."""
    import altair as alt

    highest = max(counts, default=1)
    ticks = [0, *(step * 10**power for power in range(len(str(highest))) for step in (1, 3))]
    # Each tick in its own unit: `format` would take that of the highest for all of them.
    axis = alt.Axis(values=ticks, labelExpr="format(datum.value, '~s')")
    # A logarithm that has a place for zero.
    return {"scale": alt.Scale(type="symlog", domain=(0, highest)), "axis": axis}


def _threshold_rule(threshold: float) -> alt.Chart:
    import altair as alt

    rule = alt.Chart(alt.Data(values=[{"threshold": threshold}])).mark_rule(color=_RED, strokeDash=(5, 3))
    return rule.encode(alt.X("threshold:Q"))


def _svg(chart: alt.LayerChart, title: str) -> bytes:
    """On white, or a dark theme would swallow the axes. Without labels for each mark, which made half of the size."""
    drawn = io.StringIO()
    sized = chart.properties(width=_WIDTH, height=_HEIGHT, title=title, background="white")
    sized.configure(aria=False).save(drawn, format="svg")
    return drawn.getvalue().encode()


def as_markdown(picture: bytes, meaning: str) -> str:
    """An SVG as the UI shows it; `meaning` is for those who cannot see it."""
    return f"![{meaning}](data:image/svg+xml;base64,{base64.b64encode(picture).decode()})"
