"""Models for the scoring tests, made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from nemo_assets.scoring.model import LoadedModel


@pytest.fixture(scope="session")
def tiny_model_directory(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`family -> directory` of a tiny random model."""
    pytest.importorskip("torch", reason="scoring tests need PyTorch: pip install -e '.[score]'")
    pytest.importorskip("transformers", reason="scoring tests need transformers: pip install -e '.[score]'")
    from nemo_assets_tests.scoring.models import save_tiny_model

    root = tmp_path_factory.mktemp("models")

    def directory_of(family: str) -> Path:
        directory = root / f"tiny-{family}"
        return directory if directory.exists() else save_tiny_model(family, directory)

    return directory_of


@pytest.fixture(scope="session")
def tiny_model(tiny_model_directory: Callable[[str], Path]) -> Callable[[str], LoadedModel]:
    """`family -> loaded model`."""
    from nemo_assets.scoring.model import load_checkpoint

    loaded: dict[str, LoadedModel] = {}

    def load(family: str) -> LoadedModel:
        if family not in loaded:
            loaded[family] = load_checkpoint(str(tiny_model_directory(family)), None, "cpu")
        return loaded[family]

    return load
