"""Processes that run stages and are killed: at a named rename, at any moment, by a limit.

Every process is forked from one server that has imported the stages, so that a hundred of them cost seconds. What is
done to it is done inside it: the stages run as they are.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Literal

PATIENCE = 60  # seconds; nothing here takes more than a few

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["nemo_assets_tests.stages.test_crash_safety", "pandas"]
)  # pyarrow imports pandas if it can


@dataclass(frozen=True)
class Death:
    """The process kills itself at its n-th rename of a file, just before or just after."""

    rename: int
    when: Literal["before", "after"]


def start(work: Callable[..., object], *arguments: Any, death: Death | None = None) -> ForkServerProcess:
    """Run `work` in a process of its own group; it has begun when this returns."""
    begun = FORKS.Barrier(2)
    process = FORKS.Process(target=_live, args=(begun, death, work, arguments))
    process.start()
    begun.wait(PATIENCE)
    return process


def start_together(work: Callable[..., object], *arguments: tuple[Any, ...]) -> list[ForkServerProcess]:
    """Run `work` once for each tuple of arguments, in processes that begin at the same moment."""
    begun = FORKS.Barrier(len(arguments) + 1)
    processes = [FORKS.Process(target=_live, args=(begun, None, work, each)) for each in arguments]
    for process in processes:
        process.start()
    begun.wait(PATIENCE)
    return processes


def ended(process: ForkServerProcess) -> int | None:
    """How it ended: 0, 1 for an error, negative for a signal."""
    process.join(PATIENCE)
    return process.exitcode


def kill_group(process: ForkServerProcess) -> None:
    """Kill -9 the process and every worker it has started; it may have come to its end before."""
    assert process.pid is not None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _live(begun: Any, death: Death | None, work: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    os.setsid()
    if death is not None:
        _die_at(death)
    begun.wait(PATIENCE)
    work(*arguments)


def _die_at(death: Death) -> None:
    rename, calls = os.replace, itertools.count(1)

    def replace(source: Path, target: Path) -> None:
        fatal = next(calls) == death.rename
        if fatal and death.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target)
        if fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace


def log_renames(log: Path, work: Callable[..., object], *arguments: Any) -> None:
    """Run `work`, writing the name of every file that this process puts in place to `log`."""
    rename = os.replace
    log.touch()

    def replace(source: Path, target: Path) -> None:
        rename(source, target)
        with log.open("a") as file:
            file.write(f"{Path(target).name}\n")

    os.replace = replace
    work(*arguments)


def seconds_of(work: Callable[..., object], *arguments: Any) -> float:
    """How long it takes in a process that nobody disturbs."""
    begin = time.monotonic()
    assert ended(start(work, *arguments)) == 0
    return time.monotonic() - begin
