"""The record of a source file that is no longer here, read from where it came from."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from nemo_assets.lineage import explain
from nemo_assets.lineage.coordinates import source_of
from nemo_assets.sample import HUB
from nemo_assets.settings import Settings
from nemo_assets.storage import Stage
from nemo_assets_tests.hub.fixtures import RunningHub
from nemo_assets_tests.stages.making import make_chain

LINES = "nemotron-science-v1/RQA"
PARQUET = "nemotron-math-v2-harmony-tools/high_part01"


@pytest.fixture
def fetched(hub_server: RunningHub, own_sample: Settings, tmp_path: Path) -> Settings:
    """Two splits fetched from a Hub, whose files are then gone from here."""
    for key in (LINES, PARQUET):
        repo = own_sample.catalog.split(key).repo
        root = HUB / repo
        paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
        hub_server.store.seed(repo, {path.relative_to(root).as_posix(): path.read_bytes() for path in paths})
    settings = replace(
        own_sample, data_dir=tmp_path / "fetched", source_dir=None, endpoint=hub_server.endpoint, token=hub_server.token
    )
    make_chain(settings, Stage.LEDGER, [LINES, PARQUET])
    return settings


def test_the_record_is_read_from_the_pinned_revision_and_little_else(fetched: Settings, hub_server: RunningHub) -> None:
    catalog, store = fetched.catalog, fetched.store
    places = {}
    for key in (LINES, PARQUET):
        split, file = catalog.split(key), store.current(Stage.RAW, key).details["files"][0]["path"]
        place = f"{split.slug}:{split.name}:{file}:0"
        places[place] = split.repo, file, explain(place, catalog, store).original
        hub_server.store.seed(split.repo, {file: b"something else by now"})
    shutil.rmtree(store.root / Stage.RAW / "blobs")
    for place, (repo, file, here) in places.items():
        assert here is not None
        assert explain(place, catalog, store).original is None
        hub_server.wire.forget()
        found = explain(place, catalog, store, fetched.endpoint, source_of(fetched))
        assert found.original == here
        assert any("is no longer here" in note and f"was read from {repo}" in note for note in found.notes)
        data = [asked for asked in hub_server.wire.requests if asked.path.endswith(file)]
        assert data
        assert all(asked.range for asked in data)
        nowhere = replace(fetched, endpoint="http://127.0.0.1:9", token=None)
        told = explain(place, catalog, store, source_of=source_of(nowhere))
        assert told.original is None
        assert any("its source cannot be read" in note for note in told.notes)
