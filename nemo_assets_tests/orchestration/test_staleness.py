"""What the UI shows as unsynced: exactly what a change affects, until it was made again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus

import nemo_assets
from nemo_assets.definitions import build_defs
from nemo_assets.orchestration.launch import made_before_the_recipe, materialize
from nemo_assets.records import recipe
from nemo_assets.stages import normalized
from nemo_assets_tests.orchestration.world import CHAIN_OF_A_SPLIT, Key, World, problem

PACKAGE = Path(nemo_assets.__file__).parent
LOW, HIGH, CHAT = FILLED = ("alpha/low", "alpha/high", "beta/chat")
BEFORE, AFTER = CHAIN_OF_A_SPLIT[:3], CHAIN_OF_A_SPLIT[4:]
OTHER = [problem("p4", "4 + 4", "8")]

Edit = Callable[[World, pytest.MonkeyPatch], None]


def make(world: World, *keys: Key) -> None:
    materialize(keys, world.settings, world.instance, build_defs(catalog=world.settings.catalog))


def make_everything(world: World) -> None:
    make(world, *[(name, key) for key in FILLED for name in BEFORE], ("duplicates", "distilled"))
    make(world, *[(name, key) for key in FILLED for name in AFTER], ("inventory", None), ("metadata_coverage", None))


def unsynced(world: World) -> dict[Key, set[str]]:
    """Everything filled that the UI marks as unsynced, with the dependencies it names as causes."""
    # The resolver that the UI asks; there is no public way to the same answer.
    view = AssetGraphView.for_test(world.defs, world.instance)
    resolver = CachingStaleStatusResolver(world.instance, view.asset_graph, view)
    keys: list[Key] = [(name, key) for key in FILLED for name in (*BEFORE, *AFTER)]
    keys += [("duplicates", "distilled"), ("inventory", None), ("metadata_coverage", None)]
    status = {(name, key): resolver.get_status(dg.AssetKey(name), key) for name, key in keys}
    assert StaleStatus.MISSING not in status.values()
    return {
        (name, key): {
            cause.dependency_asset_key.to_user_string()
            for cause in resolver.get_stale_causes(dg.AssetKey(name), key)
            if cause.dependency_asset_key
        }
        for (name, key), found in status.items()
        if found is StaleStatus.STALE
    }


def test_a_changed_file_makes_raw_of_its_split_unsynced_until_it_is_made_again(world: World):
    world.tick()
    make_everything(world)
    assert unsynced(world) == {}

    world.write_jsonl("org/alpha/data/high.jsonl", OTHER)
    world.tick()
    assert unsynced(world) == {("raw", HIGH): {"source"}}

    make(world, ("raw", HIGH))
    assert unsynced(world) == {("normalized", HIGH): {"raw"}}

    make_everything(world)
    world.tick()
    assert unsynced(world) == {}


def entry(world: World, _: pytest.MonkeyPatch) -> None:
    world.edit_catalog("beta", lambda entry: entry.update(loss_mode="assistant_last"))


def pool(world: World, _: pytest.MonkeyPatch) -> None:
    world.edit_catalog("policies/pools", lambda policy: policy["pools"].pop("chat"))


def policy(world: World, _: pytest.MonkeyPatch) -> None:
    world.edit_catalog("policies/checkpoints", lambda policy: policy["checkpoints"]["student"].update(model="org/x"))


def template(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _code("harmony/templates/harmony_1.py", world, monkeypatch)


def adapter(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _code("records/adapters/math_v2.py", world, monkeypatch)


def _code(module: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes are read from a copy of the package with a line more in one module."""
    package = world.root / "package"
    for part in ("records", "harmony"):
        shutil.copytree(PACKAGE / part, package / part)
    with (package / module).open("a") as file:
        file.write("\nMORE = 1\n")
    for user in (recipe, normalized):
        monkeypatch.setattr(user, "normalize_recipe", partial(recipe.normalize_recipe, package=package))


@pytest.mark.parametrize(
    ("edit", "affected"),
    [(entry, [CHAT]), (template, [CHAT]), (adapter, [LOW, HIGH]), (pool, FILLED), (policy, FILLED)],
)
def test_an_edit_makes_exactly_the_splits_it_affects_unsynced(
    world: World, monkeypatch: pytest.MonkeyPatch, edit: Edit, affected: list[str]
):
    make_everything(world)
    world.tick()
    assert unsynced(world) == {}

    edit(world, monkeypatch)
    world.tick()
    assert unsynced(world) == {(name, key): {"recipe"} for key in affected for name in ("normalized", "pools")}

    make_everything(world)
    world.tick()
    assert unsynced(world) == {}


def test_what_an_edit_left_as_it_was_is_made_again_without_work(world: World, monkeypatch: pytest.MonkeyPatch):
    make_everything(world)
    pool(world, monkeypatch)
    # as the command line does: normalized is current by content
    make(world, *[(name, key) for key in FILLED for name in ("pools", "lineage_index")])
    behind = made_before_the_recipe(FILLED, world.instance)
    assert behind == [("normalized", key) for key in FILLED]
    make(world, *behind, ("metadata_coverage", None))
    assert unsynced(world) == {}
    assert made_before_the_recipe(FILLED, world.instance) == []


def test_what_was_first_made_in_the_ui_is_known_by_its_versions(world: World):
    # Without a tick and without the command line, as somebody who begins in the UI.
    world.fill(*FILLED)
    world.run(None, "inventory", "metadata_coverage")
    assert unsynced(world) == {}
    world.tick()
    assert unsynced(world) == {}

    world.write_jsonl("org/alpha/data/high.jsonl", OTHER)
    world.edit_catalog("beta", lambda entry: entry.update(loss_mode="assistant_last"))
    world.tick()
    recipe_of_chat = {(name, CHAT): {"recipe"} for name in ("normalized", "pools")}
    assert unsynced(world) == {("raw", HIGH): {"source"}, **recipe_of_chat}


def test_what_raw_read_counts_and_not_what_was_last_reported(world: World):
    world.tick()
    make_everything(world)
    world.write_jsonl("org/alpha/data/high.jsonl", OTHER)
    world.run(HIGH, "raw")

    world.tick()

    assert ("raw", HIGH) not in unsynced(world)
