"""The pictures of a dataset card, as PNG: the same records give the same bytes.

Belongs here: drawing the histograms of release records. Does not: counting (`stages`), where the card shows them
(`hub.card_page`).
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nemo_assets.hub.card_content import IMAGES
from nemo_assets.subset_plots import Distribution, Point, nll_bands, selection_funnel, student_against_reference

if TYPE_CHECKING:  # costs half a second and 150 MB, which only what draws should pay
    import altair as alt

Record = Mapping[str, Any]
"""The release record of a split, or the record of its scores."""

# Okabe and Ito's colours, told apart with any kind of colour vision, without those too pale on white.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
_WIDTH, _HEIGHT = 560, 220  # pixels, of which the picture has two for one
_SCALE = 2
_FONT = "Liberation Sans"  # comes with vl-convert: the fonts of the machine are of no influence
_INK, _GRID = "#333333", "#dddddd"
_UNKNOWN = "none"
_LAST_TENTH = 100  # of a nat: the bin of scores that takes all above


def card_images(records: Iterable[Record], results: Iterable[Record] = ()) -> dict[str, bytes]:
    """Path in the repo → picture, for all that the records of releases and of scores have figures for.

    `results` are records with `checkpoints`: by name, with a `histogram` of nll_mean by lower edge, in tenths; and with
    `subsets`: by name, with `nll` and `points`.
    """
    told, scored = list(records), list(results)
    scores = _summed_by_checkpoint(scored)
    tokens, correctness, domain, nll, *of_subsets = IMAGES
    drawn = {
        tokens: _tokens(_binned(told, "tokens")),
        correctness: _correctness(_binned(told, "correctness")),
        domain: _domains(_binned(told, "domain")),
        nll: _nll(scores),
        **dict(zip(of_subsets, _subsets(scored), strict=True)),
    }
    return {path: picture for path, picture in drawn.items() if picture is not None}


Bins = Mapping[str, Mapping[str, int]]
"""Counts by series (a split, a checkpoint) and by bin."""


def _binned(records: Sequence[Record], histogram: str) -> dict[str, dict[str, int]]:
    """By split; summed where there are more splits than colours."""
    by_split = {str(record["split"]): dict(record["histograms"].get(histogram, {})) for record in records}
    if len(by_split) <= len(_COLOURS):
        return by_split
    return {f"all {len(by_split)} splits": _sum(by_split.values())}


def _summed_by_checkpoint(results: Iterable[Record]) -> dict[str, dict[str, int]]:
    found: dict[str, list[Mapping[str, int]]] = {}
    for record in results:
        for name, checkpoint in record["checkpoints"].items():
            found.setdefault(name, []).append(checkpoint["histogram"])
    return {name: _sum(found[name]) for name in sorted(found)}


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for key, count in each.items():
            total[key] = total.get(key, 0) + count
    return total


def _tokens(bins: Bins) -> bytes | None:
    """Lower edges are powers of two, so every bar is as wide as the next on the axis."""
    import altair as alt

    edges = sorted(int(edge) for edge in _sum(bins.values()))
    if not edges:
        return None
    axis = [1 << power for power in range(edges[0].bit_length() - 1, edges[-1].bit_length())]
    labels = [_range_label(edge) for edge in axis]
    title = "length of text (tokens, approximately: code points / 4)"
    x = alt.X("bin:O", scale=alt.Scale(domain=labels), title=title, axis=alt.Axis(labelAngle=-45))
    values = _values(bins, lambda edge: _range_label(int(edge)))
    return _png(_stacked(values, x, list(bins)), "Length of rows", bins)


def _range_label(edge: int) -> str:
    """`512–1023` or `4–8 Ki`: from a power of two up to and without the next one."""
    if edge < 1 << 10:
        return f"{edge}–{2 * edge - 1}"
    unit, name = (1 << 10, "Ki") if edge < 1 << 20 else (1 << 20, "Mi")
    return f"{edge // unit}–{2 * edge // unit} {name}"


def _correctness(bins: Bins) -> bytes | None:
    import altair as alt

    if not _sum(bins.values()):
        return None
    labels = [*(f"{tenth / 10:.1f}–{(tenth + 1) / 10:.1f}" for tenth in range(10)), "1.0", "unknown"]

    def label(edge: str) -> str:
        return labels[-1] if edge == _UNKNOWN else labels[round(float(edge) * 10)]

    title = "accuracy of the teacher on the problem, best condition (share of attempts; unknown: never evaluated)"
    x = alt.X("bin:O", scale=alt.Scale(domain=labels), title=title, axis=alt.Axis(labelAngle=0))
    return _png(_stacked(_values(bins, label), x, list(bins)), "Correctness", bins)


def _domains(bins: Bins) -> bytes | None:
    import altair as alt

    total = _sum(bins.values())
    if not total:
        return None
    order = sorted(total, key=lambda domain: (-total[domain], domain))
    y = alt.Y("bin:N", scale=alt.Scale(domain=order), title=None)
    # Room at the end for the count of the longest bar.
    room = alt.Scale(domain=(0, total[order[0]] * 1.15), nice=False)
    x = alt.X("sum(rows):Q", title="rows", axis=_count_axis(tickCount=6), scale=room)
    bars = alt.Chart(alt.Data(values=_values(bins, str))).mark_bar()
    counts = alt.Data(values=[{"bin": domain, "rows": total[domain]} for domain in order])
    text = alt.Chart(counts).mark_text(align="left", dx=5, color=_INK, fontSize=11)
    layers = (
        bars.encode(x, y, _colour(list(bins)), alt.Order("place:Q")),
        text.encode(x, y, alt.Text("sum(rows):Q", format=",")),
    )
    return _png(alt.layer(*layers), "Domains", bins, height=max(60, 34 * len(order)))


def _nll(bins: Bins) -> bytes | None:
    """Outlines, for these histograms lie over one another."""
    import altair as alt

    tenths = {name: {round(float(edge) * 10): count for edge, count in counts.items()} for name, counts in bins.items()}
    highest = max((tenth for counts in tenths.values() for tenth in counts), default=None)
    if highest is None:
        return None
    # One more than the last bin, so that its step comes down to nothing.
    values = [
        {"nll": tenth / 10, "rows": counts.get(tenth, 0), "series": name}
        for name, counts in tenths.items()
        for tenth in range(highest + 2)
    ]
    above = "; the last bin takes all above" if highest == _LAST_TENTH else ""
    title = f"mean negative log-likelihood of a row (nats per token{above})"
    x = alt.X("nll:Q", title=title, scale=alt.Scale(domain=(0, (highest + 1) / 10), nice=False))
    y = alt.Y("rows:Q", title="rows per tenth of a nat", axis=_count_axis(), stack=None)
    chart = alt.Chart(alt.Data(values=values)).encode(x, y, _colour(list(bins), title="checkpoint"))
    lines = chart.mark_line(interpolate="step-after", strokeWidth=2)
    areas = chart.mark_area(interpolate="step-after", opacity=0.15, line=False)
    return _png(alt.layer(areas, lines), "Surprise of each checkpoint", bins, counted="scores")


def _subsets(results: Sequence[Record]) -> tuple[bytes | None, bytes | None, bytes | None]:
    """Distribution, student against reference, and sizes of the training subsets; nothing of those without rows."""
    found: dict[str, list[Any]] = {}
    for record in results:
        for name, subset in record.get("subsets", {}).items():
            found.setdefault(name, []).append(subset)
    rows = {name: sum(each["rows"] for each in told) for name, told in found.items()}
    if not any(rows.values()):
        return None, None, None
    groups = {
        name: Distribution(*(_sum(each["nll"][which] for each in found[name]) for which in ("all", "chosen")))
        for name, count in rows.items()
        if count
    }
    points = {tuple(point) for told in found.values() for each in told for point in each["points"]}
    scored = max(sum(group.all.values()) for group in groups.values())
    return (
        nll_bands(groups, "Training subsets among all scored rows", "png"),
        student_against_reference([Point(*point) for point in sorted(points)], "Student against reference", "png")
        if points
        else None,
        selection_funnel([("scored", scored), *rows.items()], "Rows of the training subsets", "png"),
    )


def _values(bins: Bins, label: Any) -> list[dict[str, Any]]:
    return [
        {"bin": label(edge), "rows": count, "series": series, "place": place}
        for place, (series, counts) in enumerate(bins.items())
        for edge, count in counts.items()
    ]


def _stacked(values: list[dict[str, Any]], x: alt.X, series: Sequence[str]) -> alt.Chart:
    import altair as alt

    y = alt.Y("sum(rows):Q", title="rows", axis=_count_axis())
    bars = alt.Chart(alt.Data(values=values)).mark_bar()
    return bars.encode(x, y, _colour(series), alt.Order("place:Q"))


def _count_axis(**properties: Any) -> alt.Axis:
    import altair as alt

    # Each tick in its own unit: `format` would take that of the highest for all of them.
    text = "datum.value < 1000 ? format(datum.value, ',') : format(datum.value, '~s')"
    return alt.Axis(labelExpr=text, tickMinStep=1, grid=True, **properties)


def _colour(series: Sequence[str], title: str = "split") -> alt.Color:
    """A legend only where there is something to tell apart."""
    import altair as alt

    colours = [_COLOURS[place % len(_COLOURS)] for place in range(len(series))]
    legend = alt.Legend(title=title, orient="right", symbolType="square", symbolOpacity=1) if len(series) > 1 else None
    return alt.Color("series:N", scale=alt.Scale(domain=list(series), range=colours), legend=legend)


def _png(
    chart: alt.Chart | alt.LayerChart, title: str, bins: Bins, height: int = _HEIGHT, counted: str = "rows"
) -> bytes:
    """On white, or a dark page would swallow the axes."""
    import altair as alt

    total = sum(_sum(bins.values()).values())
    only = f", {next(iter(bins))}" if len(bins) == 1 else ""
    heading = alt.TitleParams(title, subtitle=f"{total:,} {counted}{only}", anchor="start", offset=10)
    sized = chart.properties(width=_WIDTH, height=height, title=heading, background="white", padding=14)
    styled = sized.configure(font=_FONT, aria=False).configure_view(stroke=None)
    styled = styled.configure_title(fontSize=15, color=_INK, subtitleColor="#666666", subtitleFontSize=12)
    styled = styled.configure_axis(
        labelColor=_INK, titleColor=_INK, gridColor=_GRID, domainColor="#999999", tickColor="#999999",
        labelFontSize=11, titleFontSize=11, titleFontWeight="normal", titlePadding=8, labelLimit=240,
    ).configure_axisX(grid=False)  # fmt: skip
    styled = styled.configure_legend(labelColor=_INK, titleColor=_INK, labelFontSize=11, titleFontSize=11)
    return _rendered(styled)


def _rendered(chart: alt.Chart | alt.LayerChart) -> bytes:
    drawn = io.BytesIO()
    chart.save(drawn, format="png", scale_factor=_SCALE)
    return drawn.getvalue()
