"""Cut the files of a split into units of work, and run units here or on several processes.

A unit is a byte range of a JSONL file or a range of row groups of a Parquet file. The cut depends on the files alone,
never on the number of workers, so output bytes do not either.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np

from nemo_assets.progress import track
from nemo_assets.stages.workers import results_of
from nemo_assets.storage.parquet import open_parquet

UNIT_BYTES = 64 << 20  # of input: about a second of work, so that a kill loses little and 128 cores are kept busy
LEAST_UNIT_BYTES = 16 << 20  # a unit has four files of its own, and smaller row groups the smaller it is
UNITS_OF_A_FILE = 16  # of one that is not large: few workers end at about the same time
WORTH_PROCESSES = 3  # units: for fewer, starting processes takes about as long as it saves
_CHUNK = 1 << 20  # bytes: what a counting thread holds
_NEWLINE = 10
_READERS = 16  # threads; more read no faster than the disk
_SEEN_AT_ONCE = 1 << 16  # bytes: most lines end within

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


def plan_extents(paths: Sequence[tuple[str, Path]], unit_bytes: int = UNIT_BYTES, workers: int = 1) -> list[Extent]:
    """Extents of about `unit_bytes` over files given as (path in the source, local path), in order.

    Smaller ones, but for LEAST_UNIT_BYTES, of a file that would make fewer than UNITS_OF_A_FILE.
    Lines are counted on `workers` threads, each piece by itself; the result does not depend on how many.
    """
    extents: list[Extent] = []
    for number, (name, path) in enumerate(paths):
        if name.endswith(".parquet"):
            extents += _row_group_extents(number, name, path, unit_bytes)
        else:
            extents += _line_extents(number, name, path, unit_bytes, workers)
    return extents


def _line_extents(file: int, name: str, path: Path, unit_bytes: int, workers: int) -> Iterator[Extent]:
    """Cut a file of lines and number the lines. Threads do: reading waits for the disk and counting is fast."""
    with path.open("rb") as stream:
        size = path.stat().st_size
        cuts = _cuts(stream, size, _balanced(unit_bytes, size))
    pieces = list(itertools.pairwise(cuts))
    first_row = 0
    with track(f"lines of {name}", cuts[-1], "B") as meter, ThreadPoolExecutor(min(workers, _READERS)) as readers:
        counts = readers.map(lambda piece: _lines_within(path, *piece), pieces)
        for (start, end), records in zip(pieces, counts, strict=True):
            yield Extent(file, start, end, first_row, records)
            first_row += records
            meter.advance(end - start)


def _balanced(unit_bytes: int, size: int) -> int:
    """Bytes of a unit of a file of this size."""
    return min(unit_bytes, max(LEAST_UNIT_BYTES, size // UNITS_OF_A_FILE))


def _cuts(stream: BinaryIO, size: int, unit_bytes: int) -> list[int]:
    """0, the line starts at or next behind every multiple of `unit_bytes`, and the size of the file."""
    cuts = [0]
    while (target := (cuts[-1] // unit_bytes + 1) * unit_bytes) < size:
        cuts.append(_line_start(stream, target, size))
    return [*cuts, size] if cuts[-1] < size else cuts


def _line_start(stream: BinaryIO, position: int, size: int) -> int:
    """Where the first line begins at or behind `position`; the end of the file if none does."""
    position = stream.seek(position - 1)
    while chunk := stream.read(_SEEN_AT_ONCE):
        found = chunk.find(b"\n")
        if found >= 0:
            return position + found + 1
        position += len(chunk)
    return size


def _lines_within(path: Path, start: int, end: int) -> int:
    """Lines of the bytes [start, end), which begin a line. Only \\n ends a line; a last line may lack it."""
    buffer = bytearray(_CHUNK)
    content, view = np.frombuffer(buffer, np.uint8), memoryview(buffer)
    lines, last, left = 0, _NEWLINE, end - start
    with path.open("rb", buffering=0) as stream:
        stream.seek(start)
        while left and (taken := stream.readinto(view[: min(_CHUNK, left)])):
            lines += int(np.count_nonzero(content[:taken] == _NEWLINE))  # five times faster than bytes.count
            last = buffer[taken - 1]
            left -= taken
    return lines + (last != _NEWLINE)


def _row_group_extents(file: int, name: str, path: Path, unit_bytes: int) -> Iterator[Extent]:
    with open_parquet(path, name) as parquet:
        metadata = parquet.metadata
        sizes = [
            (metadata.row_group(i).total_byte_size, metadata.row_group(i).num_rows)
            for i in range(metadata.num_row_groups)
        ]
    unit_bytes = _balanced(unit_bytes, sum(size for size, _ in sizes))
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
        return map(work, units)
    return results_of(work, units, workers)
