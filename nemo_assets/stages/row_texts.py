"""Sets of shingles of single rows out of many parts, for the exact comparison of candidates.

Belongs here: finding the rows, reading no more than the row groups they are in, and keeping their sets on disk, as
those of a large scope do not fit in memory. Does not: which rows are asked for (`duplicates`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nemo_assets.dedup.compared import texts_of
from nemo_assets.dedup.signing import ShingleSets, shingle_sets
from nemo_assets.dedup.verification import Similarity, similarity
from nemo_assets.disk import disk_told


@dataclass(frozen=True)
class RowTexts:
    """The texts of rows counted through `parts`, each a path and the number of rows in it.

    `room` is a directory for sets of shingles, which are removed after use.
    """

    parts: Sequence[tuple[Path, int]]
    room: Path
    threads: int = 1

    def measure(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> Similarity:
        """Exact similarity of row first[i] and row second[i]."""
        rows, places = np.unique(np.concatenate((first, second)), return_inverse=True)
        with tempfile.TemporaryFile(dir=self.room) as file, disk_told(self.room):
            ends, spoken = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
            for texts in self.texts(rows):
                sets = shingle_sets(texts_of(texts), self.threads)
                file.write(sets.hashes.data)
                before = ends[-1][-1] if len(ends[-1]) else 0
                ends.append(sets.ends + before)
                spoken.append(sets.spoken)
            size = int(ends[-1][-1]) if len(rows) else 0
            file.flush()
            hashes = np.memmap(file, np.uint64, "r", shape=size) if size else np.zeros(0, np.uint64)
            kept = ShingleSets(hashes, np.concatenate(ends), np.concatenate(spoken))
            return similarity(kept, places[: len(first)], places[len(first) :], self.threads)

    def texts(self, rows: NDArray[np.int64]) -> Iterator[pa.ChunkedArray]:
        """The texts of these rows, which ascend, some at a time."""
        begin = 0
        for path, count in self.parts:
            wanted = rows[np.searchsorted(rows, begin) : np.searchsorted(rows, begin + count)] - begin
            if len(wanted):
                yield from _texts_in(path, wanted)
            begin += count


def _texts_in(path: Path, rows: NDArray[np.int64]) -> Iterator[pa.ChunkedArray]:
    file = pq.ParquetFile(path)
    begin = 0
    for group in range(file.metadata.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        wanted = rows[np.searchsorted(rows, begin) : np.searchsorted(rows, begin + count)] - begin
        if len(wanted):
            yield file.read_row_group(group, columns=["text"])["text"].take(pa.array(wanted))
        begin += count
