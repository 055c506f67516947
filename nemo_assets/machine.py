"""What this machine lends this process: cores and memory, container limits included.

Belongs here: reading those limits. Does not: what a stage makes of them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

MEMORY_PER_WORKER = 600 << 20  # bytes: a worker peaks at about 400 MB, and its parent and the page cache need some


def workers_that_fit(root: Path = Path("/")) -> int:
    """One worker for each usable core, as far as memory for them is there; at least 1.

    Limits are those of the scheduler, of cgroup v2 (own group and those above it) and of the machine. `root` is where
    /proc and /sys lie.
    """
    cores = min([_schedulable_cores(), *_core_quotas(root)])
    memory = min([*_memory_limits(root)], default=None)
    return max(1, cores if memory is None else min(cores, memory // MEMORY_PER_WORKER))


def _schedulable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _core_quotas(root: Path) -> Iterator[int]:
    """`cpu.max` holds microseconds of processor time a period, or `max`, and the length of the period."""
    for text in _limits(root, "cpu.max"):
        quota, period = text.split()
        if quota != "max":
            yield math.ceil(int(quota) / int(period))


def _memory_limits(root: Path) -> Iterator[int]:
    """In bytes: what is available on the machine, and what each group may use."""
    meminfo = root / "proc/meminfo"
    if meminfo.is_file():
        lines = meminfo.read_text().splitlines()
        yield from (int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    yield from (int(text) for text in _limits(root, "memory.max") if text != "max")


def _limits(root: Path, name: str) -> Iterator[str]:
    """The file `name` of this process's group in the unified hierarchy (its line begins `0::`) and of every one above.

    Where a container sees only itself its group is `/`; a group that lies outside what it sees has no file.
    """
    membership = root / "proc/self/cgroup"
    if not membership.is_file():
        return
    group = next((line[3:] for line in membership.read_text().splitlines() if line.startswith("0::")), None)
    if group is None:
        return
    top = root / "sys/fs/cgroup"
    own = top / group.lstrip("/")
    for directory in (own, *own.parents):
        if (directory / name).is_file():
            yield (directory / name).read_text().strip()
        if directory == top:
            return
