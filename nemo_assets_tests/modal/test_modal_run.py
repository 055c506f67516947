"""`modal run modal_jobs/nll_scoring.py`: the real command line against the offline control plane and the test Hub."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nemo_assets.scoring import Limits, LocalEngine
from nemo_assets.scoring.engine import CheckpointRef
from nemo_assets.scoring.rows import INPUT_SCHEMA
from nemo_assets.scoring.shards import VOLUME_NAME
from nemo_assets_tests.hub.fixtures import hub_server
from nemo_assets_tests.modal.conftest import REPOSITORY
from nemo_assets_tests.scoring.texts import made_up_rows, table_of

__all__ = ["hub_server"]

REPO = "alice/pools"


def modal_run(offline_modal, hub_server, **variables: str) -> subprocess.CompletedProcess[str]:
    pool = {"CANDIDATE_DATASET_ID": REPO, "CANDIDATE_SUBDIR": "pool", "MAX_LENGTH": "512"}
    kept = {name: value for name, value in os.environ.items() if name not in pool}
    return subprocess.run(
        [sys.executable, "-m", "modal", "run", "modal_jobs/nll_scoring.py"],
        cwd=REPOSITORY,
        env={**kept, **hub_server.environment(), **offline_modal.environment, **pool, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def parquet(rows: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(rows, file)
    return file.getvalue()


def scores_below(directory: str) -> pa.Table:
    import modal

    volume = modal.Volume.from_name(VOLUME_NAME)
    files = [entry.path for entry in volume.listdir(directory, recursive=True) if entry.path.endswith(".parquet")]
    return pa.concat_tables(pq.read_table(io.BytesIO(b"".join(volume.read_file(path)))) for path in files)


def test_a_dataset_is_scored_where_it_is_and_nothing_twice(offline_modal, hub_server, tiny_model_directory):
    rows = table_of(made_up_rows(12, seed=50)).select(INPUT_SCHEMA.names)
    files = {"pool/a.parquet": parquet(rows.slice(0, 8)), "pool/b.parquet": parquet(rows.slice(8)), "else.parquet": b""}
    revision = hub_server.store.seed(REPO, files)
    model = str(tiny_model_directory("llama"))

    some = modal_run(offline_modal, hub_server, MODEL_NAME=model, MAX_RECORDS="6")
    assert some.returncode == 0, some.stdout + some.stderr + offline_modal.logs()
    directory = some.stdout.partition(f"modal volume get {VOLUME_NAME} ")[2].split()[0]
    assert directory.startswith(f"runs/{REPO}/{revision}/tiny-llama-")
    assert "all: 6 rows, 6 scored, mean nll_mean" in some.stdout
    ids = rows["id"].to_pylist()

    def smallest(these: list[str], count: int) -> list[str]:
        return sorted(these, key=lambda row: hashlib.sha1(row.encode()).hexdigest())[:count]

    chosen = smallest(ids[:8], 4) + smallest(ids[8:], 2)
    scores = scores_below(directory)
    assert sorted(scores["id"].to_pylist()) == sorted(chosen)

    shard = rows.append_column("keep_tokens", pa.repeat(False, 12)).filter(
        pa.compute.is_in(rows["id"], pa.array(chosen))
    )
    (local,) = LocalEngine("cpu").score([shard], CheckpointRef("x", model), Limits(max_length=512))
    expected = dict(zip(local.scores["id"].to_pylist(), local.scores["nll_mean"].to_pylist(), strict=True))
    assert dict(zip(scores["id"].to_pylist(), scores["nll_mean"].to_pylist(), strict=True)) == pytest.approx(expected)

    again = modal_run(offline_modal, hub_server, MODEL_NAME=model, MAX_RECORDS="6")
    assert again.returncode == 0
    assert [line for line in again.stdout.splitlines() if "tokens/s" in line] == [
        line for line in some.stdout.splitlines() if "tokens/s" in line
    ]  # told by the files of the first run, to the second


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"CANDIDATE_DATASET_ID": ""}, "CANDIDATE_DATASET_ID is not set; set it to the dataset"),
        ({"MAX_RECORDS": "many"}, "MAX_RECORDS=many: set it to a whole number of 1 or more"),
        ({"CANDIDATE_SUBDIR": "nowhere"}, "alice/pools has no Parquet files below nowhere; set CANDIDATE_SUBDIR"),
        ({}, "alice/pools/pool/a.parquet has no column loss_mode, mask_sha1; scoring takes"),
    ],
)
def test_what_is_missing_is_one_clear_line_before_a_gpu_is_asked_for(offline_modal, hub_server, variables, said):
    rows = table_of(made_up_rows(2)).select(["id", "text", "loss_terminators"])
    hub_server.store.seed(REPO, {"pool/a.parquet": parquet(rows)})
    made_before = len(offline_modal.call_ids)
    answer = modal_run(offline_modal, hub_server, **variables)
    assert answer.returncode != 0
    assert f"Error: {said}" in answer.stdout + answer.stderr
    assert "Traceback" not in answer.stdout + answer.stderr
    assert len(offline_modal.call_ids) == made_before


@pytest.mark.parametrize(
    ("rows_of", "max_records", "expected"),
    [
        ({"a": 8, "b": 4}, None, {"a": None, "b": None}),
        ({"a": 8, "b": 4}, 12, {"a": None, "b": None}),
        ({"a": 8, "b": 4, "c": 0}, 6, {"a": 4, "b": 2}),
        ({"a": 5, "b": 5}, 1, {"a": 1}),  # SHA-1 of "a" is 86f7…, of "b" e9d7…
    ],
)
def test_every_file_gives_the_same_share(rows_of, max_records, expected):
    pytest.importorskip("modal", reason="Modal tests need its client: pip install -e '.[modal]'")
    from modal_jobs.nll_scoring import _shares

    assert _shares(rows_of, max_records) == expected
