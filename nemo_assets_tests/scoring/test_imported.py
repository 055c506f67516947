"""Scores that another scorer made."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from nemo_assets.errors import UserError
from nemo_assets.scoring.imported import ImportedScores

A, B = "a" * 40, "b" * 40


def write(path: Path, **columns: object) -> Path:
    frame = pl.DataFrame(columns)
    {".parquet": frame.write_parquet, ".jsonl": frame.write_ndjson, ".csv": frame.write_csv}[path.suffix](path)
    return path


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv"])
def test_what_is_known_is_taken_over_and_the_rest_stays_unknown(tmp_path: Path, kind: str) -> None:
    scores = ImportedScores(tmp_path / "imported")
    before = scores.revision
    file = write(
        tmp_path / f"old.{kind}", sha1_text_id=[A, B], nll_mean=[0.5, None], ppl=[1.6, None], nll_sum=[5.0, None]
    )
    assert scores.add(file) == 1
    assert scores.all().select("text_sha1", "nll_mean", "nll_sum", "completion_token_count").rows() == [
        (A, 0.5, 5.0, None)
    ]
    assert scores.revision != before
    after = scores.revision
    assert scores.add(file) == 1
    assert (scores.revision, scores.all().height) == (after, 1)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"id": [A], "nll_mean": [1.0]}, "column sha1_text_id or text_sha1 is missing"),
        ({"text_sha1": [A], "ppl": [1.0]}, "column nll_mean is missing"),
        ({"text_sha1": [A, "7"], "nll_mean": [1.0, 2.0]}, "row 1 has text_sha1 '7' and nll_mean 2.0"),
        ({"text_sha1": [A], "nll_mean": [float("nan")]}, "row 0 has .* nll_mean nan"),
        ({"text_sha1": [A], "nll_mean": ["high"]}, "Correct the types"),
        ({"text_sha1": [A, A], "nll_mean": [1.0, 2.0]}, "text a+ has several NLLs, 1.0 and 2.0"),
    ],
)
def test_what_cannot_be_a_score_is_refused_and_nothing_is_kept(
    tmp_path: Path, columns: dict[str, list[object]], told: str
) -> None:
    scores = ImportedScores(tmp_path / "imported")
    with pytest.raises(UserError, match=told):
        scores.add(write(tmp_path / "old.parquet", **columns))
    assert scores.all().is_empty()


def test_another_nll_of_a_text_is_of_another_checkpoint(tmp_path: Path) -> None:
    scores = ImportedScores(tmp_path / "imported")
    scores.add(write(tmp_path / "one.parquet", text_sha1=[A], nll_mean=[1.0]))
    with pytest.raises(UserError, match="import scores of another under a checkpoint of its own"):
        scores.add(write(tmp_path / "two.parquet", text_sha1=[A], nll_mean=[1.5]))
    with pytest.raises(UserError, match=r"old\.txt: scores are imported from \.parquet, \.jsonl, \.csv files"):
        scores.add(tmp_path / "old.txt")
