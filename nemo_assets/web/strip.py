"""Small graphs as SVG, drawn in layers from left to right. No scripts, no styles of their own: classes only.

Belongs here: where nodes and edges lie. Does not: what the nodes are (`row_view`), colours (the style sheet).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from nemo_assets.web.visible import visible

WIDTH, HEIGHT, GAP_X, GAP_Y, EDGE = 148, 46, 30, 14, 4  # pixels
_FITS = 21  # characters in a box


@dataclass(frozen=True)
class Node:
    """`kind` names the class: `pass`, `stop` or `idle`; `href` is an address that `links` made."""

    key: str
    title: str
    told: str
    kind: str
    href: str | None = None


def graph(nodes: Sequence[Node], edges: Sequence[tuple[str, str]], label: str) -> Markup:
    """The graph as an SVG element. Edges lead from earlier to later nodes of the sequence."""
    places = _places(nodes, edges)
    width = max(x for x, _ in places.values()) + WIDTH + EDGE
    height = max(y for _, y in places.values()) + HEIGHT + EDGE
    kinds = {node.key: node.kind for node in nodes}
    lines = [_edge(places[a], places[b], kinds[b]) for a, b in edges]
    boxes = [_box(node, *places[node.key]) for node in nodes]
    head = f'<svg class="graph" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="group"'
    return Markup("".join([f'{head} aria-label="{escape(visible(label))}">', *lines, *boxes, "</svg>"]))


def _places(nodes: Sequence[Node], edges: Sequence[tuple[str, str]]) -> dict[str, tuple[float, float]]:
    """The longest way to a node is its layer; in a layer nodes stand in the order of where they come from."""
    layer = {node.key: 0 for node in nodes}
    for node in nodes:
        for before, after in edges:
            if before == node.key:
                layer[after] = max(layer[after], layer[before] + 1)
    places: dict[str, tuple[float, float]] = {}
    for number in sorted(set(layer.values())):
        members = [node.key for node in nodes if layer[node.key] == number]
        members.sort(key=lambda key: _mean([places[a][1] for a, b in edges if b == key and a in places]))
        for position, key in enumerate(members):
            places[key] = (number * (WIDTH + GAP_X) + EDGE, position * (HEIGHT + GAP_Y) + EDGE)
    return places


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _edge(begin: tuple[float, float], end: tuple[float, float], kind: str) -> str:
    x1, y1 = begin[0] + WIDTH, begin[1] + HEIGHT / 2
    x2, y2 = end[0], end[1] + HEIGHT / 2
    middle = (x1 + x2) / 2
    head = f"M{x2 - 6:g} {y2 - 4:g}L{x2:g} {y2:g}L{x2 - 6:g} {y2 + 4:g}"
    return f'<path class="edge {kind}" d="M{x1:g} {y1:g}C{middle:g} {y1:g} {middle:g} {y2:g} {x2:g} {y2:g}{head}"/>'


def _box(node: Node, x: float, y: float) -> str:
    box = (
        f'<rect class="node {escape(node.kind)}" x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="8"/>'
        f'<text class="title" x="{x + 10:g}" y="{y + 19:g}">{_cut(node.title)}</text>'
        f'<text class="told" x="{x + 10:g}" y="{y + 36:g}">{_cut(node.told)}</text>'
    )
    whole = f"<title>{escape(visible(node.title))}: {escape(visible(node.told))}</title>"
    return f'<a href="{escape(node.href)}">{whole}{box}</a>' if node.href else f"<g>{whole}{box}</g>"


def _cut(text: str) -> str:
    safe = visible(text)
    return str(escape(safe if len(safe) <= _FITS else safe[: _FITS - 1] + "…"))


def bar(share: float, label: str, kind: str = "pass", width: int = 120) -> Markup:
    """A bar filled to `share` (0 to 1)."""
    filled = max(0.0, min(1.0, share)) * width
    return Markup(
        f'<svg class="bar" viewBox="0 0 {width} 10" width="{width}" height="10" role="img" '
        f'aria-label="{escape(visible(label))}"><rect class="rail" width="{width}" height="10" rx="5"/>'
        f'<rect class="{escape(kind)}" width="{filled:.1f}" height="10" rx="5"/></svg>'
    )
