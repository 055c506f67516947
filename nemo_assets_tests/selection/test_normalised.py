"""What is added to the traits of all rows: hand-computed columns, a slow oracle, no dependence on row order."""

import math
from bisect import bisect_left
from collections import defaultdict
from itertools import pairwise
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.catalog import SubsetPolicy
from nemo_assets.errors import UserError
from nemo_assets.selection import columns_of, normalise
from nemo_assets.selection.predicates import NORMALISED, schema_of, subset_predicate
from nemo_assets.selection.ranks import place
from nemo_assets.selection.residual import BIN_ROWS, SMALLEST_NLL, residual
from nemo_assets.selection.strata import stratum_of
from nemo_assets.selection.traits import SCHEMA
from nemo_assets_tests.selection.scored_rows import policy_of, traits_of

REFERENCE = {"reference_status": "ok", "reference_truncated": False}
ALL = set(NORMALISED)


def normalised_of(rows: list[dict[str, Any]], policy: SubsetPolicy, wanted: set[str] = ALL, **options: bool):
    return normalise(
        traits_of(rows), policy, comparable_tokens=options.get("comparable_tokens", True), wanted={*wanted, *SCHEMA}
    )


def column_of(name: str, rows: list[dict[str, Any]], policy: SubsetPolicy, **options: bool) -> list[Any]:
    return normalised_of(rows, policy, {name}, **options).rows[name].to_list()


def test_rows_that_were_not_scored_on_their_whole_completion_have_no_normalised_column(tmp_path):
    rows = [
        {"nll_mean": 1.0},
        {"nll_mean": 2.0},
        {"nll_mean": None, "status": "too_long"},
        {"nll_mean": 0.1, "truncated": True},
        {"nll_mean": None, "status": "no_scored_tokens", "completion_tokens": 0},
        {"nll_mean": None, "status": None, "truncated": None, "completion_tokens": None, "tokens": None},
    ]
    found = normalised_of(rows, policy_of(tmp_path))
    assert found.rows["percentile"].to_list() == [25.0, 75.0, None, None, None, None]
    assert found.rows["length_decile"].to_list() == [1, 1, None, None, None, None]
    outside = found.rows[2:]
    assert [name for name in ALL if outside[name].null_count() < outside.height] == []
    assert found.strata.rows() == [(0, "dataset=org/a", 1, 2, 300)]
    assert found.rows["nll_residual"].to_list()[:2] == pytest.approx([0.0, math.log(2)])


def test_the_difference_is_per_token_of_the_same_tokenizer_and_per_byte_otherwise(tmp_path):
    scored = {
        "nll_mean": 1.5,
        "nll_per_byte": 0.5,
        "reference_nll_mean": 1.0,
        "reference_nll_per_byte": 0.25,
    } | REFERENCE
    rows = [
        scored,
        scored | {"reference_status": "too_long"},
        scored | {"reference_truncated": True},
        scored | {"reference_nll_mean": None, "reference_nll_per_byte": None},
        scored | {"status": "too_long"},
    ]
    policy = policy_of(tmp_path)
    assert column_of("difference", rows, policy) == [0.5, None, None, None, None]
    assert column_of("difference", rows, policy, comparable_tokens=False) == [0.25, None, None, None, None]
    assert normalised_of(rows, policy).difference_unit == "nats per token"
    assert normalised_of(rows, policy, comparable_tokens=False).difference_unit == "nats per byte"
    assert column_of("reference_percentile", rows, policy) == [50.0, None, None, None, None]
    assert column_of("difference_percentile", rows, policy) == [50.0, None, None, None, None]


def test_ratios_need_both_of_their_parts(tmp_path):
    rows = [
        {
            "nll_mean": 0.5,
            "rank_mean_clipped": 2.0,
            "nll_mean_first_512": 0.75,
            "unconditional_nll_mean_first_512": 1.5,
        },
        {"nll_mean": 1.0, "rank_mean_clipped": 1.0},
        {"nll_mean": 0.0, "rank_mean_clipped": 1.0},
    ]
    policy = policy_of(tmp_path)
    assert column_of("rank_surprisal_ratio", rows, policy) == [4.0, 1.0, None]
    assert column_of("rank_surprisal_percentile", rows, policy) == [75.0, 25.0, None]
    assert column_of("ifd_first_512", rows, policy) == [0.5, None, None]


