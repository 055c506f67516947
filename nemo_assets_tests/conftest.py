"""What several rooms need: the test Hub, and the bundled sample taken through the chain once."""

from __future__ import annotations

# First: it tells the Hub's clients to leave Xet alone, and they read their environment when they are imported.
from nemo_assets_tests.hub.fixtures import hub_server  # isort: skip

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from nemo_assets.sample import HUB
from nemo_assets.settings import Settings
from nemo_assets.storage import Stage
from nemo_assets_tests.requirements import absent
from nemo_assets_tests.stages.making import make_chain

__all__ = ["hub_server"]

# What a developer's shell may set, and no test may see.
_OUR_VARIABLES = (
    "NEMO_DATA_DIR", "NEMO_SOURCE_DIR", "NEMO_PUBLISH_TO", "NEMO_PUBLIC", "NEMO_SCORER", "NEMO_WORKERS",
    "NEMO_CATALOG_DIR", "MODEL_NAME", "MAX_LENGTH", "BATCH_SIZE", "MAX_RECORDS", "CANDIDATE_DATASET_ID",
    "CANDIDATE_SUBDIR", "HF_TOKEN", "HF_ENDPOINT", "NEMO_DEDUP_ENGINE", "RAY_ADDRESS", "NEMO_APPROVAL",
    "NEMO_COMMITS_PER_HOUR",
    "NEMO_SCORING_BUDGET",
    "NEMO_UI_HOSTS",
    "NEMO_TOKEN_NLL_ROWS",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in _OUR_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An empty data directory, the bundled sample as source, one process, the scorer on this machine."""
    return Settings(data_dir=tmp_path / "data", source_dir=HUB, scorer="local", workers=1)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The bundled sample up to `pools`, made once; a test that changes something takes `own_sample`."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("sample") / "data", source_dir=HUB, scorer="local", workers=1)
    make_chain(settings, until=Stage.POOLS)
    return settings


@pytest.fixture(scope="session")
def tiny_student(sample: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has seen a few of the sample's rows: good for nothing but being run."""
    for extra in ("torch", "transformers"):
        pytest.importorskip(extra, reason="local scoring needs it: pip install -e '.[score]'")
    from nemo_assets.scoring.demo_student import train_demo_student

    paths = sample.store.paths(sample.store.current(Stage.DEDUPED, "nemotron-math-v2/low"))
    return train_demo_student(
        pl.read_parquet(paths, columns=["text"])["text"].to_list(), tmp_path_factory.mktemp("models") / "tiny", steps=3
    )


@pytest.fixture
def own_sample(sample: Settings, tmp_path: Path) -> Settings:
    """A copy of `sample` to do with as a test likes."""
    shutil.copytree(sample.data_dir, tmp_path / "data")
    return replace(sample, data_dir=tmp_path / "data")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte. Where none can be mounted the test skips, or fails if NEMO_REQUIRE_SMALL_DISK=1."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        absent(
            "Mounting a small disk needs root and the right to mount: docker run --cap-add SYS_ADMIN",
            required_by="NEMO_REQUIRE_SMALL_DISK",
        )
    yield place
    subprocess.run(["umount", str(place)], check=True)
