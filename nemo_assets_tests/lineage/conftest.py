from __future__ import annotations

import pytest

from nemo_assets_tests.lineage.chain import World, build_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Built once; tests that change something build their own."""
    return build_world(tmp_path_factory.mktemp("world"))
