from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from nemo_assets.settings import Settings
from nemo_assets_tests.lineage.chain import World, build_world
from nemo_assets_tests.web.site import build_hostile, guarded


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def pages(world: World) -> Iterator[TestClient]:
    """The pages over a small world of ordinary records."""
    with TestClient(guarded(world.settings), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return build_hostile(Settings(data_dir=tmp_path_factory.mktemp("hostile") / "data"))
