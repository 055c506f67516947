from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from nemo_assets_tests.orchestration.world import World


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer's shell sets must not reach a test."""
    for name in (
        "NEMO_DATA_DIR",
        "NEMO_SOURCE_DIR",
        "NEMO_PUBLISH_TO",
        "NEMO_SCORER",
        "MODEL_NAME",
        "MAX_RECORDS",
        "NEMO_AUTO_PUBLISH",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield World(tmp_path, instance)
