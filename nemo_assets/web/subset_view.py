"""The report on training subsets laid out for a page: bins in the order of their axis, what they are called.

Belongs here: choosing and ordering for the page. Does not: the report (`selection.report`), markup (the templates).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from nemo_assets.web.charts import Bin, histogram

UNKNOWN = "unknown"
STRATA_SHOWN = 200  # of a subset, those that give most first
_THOUSAND = 1024  # lengths are powers of two
_HEAT = 5  # classes of the overlap matrix, from none to all

# What the bins of a trait are of and in which unit, as its axis says.
_AXES = {
    "completion_tokens": ("Completion length", "completion tokens, powers of two"),
    "nll_mean": ("NLL under the student", "nats per token"),
    "meta_correctness": ("Correctness", "share of attempts at the problem that were right"),
}
_NEXT_COLUMN = re.compile(r"/(?=\w+=)")  # in the label of a stratum; values hold slashes too
_CLASSES = {"meta_domain": "Domain", "dataset": "Dataset", "quality_has_tool": "Tool use"}


@dataclass(frozen=True)
class Trait:
    """One trait of a subset beside its control. `chart` for numbers, None for classes, whose bars stand in a table.

    total_variation: distance of the two distributions, from 0 (alike) to 1 (nothing in common); None without a control.
    means: of the subset and of the control, in the unit of the axis; None for classes, and where no row has a value.
    """

    name: str
    bins: tuple[Bin, ...]
    subset_rows: int
    control_rows: int
    total_variation: float | None
    means: tuple[float | None, float | None]
    chart: Markup | None


def traits_of(subset: Mapping[str, Any]) -> list[Trait]:
    """The traits in which a subset is compared with its control."""
    return [_trait(key, found) for key, found in subset.get("bias", {}).items()]


def _trait(key: str, found: Mapping[str, Any]) -> Trait:
    bins = tuple(_numbers(key, found) if key in _AXES else _classes(found))
    totals = [sum(getattr(each, side) for each in bins) for side in ("subset", "control")]
    name, axis = _AXES.get(key, (_CLASSES.get(key, key.replace("_", " ")), ""))
    distance = found.get("total_variation")
    chart = histogram(bins, axis, _told(name, bins, distance)) if key in _AXES else None
    means = found.get("means", {})
    return Trait(name, bins, totals[0], totals[1], distance, (means.get("subset"), means.get("control")), chart)


def _numbers(key: str, found: Mapping[str, Any]) -> Iterator[Bin]:
    """All bins from the lowest to the highest that has a row, also the empty ones between, and what is not known."""
    subset, control = found["subset"], found["control"]
    edges = [float(edge) for edge in (*subset, *control) if edge != UNKNOWN]
    for edge in _edges(key, min(edges), max(edges)) if edges else ():
        yield Bin(_label(key, edge), subset.get(edge, 0), control.get(edge, 0))
    if UNKNOWN in subset or UNKNOWN in control:
        yield Bin(UNKNOWN, subset.get(UNKNOWN, 0), control.get(UNKNOWN, 0), is_apart=True)


def _edges(key: str, lowest: float, highest: float) -> list[str]:
    """Lower edges as the report writes them."""
    if key == "completion_tokens":
        return [str(1 << power) for power in range(int(lowest).bit_length() - 1, int(highest).bit_length())]
    return [f"{tenth / 10:.1f}" for tenth in range(round(lowest * 10), round(highest * 10) + 1)]


def _label(key: str, edge: str) -> str:
    if key == "completion_tokens" and int(edge) >= _THOUSAND:
        return f"{int(edge) // _THOUSAND}k"
    return edge


def _classes(found: Mapping[str, Any]) -> list[Bin]:
    """The most frequent first."""
    subset, control = found["subset"], found["control"]
    bins = [Bin(name, subset.get(name, 0), control.get(name, 0)) for name in {**subset, **control}]
    return sorted(bins, key=lambda each: (-each.subset - each.control, each.label))


def _told(name: str, bins: tuple[Bin, ...], distance: float | None) -> str:
    """What somebody who does not see the chart is told."""
    told = [name]
    for side in ("subset", "control"):
        total = sum(getattr(each, side) for each in bins)
        if total:
            top = max(bins, key=lambda each: getattr(each, side))
            told.append(f"{side} most often {top.label}, {getattr(top, side) / total:.0%} of its rows")
    return "; ".join([*told, *([f"total variation distance {distance:.3f}"] if distance is not None else [])])


def heat(share: float) -> int:
    """Class of a share from 0 to 1 in the overlap matrix; 0 for none at all."""
    return 0 if share <= 0 else min(_HEAT - 1, 1 + int(share * (_HEAT - 1)))


def strata_of(subset: Mapping[str, Any]) -> tuple[list[dict[str, Any]], int]:
    """Lines of the strata that give most tokens, their labels with places to break at, and how many are left out."""
    lines = sorted(subset.get("strata", []), key=lambda line: (-line["tokens"], -(line["wanted"] or 0), line["label"]))
    shown = [line | {"label": _NEXT_COLUMN.sub(" / ", line["label"])} for line in lines[:STRATA_SHOWN]]
    return shown, max(0, len(lines) - STRATA_SHOWN)
