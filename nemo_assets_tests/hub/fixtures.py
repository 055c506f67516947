"""The fixture that starts a test Hub. Import it first: the Hub's clients read their environment when imported."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import uvicorn

from nemo_assets_tests.hub.faults import FaultyWire
from nemo_assets_tests.hub.server import Hub
from nemo_assets_tests.hub.store import Store

# The test Hub has no Xet storage, and nothing a test does concerns anybody else.
os.environ.update(HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_TELEMETRY="1")

TOKEN = "hf_test"
_HOST = "127.0.0.1"
_START_SECONDS = 30.0


@dataclass(frozen=True)
class RunningHub:
    """A test Hub that answers at `endpoint`; `store` is what it holds, `wire` what happens on the way."""

    endpoint: str
    token: str
    store: Store
    wire: FaultyWire

    def environment(self) -> dict[str, str]:
        """The environment of a process that shall use this Hub."""
        settings = {"HF_ENDPOINT": self.endpoint, "HF_TOKEN": self.token}
        return {**os.environ, **settings, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


@pytest.fixture
def hub_server(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningHub]:
    """An empty Hub on a free port, for one test; HF_ENDPOINT and HF_TOKEN name it."""
    with _listening() as listener:
        port = listener.getsockname()[1]
        store = Store(tmp_path_factory.mktemp("hub"))
        endpoint = f"http://{_HOST}:{port}"
        wire = FaultyWire(Hub(store, {TOKEN: "alice"}, f"http://localhost:{port}").app())
        server = uvicorn.Server(uvicorn.Config(wire, log_level="critical", lifespan="off", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        _wait_until_started(server)
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield RunningHub(endpoint, TOKEN, store, wire)
        server.should_exit = True
        thread.join()


def _listening() -> socket.socket:
    listener = socket.socket()
    listener.bind((_HOST, 0))
    return listener


def _wait_until_started(server: uvicorn.Server) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not server.started:
        if time.monotonic() > deadline:
            raise RuntimeError("the test Hub does not start")
        time.sleep(0.01)
