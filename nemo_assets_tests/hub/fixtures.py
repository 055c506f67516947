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
READ_TOKEN = "hf_read"
_HOST = "127.0.0.1"
_START_SECONDS = 30.0


@dataclass(frozen=True)
class RunningHub:
    """A test Hub that answers at `endpoint`; `store` is what it holds, `wire` what happens on the way.

    What a repo holds and what its head is, changed behind the back of whoever reads it:

        first = hub_server.store.seed(REPO, {"data/low.jsonl": b"..."})     # a commit; creates the repo when needed
        second = hub_server.store.seed(REPO, {"README.md": b"..."}, removed=["data/low.jsonl"])
        hub_server.store.lag(REPO, first, reads=2)      # stale head: the next 2 reads of `main` answer `first`
        hub_server.store.squash(REPO)                   # history rewritten: `first` and `second` are no revisions now

    (`HfApi.super_squash_history` and `create_commit` do the same over the wire.) Failures of the next requests whose
    path matches, and what was asked for:

        hub_server.wire.inject(Fault("/api/datasets/", status=429, headers={"Retry-After": "3"}, times=2))
        hub_server.wire.inject(Fault("^/large/", reset_after=1000))     # also drop_after, truncate, flip, delay, …
        hub_server.wire.forget()
        ...
        assert len(hub_server.wire.requests) <= 3       # or: wire.received("GET", "/tree/")
    """

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
        wire = FaultyWire(
            Hub(store, {TOKEN: "alice", READ_TOKEN: "alice"}, f"http://localhost:{port}", [READ_TOKEN]).app()
        )
        quietly = uvicorn.Config(
            wire, log_level="critical", lifespan="off", timeout_graceful_shutdown=1, date_header=False
        )
        server = uvicorn.Server(quietly)
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
