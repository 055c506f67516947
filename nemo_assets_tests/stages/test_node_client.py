"""A release as a client that shares no code with ours reads it: `@huggingface/hub` under Node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from nemo_assets.settings import Settings
from nemo_assets.stages.landing import target_of
from nemo_assets.storage import Stage
from nemo_assets_tests.hub.fixtures import RunningHub
from nemo_assets_tests.requirements import absent
from nemo_assets_tests.stages.making import make

KEY = "nemotron-agentic-v1/tool_calling"
SCRIPT = Path(__file__).parent.parent / "hub" / "node_client.cjs"


def node_modules() -> Path:
    """The folder with the client: NEMO_NODE_MODULES, else `node_modules` of the repo."""
    folder = Path(os.environ.get("NEMO_NODE_MODULES") or SCRIPT.parents[2] / "node_modules")
    if shutil.which("node") is None or not (folder / "@huggingface" / "hub").is_dir():
        absent(
            "Node or its client of the Hub is missing: install node, then `npm install @huggingface/hub`",
            required_by="NEMO_REQUIRE_NODE",
        )
    return folder


@pytest.mark.slow
def test_another_client_reads_what_was_published(own_sample: Settings, hub_server: RunningHub) -> None:
    modules = node_modules()
    settings = replace(own_sample, publish_to="hf://alice", endpoint=hub_server.endpoint, token=hub_server.token)
    release = make(Stage.PUBLISHED, KEY, settings).details
    command = ["node", str(SCRIPT), str(modules.parent), hub_server.endpoint, release["repo"], release["tag"]]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=hub_server.environment(), timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {path: file["sha256"] for path, file in found.items()} == target_of(settings).paths(
        release["repo"], release["revision"]
    )
    assert all(file["listed"] == file["size"] for file in found.values())
    assert {path: found[path]["sha256"] for path in release["files"]} == release["files"]
