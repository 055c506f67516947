"""Units done by several processes: in order, and how it ends when something dies."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from nemo_assets.errors import UserError
from nemo_assets.stages.units import run_units
from nemo_assets.storage import Basis, Stage, Staging, Store, Unit
from nemo_assets.storage.parquet import write_part

PATIENCE = 60  # seconds
BASIS = Basis({"raw": "r1"}, {})


def _process_of(unit: int) -> tuple[int, int]:
    time.sleep(0.2 if unit == 0 else 0)
    return unit, os.getpid()


def test_units_come_back_in_order_from_several_processes() -> None:
    results = list(run_units(_process_of, range(6), 2, "units", float, "units"))
    assert [unit for unit, _ in results] == list(range(6))
    assert len({process for _, process in results} - {os.getpid()}) == 2


def test_few_units_are_done_here() -> None:
    assert list(run_units(_process_of, range(2), 2, "units", float, "units")) == [(0, os.getpid()), (1, os.getpid())]


class UnpicklableError(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")
        self.held = lambda: first


def _fails(error: str) -> None:
    match error:
        case "user":
            raise UserError("file.jsonl: is odd. Mend it.")
        case "defect":
            raise KeyError("messages")
        case "unpicklable":
            raise UnpicklableError(1, 2)


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        ("user", UserError, r"^file\.jsonl: is odd\. Mend it\.$"),
        ("defect", KeyError, r"(?s)^'messages'\n.*in _fails\n"),  # with the traceback of the worker
        ("unpicklable", RuntimeError, "UnpicklableError: 1 and 2"),
    ],
)
def test_an_error_arrives_as_it_was_raised(error: str, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        list(run_units(_fails, ["", error, ""], 2, "units", len, "units"))


def _ends_at_two(unit: tuple[int, str]) -> int:
    number, how = unit
    if number == 2:
        os._exit(3) if how == "exit" else os.kill(os.getpid(), signal.Signals[how])
    return number


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("SIGKILL", r"killed, most likely for want of memory.*fewer than 2 workers \(NEMO_WORKERS\)"),
        ("SIGABRT", r"ended by SIGABRT; .*Run again"),
        ("exit", r"ended with exit code 3; .*Run again"),
    ],
)
def test_a_worker_that_dies_is_told_in_one_line(how: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as raised:
        list(run_units(_ends_at_two, [(number, how) for number in range(4)], 2, "units", len, "units"))
    assert "\n" not in str(raised.value)


@dataclass(frozen=True)
class Piece:
    number: int
    staging: Staging
    signals: Path


def _recorded_but_the_first_waits(piece: Piece) -> Unit:
    """The first unit is the slowest; when all others are recorded its process is killed."""
    if piece.number == 0:
        _wait_until(lambda: len(list(piece.signals.iterdir())) == 3)
        os.kill(os.getpid(), signal.SIGKILL)
    path = piece.staging.target("rows", piece.number)
    write_part(path, pa.table({"n": [piece.number]}))
    unit = Unit(piece.number, (piece.staging.part("rows", path, 1),))
    piece.staging.record(unit)
    (piece.signals / str(piece.number)).touch()
    return unit


def _wait_until(holds: object) -> None:
    deadline = time.monotonic() + PATIENCE
    assert callable(holds)
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_units_finished_behind_a_slow_one_are_kept(tmp_path: Path) -> None:
    store, signals = Store(tmp_path / "data"), tmp_path / "signals"
    signals.mkdir()
    with store.staging(Stage.NORMALIZED, "slug/split", BASIS) as staging:
        pieces = [Piece(number, staging, signals) for number in range(4)]
        with pytest.raises(UserError, match="killed"):
            list(run_units(_recorded_but_the_first_waits, pieces, 2, "units", lambda _: 1, "units"))
    with store.staging(Stage.NORMALIZED, "slug/split", BASIS) as staging:
        assert staging.missing(range(4)) == [0]


def _written_in_excess(path: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))  # bytes
    write_part(path, pa.table({"n": range(10_000)}))


def test_a_disk_that_refuses_a_worker_is_one_line(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.parquet" for number in range(3)]
    with pytest.raises(UserError, match=r"\.parquet: the file became larger .*`ulimit -f`") as raised:
        list(run_units(_written_in_excess, paths, 2, "units", lambda _: 1, "units"))
    assert "\n" not in str(raised.value)
    assert not any(path.exists() for path in paths)


def _noted_and_slow(place: Path) -> None:
    (place / str(os.getpid())).touch()
    time.sleep(0.05)


@pytest.mark.parametrize(
    ("number", "reaches"),
    [(signal.SIGKILL, "parent"), (signal.SIGTERM, "parent"), (signal.SIGTERM, "all"), (signal.SIGINT, "all")],
)
def test_workers_end_with_their_parent_and_without_a_word(tmp_path: Path, number: int, reaches: str) -> None:
    """They would wait for work for ever. A terminal sends Ctrl-C to all processes, a service manager SIGTERM."""
    code = (
        "import sys; from pathlib import Path\n"
        "from nemo_assets.stages.units import run_units\n"
        "from nemo_assets_tests.stages.test_workers import _noted_and_slow\n"
        "places = [Path(sys.argv[1])] * 2000\n"
        "try:\n"
        "    for _ in run_units(_noted_and_slow, places, 2, 'units', lambda _: 1, 'units'): print(flush=True)\n"
        "except KeyboardInterrupt: pass\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    _wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    (os.killpg if reaches == "all" else os.kill)(parent.pid, number)
    assert parent.communicate(timeout=PATIENCE)[1] == b""
    workers = [int(path.name) for path in tmp_path.iterdir()]
    _wait_until(lambda: not any(map(_runs, workers)))


def _runs(process: int) -> bool:
    """Whether it is there and more than a zombie that nobody has collected."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
