"""Histograms of two groups of rows as SVG: a subset as filled bars, its control as a line around. Classes only.

Belongs here: scales, axes, where bars lie. Does not: counting (`selection.report`), colours (the style sheet).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from nemo_assets.web.visible import visible

WIDTH, HEIGHT = 560, 230  # pixels, with axes
LEFT, RIGHT, TOP, BOTTOM = 58, 10, 10, 46
_MOST_LABELS = 9  # on an axis of bins
_STEPS = (1, 2, 5, 10)  # times a power of ten, between marks of the vertical axis
_MARKS = 4  # of the vertical axis, about


@dataclass(frozen=True)
class Bin:
    """One bin: its label, rows of the subset and of its control. `is_apart`: it has no place on the axis of numbers."""

    label: str
    subset: int
    control: int
    is_apart: bool = False


def histogram(bins: Sequence[Bin], axis: str, label: str) -> Markup:
    """Shares of rows by bin, each group by itself; `axis` says what the bins are of, in which unit."""
    totals = [max(1, sum(getattr(each, name) for each in bins)) for name in ("subset", "control")]
    shares = [(each.subset / totals[0], each.control / totals[1]) for each in bins]
    step = _step(max((max(pair) for pair in shares), default=0.0))
    highest = step * max(1, math.ceil(max((max(pair) for pair in shares), default=0.0) / step - 1e-9))
    width = (WIDTH - LEFT - RIGHT) / max(1, len(bins))
    body = [
        *_vertical(step, highest),
        *(_bar(number * width, width, pair[0] / highest) for number, pair in enumerate(shares)),
        _outline([pair[1] / highest for pair in shares], width),
        *_horizontal(bins, width, axis),
    ]
    head = f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(visible(label))}">'
    return Markup("".join([head, *body, "</svg>"]))


def _step(highest: float) -> float:
    """Between marks: 1, 2 or 5 times a power of ten, for about `_MARKS` marks."""
    wanted = max(highest, 1e-4) / _MARKS
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(step * power for step in _STEPS if step * power >= wanted * (1 - 1e-9))


def _y(share: float) -> float:
    """Where a share of the highest mark lies."""
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)


def _bar(x: float, width: float, share: float) -> str:
    gap = min(1.0, width / 8)
    top = _y(share)
    return (
        f'<rect class="subset" x="{LEFT + x + gap:.1f}" y="{top:.1f}" width="{width - 2 * gap:.1f}" '
        f'height="{_y(0) - top:.1f}"/>'
    )


def _outline(shares: Sequence[float], width: float) -> str:
    """The control: one line over the tops of what would be its bars."""
    steps = [f"M{LEFT} {_y(0):.1f}"]
    for number, share in enumerate(shares):
        steps.append(f"V{_y(share):.1f}H{LEFT + (number + 1) * width:.1f}")
    return f'<path class="control" d="{"".join(steps)}V{_y(0):.1f}"/>' if any(shares) else ""


def _vertical(step: float, highest: float) -> list[str]:
    lines = []
    for mark in range(round(highest / step) + 1):
        y = _y(mark * step / highest)
        lines.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        lines.append(f'<text class="end" x="{LEFT - 6}" y="{y + 4:.1f}">{100 * mark * step:.4g} %</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    lines.append(f'<text class="mid" transform="translate(12 {middle:.0f}) rotate(-90)">share of rows</text>')
    return lines


def _horizontal(bins: Sequence[Bin], width: float, axis: str) -> list[str]:
    """Labels at the lower edges of bins; below its middle for one that is apart."""
    every = max(1, -(-len(bins) // _MOST_LABELS))
    baseline, lines = HEIGHT - BOTTOM, []
    for number, each in enumerate(bins):
        x = LEFT + number * width
        if each.is_apart:
            lines.append(f'<text class="mid" x="{x + width / 2:.1f}" y="{baseline + 16}">{_text(each.label)}</text>')
        elif number % every == 0 and not any(other.is_apart for other in bins[number + 1 : number + every]):
            lines.append(f'<path class="tick" d="M{x:.1f} {baseline}v4"/>')
            lines.append(f'<text class="mid" x="{x:.1f}" y="{baseline + 16}">{_text(each.label)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    return [*lines, f'<text class="mid" x="{middle:.0f}" y="{HEIGHT - 8}">{_text(axis)}</text>']


def _text(text: str) -> str:
    return str(escape(visible(text)))


def pair(subset: float, control: float, label: str, width: int = 220) -> Markup:
    """Two bars, one above the other, filled to shares from 0 to 1."""
    lengths = [max(0.0, min(1.0, share)) * width for share in (subset, control)]
    return Markup(
        f'<svg class="pair" viewBox="0 0 {width} 16" width="{width}" height="16" role="img" '
        f'aria-label="{escape(visible(label))}"><rect class="rail" width="{width}" height="16" rx="3"/>'
        f'<rect class="subset" width="{lengths[0]:.1f}" height="8"/>'
        f'<rect class="control" y="8" width="{lengths[1]:.1f}" height="8"/></svg>'
    )
