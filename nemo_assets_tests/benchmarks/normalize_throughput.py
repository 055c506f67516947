"""How fast `normalize` turns JSONL into canonical rows, beside what one would otherwise write.

    python -m nemo_assets_tests.benchmarks.normalize_throughput [--megabytes 400] [--rounds 3]
    python -m nemo_assets_tests.benchmarks.normalize_throughput --workers 1,2 [--megabytes 4000] [--row-kilobytes 1000]
    python -m nemo_assets_tests.benchmarks.normalize_throughput --source DIR --contender nemo_assets [--steps]

`nemo_assets` is `normalize` on raw files that are here: planning, all columns, validation, evidence for the ledger,
parts hashed, written and synced. `plain loop` is `plain_loop.py`: half the columns and no more. `datasets` (with
--datasets) is load_dataset and map with the same function. They take turns, every time in a fresh process; the figures
are CPU seconds, user and system, of that process without its imports, the least of the rounds.

A second table says which step the time goes to (`step_times.py`), from a run of its own. With --workers there is one
table: wall time by number of workers. Only an otherwise idle machine shows how it scales, and only a large file: a
worker takes a second to start (imports and compiled code), which does not count for work done in this process. Memory
is VmHWM in /proc of the process and of the largest of its descendants, looked at every 20 ms. MB and KB are 10^6 and
10^3 bytes.

--source keeps the input in a directory, or takes the one that is there. --contender runs one, once, in this process.
"""

from __future__ import annotations

import argparse
import json
import operator
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from nemo_assets.sample.math_v2 import DATASET
from nemo_assets_tests.benchmarks.amplified_source import PATH, Description, describe, write_source
from nemo_assets_tests.benchmarks.contenders import CONTENDERS, STORE, Measured, fetch, measure

OTHERS_SHOWN = 10


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the options ask for and print tables."""
    options = _options(arguments)
    with _folder(options) as folder:
        about = describe(folder / DATASET / PATH)
        print(f"{about}; load of the machine {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores\n")
        if options.contender:
            measured = measure(options.contender, folder, options.workers[0], options.steps)
            _print_speeds({options.contender: measured}, about)
            _print_steps(measured, about)
        elif options.workers != [1]:
            _print_scaling(_take_turns([("nemo_assets", n) for n in options.workers], options.rounds, folder), about)
        else:
            names = [name for name in CONTENDERS if name != "datasets" or options.datasets]
            best = _take_turns([(name, 1) for name in names], options.rounds, folder)
            _print_speeds({name: measured for (name, _), measured in best.items()}, about)
            _print_steps(_run("nemo_assets", 1, folder, "--steps"), about)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, help="400, or 4000 to see how it scales, if not given")
    parser.add_argument("--row-kilobytes", type=float, default=7, help="mean size of a record")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--datasets", action="store_true")
    parser.add_argument("--workers", type=lambda text: [int(n) for n in text.split(",")], default=[1])
    parser.add_argument("--source", type=Path)
    parser.add_argument("--contender", choices=CONTENDERS)
    parser.add_argument("--steps", action="store_true", help="with --contender: where its time goes as well")
    return parser.parse_args(arguments)


@contextmanager
def _folder(options: argparse.Namespace) -> Iterator[Path]:
    """A directory with the input, and the input as raw files."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.source or Path(temporary)
        if not (folder / DATASET).exists():
            write_source(folder, options.megabytes or _usual_size(options), options.row_kilobytes)
        if not (folder / STORE).exists():
            fetch(folder)
        yield folder


def _usual_size(options: argparse.Namespace) -> float:
    return 400 if options.workers == [1] else 4_000


def _take_turns(runs: list[tuple[str, int]], rounds: int, folder: Path) -> dict[tuple[str, int], Measured]:
    """The best round of each run, a contender and a number of workers: in wall time where these numbers differ."""
    key = operator.attrgetter("cpu" if all(workers == 1 for _, workers in runs) else "wall")
    best: dict[tuple[str, int], Measured] = {}
    for run in runs * rounds:
        measured = _run(*run, folder)
        best[run] = min(best.get(run, measured), measured, key=key)
    return best


def _run(contender: str, workers: int, folder: Path, *more: str) -> Measured:
    """One run in a process of its own."""
    command = [sys.executable, "-m", "nemo_assets_tests.benchmarks.contenders", contender, str(folder), str(workers)]
    done = subprocess.run([*command, *more], check=True, stdout=subprocess.PIPE)
    return Measured(**json.loads(done.stdout))


def _print_speeds(best: Mapping[str, Measured], about: Description) -> None:
    plain = best.get("plain loop")
    print("| contender | CPU s | MB/s | µs a row | × plain loop | peak MB |\n|---|---|---|---|---|---|")
    for name, each in best.items():
        ratio = f"{plain.cpu / each.cpu:.2f}" if plain else ""
        row = each.cpu / about.records * 1e6
        print(f"| {name} | {each.cpu:.2f} | {about.size / 1e6 / each.cpu:.1f} | {row:.1f} | {ratio} | {each.peak} |")


def _print_scaling(best: Mapping[tuple[str, int], Measured], about: Description) -> None:
    one = next(iter(best.values()))
    print("| workers | wall s | MB/s | × the first | CPU s | peak MB | of a worker |\n|---|---|---|---|---|---|---|")
    for (_, workers), each in best.items():
        speed, ratio = about.size / 1e6 / each.wall, one.wall / each.wall
        peak = each.peak_of_workers or each.peak
        print(f"| {workers} | {each.wall:.2f} | {speed:.1f} | {ratio:.2f} | {each.cpu:.2f} | {each.peak} | {peak} |")


def _print_steps(measured: Measured, about: Description) -> None:
    if not measured.steps:
        return
    total = sum(measured.steps.values())
    print("\n| step | µs a row | share |\n|---|---|---|")
    for step, seconds in sorted(measured.steps.items(), key=lambda item: -item[1]):
        print(f"| {step} | {seconds / about.records * 1e6:.1f} | {seconds / total:.1%} |")
    print(f"| all | {total / about.records * 1e6:.1f} | 100.0% |")
    others = sorted(measured.others.items(), key=lambda item: -item[1])[:OTHERS_SHOWN]
    for name, seconds in others:
        print(f"other: {name} {seconds / about.records * 1e6:.2f}")


if __name__ == "__main__":
    main()
