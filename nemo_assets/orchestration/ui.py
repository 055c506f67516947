"""The UI and the daemon as `nemo-assets dev` runs them.

`dagster dev` would start the stock web server, which executes what any other web page asks of it, without our pages.

Belongs here: the two processes. Does not: the server itself (`web.dagster_webserver`).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_HOST = "127.0.0.1"
_STOP_SECONDS = 20.0


def serve(workspace: Path, port: int, environment: Mapping[str, str]) -> int:
    """Run web server and daemon until one of them ends or somebody interrupts; the exit code of the one that ended."""
    server = ["nemo_assets.web.dagster_webserver", "-h", _HOST, "-p", str(port)]
    daemon = ["dagster._daemon", "run"]
    running = [
        subprocess.Popen([sys.executable, "-m", *command, "-w", str(workspace)], env=dict(environment))
        for command in (server, daemon)
    ]
    try:
        return _first_end(running)
    except KeyboardInterrupt:
        return 0
    finally:
        for process in running:
            process.terminate()
        for process in running:
            _wait(process)


def _first_end(running: list[subprocess.Popen[bytes]]) -> int:
    while True:
        for process in running:
            try:
                return process.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                continue


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
