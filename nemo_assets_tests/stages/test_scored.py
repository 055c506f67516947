"""Scores of a split, measured on this machine by a tiny model."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa
import pytest

from nemo_assets.errors import UserError
from nemo_assets.scoring import local
from nemo_assets.scoring.engine import ScoredShard
from nemo_assets.scoring.local import LocalEngine
from nemo_assets.scoring.rows import SCORE_SCHEMA, Score
from nemo_assets.settings import Settings
from nemo_assets.stages import measuring
from nemo_assets.stages.scored import imported_scores_of
from nemo_assets.storage import Stage
from nemo_assets_tests.stages.making import catalog_with, make, rows_of

KEY = "nemotron-math-v2-harmony-tools/high_part01"  # 8 kept rows
SLUGS = ("nemotron-math-v2", "nemotron-math-v2-harmony-tools")


@pytest.fixture
def published(own_sample: Settings, tiny_student: Path, tmp_path: Path) -> Settings:
    """The split up to `published`; the student is a copy that a test may change."""
    student = shutil.copytree(tiny_student, tmp_path / "student")
    settings = replace(own_sample, model_name=str(student), max_length=512, publish_to=str(tmp_path / "published"))
    make(Stage.PUBLISHED, KEY, settings)
    return settings


def test_every_kept_row_has_a_score_or_a_reason_and_its_rank_within_the_split(published: Settings) -> None:
    manifest = make(Stage.SCORED, KEY, published)
    store = published.store
    scores = rows_of(manifest, store, "scores.student")
    assert scores.schema.remove_metadata().equals(SCORE_SCHEMA.remove_metadata())
    rows = scores.to_pylist()
    kept = rows_of(store.current(Stage.DEDUPED, KEY), store)
    assert [row["id"] for row in rows] == kept["id"].to_pylist()
    assert [row["text_sha1"] for row in rows] == kept["text_sha1"].to_pylist()
    assert {row["checkpoint"] for row in rows} == {"student"}
    ok = [row for row in rows if row["status"] == "ok"]
    assert len(ok) >= 6
    for row in rows:
        assert (
            (row["nll_mean"] is None)
            == (row["status"] != "ok")
            == (row["reason"] is not None)
            == (row["percentile_within_split"] is None)
        )
    for row in ok:
        assert row["nll_mean"] == pytest.approx(row["nll_sum"] / row["completion_token_count"])
        assert row["ppl"] == pytest.approx(math.exp(row["nll_mean"]))
        below = sum(other["nll_mean"] < row["nll_mean"] for other in ok)
        equal = sum(other["nll_mean"] == row["nll_mean"] for other in ok)
        assert row["percentile_within_split"] == pytest.approx(100 * (below + (equal + 1) / 2 - 0.5) / len(ok))
    counted = manifest.counters["checkpoints"]["student"]
    assert counted["rows"] == manifest.counters["rows"] == 8
    assert counted["status"]["ok"] == len(ok)
    assert counted["nll_mean"] == pytest.approx(sum(row["nll_mean"] for row in ok) / len(ok), abs=1e-5)


def test_a_second_run_is_current_and_a_changed_model_directory_is_scored_anew(
    published: Settings, tiny_student: Path
) -> None:
    first = make(Stage.SCORED, KEY, published)
    assert make(Stage.SCORED, KEY, published) == first
    model = Path(str(published.model_name))
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(
        json.dumps(config | {"rope_theta": 50.0, "rope_parameters": {"rope_type": "default", "rope_theta": 50.0}})
    )
    second = make(Stage.SCORED, KEY, published)
    before, after = (rows_of(manifest, published.store, "scores.student") for manifest in (first, second))
    assert before["nll_mean"] != after["nll_mean"]
    assert before["revision"] != after["revision"]
    assert before["text_sha1"] == after["text_sha1"]


def test_max_records_limits_the_scorer_alone_and_the_others_say_why(published: Settings) -> None:
    whole = rows_of(make(Stage.SCORED, KEY, published), published.store, "scores.student").to_pylist()
    shutil.rmtree(published.data_dir / "scores")
    limited = replace(published, scorer_max_records=3)
    manifest = make(Stage.SCORED, KEY, limited)
    rows = rows_of(manifest, published.store, "scores.student").to_pylist()
    assert [row["id"] for row in rows] == [row["id"] for row in whole]
    taken = [row for row in rows if row["status"] != "not_scored"]
    assert len(taken) == 3
    assert {row["reason"] for row in rows if row["status"] == "not_scored"} == {"MAX_RECORDS is 3"}
    assert {(row["origin"], row["nll_mean"]) for row in rows if row["status"] == "not_scored"} == {(None, None)}
    ok = [row for row in taken if row["status"] == "ok"]
    assert {row["coverage_within_split"] for row in rows} == {len(ok) / 8}
    assert manifest.counters["checkpoints"]["student"]["coverage"] == len(ok) / 8
    assert sorted(row["percentile_within_split"] for row in ok) == pytest.approx(
        [100 * (place + 0.5) / len(ok) for place in range(len(ok))]
    )


def test_what_was_scored_once_is_not_scored_again(published: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    score = LocalEngine.score

    def noting(self: LocalEngine, shards: Iterable[pa.Table], *rest: Any) -> Iterator[ScoredShard]:
        def noted() -> Iterator[pa.Table]:
            for shard in shards:
                sent.extend(shard["id"].to_pylist())
                yield shard

        return score(self, noted(), *rest)

    monkeypatch.setattr(LocalEngine, "score", noting)
    few = make(Stage.SCORED, KEY, replace(published, scorer_max_records=3))
    assert len(sent) == 3
    whole = make(Stage.SCORED, KEY, published)  # the other five
    assert len(sent) == len(set(sent)) == 8
    shutil.rmtree(published.store.directory(Stage.SCORED, KEY))  # another release, another split: the text is the same
    again = make(Stage.SCORED, KEY, published)
    assert len(sent) == 8
    assert again.data_version == whole.data_version != few.data_version
    make(Stage.SCORED, KEY, replace(published, max_length=400))  # a row may lose context: another score
    assert len(sent) == 16


def test_every_checkpoint_to_be_scored_has_its_own_scores(published: Settings, tmp_path: Path) -> None:
    other = shutil.copytree(Path(str(published.model_name)), tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))
    checkpoints = (
        f"checkpoints:\n  student: {{model: {published.model_name}, purpose: One.}}\n"
        f"  reference: {{model: {other}, purpose: Another.}}\n"
        f"  declared: {{model: {other}, purpose: Not scored., score: false}}\n"
    )
    catalog = catalog_with(tmp_path / "catalog", *SLUGS, checkpoints=checkpoints)
    both = replace(published, model_name=None, catalog_dir=catalog)
    manifest = make(Stage.SCORED, KEY, both)
    assert list(manifest.counters["checkpoints"]) == ["student", "reference"]
    student, reference = (rows_of(manifest, both.store, f"scores.{name}") for name in ("student", "reference"))
    assert {part.table for part in manifest.parts} == {"scores.student", "scores.reference"}
    assert student["id"] == reference["id"]
    assert student["nll_mean"] != reference["nll_mean"]
    assert set(reference["checkpoint"].to_pylist()) == {"reference"}
    assert set(reference["model"].to_pylist()) == {"other"}
    alone = make(Stage.SCORED, KEY, published)
    assert rows_of(alone, both.store, "scores.student") == student  # whoever is scored beside it


def test_an_interrupted_run_keeps_what_was_measured(published: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(measuring.SHARD_SIZES, "local", measuring.ShardSize(3, 10**9))
    asked: list[list[str]] = []
    table = local.table_of_scores

    def fails_at_the_third(scores: Sequence[Score]) -> pa.Table:
        asked.append([score.id for score in scores])
        if len(asked) == 3:
            raise ConnectionError
        return table(scores)

    monkeypatch.setattr(local, "table_of_scores", fails_at_the_third)
    with pytest.raises(ConnectionError):
        make(Stage.SCORED, KEY, published)
    assert published.store.find(Stage.SCORED, KEY) is None
    manifest = make(Stage.SCORED, KEY, published)
    assert [len(ids) for ids in asked] == [3, 3, 2, 2]
    assert asked[2] == asked[3]
    sharded = rows_of(manifest, published.store, "scores.student")
    monkeypatch.undo()
    for directory in (published.store.directory(Stage.SCORED, KEY), published.data_dir / "scores"):
        shutil.rmtree(directory)
    whole = rows_of(make(Stage.SCORED, KEY, published), published.store, "scores.student")
    exact = [
        field.name for field in SCORE_SCHEMA if not pa.types.is_floating(field.type) and field.name != "token_nlls"
    ]
    assert sharded.select(exact) == whole.select(exact)
    assert sharded["nll_mean"].to_pylist() == pytest.approx(whole["nll_mean"].to_pylist(), rel=1e-5)


def test_scores_from_elsewhere_are_joined_by_text_and_marked(published: Settings, tmp_path: Path) -> None:
    checkpoints = (
        f"checkpoints:\n  student: {{model: {published.model_name}, purpose: One.}}\n"
        "  before: {model: some/model, purpose: Scored long ago., imported: true}\n"
    )
    catalog = catalog_with(tmp_path / "catalog", *SLUGS, checkpoints=checkpoints)
    settings = replace(published, model_name=None, catalog_dir=catalog)
    none_yet = make(Stage.SCORED, KEY, settings)
    assert none_yet.counters["checkpoints"]["before"]["status"] == {"not_scored": 8}
    kept = rows_of(published.store.current(Stage.DEDUPED, KEY), published.store)
    texts = kept["text"].to_pylist()[:3]
    known = [hashlib.sha1(text.encode()).hexdigest() for text in texts]
    pl.DataFrame({"sha1_text_id": known, "nll_mean": [1.0, 3.0, 2.0]}).write_parquet(tmp_path / "old.parquet")
    imported_scores_of("before", settings).add(tmp_path / "old.parquet")
    manifest = make(Stage.SCORED, KEY, settings)
    assert manifest.data_version != none_yet.data_version
    rows = rows_of(manifest, settings.store, "scores.before").to_pylist()
    assert [(row["origin"], row["nll_mean"], row["percentile_within_split"]) for row in rows[:3]] == [
        ("imported", 1.0, pytest.approx(100 / 6)), ("imported", 3.0, pytest.approx(500 / 6)),
        ("imported", 2.0, pytest.approx(50)),
    ]  # fmt: skip
    assert {(row["status"], row["reason"]) for row in rows[3:]} == {
        ("not_scored", "no score of this text was imported")
    }
    assert {row["origin"] for row in rows_of(manifest, settings.store, "scores.student").to_pylist()} == {"measured"}


def test_scores_are_of_what_is_published(published: Settings) -> None:
    store = published.store
    deduped = store.current(Stage.DEDUPED, KEY)
    store.write_manifest(msgspec.structs.replace(deduped, data_version="d" * 16))
    with pytest.raises(
        UserError,
        match=r"published is older than deduped\. Materialise published of nemotron-math-v2-harmony-tools/high_part01 ",
    ):
        make(Stage.SCORED, KEY, published)


def test_a_model_that_is_not_there_is_told_and_nothing_is_made_current(published: Settings) -> None:
    gone = replace(published, model_name=str(published.data_dir / "no-such-model"))
    with pytest.raises(
        UserError,
        match=r"checkpoint student: the model directory .*no-such-model does not exist\. Set MODEL_NAME to one",
    ):
        make(Stage.SCORED, KEY, gone)
    assert published.store.find(Stage.SCORED, KEY) is None
