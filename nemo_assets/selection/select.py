"""Which rows each subset of a policy takes.

    trust and predicate → not taken by an earlier subset → ranked in their stratum → caps → budget by stratum

Nothing depends on the order of rows: what is equal in all that a policy names is ordered by the hash of its id.

Belongs here: these steps for every subset. Does not: normalised columns (`normalised`), dividing a budget
(`allocation`), the random control (`control`), what is told of it (`report`, `reasons`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from nemo_assets.catalog.subset_policy import Budget, SubsetEntry, SubsetPolicy
from nemo_assets.compiled import compiled
from nemo_assets.selection.allocation import Shares, divide, weights
from nemo_assets.selection.columns import SLICE, filled
from nemo_assets.selection.control import RandomOrder
from nemo_assets.selection.normalised import Normalised
from nemo_assets.selection.ordering import (
    Key,
    by_hash,
    by_number,
    by_value,
    codes_of_equals,
    grouped,
    occurrences,
    places_of,
    places_within,
    sorted_within,
    within_caps,
)
from nemo_assets.selection.predicates import check_policy, subset_predicate, trust_predicate

Array = npt.NDArray[Any]

ALLOCATION: dict[str, type[pl.DataType]] = {
    "stratum": pl.UInt32, "weight": pl.Float64, "wanted": pl.Float64, "candidate_rows": pl.Int64,
    "candidate_tokens": pl.Int64, "rows": pl.Int64, "tokens": pl.Int64, "control_rows": pl.Int64,
    "control_tokens": pl.Int64,
}  # fmt: skip
"""Columns of the table of what each stratum gives. `wanted` is in the unit of the budget, null without a budget; the
last line, without a stratum, is of rows that were scored but cut, and therefore are in none."""

_SCORE_OF = {
    "student": "nll_mean",
    "reference": "reference_nll_mean",
    "unconditional": "unconditional_nll_mean_first_512",
}
"""A column that only a role that is scored has values in."""

_IS_SCORED = ((pl.col("status") == "ok") & pl.col("nll_mean").is_not_null()).fill_null(False)

_BLIND = 1 << 32  # beyond all seeds: controls are drawn by other hashes than those by which ties are broken


class Step(NamedTuple):
    """What is left after a step of choosing."""

    name: str
    rows: int
    tokens: int


@dataclass(frozen=True)
class Selection:
    """What one subset took.

    rows, control: places in `Normalised.rows`, ascending. place, of: of each taken row its place, from 1, in the
    ranking of its stratum after caps, and how many are ranked there; None where nothing ranks them. budget: in `unit`,
    None where all is taken. unavailable: why there is no such subset.
    """

    name: str
    rows: Array
    control: Array
    place: Array | None = None
    of: Array | None = None
    steps: tuple[Step, ...] = ()
    allocation: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=ALLOCATION))
    budget: int | None = None
    unit: str = "tokens"
    unavailable: str | None = None


class _Scored(NamedTuple):
    """What choosing looks at of every row; rows in no stratum have the number after the last one.

    gates: by whether a subset is trusted, the rows that it is chosen from, and the steps to them. rules: whether each
    row satisfies the predicate of each subset, a column each.
    """

    rows: pl.DataFrame
    stratum: Array
    strata: int
    tokens_of_strata: Array
    tokens: Array
    gates: dict[bool, tuple[Array, tuple[Step, ...]]]
    rules: pl.DataFrame
    ties: tuple[Key, ...]
    random: RandomOrder


class _Ranked(NamedTuple):
    """Candidates in order of stratum and, within it, of the ranking. begins: where each stratum begins, and the end."""

    places: Array
    begins: Array


def select_all(normalised: Normalised, policy: SubsetPolicy) -> dict[str, Selection]:
    """Every subset of the policy, in the order of the policy.

    Raises UserError where the policy names a column that is not there.
    """
    check_policy(policy)
    scored = _scored(normalised, policy)
    taken = np.zeros(len(scored.tokens), np.bool_)
    found = {}
    for name in (*policy.precedence, *(name for name in policy.subsets if name not in policy.precedence)):
        found[name] = _select(name, scored, policy, taken if name in policy.precedence else None)
        if name in policy.precedence:
            taken[found[name].rows] = True
    return {name: found[name] for name in policy.subsets}


def is_scored(rows: pl.DataFrame) -> Array:
    """Whether the student was scored on each row, be it on a part; no other row is in any subset."""
    scored: Array = rows.select(_IS_SCORED).to_series().to_numpy()
    return scored


def _judged(normalised: Normalised, conditions: Sequence[pl.Expr]) -> pl.DataFrame:
    """Whether each row satisfies each condition, of which one at least speaks of columns; slice by slice, by which what
    is computed on the way stays small.
    """
    slices = [normalised.rows.head(0), *normalised.rows.iter_slices(SLICE)]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        return pl.concat(
            threads.map(lambda some: normalised.with_quantiles(some).select(conditions), slices), rechunk=True
        )


def _scored(normalised: Normalised, policy: SubsetPolicy) -> _Scored:
    rows, count = normalised.rows, normalised.strata.height
    stratum = filled(rows["stratum"], count, np.uint16 if count < 1 << 16 else np.uint32)
    tokens = rows["tokens"].fill_null(0).to_numpy()
    gate = [_IS_SCORED.alias("scored"), trust_predicate(policy).alias("trusted")]
    judged = _judged(
        normalised, [*gate, *(subset_predicate(policy, name).alias(f"rule {name}") for name in policy.subsets)]
    )
    scored = judged["scored"].to_numpy()
    trusted = scored & judged["trusted"].to_numpy()
    steps = (_step("scored", scored, tokens), _step("trusted", trusted, tokens))
    hashes = rows["id_hash"].to_numpy()
    # Two rows with the same id are told apart by where they are.
    last = tuple(by_number(rows[name].to_numpy()) for name in ("split_number", "row"))
    has_controls = any(subset.control for subset in policy.subsets.values())
    population = trusted & (stratum < count) & has_controls
    blind = (*by_hash(hashes, policy.seed + _BLIND), *last)
    random = RandomOrder.of(places_of(population), stratum, tokens, count, blind, policy.seed)
    ties = (*by_hash(hashes, policy.seed), *last)
    return _Scored(
        rows, stratum, count, np.append(normalised.strata["tokens"], 0), tokens,
        {False: (scored, steps[:1]), True: (trusted, steps)}, judged, ties, random,
    )  # fmt: skip


def _select(name: str, scored: _Scored, policy: SubsetPolicy, taken: Array | None) -> Selection:
    """One subset, without the rows that were `taken` earlier."""
    subset, nothing = policy.subsets[name], np.empty(0, np.uint32)
    if missing := _unscored(subset, scored.rows):
        return Selection(name, nothing, nothing, unavailable=f"{missing} is not scored")
    gate, gates = scored.gates[subset.trusted]
    member = scored.rules[f"rule {name}"].to_numpy(writable=True)
    member &= gate
    steps = [*gates, _step("rule", member, scored.tokens)]
    if taken is not None:
        member &= ~taken
        steps.append(_step("not in an earlier subset", member, scored.tokens))
    if not subset.ranking and not subset.caps and subset.budget is None:
        return _all(name, subset, places_of(member), steps, scored)
    ranked = _ranked(places_of(member), subset, scored)
    if subset.caps:
        ranked = _capped(ranked, subset, scored)
        steps.append(_by_stratum(ranked.places, scored).step("after caps"))
    return _first(name, subset, ranked, steps, scored)


def _unscored(subset: SubsetEntry, rows: pl.DataFrame) -> str:
    """The first needed role that has no score anywhere."""
    columns = {role: _SCORE_OF[role] for role in subset.needs}
    absent = (
        role for role, name in columns.items() if name not in rows.columns or rows[name].null_count() == rows.height
    )
    return next(absent, "")


def _step(name: str, member: Array, tokens: Array) -> Step:
    return Step(name, *sum_where(member, tokens))


def _ranked(places: Array, subset: SubsetEntry, scored: _Scored) -> _Ranked:
    in_strata, begins = grouped(places, scored.stratum, scored.strata + 1)
    # The policy's quantiles, which are no columns here, are equal within a stratum: they rank nothing.
    told = [key for key in subset.ranking if key.by in scored.rows.columns]
    keys = [by_value(scored.rows[key.by], key.descending) for key in told]
    ranked = _Ranked(sorted_within(in_strata, begins, [*keys, *scored.ties]), begins)
    if subset.spread_over is None:
        return ranked
    again = np.empty(len(places), np.uint32)
    best = _best_first(ranked, scored)
    again[best] = occurrences(codes_of_equals(scored.rows[subset.spread_over].gather(ranked.places[best])))
    return _Ranked(ranked.places[sorted_within(_numbers(len(places)), begins, [by_number(again)])], begins)


def _best_first(ranked: _Ranked, scored: _Scored) -> Array:
    """Numbers of the ranked rows of all strata in order of place over length of the ranking, equal ones by hash."""
    place, of = places_within(ranked.begins)
    share = by_number(place * np.uint64(0xFFFFFFFF) // of)
    ties = [_of_ranked(key, ranked.places) for key in scored.ties]
    return sorted_within(_numbers(len(place)), np.array([0, len(place)]), [share, *ties])


def _of_ranked(key: Key, places: Array) -> Key:
    return lambda numbers: key(places[numbers])


def _numbers(count: int) -> Array:
    return np.arange(count, dtype=np.uint32)


def _capped(ranked: _Ranked, subset: SubsetEntry, scored: _Scored) -> _Ranked:
    """Of rows with the same value, those that stand highest in the ranking of their stratum, wherever that is.

    A row that one cap puts aside does not count for the others.
    """
    best = _best_first(ranked, scored)
    codes = [codes_of_equals(scored.rows[column].gather(ranked.places[best])) for column in subset.caps]
    stays = np.zeros(len(best), np.bool_)
    stays[best] = within_caps(codes, list(subset.caps.values()))
    before = np.append(0, np.cumsum(stays))
    return _Ranked(ranked.places[stays], before[ranked.begins])


def _all(name: str, subset: SubsetEntry, rows: Array, steps: Sequence[Step], scored: _Scored) -> Selection:
    """All candidates, which nothing ranks."""
    taken = _by_stratum(rows, scored)
    control = _control(name, subset, taken.tokens, scored)
    table = _table(None, taken, taken, _by_stratum(control, scored))
    return Selection(name, rows, control, steps=(*steps, taken.step("taken")), allocation=table)


def _first(name: str, subset: SubsetEntry, ranked: _Ranked, steps: Sequence[Step], scored: _Scored) -> Selection:
    """The beginning of the ranking of each stratum, within its part of the budget."""
    unit = "rows" if subset.budget and subset.budget.rows else "tokens"
    candidates = _by_stratum(ranked.places, scored)
    amount, shares, member = None, None, np.ones(len(ranked.places), np.bool_)
    if subset.budget is not None:
        amount = _amount(subset.budget, steps[0].tokens)
        difference = _mean_difference(ranked, scored) if subset.allocation.by == "degradation" else np.empty(0)
        weight = weights(subset.allocation, scored.tokens_of_strata, difference)
        shares = divide(amount, weight, candidates.rows if unit == "rows" else candidates.tokens)
        sizes = scored.tokens[ranked.places] if unit == "tokens" else np.ones(len(ranked.places))
        member = within_shares(shares.given, np.append(0, np.cumsum(sizes, dtype=np.int64)), ranked.begins)
    rows = ranked.places[member]
    taken = _by_stratum(rows, scored)
    control = _control(name, subset, taken.tokens, scored)
    table = _table(shares, candidates, taken, _by_stratum(control, scored))
    order = sorted_within(_numbers(len(rows)), np.array([0, len(rows)]), [by_number(rows)])
    place, of = (numbers[member][order] for numbers in places_within(ranked.begins))
    return Selection(name, rows[order], control, place, of, (*steps, taken.step("taken")), table, amount, unit)


def _control(name: str, subset: SubsetEntry, tokens: Array, scored: _Scored) -> Array:
    return scored.random.matching(name, tokens if subset.control else np.zeros_like(tokens))


def within_shares(given: Array, total: Array, begins: Array) -> Array:
    """Whether each ranked row is among the first of its stratum that fit into what the stratum is given.

    What is too little for a further row is handed on to the next stratum, so that at most a row is missing in all.

    Args:
        total: size of all rows before each one, and of all. begins: where each stratum begins, and the end.
    """
    member, left = np.zeros(len(total) - 1, np.bool_), 1e-6  # sums of parts of a whole may fall short of it
    for stratum in np.flatnonzero(given):
        begin, end = begins[stratum], begins[stratum + 1]
        left += given[stratum]
        fits = int(np.searchsorted(total[begin : end + 1], total[begin] + left, "right")) - 1
        member[begin : begin + fits] = True
        left -= total[begin + fits] - total[begin]
    return member


def _amount(budget: Budget, tokens: int) -> int:
    """The budget in its unit; a share is of `tokens`, those of all scored rows."""
    return budget.tokens or budget.rows or round((budget.share or 0.0) * tokens)


class _ByStratum(NamedTuple):
    """(strata + 1,): counts of rows and tokens; the last of rows in no stratum."""

    rows: Array
    tokens: Array

    def step(self, name: str) -> Step:
        """The sums as what is left after a step."""
        return Step(name, int(self.rows.sum()), int(self.tokens.sum()))


def _by_stratum(places: Array, scored: _Scored) -> _ByStratum:
    counts = _ByStratum(np.zeros(scored.strata + 1, np.int64), np.zeros(scored.strata + 1, np.int64))
    _add_up(places, scored.stratum, scored.tokens, *counts)
    return counts


def _mean_difference(ranked: _Ranked, scored: _Scored) -> Array:
    """(strata + 1,): of the candidates of each stratum whose difference is known; NaN without any."""
    difference = scored.rows["difference"].gather(ranked.places).to_numpy()
    counts, billionths = np.zeros(scored.strata + 1, np.int64), np.zeros(scored.strata + 1, np.int64)
    _add_up_known(difference, scored.stratum[ranked.places], counts, billionths)
    return np.where(counts > 0, billionths / 1e9 / np.maximum(counts, 1), np.nan)


def _table(shares: Shares | None, candidates: _ByStratum, taken: _ByStratum, control: _ByStratum) -> pl.DataFrame:
    """`ALLOCATION`, without strata that neither were entitled to anything nor have a candidate."""
    strata = pl.int_range(len(candidates.rows), eager=True)
    columns = {
        "stratum": strata.set(strata == len(strata) - 1, None),
        "weight": None if shares is None else shares.wanted / max(shares.wanted.sum(), 1e-300),
        "wanted": None if shares is None else shares.wanted,
        "candidate_rows": candidates.rows,
        "candidate_tokens": candidates.tokens,
        "rows": taken.rows,
        "tokens": taken.tokens,
        "control_rows": control.rows,
        "control_tokens": control.tokens,
    }
    table = pl.DataFrame(columns).cast(pl.Schema(ALLOCATION))
    return table.filter((pl.col("candidate_rows") > 0) | (pl.col("wanted") > 0))


@compiled
def sum_where(member: Array, tokens: Array) -> tuple[int, int]:
    """Rows that are members, and their tokens."""
    rows, total = 0, 0
    for row in range(len(member)):
        rows += member[row]
        total += member[row] * np.int64(tokens[row])
    return rows, total


@compiled
def _add_up(places: Array, stratum: Array, tokens: Array, rows: Array, sums: Array) -> None:
    for place in places:
        rows[stratum[place]] += 1
        sums[stratum[place]] += tokens[place]


@compiled
def _add_up_known(values: Array, stratum: Array, rows: Array, billionths: Array) -> None:
    """Whole numbers, whose sum does not depend on the order of the rows."""
    for at in range(len(values)):
        if not np.isnan(values[at]):
            rows[stratum[at]] += 1
            billionths[stratum[at]] += np.int64(np.rint(np.float64(values[at]) * 1e9))
