"""Each check passes on what the chain made, and fails on what somebody spoiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from nemo_assets.orchestration import checks
from nemo_assets.orchestration.resources import SettingsResource, config_of
from nemo_assets.storage import Manifest, Stage
from nemo_assets_tests.building import prose
from nemo_assets_tests.orchestration.world import TEXT, World, chat


@pytest.fixture
def filled(world: World) -> World:
    world.write_jsonl(
        "org/beta/data/chat.jsonl", [chat("c1", "Hello", "Good day."), chat("c1", "Bye", "See you."), "not json"]
    )
    world.fill("beta/chat")
    return world


def _check(world: World, check: checks.ChainCheck, partition: str) -> dg.AssetCheckResult:
    class Context:
        partition_key = partition

    result: dg.AssetCheckResult = check.body(Context(), SettingsResource(**config_of(world.settings)))
    return result


def test_conservation_fails_when_a_count_is_wrong(filled: World):
    assert _check(filled, checks.records_are_conserved, "beta/chat").passed

    filled.tamper(Stage.LEDGER, "beta/chat", lambda manifest: manifest["counters"].update(kept=1))

    assert not _check(filled, checks.records_are_conserved, "beta/chat").passed


def test_conservation_fails_when_entries_are_lost(filled: World):
    filled.tamper(Stage.LEDGER, "beta/chat", lambda manifest: manifest.update(parts=[]))

    assert not _check(filled, checks.records_are_conserved, "beta/chat").passed


def test_unique_ids_fail_when_two_kept_rows_share_one(filled: World):
    assert _check(filled, checks.ids_are_unique, "distilled").passed

    def forget_renamed(manifest: dict[str, Any]) -> None:
        manifest["parts"] = [part for part in manifest["parts"] if part["table"] != "renamed"]

    filled.tamper(Stage.DUPLICATES, "distilled", forget_renamed)
    result = _check(filled, checks.ids_are_unique, "distilled")

    assert not result.passed
    assert result.metadata["such_as"].value == "c1"


def test_joined_correctness_warns_while_the_origin_is_missing_and_when_nothing_matches(world: World):
    world.write_texts("org/rendered/data/low.parquet", [TEXT])
    world.fill("rendered/low")
    missing = _check(world, checks.correctness_is_joined, "rendered/low")

    world.fill("alpha/low", "rendered/low")
    unmatched = _check(world, checks.correctness_is_joined, "rendered/low")

    assert (missing.passed, missing.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "normalized of alpha/low" in (missing.description or "")
    assert (unmatched.passed, unmatched.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert _check(world, checks.correctness_is_joined, "alpha/low").passed


def test_a_release_fails_when_its_files_are_gone_from_the_destination(filled: World):
    filled.run("beta/chat", "published")
    assert _check(filled, checks.release_is_at_destination, "beta/chat").passed

    lost = {"rows/chat-00001.parquet": "0" * 64}
    filled.tamper(Stage.PUBLISHED, "beta/chat", lambda manifest: manifest["details"]["files"].update(lost))
    result = _check(filled, checks.release_is_at_destination, "beta/chat")

    assert not result.passed
    assert "rows/chat-00001.parquet" in (result.description or "")


@pytest.mark.parametrize(
    ("status", "passed", "severity"),
    [
        ({"ok": 99, "too_long": 1}, True, dg.AssetCheckSeverity.ERROR),
        ({"ok": 90, "too_long": 10}, False, dg.AssetCheckSeverity.WARN),
        ({"ok": 99, "mask_mismatch": 1}, False, dg.AssetCheckSeverity.ERROR),
    ],
)
def test_scores_fail_when_rows_are_refused(
    world: World, status: dict[str, int], passed: bool, severity: dg.AssetCheckSeverity
):
    counters = {"checkpoints": {"student": {"rows": 100, "status": status}}}
    world.settings.store.write_manifest(Manifest(Stage.SCORED, "beta/chat", "v", "d", {}, {}, counters=counters))

    result = _check(world, checks.rows_are_scored, "beta/chat")

    assert (result.passed, result.severity) == (passed, severity)


def test_checks_run_with_their_asset_and_stand_under_its_partition(world: World):
    world.run("beta/chat", "raw", "normalized", "signatures")
    result = world.run("distilled", "duplicates")

    evaluations = result.get_asset_check_evaluations()
    assert {(evaluation.passed, evaluation.partition) for evaluation in evaluations} == {(True, "distilled")}
    assert sorted(evaluation.check_name for evaluation in evaluations) == [
        "all_candidates_were_compared", "ids_are_unique", "no_survivor_stands_for_too_many", "removals_are_plausible",
    ]  # fmt: skip


@pytest.fixture
def crowded(world: World) -> World:
    """beta/chat with three rows of one text and three that differ in a number; alpha/low without a duplicate."""
    siblings = [chat(f"n{number}", f"{prose(1, 40)} {number}", f"{prose(2, 40)} {number}") for number in range(3)]
    equal = [chat(name, "Hello", "Good day to you.") for name in ("c1", "c2", "c3")]
    world.write_jsonl("org/beta/data/chat.jsonl", [*equal, *siblings])
    for key in ("beta/chat", "alpha/low"):
        world.run(key, "raw", "normalized", "signatures")
    return world


def _searched(world: World, check: str, **policy: Any) -> dg.AssetCheckEvaluation:
    """What a check says of a run under this policy."""
    world.edit_catalog("policies/duplicates", lambda content: content.update(policy))
    result = world.run("distilled", "duplicates")
    return next(found for found in result.get_asset_check_evaluations() if found.check_name == check)


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ({}, None),
        ({"removal_ceiling": 0.3}, "beta: 33.3% of the rows were removed as duplicates, more than 30.0%."),
        ({"removal_ceiling": 0.3, "removal_ceilings": {"beta": 0.34}}, None),
        ({"removal_ceilings": {"beta": 0.1}}, "beta: 33.3% of the rows were removed as duplicates, more than 10.0%."),
    ],
)
def test_a_source_that_loses_too_many_rows_is_named(crowded: World, policy: dict[str, Any], told: str | None):
    evaluation = _searched(crowded, "removals_are_plausible", **policy)

    assert (evaluation.passed, evaluation.severity) == (told is None, dg.AssetCheckSeverity.ERROR)
    assert told is None if evaluation.description is None else evaluation.description.startswith(told or "?")
    shown = {name: value.value for name, value in evaluation.metadata.items()}
    assert Path(shown.pop("precision_report")).read_text().startswith("<!doctype html>")
    assert shown == {"alpha": 0.0, "beta": pytest.approx(2 / 6, abs=1e-4)}


@pytest.mark.parametrize(("ceiling", "passed"), [(2, True), (1, False)])
def test_a_survivor_that_stands_for_too_many_is_named(crowded: World, ceiling: int, passed: bool):
    evaluation = _searched(crowded, "no_survivor_stands_for_too_many", survivor_ceiling=ceiling)

    survivor = evaluation.metadata["survivor"].value
    assert (evaluation.passed, evaluation.metadata["rows"].value) == (passed, 2)
    assert evaluation.metadata["ceiling"].value == ceiling
    assert survivor in [f"c{number} (beta/chat)" for number in (1, 2, 3)]
    assert passed or f"{survivor} stands for 2 removed rows, more than 1." in (evaluation.description or "")


@pytest.mark.parametrize(("cap", "passed"), [(3, True), (1, False)])
def test_buckets_that_were_not_compared_to_the_end_are_counted(crowded: World, cap: int, passed: bool):
    evaluation = _searched(crowded, "all_candidates_were_compared", bucket_cap=cap)

    buckets = evaluation.metadata["buckets"].value
    assert (evaluation.passed, evaluation.metadata["cap"].value) == (passed, cap)
    assert (buckets == 0) is passed
    assert passed or f"distilled: {buckets:,} buckets have more than 1 rows" in (evaluation.description or "")
