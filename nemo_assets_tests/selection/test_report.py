"""What a policy cuts, in figures: equal to counts of the selection, shortfalls in words."""

import json
from collections import Counter

import pytest
from hypothesis import given, settings

from nemo_assets.selection import report, select_all
from nemo_assets_tests.selection.frames import drawn_policy, normalised_of, numbered, policies, scored_rows
from nemo_assets_tests.selection.scored_rows import policy_of


def told_of(rows, policy):
    normalised = normalised_of(rows, policy)
    return report(select_all(normalised, policy), normalised, policy)


def test_histograms_means_and_distance_of_subset_and_control_by_hand(tmp_path):
    entry = {"purpose": " Likely. ", "predicate": "nll_mean\n < 1", "trusted": False}
    policy = policy_of(tmp_path, trust="nll_mean >= 1", subsets={"likely": entry})
    rows = [
        {"nll_mean": 0.3, "completion_tokens": 1, "tokens": 10, "meta_correctness": 0.7, "quality_has_tool": True},
        {"nll_mean": 0.39, "completion_tokens": 3, "tokens": 10, "meta_correctness": None, "meta_domain": None},
        {"nll_mean": 1.5, "completion_tokens": 1024, "tokens": 20, "meta_correctness": 1.0},
        {"nll_mean": 99.0, "completion_tokens": 1023, "tokens": 20, "meta_correctness": 0.1},
        {"nll_mean": None, "status": "too_long"},
    ]
    told = told_of(rows, policy)
    assert told["scored"] == {"rows": 4, "kept_rows": 5, "in_strata": 4, "tokens": 60, "strata": 1}
    likely = told["subsets"]["likely"]
    assert (likely["purpose"], likely["rule"], likely["trusted"]) == ("Likely.", "nll_mean < 1", False)
    assert (likely["rows"], likely["tokens"], likely["control"]) == (2, 20, {"rows": 1, "tokens": 20})
    assert likely["steps"] == [
        {"name": "scored", "rows": 4, "tokens": 60},
        {"name": "rule", "rows": 2, "tokens": 20},
        {"name": "taken", "rows": 2, "tokens": 20},
    ]
    bias = likely["bias"]
    assert bias["completion_tokens"]["subset"] == {"1": 1, "2": 1}
    assert bias["nll_mean"]["subset"] == {"0.3": 2}
    assert bias["nll_mean"]["total_variation"] == 1.0
    assert bias["nll_mean"]["means"]["subset"] == pytest.approx(0.345, abs=1e-6)
    assert bias["meta_correctness"]["subset"] == {"0.7": 1, "unknown": 1}
    assert bias["meta_correctness"]["means"]["subset"] == 0.7
    assert bias["meta_domain"]["subset"] == {"math": 1, "unknown": 1}
    assert bias["meta_domain"]["total_variation"] == 0.5
    assert bias["quality_has_tool"]["subset"] == {"false": 1, "true": 1}
    (control,) = bias["completion_tokens"]["control"]
    assert (control, list(bias["nll_mean"]["control"])) in [("1024", ["1.5"]), ("512", ["10.0"])]


@settings(deadline=None, max_examples=40)
@given(scored_rows, policies)
def test_every_figure_is_a_count_of_the_selection(tmp_path_factory, rows, drawn):
    policy = drawn_policy(tmp_path_factory.mktemp("policy"), drawn)
    normalised = normalised_of(numbered(rows), policy)
    selections = select_all(normalised, policy)
    told = json.loads(json.dumps(report(selections, normalised, policy), allow_nan=False))
    for name, found in selections.items():
        made, chosen, control = told["subsets"][name], normalised.rows[found.rows], normalised.rows[found.control]
        assert (made["rows"], made["tokens"]) == (chosen.height, chosen["tokens"].sum())
        if found.unavailable:
            continue
        assert made["steps"][-1] == {"name": "taken", "rows": chosen.height, "tokens": chosen["tokens"].sum()}
        sums = Counter()
        for stratum in made["strata"]:
            sums.update({key: value for key, value in stratum.items() if key not in ("label", "weight", "wanted")})
        assert (sums["rows"], sums["tokens"]) == (chosen.height, chosen["tokens"].sum())
        assert (sums["control_rows"], sums["control_tokens"]) == (control.height, control["tokens"].sum())
        for column in ("meta_domain", "dataset"):
            for which, frame in (("subset", chosen), ("control", control)):
                counts = dict(Counter(value or "unknown" for value in frame[column]))
                assert made["bias"][column][which] == counts
        for column in ("completion_tokens", "nll_mean", "meta_correctness"):
            mean = chosen[column].mean()
            assert made["bias"][column]["means"]["subset"] == (mean if mean is None else pytest.approx(mean, abs=1e-5))
            assert sum(made["bias"][column]["subset"].values()) == chosen.height
        for other, against in selections.items():
            shared = len(set(found.rows.tolist()) & set(against.rows.tolist()))
            either = len(set(found.rows.tolist()) | set(against.rows.tolist()))
            overlap = {"rows": shared, "jaccard": round(shared / max(either, 1), 6)}
            assert told["overlap"][name][other] == overlap


