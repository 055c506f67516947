"""One offline control plane for all Modal tests, with the scoring app deployed to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import nemo_assets
from nemo_assets_tests.scoring.conftest import tiny_model_directory

if TYPE_CHECKING:
    from nemo_assets_tests.modal.control_plane import OfflineModal

__all__ = ["tiny_model_directory"]

REPOSITORY = Path(nemo_assets.__file__).parents[1]

os.environ["MODAL_CONFIG_PATH"] = os.devnull  # before the client is imported: nobody's own credentials take part


@pytest.fixture(scope="session")
def offline_modal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OfflineModal]:
    """The control plane after `modal deploy -m modal_jobs.nll_scoring`, with an app beside it that needs no model."""
    pytest.importorskip("modal", reason="Modal tests need its client: pip install -e '.[modal]'")
    pytest.importorskip("torch", reason="Modal tests run the scorer, which needs PyTorch: pip install -e '.[score]'")
    from nemo_assets_tests.modal.control_plane import OfflineModal

    with OfflineModal(
        tmp_path_factory.mktemp("offline-modal"),
        # `modal run FILE` makes the file a module of its own; the Hub is at an address where nobody answers
        container_environment={
            "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'modal_jobs'}",
            "OMP_NUM_THREADS": "1",
            "HF_ENDPOINT": "http://127.0.0.1:9",
        },
        mount_variables={"/vol": "NEMO_SCORES_MOUNT"},
    ) as offline:
        from modal_jobs.nll_scoring import app
        from nemo_assets_tests.modal import light_app

        app.deploy()
        light_app.app.deploy()
        yield offline
