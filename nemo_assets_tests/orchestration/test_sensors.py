"""Noticing changes of sources and recipes."""

from __future__ import annotations

import shutil

import dagster as dg
from dagster._core.definitions.sensor_definition import SensorExecutionData

from nemo_assets_tests.orchestration.world import World, problem

EVERY_SPLIT = {"alpha/low", "alpha/high", "beta/chat", "rendered/low"}


def _reported(tick: SensorExecutionData, asset: str) -> set[str | None]:
    said = [event for event in tick.asset_events if isinstance(event, dg.AssetMaterialization)]
    return {event.partition for event in said if event.asset_key == dg.AssetKey(asset)}


def test_a_source_out_of_reach_does_not_hide_the_others(world: World):
    first = world.tick()
    assert _reported(first, "source") == EVERY_SPLIT - {"rendered/low"}
    assert _reported(first, "recipe") == EVERY_SPLIT

    quiet = world.tick()
    assert _reported(quiet, "source") | _reported(quiet, "recipe") == set()
    assert "org/rendered" in (quiet.skip_message or "")

    world.write_texts("org/rendered/data/low.parquet", ["text"])
    assert _reported(world.tick(), "source") == {"rendered/low"}


def test_only_the_split_whose_files_changed_is_reported(world: World):
    world.tick()
    world.write_jsonl("org/alpha/data/high.jsonl", [problem("p4", "4 + 4", "8")])
    (world.root / "sources/org/alpha/README.md").write_text("New words.")

    assert _reported(world.tick(), "source") == {"alpha/high"}


def test_a_source_that_comes_back_unchanged_is_no_news(world: World):
    world.tick()
    aside = world.root / "aside"
    shutil.move(world.root / "sources/org/beta", aside)
    world.tick()
    shutil.move(aside, world.root / "sources/org/beta")

    assert _reported(world.tick(), "source") == set()


def test_a_tick_says_what_it_reported(world: World):
    first = world.tick().skip_message or ""
    assert first.startswith("Reported new versions: source of 3 splits, recipe of 4 splits. ")
    assert "org/rendered" in first

    world.write_texts("org/rendered/data/low.parquet", ["text"])
    world.write_jsonl("org/alpha/data/high.jsonl", [problem("p4", "4 + 4", "8")])
    assert world.tick().skip_message == "Reported new versions: source of alpha/high and rendered/low."
    assert world.tick().skip_message == "No source and no recipe changed."
