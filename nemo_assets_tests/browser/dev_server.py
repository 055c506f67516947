"""`nemo-assets dev` or `dagster dev` as a child of the test, and what its GraphQL API says.

Belongs here: starting, asking, stopping. Does not: the browser (`person`).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import nemo_assets

REPOSITORY = Path(nemo_assets.__file__).parents[1]

START_SECONDS = 180  # the UI, its code server and the daemon each import Dagster first
STOP_SECONDS = 45
RUN_SECONDS = 180
POLL_SECONDS = 0.5

_RUNS = "{ runsOrError(limit: 50) { ... on Runs { results { runId status } } } }"
_WHY = """query ($runId: ID!) { runOrError(runId: $runId) { ... on Run { eventConnection { events {
    ... on ExecutionStepFailureEvent { error { message } }
    ... on RunFailureEvent { message error { message } }
} } } } }"""


@dataclass(frozen=True)
class DevServer:
    """A running UI with its daemon."""

    address: str

    def graphql(self, query: str, **variables: object) -> dict[str, Any]:
        """The data of the answer; raises AssertionError with what the server has against the question."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        try:
            with urlopen(Request(f"{self.address}/graphql", body, {"Content-Type": "application/json"})) as reply:
                answer = json.load(reply)
        except HTTPError as error:
            answer = json.load(error)
        assert "errors" not in answer, answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data

    def wait_for_run(self, beginning: str) -> None:
        """Wait until the run whose id begins like this has succeeded; raises AssertionError with its errors if not."""
        deadline, run = time.monotonic() + RUN_SECONDS, None
        while time.monotonic() < deadline:
            runs = self.graphql(_RUNS)["runsOrError"]["results"]
            run = next((run for run in runs if run["runId"].startswith(beginning)), None)
            if run and run["status"] == "SUCCESS":
                return
            assert not run or run["status"] not in ("FAILURE", "CANCELED"), self._errors(run["runId"])
            time.sleep(POLL_SECONDS)
        raise AssertionError(f"Run {beginning} has not ended after {RUN_SECONDS} s: {run}")

    def _errors(self, run_id: str) -> list[dict[str, Any]]:
        events = self.graphql(_WHY, runId=run_id)["runOrError"]["eventConnection"]["events"]
        return [event for event in events if event]


@contextmanager
def serving(
    arguments: Sequence[str], environment: Mapping[str, str], log: Path, directory: Path = REPOSITORY
) -> Iterator[DevServer]:
    """Run `python -m …` until the block ends; `{port}` in the arguments becomes a free port.

    Raises:
        AssertionError: it did not come up, or after an interrupt it did not end or left a process behind.
    """
    port = _free_port()
    command = [sys.executable, "-m", *(argument.format(port=port) for argument in arguments)]
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            cwd=directory,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a process group of its own, so that nothing it starts can be overlooked
            preexec_fn=_listen_to_interrupts,
        )
    try:
        yield _ready(server, f"http://127.0.0.1:{port}", log)
    finally:
        _stop(server, log)


def _listen_to_interrupts() -> None:
    """A child of a job in the background ignores SIGINT, and with it Dagster's orderly end."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _ready(server: subprocess.Popen[bytes], address: str, log: Path) -> DevServer:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urlopen(f"{address}/server_info", timeout=5):
                return DevServer(address)
        except OSError:
            time.sleep(POLL_SECONDS)
    raise AssertionError(f"No UI at {address}. Its log:\n{log.read_text(errors='replace')[-4000:]}")


def _stop(server: subprocess.Popen[bytes], log: Path) -> None:
    server.send_signal(signal.SIGINT)
    try:
        server.wait(STOP_SECONDS)
        left = _outlives(server.pid)
    except subprocess.TimeoutExpired:
        left = True
    if left:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    assert not left, f"Processes were left after an interrupt. Log of the server:\n{log.read_text()[-4000:]}"


def _outlives(group: int) -> bool:
    """Whether the group has a process left a moment after its leader ended."""
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
