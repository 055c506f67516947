"""What is measured, one run in one process: `normalize`, the plain loop, `datasets`.

    python -m nemo_assets_tests.benchmarks.contenders NAME FOLDER WORKERS [--steps]

prints the figures of a run as JSON; `normalize_throughput` starts it so for every run. Needs Linux.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nemo_assets.sample.math_v2 import DATASET
from nemo_assets_tests.benchmarks.amplified_source import PATH, SPLIT
from nemo_assets_tests.benchmarks.step_times import StepTimes
from nemo_assets_tests.benchmarks.used import LOOK, cpu_seconds, descendants, megabytes

KEY = f"nemotron-math-v2/{SPLIT}"
STORE = "store"  # folder beside the source that holds its raw files as the chain keeps them


@dataclass(frozen=True)
class Measured:
    """CPU and wall seconds, and megabytes of memory at the peak of the process and of the largest one it started."""

    cpu: float
    wall: float
    peak: int
    peak_of_workers: int
    steps: dict[str, float] = field(default_factory=dict)
    others: dict[str, float] = field(default_factory=dict)


def measure(contender: str, folder: Path, workers: int = 1, steps: bool = False) -> Measured:
    """One run over the source in `folder`. Imports, compiled code included, and laying out raw files do not count."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        run = CONTENDERS[contender](folder, Path(out), workers)
        with StepTimes() if steps else nullcontext() as times, _peak_of_workers(workers) as peak:
            cpu, wall = cpu_seconds(), time.perf_counter()
            run()
            wall = time.perf_counter() - wall
        cpu = cpu_seconds() - cpu
    return Measured(
        round(cpu, 3),
        round(wall, 3),
        _peak_megabytes("self"),
        peak[0],
        dict(times.seconds) if times else {},
        dict(times.others) if times else {},
    )


def fetch(folder: Path) -> None:
    """Bring the source in `folder` into a store beside it, from where `nemo_assets` normalises it."""
    from nemo_assets.catalog import load_catalog
    from nemo_assets.hub.sources import open_source
    from nemo_assets.stages.raw import fetch_split
    from nemo_assets.storage import Store

    split = load_catalog().split(KEY)
    fetch_split(split, open_source(split.repo, folder), Store(folder / STORE))


def _nemo_assets(folder: Path, out: Path, workers: int) -> Callable[[], object]:
    from nemo_assets.catalog import load_catalog
    from nemo_assets.hub.local_files import remember
    from nemo_assets.records.known_forms import load_compiled
    from nemo_assets.records.long_integers import has_long_digits
    from nemo_assets.records.repetition import repeat_ratio
    from nemo_assets.stages.normalized import normalize
    from nemo_assets.storage import Stage, Store

    split = load_catalog().split(KEY)
    shutil.copytree(folder / STORE / "raw", out / "raw", copy_function=os.link)
    store = Store(out)
    for part in store.current(Stage.RAW, KEY).parts:
        remember(store.path(part), part.sha256)  # as a fetch does
    load_compiled()
    has_long_digits(b"")
    repeat_ratio([b""])
    return lambda: normalize(split, store, workers=workers)


def _plain_loop(folder: Path, out: Path, _: int) -> Callable[[], object]:
    from nemo_assets_tests.benchmarks.plain_loop import write_plainly

    return lambda: write_plainly(folder / DATASET / PATH, "0" * 64, out / "rows.parquet")


def _datasets(folder: Path, out: Path, _: int) -> Callable[[], object]:
    import datasets

    from nemo_assets_tests.benchmarks.plain_loop import plain_row

    datasets.disable_progress_bars()

    def run() -> None:
        path = str(folder / DATASET / PATH)
        loaded = datasets.load_dataset("json", data_files=path, split="train", cache_dir=str(out / "cache"))
        columns = loaded.column_names
        rows = loaded.map(plain_row, with_indices=True, fn_kwargs={"content_id": "0" * 64}, remove_columns=columns)
        rows.to_parquet(out / "rows.parquet")

    return run


CONTENDERS = {"nemo_assets": _nemo_assets, "plain loop": _plain_loop, "datasets": _datasets}


@contextmanager
def _peak_of_workers(workers: int) -> Iterator[list[int]]:
    """A list whose one element grows to the megabytes of the largest descendant of this process at its peak."""
    peak, done = [0], threading.Event()

    def look() -> None:
        while not done.wait(LOOK):
            peak[0] = max(peak[0], *map(_peak_megabytes, descendants(os.getpid())), 0)

    watcher = threading.Thread(target=look, daemon=True)
    if workers > 1:
        watcher.start()
    try:
        yield peak
    finally:
        done.set()
        if workers > 1:
            watcher.join()


def _peak_megabytes(process: int | str) -> int:
    """Most memory that a process ever held; unlike `ru_maxrss`, without that of the process that started it."""
    return megabytes(process, "VmHWM:")


if __name__ == "__main__":
    name, place, count, *rest = sys.argv[1:]
    print(json.dumps(asdict(measure(name, Path(place), int(count), bool(rest)))))
