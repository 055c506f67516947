"""How fast near-duplicates are removed, and which, beside other tools.

    python -m nemo_assets_tests.benchmarks.dedup_speed [--folder DIR] [--peers PYTHON] [--megabytes 222] [--rounds 3]
    python -m nemo_assets_tests.benchmarks.dedup_speed --folder DIR --only nemo_assets,daft --cores 1

PYTHON is that of an environment with `peers.txt`; without it, or without one of the peers in it, there is no figure for
them. The corpus (`dedup_corpus`) stays in DIR. Tools take turns, every time in a fresh process that is held to so many
cores; the best of the rounds counts, one round being enough for what takes more than `SLOW` seconds.

`signatures` is that step alone, texts being in memory. `end to end` is from a Parquet file to one without duplicates.
MB/s are 10^6 bytes of text a second: of processor time on one core, of the clock on more. Imports and compiling do not
count. `recall` and `wrong` are those of `dedup_truth`, in the tool's own sense of similar and in the sense that should
count; `floods kept` is the share of rows with a shared prompt or request that stayed. Peak memory is that of all
processes of a run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nemo_assets_tests.benchmarks.dedup_corpus import MEGABYTES, corpus
from nemo_assets_tests.benchmarks.dedup_peers import NOT_INSTALLED, PEERS, kept_in
from nemo_assets_tests.benchmarks.dedup_truth import ROWS_FILE, sample_ids, score
from nemo_assets_tests.benchmarks.used import Used

OURS = "nemo_assets"
SLOW = 30.0  # seconds
REPOSITORY = Path(__file__).parents[2]
THREADS = ("POLARS_MAX_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")

FIGURES = ("MB/s", "ours ÷ it", "wall s", "CPU s", "peak MB")
QUALITY = ("kept", "own sense: recall", "wrong", "should count: recall", "wrong", "floods kept")


class Task(NamedTuple):
    """One thing to measure: a tool, `signatures` or `all`, and the number of cores."""

    tool: str
    step: str
    cores: int


@dataclass(frozen=True)
class Outcome:
    """What a task took in its best round, of how many bytes of text; or why there is nothing."""

    used: Used | None
    size: int = 0
    kept: tuple[str, ...] = ()
    among: tuple[str, ...] | None = None
    version: str = ""
    why: str = ""

    def seconds(self, cores: int) -> float:
        """What counts: processor time on one core, time of the clock on more."""
        if self.used is None:
            return math.inf
        return max(1e-3, self.used.cpu if cores == 1 else self.used.wall)

    def speed(self, cores: int) -> float:
        """MB/s."""
        return self.size / 1e6 / self.seconds(cores)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the options ask for and print tables."""
    options = _options(arguments)
    with _folder(options.folder) as folder:
        place = corpus(folder, options.megabytes)
        rows = pq.read_metadata(place / ROWS_FILE).num_rows
        print(f"{rows:,} rows, {_size(place / ROWS_FILE) / 1e6:.0f} MB of text; ", end="")
        print(f"load of the machine {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores\n", flush=True)
        outcomes = _take_turns(list(_tasks(options)), place, options)
        _print_signatures(outcomes)
        _print_whole(outcomes, place)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=MEGABYTES)
    parser.add_argument("--folder", type=Path, help="where the corpus is or will be; none: not kept")
    parser.add_argument("--peers", type=Path, metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2])
    parser.add_argument("--only", type=lambda text: text.split(","), default=[OURS, *PEERS], help="names of tools")
    parser.add_argument("--limit", type=float, default=900, help="seconds after which a run is ended")
    return parser.parse_args(arguments)


