"""The Modal engine against the offline control plane: the apps run in Modal's own container runtime."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nemo_assets.errors import UserError
from nemo_assets.scoring import (
    MEASURED_SCHEMA,
    CheckpointRef,
    Limits,
    LocalEngine,
    ModalEngine,
    ScoredShard,
    ScoringError,
)
from nemo_assets.scoring.engine import SCORER_VERSION
from nemo_assets.scoring.rows import inputs_of_table
from nemo_assets.scoring.shards import VOLUME_NAME, Shard, shard_of
from nemo_assets_tests.modal.conftest import REPOSITORY
from nemo_assets_tests.scoring.texts import made_up_rows, message, score_input, table_of

LIGHT = "light-scoring"


@pytest.fixture
def checkpoint(tiny_model_directory) -> CheckpointRef:
    return CheckpointRef("before", str(tiny_model_directory("gpt_oss")))


def modal_engine(tmp_path, **settings) -> ModalEngine:
    return ModalEngine(**{"calls_file": tmp_path / "calls.json", "poll_seconds": 0.1} | settings)


def in_fours(rows: pa.Table) -> Iterator[pa.Table]:
    return (rows.slice(begin, 4) for begin in range(0, rows.num_rows, 4))


def rows_of_seed(seed: int, count: int = 8) -> pa.Table:
    """Rows that no other test has: what was scored once lies on the volume."""
    return table_of(made_up_rows(count, seed))


def all_scores(shards: Iterable[ScoredShard]) -> pa.Table:
    return pa.concat_tables([MEASURED_SCHEMA.empty_table(), *(shard.scores for shard in shards)]).sort_by("id")


def shard_under(model: str, rows: pa.Table) -> Shard:
    return shard_of(rows, CheckpointRef("before", model), Limits())


def score_light(tmp_path, model: str, shards: Iterable[pa.Table], **settings) -> Iterator[ScoredShard]:
    engine = modal_engine(tmp_path, app_name=LIGHT, **settings)
    return engine.score(shards, CheckpointRef("before", model), Limits())


def assert_equal_scores(ours: pa.Table, theirs: pa.Table) -> None:
    floats = [field.name for field in MEASURED_SCHEMA if pa.types.is_floating(field.type)]
    exact = [name for name in MEASURED_SCHEMA.names if name not in (*floats, "token_nlls")]
    assert ours.select(exact).equals(theirs.select(exact))
    for name in floats:
        assert ours[name].to_pylist() == pytest.approx(theirs[name].to_pylist(), abs=1e-5)


def test_scores_equal_local_ones_through_a_preemption_and_an_input_that_is_delivered_twice(
    offline_modal, checkpoint, tmp_path
):
    from nemo_assets_tests.modal.control_plane import Loss

    rows = table_of([*made_up_rows(9), score_input("silent", message("user", "hello"))])
    limits = Limits(max_length=512)
    engine = modal_engine(tmp_path, gpu="H100", hub_token="hf-token", max_containers=1)
    offline_modal.lose_next(Loss.PREEMPTED)
    offline_modal.deliver_twice_next()
    shards = list(engine.score(in_fours(rows), checkpoint, limits))

    scores = all_scores(shards)
    assert scores.schema.equals(MEASURED_SCHEMA, check_metadata=True)
    assert_equal_scores(scores, all_scores(LocalEngine("cpu").score(in_fours(rows), checkpoint, limits)))
    assert sorted(shard.scores.num_rows for shard in shards) == [2, 4, 4]
    calls = offline_modal.call_ids
    assert len(calls) == 3
    assert len(offline_modal.events("preempted")) == 1
    assert offline_modal.events("retry") == []  # a preemption costs none
    assert len(offline_modal.events("delivered")) == 3 + 1 + 1  # one loss, one duplicate
    assert offline_modal.gpu_of(calls[0]) == "H100"
    assert not engine.calls_file.exists()

    again = list(engine.score(in_fours(rows), checkpoint, limits))
    assert offline_modal.call_ids == calls  # what is scored is not paid for again
    assert sorted((s.seconds, s.tokens) for s in again) == sorted((s.seconds, s.tokens) for s in shards)
    assert all_scores(again).equals(scores)


def test_a_crash_and_a_time_out_cost_a_retry_each_and_change_no_score(offline_modal, tmp_path):
    from nemo_assets_tests.modal.control_plane import Loss

    rows, begin = rows_of_seed(12), len(offline_modal.history)
    offline_modal.lose_next(Loss.CRASHED, Loss.TIMED_OUT)
    scores = all_scores(score_light(tmp_path, "fast", in_fours(rows), max_containers=2))
    assert sorted(scores["nll_mean"].to_pylist()) == sorted(len(text) for text in rows["text"].to_pylist())
    kinds = [kind for kind, _ in offline_modal.history[begin:]]
    assert [kinds.count(kind) for kind in ("crashed", "timed out", "retry", "called")] == [1, 1, 2, 2]


# Launching


def test_no_more_calls_than_allowed_are_under_way_and_no_shard_is_drawn_before_there_is_room(offline_modal, tmp_path):
    drawn = []

    def watched() -> Iterator[pa.Table]:
        for shard in in_fours(rows_of_seed(10, 24)):
            drawn.append(shard)
            yield shard

    begin = len(offline_modal.history)
    finished = 0
    for _ in score_light(tmp_path, "fast", watched(), in_flight=2):
        finished += 1
        assert len(drawn) <= finished + 2
    kinds = [kind for kind, _ in offline_modal.history[begin:] if kind in ("called", "finished")]
    under_way = itertools.accumulate(1 if kind == "called" else -1 for kind in kinds)
    assert finished == 6
    assert max(under_way) == 2


def test_when_shards_stop_coming_what_is_under_way_is_finished(offline_modal, tmp_path):
    made_before = len(offline_modal.call_ids)
    affordable = itertools.islice(in_fours(rows_of_seed(11, 16)), 3)
    assert all_scores(score_light(tmp_path, "slow", affordable)).num_rows == 12
    assert len(offline_modal.call_ids) == made_before + 3
    assert not (tmp_path / "calls.json").exists()


def test_nothing_to_score_calls_nobody(offline_modal, checkpoint, tmp_path):
    made_before = len(offline_modal.call_ids)
    assert list(modal_engine(tmp_path).score([], checkpoint, Limits())) == []
    assert len(offline_modal.call_ids) == made_before


# Ends


@contextlib.contextmanager
def process_that_scores(rows: pa.Table, model: str, tmp_path, calls: int):
    """A process that has made all its calls and waits."""
    pq.write_table(rows, tmp_path / "rows.parquet")
    arguments = [str(tmp_path / "rows.parquet"), model, str(tmp_path / "calls.json")]
    process = subprocess.Popen(
        [sys.executable, "-m", "nemo_assets_tests.modal.score_from_file", *arguments],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while process.poll() is None and len(recorded_calls(tmp_path)) < calls:
            time.sleep(0.02)
        assert process.poll() is None, process.stderr.read()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def recorded_calls(tmp_path) -> dict[str, dict[str, str]]:
    path = tmp_path / "calls.json"
    return json.loads(path.read_text()) if path.exists() else {}


def test_after_a_kill_the_calls_on_record_are_waited_for_without_the_rows(offline_modal, tmp_path):
    rows = rows_of_seed(1)
    with process_that_scores(rows, "slow", tmp_path, calls=2) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (tmp_path / "rows.parquet").unlink()
    recorded, made = recorded_calls(tmp_path), offline_modal.call_ids
    assert len(recorded) == 2
    lost = {"fc-unknown": {"key": "0" * 32, "rows": 4, "digest": "0"}}
    (tmp_path / "calls.json").write_text(json.dumps(recorded | lost))

    engine = modal_engine(tmp_path, app_name=LIGHT)
    recovered = all_scores(engine.recover())
    assert sorted(recovered["id"].to_pylist()) == sorted(rows["id"].to_pylist())
    assert recorded_calls(tmp_path) == {}
    assert all_scores(score_light(tmp_path, "slow", in_fours(rows))).equals(recovered)
    assert offline_modal.call_ids == made


def test_what_was_handed_over_but_not_kept_is_recovered_and_the_rest_cancelled(offline_modal, tmp_path):
    rows = rows_of_seed(2)
    shards = score_light(tmp_path, "slow", in_fours(rows), in_flight=2, max_containers=1)
    first = next(shards)
    under_way = recorded_calls(tmp_path)
    shards.close()  # as by an exception while the scores are being written
    left = recorded_calls(tmp_path)
    assert len(under_way) == 2
    assert len(left) == 1
    assert offline_modal.events("cancelled")[-1] in set(under_way) - set(left)
    (recovered,) = modal_engine(tmp_path, app_name=LIGHT).recover()
    assert recovered.scores.equals(first.scores)


def test_an_interrupt_cancels_what_is_under_way(offline_modal, tmp_path):
    made_before = len(offline_modal.call_ids)
    with process_that_scores(rows_of_seed(3), "endless", tmp_path, calls=2) as process:
        process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in process.communicate(timeout=120)[1]
    assert offline_modal.events("cancelled")[-2:] == offline_modal.call_ids[made_before:]
    assert recorded_calls(tmp_path) == {}
    assert list(modal_engine(tmp_path, app_name=LIGHT).recover()) == []


def test_a_call_that_somebody_cancels_fails_the_run_and_is_no_error_after_a_restart(offline_modal, tmp_path):
    import modal

    rows = rows_of_seed(4, 4)

    def cancel() -> Iterator[pa.Table]:
        yield rows
        (call_id,) = recorded_calls(tmp_path)
        (tmp_path / "kept.json").write_bytes((tmp_path / "calls.json").read_bytes())
        modal.FunctionCall.from_id(call_id).cancel(terminate_containers=True)

    with pytest.raises(ScoringError, match=f"{shard_under('endless', rows).output_path} is missing.*call failed"):
        list(score_light(tmp_path, "endless", cancel()))
    assert recorded_calls(tmp_path) == {}
    (tmp_path / "kept.json").rename(tmp_path / "calls.json")
    assert list(modal_engine(tmp_path, app_name=LIGHT).recover()) == []
    assert recorded_calls(tmp_path) == {}


# Answers that are wrong


@pytest.mark.parametrize(
    ("model", "said"),
    [("failing", "RuntimeError: CUDA error"), ("silent", "came back without writing it")],
)
def test_a_call_that_gives_up_or_says_nothing_fails_the_run_and_cancels_the_others(
    offline_modal, tmp_path, model, said
):
    retried = len(offline_modal.events("retry"))
    with pytest.raises(ScoringError, match=rf"out/[0-9a-f]{{2}}/[0-9a-f]{{32}}\.parquet is missing for 4 rows.*{said}"):
        list(score_light(tmp_path, model, in_fours(rows_of_seed(5))))
    assert (len(offline_modal.events("retry")) > retried) == (model == "failing")
    assert recorded_calls(tmp_path) == {}


def test_what_the_user_can_put_right_is_one_line(offline_modal, tmp_path):
    with pytest.raises(UserError, match=r"^the model cannot be loaded; set MODEL_NAME to one that can$"):
        list(score_light(tmp_path, "refusing", in_fours(rows_of_seed(5, 4))))


def test_a_model_the_container_cannot_find_is_the_same_one_line_as_here(offline_modal, tmp_path):
    nowhere = CheckpointRef("before", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="nowhere does not exist; set MODEL_NAME"):
        list(modal_engine(tmp_path).score([rows_of_seed(6, 1)], nowhere, Limits()))


def test_a_model_that_changes_between_shards_fails_the_run(offline_modal, tmp_path):
    with pytest.raises(ScoringError, match=r"the model changed while it was scored: .* Pin the revision"):
        list(score_light(tmp_path, "moving", in_fours(rows_of_seed(7))))


def bad_file(kind: str, rows: pa.Table, directory) -> bytes:
    from nemo_assets_tests.modal.light_app import made_up_score, write_scores

    scores = [made_up_score(row) for row in inputs_of_table(rows)]
    other = [made_up_score(row) for row in inputs_of_table(rows_of_seed(99, 4))]
    made = {"no rows": [], "other rows": other, "another order": scores[::-1], "fewer rows": scores[:-1]}
    write_scores(made.get(kind, scores), directory / "bad.parquet", "0" if kind == "an old scorer" else SCORER_VERSION)
    content = (directory / "bad.parquet").read_bytes()
    return {"half": content[: len(content) // 2], "nothing": b""}.get(kind, content)


@pytest.mark.parametrize("kind", ["half", "nothing", "no rows", "other rows", "another order", "fewer rows"])
def test_a_file_that_is_not_the_answer_is_named_and_never_taken(offline_modal, tmp_path, kind):
    rows = rows_of_seed(8, 4)
    put_on_volume(shard_under("fast", rows), bad_file(kind, rows, tmp_path))
    path = shard_under("fast", rows).output_path
    with pytest.raises(ScoringError, match=rf"^{path} .*remove it with `modal volume rm {VOLUME_NAME} {path}`"):
        list(score_light(tmp_path, "fast", [rows]))


def test_an_app_of_another_version_has_to_be_deployed_again(offline_modal, tmp_path):
    rows = rows_of_seed(9, 4)
    put_on_volume(shard_under("fast", rows), bad_file("an old scorer", rows, tmp_path))
    with pytest.raises(UserError, match=r"scorer version 0, this is \d+; deploy the app again with `modal deploy -m"):
        list(score_light(tmp_path, "fast", [rows]))


def put_on_volume(shard: Shard, content: bytes) -> None:
    import modal

    with modal.Volume.from_name(VOLUME_NAME).batch_upload(force=True) as batch:
        batch.put_file(io.BytesIO(content), f"/{shard.output_path}")


# What is missing


@pytest.mark.parametrize("missing", ["app_name", "volume_name"])
def test_what_is_not_deployed_is_said_with_the_command_that_deploys_it(offline_modal, checkpoint, tmp_path, missing):
    engine = modal_engine(tmp_path, **{missing: "nothing-here"})
    with pytest.raises(UserError, match=r"nothing-here is not on Modal.*modal deploy -m modal_jobs\.nll_scoring"):
        list(engine.score([rows_of_seed(5, 1)], checkpoint, Limits()))


def test_a_missing_extra_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "modal", None)
    with pytest.raises(UserError, match=r"pip install -e '.\[modal\]', or set NEMO_SCORER=local"):
        list(modal_engine(tmp_path).score([rows_of_seed(5, 1)], CheckpointRef("before", "model"), Limits()))


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
