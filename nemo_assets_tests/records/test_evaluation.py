"""What the source measured about the teacher, column by column."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.records.evaluation import wilson_lower_bound
from nemo_assets_tests.building import LOW_MATH, MATH, assistant, math_v2, normalize_one, tool, tool_call, user


def block(passed: Any, count: Any = 8, accuracy: Any = ...) -> dict[str, Any]:
    return {"count": count, "pass": passed, "accuracy": passed / count if accuracy is ... else accuracy}


def evaluated(metadata: Any, key: str = MATH, **fields: Any) -> dict[str, Any]:
    return normalize_one(math_v2(metadata=metadata, **fields), key)


def test_each_condition_has_its_column_and_an_effort_takes_the_better_of_its_two():
    row = evaluated(
        {
            "reason_low_no_tool": block(1), "reason_low_with_tool": block(2),
            "reason_medium_no_tool": block(4), "reason_medium_with_tool": block(3),
            "reason_high_no_tool": block(5), "reason_high_with_tool": block(6),
        }
    )  # fmt: skip
    columns = {name.removeprefix("meta_correctness"): value for name, value in row.items() if "correctness" in name}
    assert columns.pop("_lcb") == pytest.approx(0.3070, abs=1e-4)  # 21 of 48: (0.4775 - 0.1459) / 1.0800
    assert columns == {
        "": 0.75, "_own": 0.625,  # high effort, no tools in the record
        "_low": 0.25, "_low_no_tool": 0.125, "_low_with_tool": 0.25,
        "_medium": 0.5, "_medium_no_tool": 0.5, "_medium_with_tool": 0.375,
        "_high": 0.75, "_high_no_tool": 0.625, "_high_with_tool": 0.75,
    }  # fmt: skip
    assert (row["meta_eval_best_setting"], row["meta_pass_k"], row["meta_correct_count"]) == (
        "reason_high_with_tool",
        8,
        6,
    )


def test_wilson_bound_uses_all_conditions_of_the_problem():
    row = evaluated({"reason_low_no_tool": block(1), "reason_high_with_tool": block(8)})
    assert row["meta_correctness"] == 1.0  # best condition
    assert row["meta_correctness_lcb"] == pytest.approx(0.3318, abs=1e-4)  # 9 of 16, Wilson, z = 1.96


def test_wilson_bound_by_hand():
    # 1 of 1: (1 + 3.8416/2 - 1.96 * sqrt(3.8416/4)) / (1 + 3.8416) = (2.9208 - 1.9208) / 4.8416
    assert wilson_lower_bound(1, 1) == pytest.approx(1 / 4.8416)
    assert wilson_lower_bound(0, 8) == 0.0
    # 8 of 8: the spread is z²/2n, so 1 / (1 + 3.8416/8)
    assert wilson_lower_bound(8, 8) == pytest.approx(8 / 11.8416)


@settings(deadline=None)
@given(count=st.integers(1, 10_000), share=st.floats(0, 1))
def test_wilson_bound_lies_between_nothing_and_the_share_and_grows_with_passes(count, share):
    passed = int(share * count)
    assert 0 <= wilson_lower_bound(passed, count) <= passed / count + 1e-12
    if passed < count:
        assert wilson_lower_bound(passed, count) < wilson_lower_bound(passed + 1, count)


def test_of_equally_good_conditions_the_first_declared_one_is_named():
    # Order: low, medium, high, and without tool before with tool; the order in the file does not matter.
    row = evaluated(
        {"reason_high_no_tool": block(4), "reason_medium_with_tool": block(4), "reason_medium_no_tool": block(4)}
    )
    assert row["meta_eval_best_setting"] == "reason_medium_no_tool"
    unknown = evaluated({"another_b": block(4), "another_a": block(4), "reason_high_with_tool": block(4)})
    assert unknown["meta_eval_best_setting"] == "reason_high_with_tool"


def test_a_count_other_than_eight_weighs_by_its_attempts():
    row = evaluated({"reason_high_no_tool": block(3, 4), "reason_low_no_tool": block(0, 12)})
    assert (row["meta_correctness"], row["meta_pass_k"], row["meta_correct_count"]) == (0.75, 4, 3)
    assert row["meta_correctness_lcb"] == pytest.approx(wilson_lower_bound(3, 16))


def test_an_accuracy_that_is_no_number_is_none_and_the_others_count():
    line = json.dumps(
        math_v2(metadata={"reason_high_no_tool": block(4, 8, float("nan")), "reason_low_no_tool": block(2)})
    )
    row = normalize_one(line.encode(), MATH)  # the line says NaN
    assert row["meta_correctness"] == 0.25
    assert row["meta_correctness_high"] is row["meta_correctness_own"] is None
    assert row["meta_row_verified"] is True  # 4 passes all the same
    assert row["meta_correctness_lcb"] == pytest.approx(wilson_lower_bound(6, 16))
    assert json.loads(row["meta_eval_json"])["reason_high_no_tool"]["accuracy"] is None


@pytest.mark.parametrize("metadata", [None, {}, [], "", "null", 7])
def test_no_evaluation_leaves_every_column_null(metadata):
    row = evaluated(metadata)
    assert {name for name in row if name.startswith("meta_correct") and row[name] is not None} == set()
    assert (
        row["meta_row_verified"] is row["meta_pass_k"] is row["meta_eval_best_setting"] is row["meta_eval_json"] is None
    )


def test_missing_null_and_odd_blocks_are_passed_over():
    row = evaluated(
        {
            "reason_low_no_tool": None,
            "reason_medium_no_tool": {},
            "reason_high_no_tool": "8/8",
            "reason_high_with_tool": block(4),
        }
    )
    assert row["meta_correctness"] == row["meta_correctness_high"] == row["meta_correctness_high_with_tool"] == 0.5
    assert row["meta_correctness_low"] is row["meta_correctness_medium"] is row["meta_correctness_high_no_tool"] is None
    assert row["meta_row_verified"] is None  # its own condition says nothing
    assert row["meta_correctness_lcb"] == pytest.approx(wilson_lower_bound(4, 8))


@pytest.mark.parametrize("count", [0, None, "8", True, 7.5, 10**30, 10**400])
def test_a_count_nobody_can_have_counted_is_no_count(count):
    row = evaluated({"reason_high_no_tool": {"count": count, "pass": 4, "accuracy": 0.5}})
    assert row["meta_correctness"] == 0.5
    assert row["meta_pass_k"] == (0 if count == 0 else None)
    assert row["meta_correctness_lcb"] is None


def test_an_accuracy_beyond_any_float_is_none():
    row = evaluated({"reason_high_no_tool": {"count": 8, "pass": 4, "accuracy": 10**400}})
    assert row["meta_correctness"] is None
    assert row["meta_correctness_lcb"] is not None


def test_metadata_as_text_is_read_and_tagged():
    row = evaluated(json.dumps({"reason_high_no_tool": block(4)}))
    assert row["meta_correctness"] == 0.5
    assert row["meta_eval_json"] == '{"reason_high_no_tool":{"accuracy":0.5,"count":8,"pass":4}}'
    assert "dialect:metadata_as_text" in row["quality_tags"]
    broken = evaluated('{"reason_high_no_tool": {')
    assert (broken.code, broken.evidence["field"]) == ("unparseable", "metadata")


def test_a_row_is_verified_by_the_condition_it_was_made_under():
    metadata = {"reason_high_no_tool": block(0), "reason_high_with_tool": block(1), "reason_low_no_tool": block(2)}
    python = tool("stateful_python_code_exec")
    called = [user(), assistant("", tool_calls=[tool_call("python", {"code": "1"})]), assistant()]
    own = ("meta_row_verified", "meta_correctness_own")
    without = evaluated(metadata)
    offered, used = evaluated(metadata, tools=[python]), evaluated(metadata, messages=called)
    low = evaluated(metadata, LOW_MATH)
    assert [without[name] for name in own] == [False, 0.0]
    assert [offered[name] for name in own] == [True, 0.125]
    assert [used[name] for name in own] == [True, 0.125]
    assert [low[name] for name in own] == [True, 0.25]
