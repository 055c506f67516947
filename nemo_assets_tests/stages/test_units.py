"""Cutting files into units of work, and running them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_assets.errors import UserError
from nemo_assets.stages.normalized import lines_of
from nemo_assets.stages.units import plan_extents, run_units

LINES = st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"\r")), max_size=30)


@given(lines=LINES, ends_with_newline=st.booleans(), unit_bytes=st.integers(1, 60))
def test_extents_tile_a_file_of_lines_and_count_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], ends_with_newline: bool, unit_bytes: int
) -> None:
    """Carriage returns and empty lines included: only \\n ends a line, and a last line may lack it."""
    content = b"\n".join(lines) + (b"\n" if ends_with_newline else b"")
    expected = content.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    path = tmp_path_factory.getbasetemp() / "lines.jsonl"
    path.write_bytes(content)
    extents = plan_extents([("lines.jsonl", path)], unit_bytes)
    assert [extent.start for extent in extents] == [0, *(extent.end for extent in extents)][: len(extents)]
    assert (extents[-1].end if extents else 0) == len(content)
    assert all(extent.start == 0 or content[extent.start - 1 : extent.start] == b"\n" for extent in extents)
    read = []
    for extent in extents:
        own = list(lines_of(path, extent))
        assert len(own) == extent.records
        assert own[0][0] == extent.first_row
        read += own
    assert [line for _, _, line in read] == expected
    assert [number for number, _, _ in read] == list(range(len(expected)))
    assert all(
        content[offset : offset + len(line)] == line and content[offset - 1 : offset] in (b"", b"\n")
        for _, offset, line in read
    )


@given(group_rows=st.lists(st.integers(1, 5), min_size=1, max_size=6), unit_bytes=st.integers(1, 400))
def test_extents_tile_the_row_groups_of_a_parquet_file(
    tmp_path_factory: pytest.TempPathFactory, group_rows: list[int], unit_bytes: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "rows.parquet"
    with pq.ParquetWriter(path, pa.schema({"n": pa.int64()})) as writer:
        for rows in group_rows:
            writer.write_table(pa.table({"n": list(range(rows))}))
    extents = plan_extents([("rows.parquet", path)], unit_bytes)
    assert [(extent.start, extent.first_row) for extent in extents] == [
        (first, sum(group_rows[:first])) for first in [0, *(extent.end for extent in extents)][: len(extents)]
    ]
    assert extents[-1].end == len(group_rows)
    assert [extent.records for extent in extents] == [sum(group_rows[extent.start : extent.end]) for extent in extents]


def _process_of(unit: int) -> tuple[int, int]:
    return unit, os.getpid()


def test_units_come_back_in_order_from_several_processes() -> None:
    results = list(run_units(_process_of, range(4), 2, "units", float, "units"))
    assert [unit for unit, _ in results] == [0, 1, 2, 3]
    assert os.getpid() not in {process for _, process in results}


def _killed_at_two(unit: int) -> int:
    if unit == 2:
        os.kill(os.getpid(), 9)
    return unit


def test_a_killed_worker_is_told_in_one_line() -> None:
    with pytest.raises(
        UserError, match=r"killed, most likely for want of memory.*fewer than 2 workers \(NEMO_WORKERS\)"
    ):
        list(run_units(_killed_at_two, range(4), 2, "units", float, "units"))


def _noted_and_slow(place: Path) -> None:
    (place / str(os.getpid())).touch()
    time.sleep(0.05)


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    """They would wait for work for ever."""
    code = (
        "import sys; from pathlib import Path\n"
        "from nemo_assets.stages.units import run_units\n"
        "from nemo_assets_tests.stages.test_units import _noted_and_slow\n"
        "if __name__ == '__main__':\n"
        "    places = [Path(sys.argv[1])] * 2000\n"
        "    for _ in run_units(_noted_and_slow, places, 2, 'units', lambda _: 1, 'units'): print(flush=True)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    parent.kill()
    parent.wait()
    workers = [int(path.name) for path in tmp_path.iterdir()]
    assert workers
    deadline = time.monotonic() + 30
    while left := [worker for worker in workers if _runs(worker)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def _runs(process: int) -> bool:
    """Whether it is there and more than a zombie that nobody has collected."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
