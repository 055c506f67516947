"""Pools: which rows belong to which, and the correctness that rendered rows take from their origin."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from nemo_assets.catalog import Pool, PoolPolicy, load_catalog
from nemo_assets.errors import UserError
from nemo_assets.records.schema import CORRECTNESS_COLUMNS
from nemo_assets.settings import Settings
from nemo_assets.stages.plan import standing
from nemo_assets.stages.pools import memberships, pool_expressions
from nemo_assets.storage import Stage
from nemo_assets_tests.stages.making import make, make_chain, rows_of

ORIGIN, RENDERED = "nemotron-math-v2/low", "nemotron-math-v2-harmony-tools/low"

SOUND_MATH = {
    "record_uid": b"0" * 16, "id": "row", "split": "high_part00", "stats_approx_tokens": 100,
    "quality_valid_harmony": True, "quality_completion_nonempty": True, "quality_valid_tool_schema": True,
    "quality_has_tool": False, "meta_domain": "math", "meta_difficulty_bin": "high", "meta_row_verified": True,
    "meta_correctness": 1.0, "meta_correctness_high": 1.0, "meta_reasoning": None, "meta_capability_target": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, {"has_correctness_meta", "verified_correct", "high_correctness", "math_high_verified_correct"}),
        (
            {"meta_correctness": 0.875, "meta_correctness_high": None},
            {"has_correctness_meta", "verified_correct", "high_correctness"},
        ),
        (
            {"meta_correctness": 0.5, "meta_row_verified": None, "meta_difficulty_bin": "low"},
            {"has_correctness_meta", "mid_correctness"},
        ),
        ({"meta_correctness": 0.25, "meta_row_verified": False}, {"has_correctness_meta", "low_correctness"}),
        (
            {
                "meta_correctness": None,
                "meta_row_verified": None,
                "stats_approx_tokens": 8192,
                "quality_has_tool": True,
            },
            {"missing_correctness_meta", "long_context", "tool_use"},
        ),
        ({"quality_valid_tool_schema": False}, set()),  # what every pool requires
        (
            {
                "meta_domain": "chat_if",
                "split": "structured_outputs",
                "meta_correctness": None,
                "meta_row_verified": None,
                "meta_reasoning": "off",
            },
            {"missing_correctness_meta", "structured_outputs", "reasoning_off"},
        ),
    ],
)
def test_a_row_belongs_to_the_pools_whose_condition_it_meets(changed: dict[str, Any], expected: set[str]) -> None:
    row = pl.DataFrame(
        [SOUND_MATH | changed], schema_overrides={"meta_reasoning": pl.String, "meta_capability_target": pl.String}
    ).lazy()
    member = memberships(row, load_catalog().pool_policy)
    assert member["pools"].to_list() == [sorted(f"candidates_{name}" for name in expected)]


def test_memberships_are_of_the_kept_rows_in_order_and_counted(sample: Settings) -> None:
    for manifest in sample.store.manifests(Stage.POOLS):
        members = rows_of(manifest, sample.store)
        kept = rows_of(sample.store.current(Stage.DEDUPED, manifest.partition), sample.store)
        assert members["record_uid"] == kept["record_uid"]
        assert members["id"] == kept["id"]
        counts: dict[str, int] = dict.fromkeys(sample.catalog.pools, 0)
        for pools in members["pools"].to_pylist():
            for pool in pools:
                counts[pool] += 1
        assert manifest.counters["pools"] == counts


@pytest.mark.parametrize("name", ["low", "medium", "high_part00", "high_part01", "high_part02"])
def test_rendered_rows_take_the_correctness_of_the_equal_text(sample: Settings, name: str) -> None:
    store = sample.store
    manifest = store.current(Stage.POOLS, f"nemotron-math-v2-harmony-tools/{name}")
    origin: dict[str, dict[str, Any]] = {}
    for row in rows_of(store.current(Stage.NORMALIZED, f"nemotron-math-v2/{name}"), store).to_pylist():
        origin.setdefault(row["text_sha1"], row)
    kept = rows_of(store.current(Stage.DEDUPED, manifest.partition), store).to_pylist()
    expected = [
        {
            "record_uid": row["record_uid"],
            **{column: origin[row["text_sha1"]][column] for column in CORRECTNESS_COLUMNS},
        }
        for row in kept
        if row["text_sha1"] in origin
    ]
    assert rows_of(manifest, store, "joined").to_pylist() == expected
    assert 0 < len(expected) < len(kept)
    assert manifest.counters["join"] == {
        "rows": len(kept),
        "matched": len(expected),
        "rate": round(len(expected) / len(kept), 6),
    }
    evaluated = {row["record_uid"] for row in expected if row["meta_correctness"] is not None}
    members = rows_of(manifest, store).to_pylist()
    assert evaluated == {row["record_uid"] for row in members if "candidates_has_correctness_meta" in row["pools"]}


def test_without_the_origin_there_is_no_join_until_it_is_made(settings: Settings) -> None:
    make_chain(settings, Stage.POOLS, [RENDERED])
    alone = settings.store.current(Stage.POOLS, RENDERED)
    assert alone.counters["join"] == {"rows": 22, "matched": 0, "rate": 0.0}
    assert alone.counters["pools"]["candidates_missing_correctness_meta"] == 22
    assert not alone.table("joined")
    make_chain(settings, Stage.NORMALIZED, [ORIGIN])
    assert standing(Stage.POOLS, RENDERED, settings).currency == "stale"
    assert make(Stage.POOLS, RENDERED, settings).counters["join"]["matched"] > 0


@pytest.mark.parametrize(
    ("predicate", "told"),
    [
        ("meta_corectness > 0.5", "there is no column meta_corectness"),
        ("stats_char_len + 1", "is Int64, not a condition"),
        ("meta_correctness >", "is no predicate over the row columns"),
    ],
)
def test_a_wrong_predicate_is_told_with_its_pool(predicate: str, told: str) -> None:
    policy = PoolPolicy("quality_valid_harmony", {"candidates_wrong": Pool("Wrong.", predicate)})
    with pytest.raises(
        UserError, match=f"pool 'candidates_wrong' in nemo_assets/catalog/policies/pools.yaml: .*{told}"
    ):
        pool_expressions(policy)
