"""Cut the files of a split into units of work, and run units on one or many processes.

A unit is a byte range of a JSONL file or a range of row groups of a Parquet file. The cut depends on the files alone,
never on the number of workers, so output bytes do not either.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from nemo_assets.errors import UserError
from nemo_assets.progress import track
from nemo_assets.storage.parquet import open_parquet

UNIT_BYTES = 64 << 20  # of input: a few seconds of work, so that a kill loses little and 128 cores are kept busy
WORTH_PROCESSES = 3  # units: starting a process costs about as much as a unit
_CHUNK = 4 << 20

Work = TypeVar("Work")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Extent:
    """A piece of one file: bytes [start, end) of a JSONL file that begin a line, or row groups [start, end).

    first_row: number of its first record in the file; records: how many it holds, counted without parsing.
    """

    file: int
    start: int
    end: int
    first_row: int
    records: int


def plan_extents(paths: Sequence[tuple[str, Path]], unit_bytes: int = UNIT_BYTES) -> list[Extent]:
    """Extents of about `unit_bytes` over files given as (path in the source, local path), in order."""
    extents: list[Extent] = []
    for number, (name, path) in enumerate(paths):
        if name.endswith(".parquet"):
            extents += _row_group_extents(number, name, path, unit_bytes)
        else:
            extents += _line_extents(number, path, unit_bytes)
    return extents


def _line_extents(file: int, path: Path, unit_bytes: int) -> Iterator[Extent]:
    """Cut at the first line end behind every `unit_bytes`. Only \\n ends a line; a last line may lack it."""
    start = position = first_row = records = 0
    last = b"\n"
    with path.open("rb") as stream:
        while chunk := stream.read(min(_CHUNK, unit_bytes)):
            records += chunk.count(b"\n")
            position += len(chunk)
            last = chunk[-1:]
            if position - start >= unit_bytes:
                rest = stream.readline()
                if rest:
                    records += rest.count(b"\n")
                    position += len(rest)
                    last = rest[-1:]
                yield Extent(file, start, position, first_row, records + (last != b"\n"))
                start, first_row, records = position, first_row + records, 0
    if position > start:
        yield Extent(file, start, position, first_row, records + (last != b"\n"))


def _row_group_extents(file: int, name: str, path: Path, unit_bytes: int) -> Iterator[Extent]:
    with open_parquet(path, name) as parquet:
        metadata = parquet.metadata
        sizes = [
            (metadata.row_group(i).total_byte_size, metadata.row_group(i).num_rows)
            for i in range(metadata.num_row_groups)
        ]
    start = first_row = taken_bytes = records = 0
    for group, (size, rows) in enumerate(sizes):
        taken_bytes, records = taken_bytes + size, records + rows
        if taken_bytes >= unit_bytes:
            yield Extent(file, start, group + 1, first_row, records)
            start, first_row, taken_bytes, records = group + 1, first_row + records, 0, 0
    if records:
        yield Extent(file, start, len(sizes), first_row, records)


def run_units(
    work: Callable[[Work], Result],
    units: Sequence[Work],
    workers: int,
    label: str,
    size: Callable[[Work], float],
    unit: str,
) -> Iterator[Result]:
    """Results of `work` for every unit, in order; progress advances by `size(unit)` as each is done.

    One worker, or few units, run here.
    """
    with track(label, sum(map(size, units)), unit) as meter:
        for each, result in zip(units, _results(work, units, min(workers, len(units))), strict=True):
            meter.advance(size(each))
            yield result


def _results(work: Callable[[Work], Result], units: Sequence[Work], workers: int) -> Iterable[Result]:
    if workers <= 1 or len(units) < WORTH_PROCESSES:
        yield from map(work, units)
        return
    # spawn: threads of polars and pyarrow do not survive a fork.
    try:
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _end_with_parent) as pool:
            yield from pool.map(work, units)
    except BrokenProcessPool:
        raise UserError(
            f"A worker process was killed, most likely for want of memory. Run again with fewer than {workers} workers "
            "(NEMO_WORKERS); finished units are kept."
        ) from None


def _end_with_parent() -> None:
    """Let this worker end when its parent is killed; it would wait for more work for ever."""
    threading.Thread(target=_exit_after_parent, daemon=True).start()


def _exit_after_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