@contextmanager
def _folder(folder: Path | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() if folder is None else contextlib.nullcontext(folder) as given:
        yield Path(given)


def _tasks(options: argparse.Namespace) -> Iterator[Task]:
    """Everything to measure; on more than one core only what is able to use them."""
    for step in ("signatures", "all"):
        for cores in options.cores:
            for tool in options.only:
                peer = PEERS.get(tool)
                if step == "signatures" and peer and not peer.signatures:
                    continue
                if cores == 1 or peer is None or peer.parallel:
                    yield Task(tool, step, cores)


def _take_turns(tasks: Sequence[Task], place: Path, options: argparse.Namespace) -> dict[Task, Outcome]:
    best: dict[Task, Outcome] = {}
    for _ in range(options.rounds):
        for task in tasks:
            before = best.get(task)
            if before and (before.used is None or before.used.wall > SLOW):
                continue
            outcome = _run(task, place, options)
            rounds = [each for each in (before, outcome) if each]
            best[task] = min(rounds, key=lambda each: each.seconds(task.cores))
    return best


def _run(task: Task, place: Path, options: argparse.Namespace) -> Outcome:
    """One run in processes of its own, on so many cores."""
    peer = PEERS.get(task.tool)
    if peer and not options.peers:
        return Outcome(None, why="no --peers")
    with tempfile.TemporaryDirectory(dir=place.parent) as temporary:
        folder, rows, among = Path(temporary) / "out", place / ROWS_FILE, None
        folder.mkdir()
        if peer and peer.sample:
            rows, among = Path(temporary) / "sample.parquet", tuple(sample_ids(place, peer.sample))
            table = pq.read_table(place / ROWS_FILE)
            pq.write_table(table.filter(pc.is_in(table["id"], pa.array(among))), rows, compression="zstd")
        python, module = (options.peers, "dedup_peers") if peer else (sys.executable, "dedup_ours")
        arguments = [*([task.tool] if peer else []), task.step, str(rows), str(folder), str(task.cores)]
        command = [str(python), "-m", f"nemo_assets_tests.benchmarks.{module}", *arguments]
        why, printed = _ended(command, task.cores, options.limit)
        if why:
            return Outcome(None, why=why)
        version = printed.pop("version")
        kept = tuple(kept_in(folder)) if task.step == "all" else ()
        return Outcome(Used(**printed), _size(rows), kept, among, version)


def _ended(command: list[str], cores: int, limit: float) -> tuple[str, dict[str, Any]]:
    """Why a run gave nothing, or what it printed."""
    held = ",".join(str(each) for each in sorted(os.sched_getaffinity(0))[-cores:])
    settings = dict.fromkeys(THREADS, str(cores)) | {"PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1"}
    run = subprocess.Popen(
        ["taskset", "-c", held, *command],
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = run.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
        return f"ended after {limit:.0f} s", {}
    if run.returncode == NOT_INSTALLED:
        return "not installed", {}
    if run.returncode:
        print(errors, file=sys.stderr)
        return f"failed: {errors.strip().splitlines()[-1][:80]}", {}
    return "", json.loads(output.strip().splitlines()[-1])


def _size(rows: Path) -> int:
    """Bytes of text."""
    batches = pq.ParquetFile(rows).iter_batches(columns=["text"])
    return sum(pc.sum(pc.binary_length(batch["text"])).as_py() for batch in batches)


def _print_signatures(outcomes: Mapping[Task, Outcome]) -> None:
    print("signatures\n")
    _print_row("tool", "cores", *FIGURES)
    _print_row(*["---"] * (2 + len(FIGURES)))
    for task, each in outcomes.items():
        if task.step == "signatures":
            _print_row(f"{task.tool} {each.version}", task.cores, *_figures(task, each, outcomes))


def _print_whole(outcomes: Mapping[Task, Outcome], place: Path) -> None:
    print("\nend to end\n")
    _print_row("tool", "cores", "rows", *FIGURES, *QUALITY, "note")
    _print_row(*["---"] * (4 + len(FIGURES) + len(QUALITY)))
    for task, each in outcomes.items():
        if task.step == "all":
            rows, *quality = _quality(task, each, place)
            note = PEERS[task.tool].note if task.tool in PEERS else ""
            _print_row(f"{task.tool} {each.version}", task.cores, rows, *_figures(task, each, outcomes), *quality, note)


def _print_row(*cells: object) -> None:
    print("|", " | ".join(map(str, cells)), "|")


def _figures(task: Task, outcome: Outcome, outcomes: Mapping[Task, Outcome]) -> list[object]:
    if outcome.used is None:
        return [outcome.why, "", "", "", ""]
    ours = outcomes.get(task._replace(tool=OURS))
    ratio = f"{ours.speed(task.cores) / outcome.speed(task.cores):.1f}" if ours and ours.used else ""
    used = outcome.used
    return [f"{outcome.speed(task.cores):.1f}", ratio, f"{used.wall:.2f}", f"{used.cpu:.2f}", used.peak]


def _quality(task: Task, outcome: Outcome, place: Path) -> list[str]:
    """Rows there were, and how those that stayed are judged."""
    if outcome.used is None:
        return ["", "", "", "", "", "", ""]
    own = score(place, outcome.kept, "words" if task.tool in PEERS else "compared", outcome.among)
    due = score(place, outcome.kept, "compared", outcome.among)
    judged = [cell for each in (own, due) for cell in (f"{each.recall:.4f}", f"{each.wrong:,}")]
    return [f"{own.rows:,}", f"{own.kept:,}", *judged, f"{due.floods:.1%}"]


if __name__ == "__main__":
    main()
