"""Plain `dagster dev` in the repository, as somebody who knows Dagster starts it."""

from __future__ import annotations

from pathlib import Path

import pytest

from nemo_assets.orchestration.instance import prepare_home
from nemo_assets.settings import Settings
from nemo_assets_tests.browser.dev_server import serving

_LOCATIONS = """{ workspaceOrError { __typename ... on Workspace { locationEntries { name loadStatus
    locationOrLoadError { __typename ... on RepositoryLocation { repositories { assetNodes { assetKey { path } } } }
        ... on PythonError { message } }
} } } }"""


@pytest.mark.slow
def test_dagster_dev_in_the_repository_loads_the_workspace(settings: Settings, tmp_path: Path) -> None:
    # A home of its own, so that nothing is left in the repository.
    environment = {"NEMO_DATA_DIR": str(settings.data_dir), "DAGSTER_HOME": str(prepare_home(settings))}
    with serving(["dagster", "dev", "-p", "{port}"], environment, tmp_path / "server.log") as server:
        [entry] = server.graphql(_LOCATIONS)["workspaceOrError"]["locationEntries"]
    loaded = entry["locationOrLoadError"]
    assert (entry["name"], loaded["__typename"]) == ("nemo_assets", "RepositoryLocation"), loaded
    keys = {"/".join(node["assetKey"]["path"]) for repo in loaded["repositories"] for node in repo["assetNodes"]}
    assert {"source", "recipe", "raw", "normalized", "published", "scored", "inventory"} <= keys
