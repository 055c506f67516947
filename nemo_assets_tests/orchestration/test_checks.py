"""Each check passes on what the chain made, and fails on what somebody spoiled."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from nemo_assets.orchestration import checks
from nemo_assets.orchestration.resources import SettingsResource, config_of
from nemo_assets.storage import Manifest, Stage
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

    (evaluation,) = result.get_asset_check_evaluations()
    assert (evaluation.check_name, evaluation.passed, evaluation.partition) == ("ids_are_unique", True, "distilled")
