"""What running something took: time of the clock and of the processor, and memory at the peak. Needs Linux.

Belongs here: measuring, with nothing but the standard library, for it also runs beside other tools. Does not: what is
run.
"""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LOOK = 0.02  # seconds between two looks at the memory of processes


@dataclass(frozen=True)
class Used:
    """Seconds of the clock and of the processor, with those of processes started and waited for; megabytes at the peak.

    Memory is that of this process and all that it started together; pages that they share count once for each.
    """

    wall: float
    cpu: float
    peak: int


def used_by(run: Callable[[], object]) -> Used:
    """Run it once. Memory counts from the start of this process, time does not."""
    with _peak() as peak:
        wall, cpu = time.perf_counter(), cpu_seconds()
        run()
        wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    return Used(round(wall, 3), round(cpu, 3), peak[0])


def cpu_seconds() -> float:
    """User and system time of this process and of those it started and waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@contextmanager
def _peak() -> Iterator[list[int]]:
    """A list of one number that holds the peak in the end."""
    peak, done = [0], threading.Event()

    def look() -> None:
        while not done.wait(LOOK):
            started = sum(megabytes(each, "VmRSS:") for each in descendants(os.getpid()))
            peak[0] = max(peak[0], megabytes("self", "VmRSS:") + started)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()
        peak[0] = max(peak[0], megabytes("self", "VmHWM:"))


def descendants(process: int) -> Iterator[int]:
    """Processes that it started, and those that they started, as far as they run."""
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:  # it has ended
            continue
        for child in children:
            yield child
            yield from descendants(child)


def megabytes(process: int | str, field: str) -> int:
    """A field of the memory of a process, such as `VmRSS:`; 0 if it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:  # it has ended
        return 0
    return next((int(line.split()[1]) * 1024 // 10**6 for line in status.splitlines() if line.startswith(field)), 0)
