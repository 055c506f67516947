"""Scored rows and policies as hypothesis draws them, and a plain-Python selection to hold the fast one against."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from nemo_assets.catalog import SubsetPolicy
from nemo_assets.selection import Normalised, normalise
from nemo_assets.selection.predicates import NORMALISED
from nemo_assets.selection.traits import SCHEMA
from nemo_assets_tests.selection.scored_rows import policy_of, traits_of

Row = Mapping[str, Any]

RULES: dict[str, Callable[[Row], bool]] = {
    "TRUE": lambda row: True,
    "percentile <= 60": lambda row: row["percentile"] is not None and row["percentile"] <= 60,
    "difference > 0": lambda row: row["difference"] is not None and row["difference"] > 0,
    "truncated OR nll_mean >= 1": lambda row: bool(row["truncated"]) or (row["nll_mean"] or 0) >= 1,
    "problem IS NOT NULL": lambda row: row["problem"] is not None,
}
"""Predicates, and what they mean in plain Python."""

TRUST = "COALESCE(meta_row_verified, TRUE)"

STRATA = {"columns": ["dataset", "length_decile"], "min_rows": 6, "min_share": 0.3}

few = st.sampled_from([0.25, 0.5, 1.0, 1.5, 3.0, None])
scored_rows = st.lists(
    st.fixed_dictionaries(
        {
            "split_number": st.integers(0, 1),
            "id_hash": st.one_of(st.integers(0, 3), st.integers(0, (1 << 64) - 1)),
            "dataset": st.sampled_from(["a", "b", "c"]),
            "meta_domain": st.sampled_from(["math", "code", None]),
            "status": st.sampled_from(["ok", "ok", "ok", "ok", "too_long", None]),
            "truncated": st.sampled_from([False, False, False, True]),
            "completion_tokens": st.sampled_from([1, 40, 90, 700]),
            "tokens": st.sampled_from([3, 50, 101, 977]),
            "nll_mean": few,
            "reference_nll_mean": few,
            "reference_status": st.sampled_from(["ok", "ok", "too_long"]),
            "reference_truncated": st.just(False),
            "share_above_5_nats": st.sampled_from([0.0, 0.0, 0.125, 0.5, None]),
            "meta_row_verified": st.sampled_from([True, None, None, False]),
            "meta_correctness": st.sampled_from([0.1, 0.3, 0.7, 1.0, None]),
            "problem": st.sampled_from([None, 7, 8, 9, (1 << 64) - 1]),
            "prompt": st.sampled_from([None, 1, 2, 3]),
        }
    ),
    max_size=60,
)

subset_entries = st.fixed_dictionaries(
    {
        "purpose": st.just("Drawn."),
        "predicate": st.sampled_from(list(RULES)),
        "needs": st.sampled_from([["student"], ["student", "reference"]]),
        "trusted": st.booleans(),
        "ranking": st.lists(
            st.fixed_dictionaries(
                {
                    "by": st.sampled_from(["share_above_5_nats", "meta_correctness", "meta_domain", "percentile"]),
                    "descending": st.booleans(),
                }
            ),
            max_size=2,
        ),
        "spread_over": st.sampled_from([None, "prompt", "meta_domain"]),
        "budget": st.sampled_from([None, {"tokens": 400}, {"tokens": 10**9}, {"rows": 5}, {"share": 0.3}]),
        "allocation": st.sampled_from([{"by": "natural"}, {"by": "temperature", "exponent": 0.5}]),
        "caps": st.sampled_from([{}, {"problem": 1}, {"prompt": 2, "problem": 1}, {"meta_domain": 3}]),
        "control": st.booleans(),
    }
)
policies = st.fixed_dictionaries(
    {
        "checkpoints": st.just({"student": "student", "reference": "reference"}),
        "strata": st.just(STRATA),
        "trust": st.just(TRUST),
        "seed": st.integers(0, 2),
        "subsets": st.fixed_dictionaries(dict.fromkeys(("one", "two", "three"), subset_entries)),
        "precedence": st.sampled_from([[], ["two", "one"], ["one", "two", "three"]]),
    }
)


def numbered(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows with their numbers, which stay with them in whatever order they come."""
    return [{**row, "row": number} for number, row in enumerate(rows)]


def normalised_of(rows: Sequence[Row], policy: SubsetPolicy) -> Normalised:
    """Traits of the rows with all normalised columns, in nats per token."""
    return normalise(traits_of(rows), policy, comparable_tokens=True, wanted={*SCHEMA, *NORMALISED, *policy.quantiles})


