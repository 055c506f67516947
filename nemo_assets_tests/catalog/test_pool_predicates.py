"""Pools are SQL over the canonical columns; a predicate that cannot be evaluated names its pool."""

import msgspec
import polars as pl
import pytest

from nemo_assets.catalog import Pool, PoolPolicy
from nemo_assets.errors import UserError
from nemo_assets.records.schema import ROW_SCHEMA
from nemo_assets.stages.pools import memberships, pool_expressions
from nemo_assets_tests.building import CATALOG, CHAT_IF, MATH, MCQ, chat, math_v2, normalize_one, science


def policy(predicate: str, requires: str = "true") -> PoolPolicy:
    return PoolPolicy(requires, {"candidates_x": Pool("A purpose.", predicate)})


def pools_of(*rows: dict, policy: PoolPolicy = CATALOG.pool_policy) -> list[list[str]]:
    frame = pl.DataFrame(list(rows), schema=pl.DataFrame(pl.from_arrow(ROW_SCHEMA.empty_table())).schema)
    return memberships(frame.lazy(), policy)["pools"].to_list()


@pytest.mark.parametrize(
    ("predicate", "says"),
    [
        ("meta_corectness > 0.5", "there is no column meta_corectness"),
        ("meta_correctness >", "is no predicate"),
        ("(meta_correctness > 0.5", "is no predicate"),
        ("no_such_function(text)", "is no predicate"),
        ("stats_char_len + 1", "is Int64, not a condition"),
        ("text", "is String, not a condition"),
        ("meta_domain > 3", "is no predicate"),
        ("quality_has_tool meta_row_verified", "is no predicate"),  # a forgotten AND
        ("MAX(stats_char_len) > 3", "speaks of many rows at once"),
    ],
)
def test_a_predicate_that_cannot_be_evaluated_names_its_pool(predicate, says):
    for wrong, name in ((policy(predicate), "pool 'candidates_x'"), (policy("true", predicate), "`requires`")):
        with pytest.raises(UserError) as refused:
            pool_expressions(wrong)
        message = str(refused.value)
        assert message.startswith(f"{name} in nemo_assets/catalog/policies/pools.yaml: ")
        assert says in message
        assert "\n" not in message


def test_unknown_is_not_a_member_and_requires_holds_for_every_pool():
    verified = {"reason_high_no_tool": {"count": 8, "pass": 8, "accuracy": 1.0}}
    row = normalize_one(math_v2(metadata=verified), MATH)
    assert pools_of(row) == [
        ["candidates_has_correctness_meta", "candidates_high_correctness", "candidates_math_high_verified_correct",
         "candidates_verified_correct"],
    ]  # fmt: skip
    assert pools_of(normalize_one(science(), MCQ)) == [["candidates_missing_correctness_meta"]]
    assert pools_of(normalize_one(chat(), CHAT_IF)) == [
        ["candidates_chat", "candidates_missing_correctness_meta", "candidates_reasoning_off"]
    ]
    assert pools_of(row | {"quality_valid_tool_schema": False}) == [[]]


@pytest.mark.parametrize(
    ("passed", "pool"),
    [(2, "candidates_low_correctness"), (3, "candidates_mid_correctness"), (6, "candidates_mid_correctness"),
     (7, "candidates_high_correctness")],
)  # fmt: skip
def test_every_correctness_falls_into_one_band(passed, pool):
    metadata = {"reason_low_no_tool": {"count": 8, "pass": passed, "accuracy": passed / 8}}
    (pools,) = pools_of(normalize_one(math_v2(metadata=metadata), MATH))
    assert [name for name in pools if name.endswith("_correctness")] == [pool]


def test_a_catalog_may_have_no_pools():
    nothing = msgspec.structs.replace(CATALOG.pool_policy, pools={})
    assert pools_of(normalize_one(science(), MCQ), policy=nothing) == [[]]
