"""The texts of single rows out of many parts, for the exact comparison of candidates.

Belongs here: finding the rows, reading no more than the row groups they are in, and keeping their texts on disk, as
those of a large scope do not fit in memory. Does not: which rows are asked for (`duplicates`).
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nemo_assets.dedup.compared import Texts, texts_of
from nemo_assets.dedup.verification import Similarity, similarity
from nemo_assets.disk import disk_told


@dataclass(frozen=True)
class RowTexts:
    """The texts of rows counted through `parts`, each a path and the number of rows in it.

    `room` is a directory for a copy of those that are compared, which is removed after use.
    """

    parts: Sequence[tuple[Path, int]]
    room: Path
    threads: int = 1

    def measure(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> Similarity:
        """Exact similarity of row first[i] and row second[i]."""
        rows, places = np.unique(np.concatenate((first, second)), return_inverse=True)
        offsets = [np.zeros(1, np.int64)]
        with disk_told(self.room), tempfile.TemporaryFile(dir=self.room) as file:  # closing it writes too
            for found in self.read(rows):
                begin, end = found.offsets[0], found.offsets[-1]
                file.write(found.data[begin:end].data)
                offsets.append(found.offsets[1:] - begin + offsets[-1][-1])
            file.flush()
            data = np.memmap(file, np.uint8, "r") if offsets[-1][-1] else np.zeros(0, np.uint8)
            texts = Texts(data, np.concatenate(offsets))
            return similarity(texts, places[: len(first)], places[len(first) :], self.threads)

    def by_row(self, rows: Collection[int]) -> dict[int, str]:
        """The text of each of a few rows."""
        ordered = np.array(sorted(rows), np.int64)
        texts = [
            bytes(found.data[begin:end]).decode()
            for found in self.read(ordered)
            for begin, end in itertools.pairwise(found.offsets)
        ]
        return dict(zip(ordered.tolist(), texts, strict=True))

    def read(self, rows: NDArray[np.int64]) -> Iterator[Texts]:
        """The texts of these rows, which ascend, some at a time: each thread reads one row group ahead."""
        wanted = self._row_groups(rows)
        with ThreadPoolExecutor(self.threads) as pool:
            while groups := list(itertools.islice(wanted, self.threads)):
                yield from pool.map(lambda group: _read_row_group(*group), groups)

    def _row_groups(self, rows: NDArray[np.int64]) -> Iterator[tuple[Path, int, NDArray[np.int64]]]:
        """Path and number of the row groups that hold some of these rows, and which rows of them."""
        begin = 0
        for path, count in self.parts:
            if len(_between(rows, begin, begin + count)):
                metadata, first = pq.read_metadata(path), begin
                for group in range(metadata.num_row_groups):
                    size = metadata.row_group(group).num_rows
                    if len(wanted := _between(rows, first, first + size)):
                        yield path, group, wanted
                    first += size
            begin += count


def _between(rows: NDArray[np.int64], begin: int, end: int) -> NDArray[np.int64]:
    """Those of the rows that are in [begin, end), counted from there."""
    return rows[np.searchsorted(rows, begin) : np.searchsorted(rows, end)] - begin


def _read_row_group(path: Path, group: int, rows: NDArray[np.int64]) -> Texts:
    texts = pq.ParquetFile(path).read_row_group(group, columns=["text"], use_threads=False)["text"]
    return texts_of(texts.take(pa.array(rows)))
