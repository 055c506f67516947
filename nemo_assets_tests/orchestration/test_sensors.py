"""Noticing changes of sources and recipes."""

from __future__ import annotations

import shutil

import dagster as dg

from nemo_assets.orchestration.resources import SettingsResource, config_of
from nemo_assets.orchestration.sensors import source_updates
from nemo_assets_tests.orchestration.world import World, problem

EVERY_SPLIT = {"alpha/low", "alpha/high", "beta/chat", "rendered/low"}


def _tick(world: World) -> dg.SensorResult:
    """One tick; what it reports is stored, as the daemon does."""
    context = dg.build_sensor_context(
        instance=world.instance, resources={"settings": SettingsResource(**config_of(world.settings))}
    )
    result = source_updates(context)
    assert isinstance(result, dg.SensorResult)
    for event in result.asset_events:
        world.instance.report_runless_asset_event(event)
    return result


def _reported(result: dg.SensorResult, asset: str) -> set[str | None]:
    return {event.partition for event in result.asset_events if event.asset_key == dg.AssetKey(asset)}


def test_a_source_out_of_reach_does_not_hide_the_others(world: World):
    first = _tick(world)
    assert _reported(first, "source") == EVERY_SPLIT - {"rendered/low"}
    assert _reported(first, "recipe") == EVERY_SPLIT

    quiet = _tick(world)
    assert quiet.asset_events == []
    assert "org/rendered" in (quiet.skip_reason.skip_message if quiet.skip_reason else "")

    world.write_texts("org/rendered/data/low.parquet", ["text"])
    assert _reported(_tick(world), "source") == {"rendered/low"}


def test_only_the_split_whose_files_changed_is_reported(world: World):
    _tick(world)
    world.write_jsonl("org/alpha/data/high.jsonl", [problem("p4", "4 + 4", "8")])
    (world.root / "sources/org/alpha/README.md").write_text("New words.")

    assert _reported(_tick(world), "source") == {"alpha/high"}


def test_a_source_that_comes_back_unchanged_is_no_news(world: World):
    _tick(world)
    aside = world.root / "aside"
    shutil.move(world.root / "sources/org/beta", aside)
    _tick(world)
    shutil.move(aside, world.root / "sources/org/beta")

    assert _reported(_tick(world), "source") == set()
