"""What each subset takes: small cases by hand, and a slow oracle over drawn rows and policies."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.catalog import SubsetPolicy
from nemo_assets.errors import UserError
from nemo_assets.selection import Normalised, Selection, reasons, report, select_all
from nemo_assets_tests.selection.frames import (
    RULES,
    TRUST,
    drawn_policy,
    normalised_of,
    numbered,
    policies,
    scored_rows,
    slow_select_all,
)
from nemo_assets_tests.selection.scored_rows import policy_of

BOTH = {"student": "student", "reference": "reference"}
REFERENCE = {"reference_status": "ok", "reference_truncated": False}


def names(places: Any, normalised: Normalised) -> list[tuple[int, int]]:
    """(split_number, row) of places."""
    return normalised.rows[places].select("split_number", "row").rows()


def subset(predicate: str = "TRUE", **entry: Any) -> dict[str, Any]:
    return {"purpose": "Of a test.", "predicate": predicate, **entry}


def cut(
    rows: list[dict[str, Any]], policy: SubsetPolicy
) -> tuple[dict[str, list[int]], dict[str, Selection], dict[str, Any]]:
    """Row numbers by subset, the selections, and the report of each subset."""
    normalised = normalised_of(rows, policy)
    found = select_all(normalised, policy)
    numbers = {name: [row for _, row in names(each.rows, normalised)] for name, each in found.items()}
    return numbers, found, report(found, normalised, policy)["subsets"]


@settings(deadline=None, max_examples=50)
@given(scored_rows, policies, st.randoms(use_true_random=False))
def test_subsets_are_those_of_a_slow_oracle_in_any_order_of_rows(tmp_path_factory, rows, drawn, random: Random):
    policy = drawn_policy(tmp_path_factory.mktemp("policy"), drawn)
    rows = numbered(rows)
    normalised = normalised_of(rows, policy)
    found, slow = select_all(normalised, policy), slow_select_all(normalised, policy)
    for name, expected in slow.items():
        made = found[name]
        assert made.unavailable == expected.unavailable
        taken = names(made.rows, normalised)
        assert (set(taken), len(taken)) == (expected.rows, len(expected.rows)), name
        assert set(names(made.control, normalised)) == expected.control, name
        assert [tuple(step) for step in made.steps] == expected.steps
        if made.place is not None and made.of is not None:
            ranks = zip(made.place.tolist(), made.of.tolist(), strict=True)
            assert dict(zip(taken, ranks, strict=True)) == expected.places
        wanted = dict(made.allocation.select("stratum", "wanted").drop_nulls().iter_rows())
        for stratum, amount in expected.wanted.items():
            assert wanted.get(stratum, 0.0) == pytest.approx(float(amount)), name
    shuffled = normalised_of(random.sample(rows, len(rows)), policy)
    again = select_all(shuffled, policy)
    assert report(again, shuffled, policy) == report(found, normalised, policy)
    for name in found:
        for control in (False, True):
            told = [
                reasons(chosen[name], frame, policy, control).sort("split_number", "row")
                for chosen, frame in ((found, normalised), (again, shuffled))
            ]
            assert told[0].equals(told[1])


def test_a_row_that_was_not_scored_is_in_no_subset_even_where_the_rule_holds_for_it(tmp_path):
    policy = policy_of(
        tmp_path, subsets={"any": subset(trusted=False), "untold": subset("percentile IS NULL", trusted=False)}
    )
    rows = [
        {},
        {"status": "too_long", "nll_mean": None},
        {"status": None, "nll_mean": None, "truncated": None, "completion_tokens": None, "tokens": None},
        {"status": "ok", "nll_mean": None},
        {"status": "too_long", "nll_mean": 1.0},
        {"truncated": True},
    ]
    taken, found, _ = cut(rows, policy)
    assert taken == {"any": [0, 5], "untold": [5]}  # a truncated row was scored on what there was of it
    assert found["any"].steps[0] == ("scored", 2, 300)


def test_a_row_goes_to_the_first_subset_that_takes_it_not_to_one_that_only_would(tmp_path):
    policy = policy_of(
        tmp_path,
        precedence=["first", "second"],
        subsets={
            "second": subset(control=False),
            "first": subset(ranking=[{"by": "nll_mean"}], budget={"rows": 1}, control=False),
            "overlapping": subset(control=False),
        },
    )
    taken, found, _ = cut([{"nll_mean": 2.0}, {"nll_mean": 1.0}, {"nll_mean": 3.0}], policy)
    assert taken == {"second": [0, 2], "first": [1], "overlapping": [0, 1, 2]}
    assert [step.name for step in found["second"].steps] == [
        "scored", "trusted", "rule", "not in an earlier subset", "taken",
    ]  # fmt: skip
    assert [step.rows for step in found["second"].steps] == [3, 3, 3, 2, 2]


def test_a_subset_whose_checkpoint_is_not_scored_is_unavailable_and_takes_nothing(tmp_path):
    needs = ["student", "reference"]
    policy = policy_of(tmp_path, checkpoints=BOTH, precedence=["lost", "kept"], subsets={
        "lost": subset(needs=needs), "kept": subset(),
    })  # fmt: skip
    taken, found, told = cut([{}, {}], policy)
    assert taken == {"lost": [], "kept": [0, 1]}
    assert found["lost"].unavailable == "reference is not scored"
    assert told["lost"]["notes"] == ["lost: unavailable, reference is not scored; nothing stands in for it."]
    assert (told["lost"]["rows"], told["lost"]["control"], told["lost"]["bias"]) == (0, None, {})
    taken, found, _ = cut([REFERENCE | {"reference_nll_mean": 1.0}, {}], policy)
    assert (taken["lost"], found["lost"].unavailable) == ([0, 1], None)


def test_a_subset_that_needs_the_unconditional_scores_is_unavailable_without_them(tmp_path):
    checkpoints = {"student": "student", "unconditional": "unconditional"}
    policy = policy_of(
        tmp_path, checkpoints=checkpoints, subsets={"helped": subset(needs=["student", "unconditional"])}
    )
    assert cut([{}], policy)[1]["helped"].unavailable == "unconditional is not scored"
    assert cut([{"unconditional_nll_mean_first_512": 1.0}], policy)[0] == {"helped": [0]}


def test_caps_hold_over_splits_and_strata_for_the_row_that_stands_highest(tmp_path):
    policy = policy_of(
        tmp_path, subsets={"one_each": subset(ranking=[{"by": "nll_mean"}], caps={"problem": 1}, control=False)}
    )
    rows = [
        {"dataset": "a", "split_number": 0, "nll_mean": 1.0},
        {"dataset": "a", "split_number": 0, "nll_mean": 2.0, "problem": 5},  # second of two
        {"dataset": "b", "split_number": 1, "nll_mean": 9.0, "problem": 5},  # first of three
        {"dataset": "b", "split_number": 1, "nll_mean": 10.0, "problem": 5},
        {"dataset": "b", "split_number": 1, "nll_mean": 11.0, "problem": None},
        {"dataset": "b", "split_number": 1, "nll_mean": 12.0, "problem": None},
    ]
    taken, found, _ = cut(rows, policy)
    assert taken == {"one_each": [0, 2, 4, 5]}
    assert found["one_each"].place.tolist() == [1, 1, 2, 3]
    assert found["one_each"].of.tolist() == [1, 3, 3, 3]
    assert found["one_each"].steps[-2] == ("after caps", 4, 600)


def test_a_row_that_one_cap_puts_aside_does_not_count_for_another(tmp_path):
    ranking = [{"by": "nll_mean"}]
    rows = [
        {"nll_mean": 1.0, "problem": 1, "prompt": 1},
        {"nll_mean": 2.0, "problem": 1, "prompt": 2},
        {"nll_mean": 3.0, "problem": 2, "prompt": 2},
    ]
    for caps in ({"problem": 1, "prompt": 1}, {"prompt": 1, "problem": 1}):
        policy = policy_of(tmp_path, subsets={"capped": subset(ranking=ranking, caps=caps, control=False)})
        assert cut(rows, policy)[0] == {"capped": [0, 2]}


def test_the_last_row_is_taken_only_if_it_fits_and_what_is_left_goes_to_the_next_stratum(tmp_path):
    ranking = [{"by": "share_above_5_nats"}]
    policy = policy_of(tmp_path, subsets={"few": subset(ranking=ranking, budget={"tokens": 400}, control=False)})
    rows = [{"dataset": name, "tokens": 150, "share_above_5_nats": rank / 10} for name in "ab" for rank in (3, 1, 2)]
    taken, found, _ = cut(rows, policy)
    # 200 each: one row of a, 50 left; 250 for b: one row, 100 left, which is too little for another.
    assert taken == {"few": [1, 4]}
    assert found["few"].allocation["wanted"].to_list() == [200.0, 200.0]
    policy = policy_of(tmp_path, subsets={"few": subset(ranking=ranking, budget={"tokens": 500}, control=False)})
    assert cut(rows, policy)[0] == {"few": [1, 4, 5]}  # 250: one, 100 left; 350: two


def test_rows_spread_over_prompts_come_one_each_before_a_second_one(tmp_path):
    entry = subset(ranking=[{"by": "nll_mean"}], spread_over="prompt", budget={"rows": 3}, control=False)
    policy = policy_of(tmp_path, subsets={"spread": entry})
    rows = [
        {"nll_mean": 1.0, "prompt": 1}, {"nll_mean": 2.0, "prompt": 1}, {"nll_mean": 3.0, "prompt": 2},
        {"nll_mean": 4.0, "prompt": None}, {"nll_mean": 5.0, "prompt": None},
    ]  # fmt: skip
    taken, found, _ = cut(rows, policy)
    assert taken == {"spread": [0, 2, 3]}
    assert found["spread"].place.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("by", "values", "descending", "best"),
    [
        ("meta_domain", ["b", "c", "a"], False, 2),  # text by its letters, whatever came first
        ("meta_domain", ["b", None, "a"], True, 0),
        ("meta_correctness", [0.3, 0.3 - 2**-50, None], False, 1),  # in double precision
        ("meta_correctness", [None, 0.1, 0.1 + 2**-50], True, 2),
        ("truncated", [True, False, None], False, 1),
        ("problem", [(1 << 64) - 1, (1 << 64) - 2, None], False, 1),
        ("share_above_5_nats", [None, 0.0, 0.5], True, 2),
    ],
)
def test_rows_are_ranked_by_any_single_value_nulls_last(tmp_path, by, values, descending, best):
    entry = subset(
        ranking=[{"by": by, "descending": descending}], trusted=False, budget={"tokens": 10**9}, control=False
    )
    policy = policy_of(tmp_path, subsets={"ranked": entry}, trust="TRUE")
    # One outside the strata is given nothing of a budget, so rows that `truncated` ranks are ranked without one.
    if by == "truncated":
        entry["budget"] = None
        policy = policy_of(tmp_path, subsets={"ranked": entry})
        found = cut([{"truncated": value, "dataset": "a"} for value in values], policy)[1]["ranked"]
        # Of the two outside the strata null comes last.
        assert (found.place.tolist(), found.of.tolist()) == ([1, 1, 2], [2, 1, 2])
        return
    _, found, _ = cut([{by: value} for value in values], policy)
    assert found["ranked"].place.tolist()[best] == 1


def test_the_same_id_twice_is_told_apart_by_where_it_is(tmp_path):
    policy = policy_of(tmp_path, subsets={"one": subset(budget={"rows": 1}, control=False)})
    rows = [{"id_hash": 5, "split_number": 1, "row": 0}, {"id_hash": 5, "split_number": 0, "row": 1}]
    for order in (rows, rows[::-1]):
        normalised = normalised_of(order, policy)
        assert names(select_all(normalised, policy)["one"].rows, normalised) == [(0, 1)]


def test_the_seed_decides_between_equal_rows(tmp_path):
    rows = [{} for _ in range(40)]
    entry = {"half": subset(budget={"rows": 20}, control=False)}
    chosen = [cut(rows, policy_of(tmp_path, subsets=entry, seed=seed))[0]["half"] for seed in (0, 1, 1)]
    assert chosen[1] == chosen[2] != chosen[0]
    assert [len(each) for each in chosen] == [20, 20, 20]


def test_a_decline_is_the_mean_of_the_candidates_whose_difference_is_known(tmp_path):
    entry = subset(
        "percentile IS NOT NULL", needs=["student", "reference"], control=False, budget={"tokens": 100},
        allocation={"by": "degradation", "power": 1.0, "floor": 0.0},
    )  # fmt: skip
    policy = policy_of(tmp_path, checkpoints=BOTH, subsets={"lost": entry})
    rows = [
        {"dataset": "a", "nll_mean": 2.0, "reference_nll_mean": 1.0} | REFERENCE,
        {"dataset": "a", "nll_mean": 2.0},
        {"dataset": "b", "nll_mean": 2.0, "reference_nll_mean": 1.0} | REFERENCE,
        {"dataset": "b", "nll_mean": 2.0, "reference_nll_mean": 1.0} | REFERENCE,
        {"dataset": "c", "nll_mean": 1.0, "reference_nll_mean": 2.0} | REFERENCE,
    ]
    # Declines 1, 1 and none; tokens 300, 300 and 150.
    assert cut(rows, policy)[1]["lost"].allocation["weight"].to_list() == pytest.approx([0.5, 0.5, 0.0])


def test_no_row_at_all_is_no_error(tmp_path):
    policy = policy_of(tmp_path, trust=TRUST, subsets={"any": subset(ranking=[{"by": "nll_mean"}], budget={"rows": 2})})
    for rows in ([], [{"status": "too_long", "nll_mean": None}]):
        taken, found, told = cut(rows, policy)
        assert taken == {"any": []}
        assert found["any"].unavailable == "student is not scored"
        assert told["any"]["rows"] == 0


def test_an_unknown_column_is_told_with_the_subset(tmp_path):
    good = policy_of(tmp_path)
    bad = policy_of(tmp_path, subsets={"any": subset(ranking=[{"by": "nll_maen"}])})
    with pytest.raises(
        UserError, match=r"subset 'any': ranking: there is no column 'nll_maen'\. Did you mean nll_mean"
    ):
        select_all(normalised_of([{}], good), bad)


def test_every_rule_of_the_oracle_takes_some_row_and_leaves_some(tmp_path):
    subsets = {f"rule_{number}": subset(rule, trusted=False) for number, rule in enumerate(RULES)}
    policy = policy_of(tmp_path, checkpoints=BOTH, subsets=subsets)
    rows = [
        {"nll_mean": 0.5, "problem": 1, "reference_nll_mean": 0.25} | REFERENCE,
        {"nll_mean": 2.0, "reference_nll_mean": 4.0} | REFERENCE,
    ]
    taken = cut(rows, policy)[0]
    assert taken == {"rule_0": [0, 1], "rule_1": [0], "rule_2": [0], "rule_3": [1], "rule_4": [0]}
