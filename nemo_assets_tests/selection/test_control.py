"""The random control: the same strata, as many tokens, trusted rows only, another choice."""

import numpy as np
import polars as pl
from hypothesis import given, settings

from nemo_assets.selection import report, select_all
from nemo_assets.selection.control import RandomOrder
from nemo_assets.selection.ordering import by_number
from nemo_assets_tests.selection.frames import drawn_policy, normalised_of, numbered, policies, scored_rows
from nemo_assets_tests.selection.scored_rows import policy_of


def order_of(tokens: list[int], stratum: list[int]) -> RandomOrder:
    """A random order that is that of the rows."""
    rows = np.arange(len(tokens), dtype=np.uint32)
    arrays = np.array(stratum, np.uint16), np.array(tokens, np.int32)
    return RandomOrder.of(rows, *arrays, max(stratum) + 1, [by_number(rows)], seed=0)


def test_the_sum_of_tokens_comes_as_near_as_may_be_from_whichever_row_it_begins():
    order = order_of([10, 10, 10, 10], [0, 0, 0, 0])
    for name in "abcdefgh":
        found = {wanted: order.matching(name, np.array([wanted, 0])) for wanted in (0, 4, 5, 6, 14, 16, 40, 900)}
        assert [len(rows) for rows in found.values()] == [0, 0, 0, 1, 1, 2, 4, 4]
        assert all((np.diff(rows.astype(int)) > 0).all() for rows in found.values())


def test_subsets_have_controls_of_their_own():
    order = order_of([1] * 1000, [0] * 1000)
    one, other = (order.matching(name, np.array([100, 0])) for name in ("one", "other"))
    assert len(one) == len(other) == 100
    assert one.tolist() != other.tolist()


def test_a_stratum_without_trusted_rows_and_rows_without_a_stratum_have_no_control():
    order = order_of([5, 5], [1, 1])
    assert order.matching("name", np.array([50, 5, 70])).tolist() in ([0], [1])


@settings(deadline=None, max_examples=40)
@given(scored_rows, policies)
def test_a_control_has_trusted_rows_of_the_same_strata_within_one_row_of_the_tokens(tmp_path_factory, rows, drawn):
    policy = drawn_policy(tmp_path_factory.mktemp("policy"), drawn)
    normalised = normalised_of(numbered(rows), policy)
    for name, found in select_all(normalised, policy).items():
        control, chosen = normalised.rows[found.control], normalised.rows[found.rows]
        assert control.select("split_number", "row").is_unique().all()
        assert control["status"].to_list() == ["ok"] * control.height
        assert False not in control["meta_row_verified"].to_list()
        assert set(control["stratum"]) <= set(chosen["stratum"]) - {None}
        if not policy.subsets[name].control or found.unavailable:
            assert control.height == 0
            continue
        for stratum in set(chosen["stratum"]) - {None}:
            here = pl.col("stratum") == stratum
            wanted = chosen.filter(here)["tokens"].sum()
            pool = normalised.rows.filter(
                here, pl.col("nll_mean").is_not_null(), pl.col("meta_row_verified").fill_null(True)
            )
            got = control.filter(here)["tokens"].sum()
            assert got == pool["tokens"].sum() < wanted or abs(got - wanted) <= pool["tokens"].max() / 2


def test_a_control_is_another_choice_than_the_subset_even_where_nothing_but_chance_ranks_it(tmp_path):
    entry = {"purpose": "Blind.", "predicate": "TRUE", "budget": {"rows": 100}}
    policy = policy_of(tmp_path, subsets={"blind": entry})
    normalised = normalised_of([{} for _ in range(1000)], policy)
    found = select_all(normalised, policy)["blind"]
    shared = len(set(found.rows.tolist()) & set(found.control.tolist()))
    assert len(found.rows) == len(found.control) == 100
    assert shared < 40  # ten are expected


def test_a_control_that_finds_too_few_trusted_rows_says_so(tmp_path):
    entry = {"purpose": "Odd rows.", "predicate": "TRUE", "trusted": False}
    policy = policy_of(tmp_path, trust="meta_row_verified", subsets={"odd": entry})
    normalised = normalised_of([{"meta_row_verified": True}, {"meta_row_verified": False}], policy)
    told = report(select_all(normalised, policy), normalised, policy)["subsets"]["odd"]
    assert told["control"] == {"rows": 1, "tokens": 150}
    assert told["notes"] == ["odd: its random control has 150 tokens to 300; trusted rows are too few."]