def test_more_subsets_than_a_word_has_bits_overlap_too(tmp_path):
    entry = {"purpose": "One of many.", "predicate": "TRUE", "control": False}
    told = told_of([{}, {}], policy_of(tmp_path, subsets={f"s{number}": entry for number in range(70)}))
    assert told["overlap"]["s0"]["s69"] == {"rows": 2, "jaccard": 1.0}


def test_a_shortfall_names_the_subset_and_the_strata_that_are_short(tmp_path):
    entry = {"purpose": "Too much.", "predicate": "nll_mean < 2", "budget": {"tokens": 1000}, "control": False}
    policy = policy_of(tmp_path, subsets={"much": entry})
    rows = [{"dataset": "a", "nll_mean": 1.0}] * 3 + [{"dataset": "b", "nll_mean": value} for value in (1.0, 9.0, 9.0)]
    told = told_of(rows, policy)["subsets"]["much"]
    assert (told["rows"], told["tokens"], told["shortfall"]) == (4, 600, 400)
    assert told["notes"] == [
        "much: 400 tokens of the budget of 1,000 have no candidates in any stratum.",
        "much: stratum dataset=b has 150 tokens of the 500 it is entitled to; the others share the rest.",
        "much: stratum dataset=a has 450 tokens of the 500 it is entitled to; the others share the rest.",
    ]
    assert [(each["label"], each["wanted"], each["candidate_tokens"]) for each in told["strata"]] == [
        ("dataset=a", 500.0, 450), ("dataset=b", 500.0, 150),
    ]  # fmt: skip


def test_a_budget_in_rows_falls_short_in_rows_and_the_worst_strata_are_named(tmp_path):
    entry = {"purpose": "Too many.", "predicate": "TRUE", "budget": {"rows": 700}, "control": False}
    rows = [{"dataset": name, "tokens": 150} for name in "abcdefg"]
    told = told_of(rows, policy_of(tmp_path, subsets={"many": entry}))["subsets"]["many"]
    assert told["budget"] == {"amount": 700, "unit": "rows"}
    assert told["shortfall"] == 693
    assert told["notes"][1] == (
        "many: stratum dataset=a has 1 rows of the 100 it is entitled to; the others share the rest."
    )
    assert told["notes"][6:] == ["many: 2 further strata have less than they are entitled to."]


def test_a_rule_that_nothing_satisfies_and_a_column_that_no_row_has_are_told(tmp_path):
    entry = {"purpose": "Helped.", "predicate": "ifd_first_512 < 1 OR reference_nll_mean < 1", "control": False}
    tight = {"purpose": "Tight.", "predicate": "TRUE", "budget": {"tokens": 149}, "control": False}
    told = told_of([{}], policy_of(tmp_path, subsets={"helped": entry, "tight": tight}))["subsets"]
    assert told["helped"]["notes"] == [
        "helped: its rule reads ifd_first_512 and reference_nll_mean, which no row has.",
        "helped: no row satisfies its rule.",
    ]
    assert told["tight"]["notes"] == ["tight: no row fits its budget."]


def test_rows_without_a_stratum_are_a_line_of_their_own(tmp_path):
    entry = {"purpose": "Truncated too.", "predicate": "TRUE", "control": False}
    told = told_of([{}, {"truncated": True, "tokens": 7}], policy_of(tmp_path, subsets={"all": entry}))
    lines = [(each["label"], each["rows"], each["tokens"]) for each in told["subsets"]["all"]["strata"]]
    assert lines == [("dataset=org/a", 1, 150), ("no stratum: truncated", 1, 7)]
    assert told["scored"] | {"rows": 2, "in_strata": 1, "tokens": 157} == told["scored"]


def test_overlap_counts_rows_in_both_of_any_two(tmp_path):
    rules = {"low": "nll_mean < 3", "middle": "nll_mean IN (2, 3)", "high": "nll_mean > 2", "none": "nll_mean > 9"}
    entries = {name: {"purpose": name, "predicate": rule, "control": False} for name, rule in rules.items()}
    told = told_of([{"nll_mean": float(value)} for value in (1, 2, 3, 4)], policy_of(tmp_path, subsets=entries))
    shared = {one: [told["overlap"][one][other]["rows"] for other in rules] for one in rules}
    assert shared == {"low": [2, 1, 0, 0], "middle": [1, 2, 1, 0], "high": [0, 1, 2, 0], "none": [0, 0, 0, 0]}
    assert told["overlap"]["high"]["middle"]["jaccard"] == 0.333333
