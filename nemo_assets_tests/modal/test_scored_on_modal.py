"""The stage `scored` against the offline control plane: budget, coverage, and what is paid for once."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from nemo_assets.scoring.modal import ModalEngine
from nemo_assets.settings import Settings
from nemo_assets.stages import measuring
from nemo_assets.stages.scored import plan_scoring
from nemo_assets.storage import Stage
from nemo_assets_tests.stages.making import ROLES, make, with_catalog

if TYPE_CHECKING:
    from nemo_assets_tests.modal.control_plane import OfflineModal

KEY = "nemotron-math-v2-harmony-tools/high_part01"  # 8 kept rows


def statuses(settings: Settings) -> dict[str, str]:
    manifest = settings.store.current(Stage.SCORED, KEY)
    scores = pl.read_parquet(settings.store.paths(manifest, "scores.student"))
    return dict(scores.select("id", "status").iter_rows())


def test_a_budget_scores_a_part_that_a_larger_one_completes(
    offline_modal: OfflineModal, own_sample: Settings, tiny_student: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(measuring.SHARD_SIZES, "modal", measuring.ShardSize(2, 10**9))
    monkeypatch.setattr(measuring, "ModalEngine", functools.partial(ModalEngine, poll_seconds=0.1))
    # 1,000 approximate tokens a second at a thousandth of a dollar a second, until the first run has measured it
    student = {"model": str(tiny_student), "purpose": "One.", "tokens_per_second": 1000, "dollars_per_hour": 3.6}
    catalog = {"policies/checkpoints.yaml": {"checkpoints": {**ROLES, "student": student}}}
    settings = replace(with_catalog(own_sample, tmp_path / "catalog", catalog), max_length=512)
    settings = replace(settings, scorer="modal", model_name=None, publish_to=str(tmp_path / "published"))
    make(Stage.PUBLISHED, KEY, settings)
    made_before = len(offline_modal.call_ids)
    (plan,) = plan_scoring([KEY], settings)
    half = plan.told()["dollars"] / 2

    make(Stage.SCORED, KEY, replace(settings, scoring_budget=half))
    some = statuses(settings)
    assert 0 < sum(status != "not_scored" for status in some.values()) < 8
    counted = settings.store.current(Stage.SCORED, KEY).counters["checkpoints"]["student"]
    assert counted["coverage"] == sum(status == "ok" for status in some.values()) / 8
    calls = len(offline_modal.call_ids) - made_before
    assert calls >= 1

    whole = make(Stage.SCORED, KEY, settings)
    everything = statuses(settings)
    assert "not_scored" not in everything.values()
    assert {row: status for row, status in some.items() if status != "not_scored"}.items() <= everything.items()
    run = whole.details["runs"]["student"]
    assert run["rows"] == sum(status == "not_scored" for status in some.values())  # the others were paid for
    assert run["seconds"] > 0
    assert run["dollars"] == pytest.approx(run["seconds"] / 1000, abs=1e-4)
    (after,) = plan_scoring([KEY], settings)
    assert (after.told()["to_score"], after.told()["rate"]) == (0, "measured")
    total = len(offline_modal.call_ids)
    make(Stage.SCORED, KEY, replace(settings, scoring_budget=half))  # everything is known by now
    assert "not_scored" not in statuses(settings).values()
    assert len(offline_modal.call_ids) == total