def test_the_final_answer_is_ranked_by_its_own_nll(tmp_path):
    rows = [{"final_nll_mean": value} for value in (3.0, None, 1.0, 2.0, 2.0)]
    assert column_of("final_percentile", rows, policy_of(tmp_path)) == [87.5, None, 12.5, 50.0, 50.0]


def test_a_quantile_of_a_stratum_is_a_column(tmp_path):
    quantiles = {
        "tail": {"of": "share_above_5_nats", "at": 0.6},
        "passes": {"of": "meta_correctness", "at": 0.5},
        "own": {"of": "percentile", "at": 1.0},
    }
    policy = policy_of(tmp_path, quantiles=quantiles)
    rows = [
        {"share_above_5_nats": value, "meta_correctness": passes, "dataset": name, "nll_mean": 1.0 + number}
        for number, (value, passes, name) in enumerate(
            [(0.1, 0.1, "a"), (0.2, 0.9, "a"), (0.3, None, "a"), (None, None, "a"), (None, None, "b")]
        )
    ]
    found = normalised_of(rows, policy, {"percentile", *quantiles})
    rows = found.with_quantiles(found.rows)
    assert rows["tail"].to_list() == pytest.approx([0.2] * 4 + [None], abs=1e-6)
    assert rows["passes"].to_list() == [0.1] * 4 + [None]
    assert rows["own"].to_list() == [87.5] * 4 + [50.0]
    assert found.quantiles["stratum"].to_list() == [0, 1]
    assert found.quantiles["passes"].to_list() == [0.1, None]
    assert rows.filter(pl.sql_expr("share_above_5_nats <= tail")).height == 2
    assert {name: rows.schema[name] for name in quantiles} == {n: schema_of(policy)[n] for n in quantiles}


def test_columns_have_their_types_and_only_what_is_wanted_is_made(tmp_path):
    policy = policy_of(tmp_path)
    found = normalised_of([REFERENCE | {"reference_nll_mean": 1.0}], policy)
    assert {name: found.rows.schema[name] for name in ALL} == NORMALISED
    few = normalised_of([{}], policy, {"rank_surprisal_percentile"})
    assert set(few.rows.columns) & ALL == {"stratum", "length_decile", "rank_surprisal_percentile"}
    assert set(few.cut_points["column"]) <= {"rank_surprisal_percentile"}
    assert few.knots.height == 0


def test_no_row_at_all_and_no_scored_row_are_no_error(tmp_path):
    policy = policy_of(tmp_path, quantiles={"tail": {"of": "share_above_5_nats", "at": 0.6}})
    for rows in ([], [{"status": "too_long", "nll_mean": None}]):
        found = normalised_of(rows, policy, ALL | {"tail"})
        assert found.with_quantiles(found.rows)["tail"].to_list() == [None] * len(rows)
        assert (found.strata.height, found.knots.height, found.cut_points.height, found.length_cuts) == (0, 0, 0, ())


def test_without_a_reference_its_columns_are_null(tmp_path):
    found = normalised_of([{}, {}], policy_of(tmp_path)).rows
    names = ["reference_residual", "reference_percentile", "difference", "difference_percentile", "ifd_first_512"]
    assert [found[name].null_count() for name in names] == [2] * 5


def test_scores_of_a_role_that_has_no_checkpoint_need_not_be_there(tmp_path):
    policy = policy_of(
        tmp_path,
        quantiles={"q": {"of": "difference", "at": 0.5}},
        subsets={
            "x": {"purpose": "X.", "predicate": "ifd_first_512 < 1 OR difference_percentile < q OR percentile < 50"}
        },
    )
    columns = columns_of(policy)
    assert not [name for name in columns if name.startswith(("reference_", "unconditional_"))]
    traits = traits_of([{"nll_mean": 1.0}, {"nll_mean": 2.0}])
    found = normalise(traits.select(name for name in traits.columns if name in columns), policy, comparable_tokens=True)
    rows = found.with_quantiles(found.rows)
    assert rows.select("ifd_first_512", "difference_percentile", "q").null_count().row(0) == (2, 2, 2)
    assert found.rows["difference_percentile"].dtype == pl.Float32
    assert rows.filter(subset_predicate(policy, "x"))["percentile"].to_list() == [25.0]
    assert "rank_mean_clipped" not in found.rows.columns


