"""Samples: the first records of a split, read without fetching its files.

Belongs here: taking the head of JSONL and of Parquet. Does not: which files there are (`split_files`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from nemo_assets.disk import disk_told, make_directory, sha256_of, write_all, written_aside
from nemo_assets.hub.sources import Source
from nemo_assets.stages.split_files import SplitFiles
from nemo_assets.storage import Part, Stage, Store
from nemo_assets.storage.parquet import open_parquet, parquet_errors


class Head(NamedTuple):
    """The first records of a file; `content_id` is the sha256 of the whole file."""

    part: Part
    content_id: str


def fetch_heads(found: SplitFiles, source: Source, store: Store, records: int) -> Iterable[Head]:
    """Samples of the files, in order, until `records` records are here.

    What git itself holds is small, and its sha256 is not known before all of it is here.
    """
    blobs = store.root / Stage.RAW / "blobs"
    for file in found.files:
        if records <= 0:
            return
        make_directory(blobs)
        content_id = file.sha256 or source.fetch(file, found.revision, blobs / file.content_id)
        blob = blobs / f"{content_id}-head-{records}{Path(file.path).suffix}"
        with source.open(file, found.revision) as stream:
            if file.path.endswith(".parquet"):
                taken = _copy_parquet_head(stream, blob, records, f"{source.repo_id}/{file.path}")
            else:
                taken = _copy_lines_head(stream, blob, records)
        records -= taken
        part = Part("files", blob.relative_to(store.root).as_posix(), 0, blob.stat().st_size, sha256_of(blob))
        yield Head(part, content_id)


def _copy_lines_head(stream: Iterable[bytes], blob: Path, records: int) -> int:
    taken = 0
    with disk_told(blob), written_aside(blob) as file:
        for line in itertools.islice(stream, records):
            write_all(file, line)
            taken += 1
    return taken


def _copy_parquet_head(stream: BinaryIO, blob: Path, records: int, name: str) -> int:
    with open_parquet(stream, name) as file, parquet_errors(name):
        batches = file.iter_batches(batch_size=records)
        first = list(itertools.islice(batches, 1))
        table = pa.Table.from_batches(first, schema=file.schema_arrow).slice(0, records)
    with disk_told(blob), written_aside(blob) as file:
        pq.write_table(table, file)
    return int(table.num_rows)
