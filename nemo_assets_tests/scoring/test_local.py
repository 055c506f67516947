"""The engine on this machine, and what an engine returns."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nemo_assets.errors import UserError
from nemo_assets.scoring import MEASURED_SCHEMA, SCORE_SCHEMA, CheckpointRef, Limits, LocalEngine, Score
from nemo_assets.scoring.rows import PUBLISHED_SCORE_SCHEMA
from nemo_assets_tests.scoring.texts import made_up_rows, message, score_input, table_of


def test_each_shard_comes_back_in_order_and_not_before_it_is_wanted(tiny_model_directory, tmp_path):
    rows = [*made_up_rows(10), score_input("silent", message("user", "hello"))]
    checkpoint = CheckpointRef("before", str(tiny_model_directory("llama")))
    limits = Limits(max_length=512, batch_size=4, token_budget=256)
    drawn = []

    def shards():
        for begin in range(0, 11, 4):
            drawn.append(begin)
            yield table_of(rows[begin : begin + 4])

    scored = LocalEngine("cpu").score(shards(), checkpoint, limits)
    first = next(scored)
    assert drawn == [0]
    shards_scored = [first, *scored]
    scores = pa.concat_tables([shard.scores for shard in shards_scored])
    assert scores.schema.equals(MEASURED_SCHEMA, check_metadata=True)
    assert scores.column("id").to_pylist() == [row.id for row in rows]
    assert set(scores.column("model").to_pylist()) == {"tiny-llama"}
    assert scores.column("nll_mean").null_count == 1
    tokens = pc.sum(pc.add(scores["prompt_token_count"], scores["completion_token_count"])).as_py()
    assert sum(shard.tokens for shard in shards_scored) == tokens
    assert all(shard.seconds > 0 for shard in shards_scored)
    (whole,) = LocalEngine("cpu").score([table_of(rows)], checkpoint, limits)
    assert scores.column("nll_mean").to_pylist()[:-1] == pytest.approx(
        whole.scores.column("nll_mean").to_pylist()[:-1], abs=1e-4
    )
    pq.write_table(scores, tmp_path / "scores.parquet")
    assert pq.read_table(tmp_path / "scores.parquet").equals(scores)


def test_no_shard_loads_a_model_and_scores_nothing(tiny_model_directory):
    checkpoint = CheckpointRef("before", str(tiny_model_directory("llama")))
    assert list(LocalEngine("cpu").score([], checkpoint, Limits())) == []
    assert list(LocalEngine("cpu").recover()) == []


def test_every_column_says_what_it_holds():
    for field in SCORE_SCHEMA:
        assert field.metadata[b"description"], field.name
        assert b"unit" in field.metadata
    assert SCORE_SCHEMA.field("nll_mean").metadata[b"unit"] == b"nats per token"
    assert [field.name for field in dataclasses.fields(Score)] == MEASURED_SCHEMA.names
    assert not {"token_begins", "token_nlls"} & set(PUBLISHED_SCORE_SCHEMA.names)


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