def test_an_unknown_column_is_told_before_anything_is_computed(tmp_path):
    policy = policy_of(tmp_path, trust="nothing_such")
    with pytest.raises(UserError, match="trust: there is no column 'nothing_such'"):
        normalise(traits_of([{}]), policy, comparable_tokens=True)


STRATA = {"columns": ["dataset", "length_decile"], "min_rows": 9, "min_share": 0.3}
some = st.sampled_from([0.25, 0.5, 1.0, 1.5, 3.0, None])
drawn = st.lists(
    st.fixed_dictionaries(
        {
            "dataset": st.sampled_from(["a", "b", None]),
            "status": st.sampled_from(["ok", "ok", "ok", "too_long"]),
            "truncated": st.sampled_from([False, False, False, True]),
            "completion_tokens": st.sampled_from([0, 1, 40, 41, 90, 700, 5_000]),
            "nll_mean": some,
            "reference_nll_mean": some,
            "reference_status": st.sampled_from(["ok", "ok", "too_long", None]),
            "reference_truncated": st.sampled_from([False, False, True]),
            "rank_mean_clipped": some,
            "final_nll_mean": some,
        }
    ),
    max_size=150,
)


@settings(deadline=None)
@given(drawn, st.randoms(use_true_random=False))
def test_all_columns_are_those_of_a_slow_oracle_in_any_order_of_rows(tmp_path_factory, rows, random: Random):
    policy = policy_of(tmp_path_factory.mktemp("policy"), strata=STRATA)
    rows = [{**row, "row": number, "id_hash": number} for number, row in enumerate(rows)]
    found = normalised_of(rows, policy)
    expected = slow_normalised(rows)
    for name in expected:
        assert found.rows[name].to_list() == pytest.approx(expected[name], abs=1e-4), name
    shuffled = normalised_of(random.sample(rows, len(rows)), policy)
    assert shuffled.rows.sort("row").equals(found.rows)
    for table in ("strata", "knots", "cut_points", "quantiles"):
        assert getattr(shuffled, table).equals(getattr(found, table))
    assert shuffled.length_cuts == found.length_cuts


@settings(deadline=None, max_examples=25)
@given(drawn)
def test_a_row_is_placed_by_what_is_published_of_the_others(tmp_path_factory, rows):
    policy = policy_of(tmp_path_factory.mktemp("policy"), strata=STRATA)
    found = normalised_of(rows, policy)
    for row in found.rows.filter(pl.col("percentile").is_not_null()).iter_rows(named=True):
        decile = 1 + bisect_left(found.length_cuts, row["completion_tokens"])
        stratum = stratum_of({**row, "length_decile": decile}, found.strata, policy.strata.columns)
        assert (decile, stratum) == (row["length_decile"], row["stratum"])
        here = pl.col("stratum") == stratum
        knots = found.knots.filter(here, column="nll_residual")
        again = residual(row["nll_mean"], row["completion_tokens"], knots)
        assert again == pytest.approx(row["nll_residual"], abs=1e-6)
        cut_points = found.cut_points.filter(here, column="percentile")
        assert place(row["nll_residual"], cut_points) == row["percentile"]


