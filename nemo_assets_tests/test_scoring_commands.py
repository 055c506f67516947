"""`plan-scoring` and `import-scores` as they are typed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from nemo_assets.cli import app
from nemo_assets.errors import UserError
from nemo_assets.settings import Settings
from nemo_assets.stages.scored import imported_scores_of
from nemo_assets_tests.stages.making import catalog_with

SPLITS = "nemotron-science-v1/MCQ", "nemotron-science-v1/RQA"


@pytest.fixture
def planning(sample: Settings, tiny_student: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("NEMO_DATA_DIR", str(sample.data_dir))
    monkeypatch.setenv("NEMO_SCORER", "modal")
    monkeypatch.setenv("MODEL_NAME", str(tiny_student))
    return CliRunner()


def test_a_plan_is_told_for_each_split_and_for_all(planning: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    told = json.loads(planning.invoke(app, ["plan-scoring", *SPLITS, "--json"], catch_exceptions=False).output)
    assert [(each["split"], each["checkpoint"], each["rate"]) for each in told] == [
        (key, "student", "unknown") for key in SPLITS
    ]
    shown = planning.invoke(app, ["plan-scoring", *SPLITS], catch_exceptions=False).output
    assert f"Together about {sum(each['tokens'] for each in told):,} tokens" in shown
    assert "without those whose rate is not known. There is no budget." in shown
    every = json.loads(planning.invoke(app, ["plan-scoring", "--json"], catch_exceptions=False).output)
    assert [each for each in every if each["split"] in SPLITS] == told
    assert len(every) > len(told)
    monkeypatch.setenv("MAX_RECORDS", "2")
    few = json.loads(planning.invoke(app, ["plan-scoring", SPLITS[0], "--json"], catch_exceptions=False).output)
    assert (few[0]["to_score"], few[0]["left_out"]) == (2, told[0]["rows"] - 2)


def test_scores_from_elsewhere_need_a_checkpoint_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = catalog_with(
        tmp_path / "catalog", "nemotron-science-v1",
        checkpoints="checkpoints:\n  student: {model: a/b, purpose: One.}\n"
        "  before: {model: a/c, purpose: Another., imported: true}\n",
    )  # fmt: skip
    monkeypatch.setenv("NEMO_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("NEMO_CATALOG_DIR", str(catalog))
    file = tmp_path / "old.parquet"
    pl.DataFrame({"text_sha1": ["a" * 40, "b" * 40], "nll_mean": [1.0, 2.0]}).write_parquet(file)
    done = CliRunner().invoke(app, ["import-scores", "before", str(file)], catch_exceptions=False)
    assert done.output.strip().endswith("old.parquet: scores of 2 texts")
    assert imported_scores_of("before", Settings.from_environment()).all().height == 2
    for name in ("student", "nobody"):
        with pytest.raises(UserError, match=f"{name} is no checkpoint with `imported: true`"):
            CliRunner().invoke(app, ["import-scores", name, str(file)], catch_exceptions=False)
    shutil.rmtree(tmp_path / "data")
