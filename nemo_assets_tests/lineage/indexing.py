"""Trees of data with indexes in them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from nemo_assets.settings import Settings
from nemo_assets.stages.lineage_index import build_lineage_index
from nemo_assets.storage import Manifest
from nemo_assets_tests.lineage.chain import PARTITIONS, World


def build(settings: Settings, key: str, workers: int = 1) -> Manifest:
    return build_lineage_index(settings.catalog.split(key), settings.catalog, settings.store, workers)


def copied(world: World, folder: Path) -> World:
    """A copy of the small world to do with as a test likes."""
    shutil.copytree(world.settings.data_dir, folder / "data")
    return replace(world, settings=replace(world.settings, data_dir=folder / "data"))


def indexed_copy(world: World, folder: Path) -> World:
    """A copy with an index of every split."""
    made = copied(world, folder)
    for key in PARTITIONS:
        build(made.settings, key)
    return made
