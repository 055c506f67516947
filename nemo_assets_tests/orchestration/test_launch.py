"""Materializing without the UI, as runs that the UI shows."""

from __future__ import annotations

import re
from collections.abc import Iterator

import dagster as dg
import pytest

from nemo_assets.definitions import build_defs
from nemo_assets.errors import UserError
from nemo_assets.orchestration.instance import open_instance, prepare_home
from nemo_assets.orchestration.launch import materialize, runs
from nemo_assets.storage import Stage
from nemo_assets_tests.orchestration.world import World, problem


@pytest.fixture
def home(world: World) -> Iterator[dg.DagsterInstance]:
    with open_instance(world.settings) as instance:
        yield instance


def test_neighbours_of_the_same_partition_share_a_run():
    of_split = [("raw", "a/x"), ("normalized", "a/x"), ("duplicates", "s"), ("deduped", "a/x")]
    keys = [*of_split, ("inventory", None), ("metadata_coverage", None)]

    assert list(runs(keys)) == [
        ("a/x", ["raw", "normalized"]),
        ("s", ["duplicates"]),
        ("a/x", ["deduped"]),
        (None, ["inventory", "metadata_coverage"]),
    ]


def test_the_ui_sees_what_ran_and_from_which_source(
    world: World, home: dg.DagsterInstance, capfd: pytest.CaptureFixture[str]
):
    of_split = [(name, "beta/chat") for name in ("raw", "normalized", "signatures")]
    materialize(
        [*of_split, ("duplicates", "distilled")], world.settings, home, build_defs(catalog=world.settings.catalog)
    )

    assert [(run.status, run.tags["dagster/partition"]) for run in home.get_runs()] == [
        (dg.DagsterRunStatus.SUCCESS, "distilled"),
        (dg.DagsterRunStatus.SUCCESS, "beta/chat"),
    ]
    for name in ("source", "recipe", "normalized"):
        assert home.get_materialized_partitions(dg.AssetKey(name)) == {"beta/chat"}
    assert capfd.readouterr() == ("", "")


def test_an_unchanged_source_is_reported_once(world: World, home: dg.DagsterInstance):
    def reports() -> int:
        return len(home.fetch_materializations(dg.AssetKey("source"), limit=10).records)

    for _ in range(2):
        materialize([("raw", "alpha/low")], world.settings, home, build_defs(catalog=world.settings.catalog))
    assert reports() == 1

    world.write_jsonl("org/alpha/data/low.jsonl", [problem("p7", "7 + 7", "14")])
    materialize([("raw", "alpha/low")], world.settings, home, build_defs(catalog=world.settings.catalog))
    assert reports() == 2


def test_the_error_of_a_stage_arrives_as_it_was_raised(world: World, home: dg.DagsterInstance):
    wanted = "alpha/low: raw does not exist yet. Materialise raw of alpha/low first."

    with pytest.raises(UserError, match=f"^{re.escape(wanted)}$"):
        materialize(
            [("normalized", "alpha/low"), ("raw", "alpha/high")],
            world.settings,
            home,
            build_defs(catalog=world.settings.catalog),
        )

    assert [run.status for run in home.get_runs()] == [dg.DagsterRunStatus.FAILURE]
    assert world.settings.store.find(Stage.RAW, "alpha/high") is None


def test_a_sample_keeps_to_its_own_directory(world: World):
    settings = world.settings.sampled(1)
    with open_instance(settings) as instance:
        materialize(
            [("raw", "alpha/low"), ("normalized", "alpha/low")],
            settings,
            instance,
            build_defs(catalog=settings.catalog),
        )

    assert settings.store.current(Stage.NORMALIZED, "alpha/low").rows() == 1
    assert world.settings.store.find(Stage.NORMALIZED, "alpha/low") is None


def test_a_home_that_is_there_is_left_as_it_is(world: World):
    config = prepare_home(world.settings) / "dagster.yaml"
    config.write_text("telemetry: {enabled: false}\n")

    assert prepare_home(world.settings) == config.parent
    assert config.read_text() == "telemetry: {enabled: false}\n"
