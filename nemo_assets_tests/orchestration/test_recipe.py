"""An edit reaches the splits it affects, and no others."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import nemo_assets
from nemo_assets.catalog import Catalog, load_catalog
from nemo_assets.records.recipe import normalize_recipe, recipe_version
from nemo_assets_tests.orchestration.world import World

PACKAGE = Path(nemo_assets.__file__).parent
ALL = {"alpha/low", "alpha/high", "beta/chat", "rendered/low"}


@pytest.fixture
def catalog(world: World) -> Catalog:
    return load_catalog(world.root / "catalog")


def _changed_by_catalog(world: World, name: str, edit: Callable[[dict[str, Any]], object]) -> set[str]:
    before = load_catalog(world.root / "catalog")
    path = world.root / "catalog" / f"{name}.yaml"
    content = yaml.safe_load(path.read_text())
    edit(content)
    path.write_text(yaml.safe_dump(content))
    after = load_catalog(world.root / "catalog")
    versions = ({key: recipe_version(each, split) for key, split in each.splits.items()} for each in (before, after))
    was, now = versions
    return {key for key in was if was[key] != now[key]}


def _changed_by_code(catalog: Catalog, tmp_path: Path, module: str, text: str) -> set[str]:
    before, after = tmp_path / "before", tmp_path / "after"
    for part in ("records", "harmony"):
        shutil.copytree(PACKAGE / part, before / part)
    shutil.copytree(before, after)
    with (after / module).open("a") as file:
        file.write(text)
    return {
        key
        for key, split in catalog.splits.items()
        if normalize_recipe(split, before) != normalize_recipe(split, after)
    }


def test_a_catalog_entry_reaches_its_source(world: World):
    assert _changed_by_catalog(world, "beta", lambda entry: entry.update(loss_mode="assistant_last")) == {"beta/chat"}


def test_the_files_of_a_split_reach_that_split(world: World):
    assert _changed_by_catalog(world, "alpha", lambda entry: entry["splits"]["low"].update(effort="medium")) == {
        "alpha/low"
    }


def test_a_title_reaches_nothing(world: World):
    assert _changed_by_catalog(world, "alpha", lambda entry: entry.update(title="Another")) == set()


def test_a_pool_reaches_every_split(world: World):
    assert _changed_by_catalog(world, "policies/pools", lambda policy: policy["pools"].pop("chat")) == ALL


def test_an_adapter_reaches_the_splits_that_use_it(catalog: Catalog, tmp_path: Path):
    assert _changed_by_code(catalog, tmp_path, "records/adapters/math_v2.py", "\nMORE = 1\n") == {
        "alpha/low",
        "alpha/high",
    }


def test_a_template_reaches_the_splits_rendered_with_it(catalog: Catalog, tmp_path: Path):
    assert _changed_by_code(catalog, tmp_path, "harmony/templates/harmony_1.py", "\nMORE = 1\n") == {"beta/chat"}


def test_shared_code_reaches_every_split(catalog: Catalog, tmp_path: Path):
    assert _changed_by_code(catalog, tmp_path, "records/rows.py", "\nMORE = 1\n") == ALL


def test_a_comment_reaches_nothing(catalog: Catalog, tmp_path: Path):
    assert _changed_by_code(catalog, tmp_path, "records/rows.py", "\n# In other words.\n") == set()
