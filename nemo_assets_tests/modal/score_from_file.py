"""Score the rows of a Parquet file on Modal, as a process that a test can kill: rows, model, calls file, max_length."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow.parquet as pq

from nemo_assets.scoring import CheckpointRef, Limits, ModalEngine

if __name__ == "__main__":
    rows, model, calls_file, max_length = sys.argv[1:]
    engine = ModalEngine(calls_file=Path(calls_file), shard_rows=4, max_containers=1, poll_seconds=0.1)
    engine.score(pq.read_table(rows), CheckpointRef("before", model), Limits(max_length=int(max_length)))
