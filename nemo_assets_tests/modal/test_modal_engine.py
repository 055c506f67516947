"""The Modal engine against the offline control plane: the deployed app runs in Modal's own container runtime."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nemo_assets.errors import UserError
from nemo_assets.scoring import ENGINE_SCHEMA, CheckpointRef, Limits, LocalEngine, ModalEngine
from nemo_assets_tests.modal.conftest import REPOSITORY
from nemo_assets_tests.scoring.texts import made_up_rows, message, score_input, table_of

NUMBERS = ("nll_mean", "nll_sum", "ppl")


@pytest.fixture
def checkpoint(tiny_model_directory) -> CheckpointRef:
    return CheckpointRef("before", str(tiny_model_directory("gpt_oss")))


def modal_engine(tmp_path, **settings) -> ModalEngine:
    return ModalEngine(
        **{"calls_file": tmp_path / "calls.json", "shard_rows": 4, "max_containers": 1, "poll_seconds": 0.1} | settings
    )


def assert_equal_scores(ours: pa.Table, theirs: pa.Table) -> None:
    exact = [name for name in ENGINE_SCHEMA.names if name not in NUMBERS]
    assert ours.select(exact).equals(theirs.select(exact))
    for name in NUMBERS:
        assert ours.column(name).to_pylist() == pytest.approx(theirs.column(name).to_pylist(), abs=1e-6)


def test_scores_equal_local_ones_through_a_preemption_and_a_crash(offline_modal, checkpoint, tmp_path):
    from nemo_assets_tests.modal.control_plane import Loss

    rows = table_of([*made_up_rows(9), score_input("silent", message("user", "hello"))])
    limits = Limits(max_length=512)
    engine = modal_engine(tmp_path, gpu="H100", hub_token="hf-token")
    offline_modal.lose_next(Loss.PREEMPTED, Loss.CRASHED)
    scores = engine.score(rows, checkpoint, limits)

    assert scores.schema.equals(ENGINE_SCHEMA, check_metadata=True)
    assert_equal_scores(scores, LocalEngine("cpu", shard_rows=4).score(rows, checkpoint, limits))
    assert len(offline_modal.events("preempted")) == 1
    assert len(offline_modal.events("crashed")) == 1
    assert len(offline_modal.events("retry")) == 1  # a preemption costs none
    calls = offline_modal.call_ids
    assert len(calls) == 3  # ten rows in shards of four
    assert offline_modal.gpu_of(calls[0]) == "H100"
    assert not engine.calls_file.exists()

    assert_equal_scores(engine.score(rows, checkpoint, limits), scores)
    assert offline_modal.call_ids == calls  # what is scored is not paid for again


@contextlib.contextmanager
def process_that_scores(rows: pa.Table, checkpoint: CheckpointRef, max_length: int, tmp_path, calls: int):
    """A process that has made all its calls and waits for a container that is still loading."""
    pq.write_table(rows, tmp_path / "rows.parquet")
    calls_file = tmp_path / "calls.json"
    arguments = [str(tmp_path / "rows.parquet"), checkpoint.model, str(calls_file), str(max_length)]
    process = subprocess.Popen(
        [sys.executable, "-m", "nemo_assets_tests.modal.score_from_file", *arguments],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while process.poll() is None and len(recorded_calls(calls_file)) < calls:
            time.sleep(0.05)
        assert process.poll() is None, process.stderr.read()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def recorded_calls(calls_file) -> dict[str, str]:
    return json.loads(calls_file.read_text())["calls"] if calls_file.exists() else {}


def test_a_run_started_again_after_a_crash_waits_for_the_calls_on_record(offline_modal, checkpoint, tmp_path):
    rows = table_of(made_up_rows(8, seed=1))
    made_before = len(offline_modal.call_ids)
    with process_that_scores(rows, checkpoint, 400, tmp_path, calls=2) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    recorded = recorded_calls(tmp_path / "calls.json")

    scores = modal_engine(tmp_path).score(rows, checkpoint, Limits(max_length=400))
    assert offline_modal.call_ids[made_before:] == list(recorded.values())
    assert_equal_scores(scores, LocalEngine("cpu").score(rows, checkpoint, Limits(max_length=400)))


def test_an_interrupted_run_cancels_its_calls_and_the_next_one_makes_new_ones(offline_modal, checkpoint, tmp_path):
    rows = table_of(made_up_rows(8, seed=2))
    made_before = len(offline_modal.call_ids)
    with process_that_scores(rows, checkpoint, 300, tmp_path, calls=2) as process:
        process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in process.communicate(timeout=30)[1]
    cancelled = offline_modal.call_ids[made_before:]
    assert offline_modal.events("cancelled")[-2:] == cancelled
    assert recorded_calls(tmp_path / "calls.json") == {}

    lost = {"00000.parquet": cancelled[0]}  # a record that outlived its call
    calls_file = tmp_path / "calls.json"
    calls_file.write_text(json.dumps(json.loads(calls_file.read_text()) | {"calls": lost}))
    scores = modal_engine(tmp_path).score(rows, checkpoint, Limits(max_length=300))
    assert scores.num_rows == 8
    assert len(offline_modal.call_ids) == made_before + 4


def test_a_model_the_container_cannot_find_is_the_same_one_line_as_here(offline_modal, tmp_path):
    nowhere = CheckpointRef("before", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="nowhere does not exist; set MODEL_NAME"):
        modal_engine(tmp_path).score(table_of(made_up_rows(1)), nowhere, Limits())


def test_nothing_to_score_calls_nobody(offline_modal, checkpoint, tmp_path):
    made_before = len(offline_modal.call_ids)
    assert modal_engine(tmp_path).score(table_of([]), checkpoint, Limits()).num_rows == 0
    assert len(offline_modal.call_ids) == made_before


@pytest.mark.parametrize("missing", ["app_name", "volume_name"])
def test_what_is_not_deployed_is_said_with_the_command_that_deploys_it(offline_modal, checkpoint, tmp_path, missing):
    engine = modal_engine(tmp_path, **{missing: "nothing-here"})
    with pytest.raises(UserError, match=r"nothing-here is not on Modal.*modal deploy -m modal_jobs\.nll_scoring"):
        engine.score(table_of(made_up_rows(1)), checkpoint, Limits())


def test_a_missing_extra_says_what_to_install(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "modal", None)
    with pytest.raises(UserError, match=r"pip install -e '.\[modal\]', or set NEMO_SCORER=local"):
        modal_engine(tmp_path).score(table_of(made_up_rows(1)), checkpoint, Limits())


def without_credentials(script: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("modal", reason="Modal tests need its client: pip install -e '.[modal]'")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MODAL_")}
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        env={**environment, "MODAL_CONFIG_PATH": os.devnull},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_without_credentials_scoring_fails_at_once_and_names_them():
    answer = without_credentials(
        "import time; from nemo_assets.scoring.modal import require_modal; begin = time.monotonic()\n"
        "try: require_modal()\n"
        "except Exception as error: print(type(error).__name__, error, time.monotonic() - begin < 5)"
    )
    assert answer.stdout.startswith("UserError scoring on Modal needs credentials: set MODAL_TOKEN_ID and MODAL_TOKEN")
    assert "NEMO_SCORER=local" in answer.stdout
    assert answer.stdout.strip().endswith("True")


OURS = (
    "altair",
    "dagster",
    "datasets",
    "fsspec",
    "jsonschema_rs",
    "msgspec",
    "numba",
    "polars",
    "rich",
    "typer",
    "yaml",
)


def test_the_app_can_be_imported_without_credentials_with_what_its_image_installs_and_without_torch():
    answer = without_credentials(
        "import sys, modal_jobs.nll_scoring as job\n"
        "installed = {package.split('=')[0].strip('<>').replace('-', '_') for package in job.PACKAGES}\n"
        f"print(job.app.name, 'torch' in sys.modules, sorted(set({OURS}) & set(sys.modules) - installed))"
    )
    assert answer.stdout.strip() == "nemo-nll-scoring False []", answer.stderr