def drawn_policy(directory: Path, drawn: Mapping[str, Any]) -> SubsetPolicy:
    """A policy as `policies` draws it, by way of a file."""
    return policy_of(directory, **drawn)


@dataclass
class SlowSelection:
    """As `Selection`, with places told as (split_number, row)."""

    rows: set[tuple[int, int]]
    control: set[tuple[int, int]]
    places: dict[tuple[int, int], tuple[int, int]]
    steps: list[tuple[str, int, int]]
    wanted: dict[int, Fraction]
    unavailable: str | None = None


def slow_select_all(normalised: Normalised, policy: SubsetPolicy) -> dict[str, SlowSelection]:
    """Every subset, row by row and by the words of the definitions; allocation by tokens alone."""
    rows, found, taken = normalised.rows.to_dicts(), {}, set()
    others = [name for name in policy.subsets if name not in policy.precedence]
    for name in [*policy.precedence, *others]:
        found[name] = _slow_select(name, rows, policy, taken if name in policy.precedence else set())
        if name in policy.precedence:
            taken |= found[name].rows
    return found


def name_of(row: Row) -> tuple[int, int]:
    """Split number and row number."""
    return row["split_number"], row["row"]


def _slow_select(name: str, rows: list[Row], policy: SubsetPolicy, taken: set[tuple[int, int]]) -> SlowSelection:
    subset = policy.subsets[name]
    for role, column in (("student", "nll_mean"), ("reference", "reference_nll_mean")):
        if role in subset.needs and all(row[column] is None for row in rows):
            return SlowSelection(set(), set(), {}, [], {}, f"{role} is not scored")
    scored = [row for row in rows if row["status"] == "ok" and row["nll_mean"] is not None]
    steps = [told("scored", scored)]
    left = scored
    wanted: dict[int, Fraction] = {}
    places: dict[tuple[int, int], tuple[int, int]] = {}
    if subset.trusted:
        left = [row for row in left if row["meta_row_verified"] is not False]
        steps.append(told("trusted", left))
    left = [row for row in left if RULES[subset.predicate](row)]
    steps.append(told("rule", left))
    if name in policy.precedence:
        left = [row for row in left if name_of(row) not in taken]
        steps.append(told("not in an earlier subset", left))
    if not subset.ranking and not subset.caps and subset.budget is None:
        chosen = left
    else:
        ranked = slow_ranked(left, name, policy)
        if subset.caps:
            ranked = slow_capped(ranked, name, policy)
            steps.append(told("after caps", [row for stratum in ranked.values() for row in stratum]))
        chosen, wanted = slow_within_budget(ranked, scored, rows, name, policy)
        of = {stratum: len(members) for stratum, members in ranked.items()}
        places = {
            name_of(row): (place, of[stratum])
            for stratum, members in ranked.items()
            for place, row in enumerate(members, 1)
        }
    steps.append(told("taken", chosen))
    control = slow_control(chosen, scored, name, policy) if subset.control else []
    names = {name_of(row) for row in chosen}
    ranks = {each: places[each] for each in names} if places else {}
    return SlowSelection(names, {name_of(row) for row in control}, ranks, steps, wanted)


def told(name: str, rows: Sequence[Row]) -> tuple[str, int, int]:
    return name, len(rows), sum(row["tokens"] for row in rows)


def slow_mixed(value: int, seed: int) -> int:
    """SplitMix64, step `seed` + 1 from `value`."""
    whole = (1 << 64) - 1
    word = (value + (seed + 1) * 0x9E3779B97F4A7C15) & whole
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & whole
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & whole
    return word ^ (word >> 31)


def tie(row: Row, seed: int) -> tuple[int, int, int]:
    return slow_mixed(row["id_hash"], seed), *name_of(row)


def stratum_key(row: Row) -> int:
    return row["stratum"] if row["stratum"] is not None else 1 << 20


def slow_ranked(rows: list[Row], name: str, policy: SubsetPolicy) -> dict[int, list[Row]]:
    """Rows by stratum, in ascending order of its number, those in none last."""
    subset = policy.subsets[name]
    ordered = sorted(rows, key=lambda row: tie(row, policy.seed))
    for key in reversed(subset.ranking):
        known = [row for row in ordered if row[key.by] is not None]
        known.sort(key=lambda row, by=key.by: row[by], reverse=key.descending)
        ordered = known + [row for row in ordered if row[key.by] is None]
    ranked = by_stratum(ordered)
    if subset.spread_over is None:
        return ranked
    seen: dict[Any, int] = defaultdict(int)
    again = {}
    for row in best_first(ranked, policy):
        value = row[subset.spread_over]
        again[name_of(row)] = 0 if value is None else seen[value]
        seen[value] += 1
    return {stratum: sorted(members, key=lambda row: again[name_of(row)]) for stratum, members in ranked.items()}


