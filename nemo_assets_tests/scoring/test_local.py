"""The engine on this machine, and what an engine returns."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nemo_assets.errors import UserError
from nemo_assets.scoring import ENGINE_SCHEMA, SCORE_SCHEMA, CheckpointRef, Limits, LocalEngine, ScoringError
from nemo_assets_tests.scoring.texts import made_up_rows, message, score_input, table_of


def test_scores_come_back_in_order_with_the_engine_schema(tiny_model_directory, tmp_path):
    rows = [*made_up_rows(10), score_input("silent", message("user", "hello"))]
    checkpoint = CheckpointRef("before", str(tiny_model_directory("llama")))
    limits = Limits(max_length=512, batch_size=4, token_budget=256)
    scores = LocalEngine("cpu", shard_rows=4).score(table_of(rows), checkpoint, limits)

    assert scores.schema.equals(ENGINE_SCHEMA, check_metadata=True)
    assert scores.column("id").to_pylist() == [row.id for row in rows]
    assert set(scores.column("checkpoint").to_pylist()) == {"before"}
    assert set(scores.column("model").to_pylist()) == {"tiny-llama"}
    assert scores.column("nll_mean").null_count == 1
    whole = LocalEngine("cpu").score(table_of(rows), checkpoint, limits)
    assert scores.column("nll_mean").to_pylist()[:-1] == pytest.approx(
        whole.column("nll_mean").to_pylist()[:-1], abs=1e-4
    )
    pq.write_table(scores, tmp_path / "scores.parquet")
    assert pq.read_table(tmp_path / "scores.parquet").equals(scores)


def test_nothing_to_score_is_an_empty_table(tiny_model_directory):
    checkpoint = CheckpointRef("before", str(tiny_model_directory("llama")))
    scores = LocalEngine("cpu").score(table_of([]), checkpoint, Limits())
    assert scores.schema.equals(ENGINE_SCHEMA)
    assert scores.num_rows == 0


def test_an_id_that_occurs_twice_is_refused(tiny_model_directory):
    rows = table_of(made_up_rows(2))
    checkpoint = CheckpointRef("before", str(tiny_model_directory("llama")))
    with pytest.raises(ScoringError, match="row-0 occurs 2 times"):
        LocalEngine("cpu").score(pa.concat_tables([rows, rows]), checkpoint, Limits())


def test_every_column_says_what_it_holds():
    for field in SCORE_SCHEMA:
        assert field.metadata[b"description"], field.name
        assert b"unit" in field.metadata
    assert SCORE_SCHEMA.field("nll_mean").metadata[b"unit"] == b"nats per token"
    assert SCORE_SCHEMA.names[-2:] == ["checkpoint", "percentile_within_split"]


@pytest.mark.parametrize("limits", [{"max_length": 0}, {"batch_size": -1}, {"token_budget": 0}])
def test_limits_must_be_positive(limits):
    with pytest.raises(UserError, match="needs a positive whole number"):
        Limits(**limits)


def test_importing_the_package_loads_no_model_library():
    script = (
        "import sys, nemo_assets.scoring; "
        "print([name for name in ('torch', 'transformers', 'modal', 'tokenizers') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
