"""How many workers a machine or a container has room for."""

from __future__ import annotations

from pathlib import Path

import pytest

from nemo_assets import machine
from nemo_assets.machine import MEMORY_PER_WORKER, workers_that_fit

PLENTY = 64 * MEMORY_PER_WORKER


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_schedulable_cores", lambda: 8)


def lend(root: Path, available: int, group: str, **limits: str) -> Path:
    """Files as the kernel shows them; limits are named `<file>` or `<file>_above` for the group above."""
    files = {"proc/meminfo": f"MemTotal: {1 << 40} kB\nMemAvailable:  {available >> 10} kB\n"}
    files["proc/self/cgroup"] = f"4:memory:/elsewhere\n0::{group}\n"
    for name, value in limits.items():
        file, _, above = name.partition("_above")
        place = Path(group.lstrip("/"))
        files[str(Path("sys/fs/cgroup") / (place.parent if above or name.endswith("_above") else place)
                  / file.replace("_", "."))] = f"{value}\n"  # fmt: skip
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.mark.parametrize(
    ("available", "limits", "workers"),
    [
        (PLENTY, {}, 8),
        (3 * MEMORY_PER_WORKER, {}, 3),
        (MEMORY_PER_WORKER - 1024, {}, 1),  # too little for one, and one it is
        (PLENTY, {"cpu_max": "200000 100000"}, 2),
        (PLENTY, {"cpu_max": "150000 100000"}, 2),  # part of a core is used by a worker of its own
        (PLENTY, {"cpu_max": "max 100000"}, 8),
        (PLENTY, {"cpu_max": "max 100000", "cpu_max_above": "300000 100000"}, 3),
        (PLENTY, {"memory_max": str(5 * MEMORY_PER_WORKER)}, 5),
        (PLENTY, {"memory_max": "max", "memory_max_above": str(4 * MEMORY_PER_WORKER + 1)}, 4),
        (2 * MEMORY_PER_WORKER, {"memory_max": str(5 * MEMORY_PER_WORKER), "cpu_max": "700000 100000"}, 2),
    ],
)
def test_the_tightest_limit_counts(tmp_path: Path, available: int, limits: dict[str, str], workers: int) -> None:
    assert workers_that_fit(lend(tmp_path, available, "/system.slice/ours", **limits)) == workers


def test_a_container_that_sees_only_itself_has_its_limits_at_the_top(tmp_path: Path) -> None:
    assert workers_that_fit(lend(tmp_path, PLENTY, "/", cpu_max="100000 100000")) == 1


def test_without_the_files_of_the_kernel_the_cores_decide(tmp_path: Path) -> None:
    assert workers_that_fit(tmp_path) == 8


def test_this_machine_has_room_for_one() -> None:
    assert workers_that_fit() >= 1
