"""Plots of training subsets, as SVG for the UI and as PNG for a dataset card: the same figures give the same bytes.

Belongs here: drawing. Does not: counting (`stages.subsets`), where a picture is shown.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:  # costs half a second and 150 MB, which only what draws should pay
    import altair as alt

Bins = Mapping[str, int]
"""Rows by the lower edge of a tenth of a nat, as text, which the keys of JSON are."""

Form = Literal["svg", "png"]

# Of Okabe and Ito, told apart with any kind of colour vision; all on white, which dark pages leave as it is.
_ALL, _CHOSEN, _CONTROL = "#b4b4b4", "#0072B2", "#E69F00"
_INK, _GRID = "#333333", "#dddddd"
_WIDTH, _ROW, _SQUARE = 460, 64, 320  # pixels
_SCALE = 2  # of a PNG
_FONT = "Liberation Sans"  # comes with vl-convert: the fonts of the machine are of no influence
LAST_TENTH = 100
"""The bin of tenths of a nat that takes all above."""


class Distribution(NamedTuple):
    """Rows by nll_mean: all that are scored, and those that were chosen."""

    all: Bins
    chosen: Bins


class Point(NamedTuple):
    """One row under two checkpoints, in nats per token."""

    student: float
    reference: float
    chosen: bool


def nll_bands(groups: Mapping[str, Distribution], title: str, form: Form = "svg") -> bytes:
    """One strip a group, such as a split or a pool: where in the distribution of nll_mean the chosen rows lie."""
    import altair as alt

    shown = {name: found for name, found in groups.items() if found.all}
    tenths = [round(float(edge) * 10) for found in shown.values() for edge in found.all]
    highest = max(tenths, default=9)
    values = [
        {"group": name, "which": which, "rows": rows, "nll": float(edge), "next": round(float(edge) + 0.1, 1)}
        for name, found in shown.items()
        for which, bins in (("scored", found.all), ("chosen", found.chosen))
        for edge, rows in bins.items()
    ]
    above = "; the last bin takes all above" if highest == LAST_TENTH else ""
    x = alt.X(
        "nll:Q", title=f"nll_mean (nats per token{above})", scale=alt.Scale(domain=(0, (highest + 1) / 10), nice=False)
    )
    y = alt.Y("rows:Q", title="rows", axis=_count_axis(tickCount=2), stack=None)
    bars = alt.Chart(alt.Data(values=values)).mark_bar(binSpacing=0.5).encode(
        x, alt.X2("next:Q"), y, alt.Y2Datum(0), _which("scored", "chosen")
    )  # fmt: skip
    row = alt.Row(
        "group:N", sort=list(shown), title=None,
        header=alt.Header(labelAngle=0, labelAlign="left", labelAnchor="start", labelOrient="top", labelPadding=2),
    )  # fmt: skip
    faceted = bars.properties(width=_WIDTH, height=_ROW).facet(row=row, spacing=8)
    return _drawn(faceted.resolve_scale(y="independent"), title, form)


def student_against_reference(points: Sequence[Point], title: str, form: Form = "svg") -> bytes:
    """Each point a row. Above the line the student is more surprised than the reference."""
    import altair as alt

    highest = max((max(point.student, point.reference) for point in points), default=1.0) * 1.02
    scale = alt.Scale(domain=(0, highest), nice=False)
    values = [
        {"x": round(p.reference, 4), "y": round(p.student, 4), "which": "chosen" if p.chosen else "scored"}
        for p in sorted(points, key=lambda point: point.chosen)
    ]
    x = alt.X("x:Q", title="nll_mean of the reference (nats per token)", scale=scale)
    y = alt.Y("y:Q", title="nll_mean of the student (nats per token)", scale=scale)
    shape = alt.Shape(
        "which:N", scale=alt.Scale(domain=["scored", "chosen"], range=["circle", "triangle-up"]), legend=None
    )
    dots = alt.Chart(alt.Data(values=values)).mark_point(filled=True, size=16, opacity=0.6)
    ends = alt.Data(values=[{"x": 0, "y": 0}, {"x": highest, "y": highest}])
    line = alt.Chart(ends).mark_line(color=_INK, strokeDash=[4, 4], strokeWidth=1).encode(x, y)
    layered = alt.layer(line, dots.encode(x, y, _which("scored", "chosen"), shape))
    return _drawn(layered.properties(width=_SQUARE, height=_SQUARE), title, form)


def selection_funnel(steps: Sequence[tuple[str, int]], title: str, form: Form = "svg") -> bytes:
    """One bar a step with its count of rows, from all that are scored to those that were taken."""
    import altair as alt

    values = [
        {"step": step, "rows": rows, "of": "chosen" if step == steps[-1][0] else "scored"} for step, rows in steps
    ]
    most = max((rows for _, rows in steps), default=1)
    y = alt.Y("step:N", sort=None, title=None)
    # Room at the end for the count of the longest bar.
    x = alt.X(
        "rows:Q",
        title="rows",
        axis=_count_axis(tickCount=5),
        scale=alt.Scale(domain=(0, max(most, 1) * 1.2), nice=False),
    )
    colour = alt.Color("of:N", scale=alt.Scale(domain=["scored", "chosen"], range=[_ALL, _CHOSEN]), legend=None)
    bars = alt.Chart(alt.Data(values=values)).encode(x, y)
    text = bars.mark_text(align="left", dx=5, color=_INK).encode(alt.Text("rows:Q", format=","))
    height = max(60, 26 * len(steps))
    return _drawn(alt.layer(bars.mark_bar().encode(colour), text).properties(width=_WIDTH, height=height), title, form)


def _which(*names: str) -> alt.Color:
    import altair as alt

    colours = {"scored": _ALL, "chosen": _CHOSEN, "random control": _CONTROL}
    scale = alt.Scale(domain=list(names), range=[colours[name] for name in names])
    return alt.Color("which:N", scale=scale, legend=alt.Legend(title=None, orient="top", symbolOpacity=1))


def _count_axis(**properties: Any) -> alt.Axis:
    import altair as alt

    # Each tick in its own unit: `format` would take that of the highest for all of them.
    text = "datum.value < 1000 ? format(datum.value, ',') : format(datum.value, '~s')"
    return alt.Axis(labelExpr=text, tickMinStep=1, grid=True, **properties)


def _drawn(chart: alt.Chart | alt.LayerChart | alt.FacetChart, title: str, form: Form) -> bytes:
    import altair as alt

    heading = alt.TitleParams(title, anchor="start", offset=10)
    styled = chart.properties(title=heading, background="white", padding=12)
    styled = styled.configure(font=_FONT, aria=False).configure_view(stroke=None)
    styled = styled.configure_title(fontSize=14, color=_INK)
    styled = styled.configure_axis(
        labelColor=_INK, titleColor=_INK, gridColor=_GRID, labelFontSize=11, titleFontSize=11,
        titleFontWeight="normal", labelLimit=260,
    ).configure_axisX(grid=False)  # fmt: skip
    styled = styled.configure_legend(labelColor=_INK, labelFontSize=11).configure_header(
        labelColor=_INK, labelFontSize=11
    )
    if form == "png":
        picture = io.BytesIO()
        styled.save(picture, format="png", scale_factor=_SCALE)
        return picture.getvalue()
    drawn = io.StringIO()
    styled.save(drawn, format="svg")
    return drawn.getvalue().encode()
