"""What a policy cuts, in figures: the same for trying it out and for making it.

Belongs here: counts, coverage, overlap, histograms of subset and control, shortfalls in words. Does not: choosing rows
(`select`), showing them (`web`, `subset_plots`, the command line).
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from nemo_assets.catalog import SubsetPolicy
from nemo_assets.compiled import compiled
from nemo_assets.selection.columns import filled
from nemo_assets.selection.normalised import Normalised
from nemo_assets.selection.predicates import columns_of_subset
from nemo_assets.selection.select import Selection, is_scored, sum_where
from nemo_assets.selection.strata import codes_of

Array = npt.NDArray[Any]

LAST_TENTH = 100
"""The bin of tenths of a nat that takes all above."""

UNITS = {
    "completion_tokens": "tokens, lower edges, powers of two",
    "nll_mean": "nats per token, lower edges of tenths",
    "meta_correctness": "share of attempts, lower edges of tenths",
}
_CLASSES = ("meta_domain", "dataset", "quality_has_tool")
_UNKNOWN = "unknown"
_OCTAVES = 32  # of tokens, which are below 2^31
_LISTED = 5  # strata that notes name, of those that fall short most


def report(selections: Mapping[str, Selection], normalised: Normalised, policy: SubsetPolicy) -> dict[str, Any]:
    """Plain values for JSON.

    `scored`: rows, tokens and strata that were chosen from; `subsets`: by name what each takes, from which strata,
    beside its random control; `overlap`: rows that two subsets share; `units`: of histograms and differences.
    """
    rows = normalised.rows
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        biases = dict(zip(_COMPARED, threads.map(lambda name: _bias(name, rows, selections), _COMPARED), strict=True))
    scored, tokens = sum_where(is_scored(rows), rows["tokens"].fill_null(0).to_numpy())
    return {
        "scored": {
            "rows": scored, "kept_rows": rows.height, "in_strata": int(normalised.strata["rows"].sum()),
            "tokens": tokens, "strata": normalised.strata.height,
        },
        "subsets": {name: _subset(found, policy, normalised, biases) for name, found in selections.items()},
        "overlap": _overlap(selections, rows.height),
        "units": {**UNITS, "difference": normalised.difference_unit},
    }  # fmt: skip


def _subset(
    found: Selection, policy: SubsetPolicy, normalised: Normalised, biases: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    entry, taken = policy.subsets[found.name], found.allocation
    is_cut = found.unavailable is None
    return {
        "purpose": entry.purpose.strip(), "rule": " ".join(entry.predicate.split()), "trusted": entry.trusted,
        "unavailable": found.unavailable, "notes": list(_notes(found, policy, normalised)),
        "steps": [step._asdict() for step in found.steps],
        "rows": len(found.rows), "tokens": int(taken["tokens"].sum()),
        "budget": {"amount": found.budget, "unit": found.unit} if found.budget is not None else None,
        "control": _control(found) if entry.control and is_cut else None,
        "strata": _coverage(found, normalised), "shortfall": _shortfall(found),
        "bias": {name: of_subsets[found.name] for name, of_subsets in biases.items() if is_cut},
    }  # fmt: skip


def _control(found: Selection) -> dict[str, int]:
    return {"rows": len(found.control), "tokens": int(found.allocation["control_tokens"].sum())}


def _coverage(found: Selection, normalised: Normalised) -> list[dict[str, Any]]:
    """One line a stratum that is entitled to something or has a candidate, with its label."""
    labels = normalised.strata.select("stratum", "label")
    lines = found.allocation.join(labels, on="stratum", how="left", maintain_order="left")
    return lines.with_columns(pl.col("label").fill_null("no stratum: truncated")).drop("stratum").to_dicts()


def _shortfall(found: Selection) -> int:
    """What of the budget there are no candidates for, in its unit."""
    if found.budget is None:
        return 0
    usable = found.allocation.filter(pl.col("wanted") > 0)[f"candidate_{found.unit}"].sum()
    return max(0, found.budget - int(usable))


def _notes(found: Selection, policy: SubsetPolicy, normalised: Normalised) -> Iterator[str]:
    """What somebody should know before training on it, each naming the subset and the strata."""
    name = found.name
    if found.unavailable:
        yield f"{name}: unavailable, {found.unavailable}; nothing stands in for it."
        return
    if empty := [each for each in columns_of_subset(policy, name) if _is_empty(each, normalised)]:
        yield f"{name}: its rule reads {' and '.join(empty)}, which no row has."
    if not len(found.rows):
        yield f"{name}: no row satisfies its rule." if not found.steps[-2].rows else f"{name}: no row fits its budget."
    if short := _shortfall(found):
        yield f"{name}: {short:,} {found.unit} of the budget of {found.budget:,} have no candidates in any stratum."
    yield from _short_strata(found, normalised)
    if policy.subsets[name].control:
        yield from _short_control(found)


def _is_empty(name: str, normalised: Normalised) -> bool:
    """Whether no row has a value of a column."""
    values = (normalised.quantiles if name in normalised.quantiles.columns[1:] else normalised.rows)[name]
    return values.null_count() == len(values)


def _short_strata(found: Selection, normalised: Normalised) -> Iterator[str]:
    labelled = found.allocation.join(normalised.strata.select("stratum", "label"), on="stratum", maintain_order="left")
    missing = pl.col("wanted") - pl.col(f"candidate_{found.unit}")
    short = labelled.with_columns(missing=missing).filter(pl.col("missing") >= 1).sort("missing", descending=True)
    for label, wanted, supply in short.head(_LISTED).select("label", "wanted", f"candidate_{found.unit}").iter_rows():
        yield (
            f"{found.name}: stratum {label} has {supply:,} {found.unit} of the {int(wanted):,} it is entitled to; "
            "the others share the rest."
        )
    if short.height > _LISTED:
        yield f"{found.name}: {short.height - _LISTED:,} further strata have less than they are entitled to."


def _short_control(found: Selection) -> Iterator[str]:
    """Where rows were taken, but the random control has none to take instead, or much less."""
    taken, control = (int(found.allocation[name].sum()) for name in ("tokens", "control_tokens"))
    if control < 0.99 * taken:
        yield f"{found.name}: its random control has {control:,} tokens to {taken:,}; trusted rows are too few."


def _overlap(selections: Mapping[str, Selection], rows: int) -> dict[str, dict[str, dict[str, float]]]:
    """By two names: rows in both, and their share of the rows in either."""
    told: dict[str, dict[str, dict[str, float]]] = {name: {} for name in selections}
    member = np.zeros(rows, np.bool_)
    for one, other in itertools.combinations_with_replacement(selections.values(), 2):
        if one.name == other.name:
            member[:] = False
            member[one.rows] = True
        shared = _count_members(member, other.rows)
        either = len(one.rows) + len(other.rows) - shared
        entry = {"rows": shared, "jaccard": round(shared / max(either, 1), 6)}
        told[one.name][other.name] = told[other.name][one.name] = entry
    return told


class _Column(NamedTuple):
    """A column cut into bins: the bin of every row, the label of every bin, and the values themselves if numbers.

    number: of the label of each code, if they are not the same. Means are of whole multiples of `unit`, whose sum does
    not depend on the order of the rows.
    """

    codes: Array
    labels: Sequence[str]
    number: Array | None = None
    values: Array | None = None
    unit: float = 1e-9

    def compared(self, rows: Array, control: Array) -> dict[str, Any]:
        """Rows of subset and control by bin, the total variation distance between them, and the means of numbers."""
        counts = [self._counts(places) for places in (rows, control)]
        told: dict[str, Any] = {
            name: {label: int(rows) for label, rows in zip(self.labels, count, strict=True) if rows}
            for name, count in zip(("subset", "control"), counts, strict=True)
        }
        if len(rows) and len(control):
            shares = [count / count.sum() for count in counts]
            told["total_variation"] = round(float(np.abs(shares[0] - shares[1]).sum() / 2), 6)
        if self.values is not None:
            told["means"] = {"subset": self._mean(rows), "control": self._mean(control)}
        return told

    def _counts(self, places: Array) -> Array:
        counts = np.zeros(len(self.labels), np.int64)
        if self.number is None:
            _count_codes(self.codes, places, counts)
            return counts
        of_codes = np.zeros(len(self.number), np.int64)
        _count_codes(self.codes, places, of_codes)
        np.add.at(counts, self.number, of_codes)
        return counts

    def _mean(self, places: Array) -> float | None:
        if self.values is None:
            return None
        known, total = _sum_known(self.values, places, 1 / self.unit)
        return round(int(total) * self.unit / known, 6) if known else None


def _bias(name: str, rows: pl.DataFrame, selections: Mapping[str, Selection]) -> dict[str, Any]:
    """How each subset differs from its control in one column, by the name of the subset."""
    column = _COMPARED[name](rows[name])
    cut = [found for found in selections.values() if found.unavailable is None]
    return {found.name: column.compared(found.rows, found.control) for found in cut}


def _lengths(column: pl.Series) -> _Column:
    tokens = column.fill_null(0).to_numpy()
    return _Column(_octaves(tokens), [str(1 << power) for power in range(_OCTAVES)], values=tokens, unit=1)


# The slack of tenths: one in single precision may lie a little below itself.
def _nlls(column: pl.Series) -> _Column:
    nlls = column.to_numpy()
    return _Column(_tenths(nlls, LAST_TENTH, 1e-4), _edges(LAST_TENTH), values=nlls)


def _shares(column: pl.Series) -> _Column:
    shares = filled(column, math.nan, np.float32)
    return _Column(_tenths(shares, 10, 1e-5), [*_edges(10), _UNKNOWN], values=shares)


def _edges(last: int) -> list[str]:
    return [f"{tenth / 10:.1f}" for tenth in range(last + 1)]


def _classes(column: pl.Series) -> _Column:
    """Classes in the order of their texts."""
    there = column.unique()
    texts = [
        _UNKNOWN if value is None else str(value).lower() if isinstance(value, bool) else str(value) for value in there
    ]
    known = sorted(set(texts))
    found = codes_of(there)
    number = np.zeros(int(found.max()) + 1 if len(found) else 0, np.int64)
    number[found] = [known.index(text) for text in texts]
    return _Column(codes_of(column), known, number)


_COMPARED: dict[str, Callable[[pl.Series], _Column]] = {
    "completion_tokens": _lengths,
    "nll_mean": _nlls,
    "meta_correctness": _shares,
    **dict.fromkeys(_CLASSES, _classes),
}
"""What subset and control are compared by, and how each column is cut into bins."""


@compiled
def _octaves(tokens: Array) -> Array:
    """floor(log2(tokens)), 0 for none."""
    out = np.empty(len(tokens), np.uint8)
    for row in range(len(tokens)):
        out[row] = math.frexp(max(tokens[row], 1))[1] - 1
    return out


@compiled
def _tenths(values: Array, last: int, slack: float) -> Array:
    """floor(10 x value), `last` for all above, one more for none."""
    out = np.empty(len(values), np.uint8)
    for row in range(len(values)):
        out[row] = last + 1 if np.isnan(values[row]) else min(max(np.floor(values[row] * 10.0 + slack), 0.0), last)
    return out


@compiled
def _count_codes(codes: Array, places: Array, counts: Array) -> None:
    for place in places:
        counts[codes[place]] += 1


@compiled
def _sum_known(values: Array, places: Array, factor: float) -> tuple[int, np.int64]:
    known, total = 0, np.int64(0)
    for place in places:
        if not np.isnan(values[place]):
            known += 1
            total += np.int64(values[place] * factor + 0.5)
    return known, total


@compiled
def _count_members(member: Array, places: Array) -> int:
    count = 0
    for place in places:
        count += member[place]
    return count
