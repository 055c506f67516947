"""Why each row is in a subset, and working that out again from what is published."""

import json
import math
from bisect import bisect_left

import polars as pl
import pytest
from hypothesis import given, settings

from nemo_assets.selection import reasons, satisfies, select_all
from nemo_assets.selection.ranks import place
from nemo_assets.selection.residual import residual
from nemo_assets.selection.strata import stratum_of
from nemo_assets_tests.selection.frames import drawn_policy, normalised_of, numbered, policies, scored_rows
from nemo_assets_tests.selection.scored_rows import policy_of


def reasons_of(rows, policy, name, **options):
    normalised = normalised_of(rows, policy)
    return reasons(select_all(normalised, policy)[name], normalised, policy, **options)


def test_a_reason_holds_all_that_the_rule_the_gate_and_the_ranking_looked_at(tmp_path):
    entry = {
        "purpose": "Likely.", "predicate": "percentile < 60 AND meta_domain = 'math'",
        "ranking": [{"by": "share_above_5_nats", "descending": True}],
    }  # fmt: skip
    policy = policy_of(tmp_path, trust="NOT is_contaminated AND NOT is_contaminated", subsets={"likely": entry})
    row = {"is_contaminated": False, "share_above_5_nats": 0.5}
    told = reasons_of([row, {**row, "nll_mean": 2.0}, {**row, "is_contaminated": True}], policy, "likely")
    assert told.schema == {
        "split_number": pl.UInt16, "row": pl.UInt32, "stratum": pl.String, "percentile": pl.Float64,
        "nll_mean": pl.Float64, "tokens": pl.Int64, "subset_reason": pl.String,
    }  # fmt: skip
    assert told.drop("subset_reason", "percentile").rows() == [(0, 0, "dataset=org/a", 1.0, 150)]
    reason = json.loads(told["subset_reason"][0])
    assert reason.pop("policy")
    assert reason.pop("percentile") == pytest.approx(100 / 3, abs=1e-4)
    assert reason.pop("values").pop("percentile") == pytest.approx(100 / 3, abs=1e-4)
    assert reason == {"rule": "likely", "stratum": "dataset=org/a", "completion_tokens": 100, "place": 1, "of": 1}


def test_a_row_that_nothing_ranked_has_no_place_and_a_control_only_the_gate(tmp_path):
    policy = policy_of(tmp_path, subsets={"any": {"purpose": "All.", "predicate": "TRUE"}})
    for control, rule in ((False, "any"), (True, "random control of any")):
        told = reasons_of([{}], policy, "any", control=control)["subset_reason"]
        assert set(json.loads(told[0])) == {"rule", "policy", "stratum", "percentile", "completion_tokens"}
        assert json.loads(told[0])["rule"] == rule
        assert satisfies(told[0], policy)


def test_reasons_of_one_split_are_those_of_all_splits_cut_in_parts(tmp_path):
    entry = {"purpose": "Ranked.", "predicate": "TRUE", "ranking": [{"by": "nll_mean"}]}
    policy = policy_of(tmp_path, subsets={"ranked": entry})
    rows = [{"split_number": number % 3, "nll_mean": 1.0 + number % 7} for number in range(30)]
    for control in (False, True):
        whole = reasons_of(rows, policy, "ranked", control=control)
        parts = [reasons_of(rows, policy, "ranked", control=control, split_number=number) for number in range(4)]
        assert [part.height for part in parts] == [10, 10, 10, 0]
        for number, part in enumerate(parts):
            assert part.equals(whole.filter(split_number=number))


def test_values_that_do_not_satisfy_the_rule_or_the_gate_are_found_out(tmp_path):
    entry = {"purpose": "Likely.", "predicate": "nll_mean < 2"}
    policy = policy_of(tmp_path, trust="meta_row_verified", subsets={"likely": entry})
    (told,) = reasons_of([{"meta_row_verified": True}], policy, "likely")["subset_reason"]
    assert satisfies(told, policy)
    assert not satisfies(told.replace('"nll_mean":1.0', '"nll_mean":2.0'), policy)
    assert not satisfies(told.replace('"meta_row_verified":true', '"meta_row_verified":false'), policy)
    control = told.replace('"rule":"likely"', '"rule":"random control of likely"')
    assert satisfies(control.replace('"nll_mean":1.0', '"nll_mean":2.0'), policy)
    other = policy_of(tmp_path, trust="meta_row_verified", subsets={"likely": entry}, seed=1)
    with pytest.raises(ValueError, match="the reason is of policy"):
        satisfies(told, other)


@settings(deadline=None, max_examples=40)
@given(scored_rows, policies)
def test_every_reason_can_be_worked_out_again_from_what_is_published(tmp_path_factory, rows, drawn):
    policy = drawn_policy(tmp_path_factory.mktemp("policy"), drawn)
    rows = numbered(rows)
    normalised = normalised_of(rows, policy)
    labels = dict(normalised.strata.select("stratum", "label").iter_rows())
    for found in select_all(normalised, policy).values():
        for control in (False, True):
            for told in reasons(found, normalised, policy, control).iter_rows(named=True):
                reason, row = json.loads(told["subset_reason"]), rows[told["row"]]
                assert satisfies(told["subset_reason"], policy)
                assert (told["stratum"], told["tokens"]) == (reason["stratum"], row["tokens"])
                if told["stratum"] is None:
                    assert row["truncated"]
                    assert (told["percentile"], reason["percentile"]) == (None, None)
                    continue
                decile = 1 + bisect_left(normalised.length_cuts, reason["completion_tokens"])
                stratum = stratum_of({**row, "length_decile": decile}, normalised.strata, policy.strata.columns)
                assert labels[stratum] == told["stratum"]
                here = pl.col("stratum") == stratum
                knots = normalised.knots.filter(here, column="nll_residual")
                again = residual(told["nll_mean"], reason["completion_tokens"], knots)
                points = normalised.cut_points.filter(here, column="percentile")
                assert place(again, points) == pytest.approx(told["percentile"], abs=0.1)
                assert math.isclose(reason["percentile"], told["percentile"], rel_tol=1e-6)