def by_stratum(rows: Sequence[Row]) -> dict[int, list[Row]]:
    strata: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        strata[stratum_key(row)].append(row)
    return dict(sorted(strata.items()))


def best_first(ranked: Mapping[int, list[Row]], policy: SubsetPolicy) -> list[Row]:
    shares = [
        (Fraction(place, len(members)), tie(row, policy.seed), row)
        for members in ranked.values()
        for place, row in enumerate(members, 1)
    ]
    return [row for _, _, row in sorted(shares, key=lambda each: each[:2])]


def slow_capped(ranked: Mapping[int, list[Row]], name: str, policy: SubsetPolicy) -> dict[int, list[Row]]:
    counts: dict[tuple[str, Any], int] = defaultdict(int)
    stays = set()
    for row in best_first(ranked, policy):
        values = {
            (column, row[column]): most for column, most in policy.subsets[name].caps.items() if row[column] is not None
        }
        if all(counts[value] < most for value, most in values.items()):
            stays.add(name_of(row))
            for value in values:
                counts[value] += 1
    return {stratum: [row for row in members if name_of(row) in stays] for stratum, members in ranked.items()}


def slow_within_budget(
    ranked: Mapping[int, list[Row]], scored: Sequence[Row], rows: Sequence[Row], name: str, policy: SubsetPolicy
) -> tuple[list[Row], dict[int, Fraction]]:
    subset = policy.subsets[name]
    if subset.budget is None:
        return [row for members in ranked.values() for row in members], {}
    in_rows = subset.budget.rows is not None

    def size(row: Row) -> int:
        return 1 if in_rows else int(row["tokens"])

    share = subset.budget.share or 0
    amount = subset.budget.tokens or subset.budget.rows or round(share * sum(row["tokens"] for row in scored))
    population: dict[int, int] = defaultdict(int)
    for row in rows:
        if row["stratum"] is not None:
            population[row["stratum"]] += row["tokens"]
    exponent = subset.allocation.exponent if subset.allocation.by == "temperature" else 1
    weight = {stratum: Fraction(tokens**exponent) for stratum, tokens in sorted(population.items())}
    wanted = {stratum: amount * each / sum(weight.values()) for stratum, each in weight.items()}
    supply = {stratum: sum(map(size, ranked.get(stratum, []))) for stratum in weight}
    given = slow_divided(Fraction(amount), weight, supply)
    chosen, left = [], Fraction(1, 10**6)
    for stratum, part in given.items():
        left += part
        for row in ranked.get(stratum, []) if part else []:
            if size(row) > left:
                break
            left -= size(row)
            chosen.append(row)
    return chosen, wanted


def slow_divided(amount: Fraction, weight: Mapping[int, Fraction], supply: Mapping[int, int]) -> dict[int, Fraction]:
    """The level of water at which all that fits is in, found by filling the smallest vessel first."""
    given = dict.fromkeys(weight, Fraction(0))
    left, still = amount, sum(weight.values())
    for stratum in sorted(weight, key=lambda each: supply[each] / weight[each] if weight[each] else 0):
        if weight[stratum]:
            given[stratum] = min(Fraction(supply[stratum]), left * weight[stratum] / still)
            left, still = left - given[stratum], still - weight[stratum]
    return given


def slow_control(chosen: Sequence[Row], scored: Sequence[Row], name: str, policy: SubsetPolicy) -> list[Row]:
    pool = [row for row in scored if row["stratum"] is not None and row["meta_row_verified"] is not False]
    strata = by_stratum(sorted(pool, key=lambda row: tie(row, policy.seed + (1 << 32))))
    control = []
    for stratum, members in by_stratum(chosen).items():
        if stratum not in strata:
            continue
        wanted, ring = sum(row["tokens"] for row in members), strata[stratum]
        named = f"{policy.seed}|{name}|{stratum}".encode()
        start = int.from_bytes(hashlib.blake2b(named, digest_size=8).digest(), "big") % len(ring)
        ring = ring[start:] + ring[:start]
        sums = [sum(row["tokens"] for row in ring[:count]) for count in range(len(ring) + 1)]
        control += ring[: min(range(len(sums)), key=lambda count: (abs(sums[count] - wanted), count))]
    return control