def slow_normalised(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """The same columns, row by row and by the words of the definitions."""
    inside = [r["status"] == "ok" and not r["truncated"] and r["completion_tokens"] > 0 for r in rows]
    lengths = sorted(r["completion_tokens"] for r, is_in in zip(rows, inside, strict=True) if is_in)
    cuts = [lengths[math.ceil(len(lengths) * tenth / 10) - 1] for tenth in range(1, 10)] if lengths else []
    deciles = [1 + sum(cut < r["completion_tokens"] for cut in cuts) for r in rows]
    strata = slow_strata(rows, deciles, inside)
    student = [r["nll_mean"] if is_in else None for r, is_in in zip(rows, inside, strict=True)]
    reference = [
        r["reference_nll_mean"] if is_in and r["reference_status"] == "ok" and not r["reference_truncated"] else None
        for r, is_in in zip(rows, inside, strict=True)
    ]
    residuals = slow_residuals(student, rows, strata)
    others = slow_residuals(reference, rows, strata)
    differences = [None if s is None or r is None else s - r for s, r in zip(student, reference, strict=True)]
    ratios = [
        None if nll is None or row["rank_mean_clipped"] is None else row["rank_mean_clipped"] / nll
        for nll, row in zip(student, rows, strict=True)
    ]
    finals = [r["final_nll_mean"] if is_in else None for r, is_in in zip(rows, inside, strict=True)]
    return {
        "nll_residual": residuals,
        "percentile": slow_percentiles(residuals, strata),
        "reference_residual": others,
        "reference_percentile": slow_percentiles(others, strata),
        "difference": differences,
        "difference_percentile": slow_percentiles(differences, strata),
        "rank_surprisal_ratio": ratios,
        "rank_surprisal_percentile": slow_percentiles(ratios, strata),
        "final_percentile": slow_percentiles(finals, strata),
    }


def slow_strata(rows: list[dict[str, Any]], deciles: list[int], inside: list[bool]) -> list[tuple | None]:
    keys = [(r["dataset"], decile) for r, decile in zip(rows, deciles, strict=True)]
    strata: list[tuple | None] = [None] * len(rows)
    enough = min(STRATA["min_rows"], STRATA["min_share"] * sum(inside))
    for depth in (2, 1, 0):
        left = defaultdict(list)
        for number, key in enumerate(keys):
            if inside[number] and strata[number] is None:
                left[key[:depth]].append(number)
        for prefix, numbers in left.items():
            if depth == 0 or len(numbers) >= enough:
                for number in numbers:
                    strata[number] = prefix
    return strata


def slow_residuals(
    nlls: list[float | None], rows: list[dict[str, Any]], strata: list[tuple | None]
) -> list[float | None]:
    out: list[float | None] = [None] * len(rows)
    for stratum in set(strata) - {None}:
        here = [n for n, where in enumerate(strata) if where == stratum and nlls[n] is not None]
        bins = defaultdict(list)
        for number in here:
            tokens = rows[number]["completion_tokens"]
            bins[next(b for b in range(64) if (tokens**2) < 2 ** (b + 1))].append(number)
        merged: list[list[int]] = [[]]
        for _, numbers in sorted(bins.items()):
            if len(merged[-1]) >= BIN_ROWS:
                merged.append([])
            merged[-1] = merged[-1] + numbers
        if len(merged) > 1 and len(merged[-1]) < BIN_ROWS:
            last = merged.pop()
            merged[-1] = merged[-1] + last
        knots = [
            (
                math.log(lower_median([rows[n]["completion_tokens"] for n in each])),
                math.log(lower_median([nlls[n] for n in each])),
            )
            for each in merged
            if each
        ]
        for number in here:
            out[number] = math.log(max(nlls[number], SMALLEST_NLL)) - on_line(
                math.log(rows[number]["completion_tokens"]), knots
            )
    return out


def lower_median(values: list[float]) -> float:
    return sorted(values)[(len(values) - 1) // 2]


def on_line(at: float, knots: list[tuple[float, float]]) -> float:
    if at <= knots[0][0]:
        return knots[0][1]
    for (x0, y0), (x1, y1) in pairwise(knots):
        if at <= x1:
            return y0 + (at - x0) / (x1 - x0) * (y1 - y0)
    return knots[-1][1]


def slow_percentiles(values: list[float | None], strata: list[tuple | None]) -> list[float | None]:
    out: list[float | None] = []
    rounded = [None if value is None else round(value, 5) for value in values]
    for value, stratum in zip(rounded, strata, strict=True):
        others = [o for o, where in zip(rounded, strata, strict=True) if where == stratum and o is not None]
        is_known = value is not None and stratum is not None
        out.append(100 * (sum(o < value for o in others) + others.count(value) / 2) / len(others) if is_known else None)
    return out
