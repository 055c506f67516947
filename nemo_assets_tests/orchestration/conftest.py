from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from nemo_assets.orchestration.resources import VARIABLES
from nemo_assets_tests.hub.fixtures import RunningHub
from nemo_assets_tests.orchestration.world import World


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer's shell sets must not reach a test."""
    for name in (*VARIABLES.values(), "NEMO_AUTO_PUBLISH", "NEMO_AUTO_SCORE", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield World(tmp_path, instance)


@pytest.fixture
def hub_world(tmp_path: Path, hub_server: RunningHub) -> Iterator[World]:
    """The same project with its sources on a test Hub."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield World(tmp_path, instance, hub=hub_server)
