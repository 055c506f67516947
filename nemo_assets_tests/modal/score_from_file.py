"""Score the rows of a Parquet file on the light app, as a process that a test can kill: rows, model, calls file."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow.parquet as pq

from nemo_assets.scoring import CheckpointRef, Limits, ModalEngine
from nemo_assets_tests.modal.light_app import APP
from nemo_assets_tests.modal.test_modal_engine import in_fours

if __name__ == "__main__":
    rows, model, calls_file = sys.argv[1:]
    engine = ModalEngine(calls_file=Path(calls_file), app_name=APP, poll_seconds=0.1)
    for _ in engine.score(in_fours(pq.read_table(rows)), CheckpointRef("before", model), Limits()):
        pass
