"""The policy, by real ticks with real runs between them."""

from __future__ import annotations

import pytest

from nemo_assets.errors import UserError
from nemo_assets.orchestration import assets
from nemo_assets.orchestration.external import Report, tell
from nemo_assets.storage import Stage
from nemo_assets_tests.orchestration.daemon import Daemon, asked_for
from nemo_assets_tests.orchestration.world import CHAIN_OF_A_SPLIT, TEXT, World, chat, problem

# Dagster's own evaluation for tests selects external assets by a parameter still in beta.
pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")


@pytest.fixture
def daemon(world: World) -> Daemon:
    """A filled project whose automation has been on for a while."""
    world.tick()
    world.fill("alpha/low", "alpha/high", "beta/chat")
    world.run(None, "inventory", "metadata_coverage")
    daemon = Daemon(world)
    assert daemon.until_quiet() == []
    return daemon


def test_what_is_made_by_hand_before_anything_was_reported_is_not_made_again(world: World):
    daemon = Daemon(world)
    assert daemon.until_quiet() == []
    for key in ("alpha/low", "alpha/high", "beta/chat"):
        world.run(key, "raw")

    first = daemon.until_quiet()
    world.tick()
    asked = asked_for([*first, *daemon.until_quiet()])

    of_a_split = [name for name in CHAIN_OF_A_SPLIT if name not in ("raw", "duplicates")]
    of_splits = [(name, key) for name in of_a_split for key in ("alpha/low", "alpha/high", "beta/chat")]
    assert [key for key in asked if key[1] is not None] == sorted([*of_splits, ("duplicates", "distilled")], key=str)


def test_a_change_that_raw_reads_before_the_sensor_sees_it_runs_raw_once(daemon: Daemon):
    daemon.world.write_jsonl("org/alpha/data/high.jsonl", [problem("p4", "4 + 4", "8")])
    daemon.world.run("alpha/high", "raw")

    asked = asked_for(daemon.until_quiet())
    daemon.world.tick()

    assert ("raw", "alpha/high") not in asked
    assert asked.count(("normalized", "alpha/high")) == 1
    assert daemon.until_quiet() == []


def test_a_changed_split_runs_its_own_chain_and_each_stage_once(daemon: Daemon):
    daemon.world.write_jsonl("org/alpha/data/high.jsonl", [problem("p4", "4 + 4", "8")])
    daemon.world.tick()

    asked = daemon.until_quiet()

    chain = [(name, "distilled" if name == "duplicates" else "alpha/high") for name in CHAIN_OF_A_SPLIT]
    scope_mates = [("deduped", "alpha/low"), ("deduped", "beta/chat")]  # asked, unchanged, and nothing follows from it
    reports = [("inventory", None), *[("metadata_coverage", None)] * 2]  # coverage after new rows, and after new pools
    assert asked_for(asked) == sorted([*chain, *scope_mates, *reports], key=str)
    pools, deduped = (daemon.world.manifest(stage, "alpha/high") for stage in (Stage.POOLS, Stage.DEDUPED))
    assert pools.inputs["deduped"] == deduped.data_version


def test_a_change_that_leaves_the_rows_equal_stops_there(daemon: Daemon):
    daemon.world.write_jsonl("org/alpha/data/low_more.jsonl", [])
    daemon.world.tick()

    assert asked_for(daemon.until_quiet()) == [("normalized", "alpha/low"), ("raw", "alpha/low")]


def test_another_recipe_reaches_only_its_split(daemon: Daemon):
    tell(Report("recipe", "beta/chat", "another", {}), daemon.world.instance)

    assert asked_for(daemon.until_quiet()) == [("normalized", "beta/chat"), ("pools", "beta/chat")]


def test_a_split_that_was_never_filled_is_not_downloaded(daemon: Daemon):
    daemon.world.write_texts("org/rendered/data/low.parquet", ["text"])
    daemon.world.tick()

    assert daemon.until_quiet() == []


def test_a_failed_run_is_asked_for_once_more_and_then_left_alone(daemon: Daemon, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise UserError("alpha/high: the disk is full.")

    monkeypatch.setattr(assets, "normalize", broken)
    daemon.failing = {"normalized"}
    daemon.world.write_jsonl("org/alpha/data/high.jsonl", [problem("p4", "4 + 4", "8")])
    daemon.world.tick()

    asked = asked_for(daemon.until_quiet())

    assert asked.count(("normalized", "alpha/high")) == 2
    assert ("signatures", "alpha/high") not in asked


def test_a_scope_is_no_business_of_another(daemon: Daemon):
    world = daemon.world
    world.write_texts("org/rendered/data/low.parquet", [TEXT])
    world.tick()
    world.fill("rendered/low")
    daemon.until_quiet()
    world.write_jsonl("org/beta/data/chat.jsonl", [chat("c3", "How are you?", "Well.")])
    world.tick()

    asked = asked_for(daemon.until_quiet())

    assert {partition for _, partition in asked if partition} == {"alpha/low", "alpha/high", "beta/chat", "distilled"}
