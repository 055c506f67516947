"""What scoring will take, and stopping when the money is spent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from nemo_assets.errors import UserError
from nemo_assets.settings import Settings
from nemo_assets.stages.measuring import Run
from nemo_assets.stages.scored import plan_scoring, require_scorer
from nemo_assets.stages.scoring_plan import Rate, ScoringPlan
from nemo_assets.storage import Stage
from nemo_assets_tests.stages.making import ROLES, make, with_catalog

KEY = "nemotron-math-v2-harmony-tools/high_part01"  # 8 kept rows


@pytest.fixture
def on_modal(own_sample: Settings, tmp_path: Path) -> Settings:
    """A split with its rows, to be scored at 10 approximate tokens a second for $36 an hour: a cent a second."""
    student = {"model": "some/model", "revision": "a" * 40, "purpose": "One.", "tokens_per_second": 10}
    checkpoints = {"checkpoints": {**ROLES, "student": {**student, "dollars_per_hour": 36.0}}}
    settings = with_catalog(own_sample, tmp_path / "catalog", {"policies/checkpoints.yaml": checkpoints})
    settings = replace(settings, scorer="modal", model_name=None, max_length=200)
    make(Stage.DEDUPED, KEY, settings)
    return settings


def tokens_of(settings: Settings) -> list[int]:
    rows = pl.read_parquet(settings.store.paths(settings.store.current(Stage.DEDUPED, KEY)))
    return rows["stats_approx_tokens"].clip(upper_bound=200).to_list()


def test_a_plan_tells_tokens_hours_and_dollars_before_anything_is_launched(on_modal: Settings) -> None:
    (plan,) = plan_scoring([KEY], on_modal)
    tokens = sum(tokens_of(on_modal))
    assert plan.told() == {
        "split": KEY, "checkpoint": "student", "rows": 8, "known": 0, "to_score": 8, "left_out": 0, "tokens": tokens,
        "hours": pytest.approx(tokens / 36000), "dollars": pytest.approx(tokens / 1000), "tokens_per_second": 10.0,
        "dollars_per_hour": 36.0, "rate": "declared",
    }  # fmt: skip
    assert not (on_modal.data_dir / "scores").exists()


def test_a_budget_takes_rows_that_look_like_the_split_as_long_as_they_are_paid_for(on_modal: Settings) -> None:
    tokens = sum(tokens_of(on_modal))
    (plan,) = plan_scoring([KEY], replace(on_modal, scoring_budget=tokens / 1000 / 2))
    taken = plan.to_score
    assert 0 < taken.height < 8
    assert taken["tokens"].sum() <= tokens / 2
    left = plan.rows.filter(pl.col("reason").is_not_null())
    assert left["reason"].unique().to_list() == [f"the budget of ${tokens / 2000:,.2f} was spent"]
    assert taken["tokens"].sum() + left["tokens"].min() > tokens / 2 or taken.height + left.height == 8
    (whole,) = plan_scoring([KEY], replace(on_modal, scoring_budget=tokens / 1000))
    assert whole.to_score.height == 8
    assert sorted(whole.rows["wave"]) == list(range(8))  # a run that costs more stops after a part of everything


def test_nothing_is_launched_that_the_budget_has_no_room_for() -> None:
    plan = ScoringPlan("a/b", "student", "scorer", pl.DataFrame(), Rate(100.0, 3600.0, "declared"))
    run = Run(plan, budget=10.0)  # a dollar a second: 1,000 tokens
    assert run.may_launch(1000)
    assert not run.may_launch(1001)
    run.launched = 600
    assert run.may_launch(400)
    assert not run.may_launch(401)
    run.finished, run.seconds = 600, 8.0  # slower than declared: 75 tokens a second from now on
    assert run.dollars == 8.0
    assert run.may_launch(150)
    assert not run.may_launch(151)
    assert Run(plan, budget=None).may_launch(10**12)


def test_dollars_are_no_limit_for_a_scorer_that_spends_none(on_modal: Settings) -> None:
    with pytest.raises(UserError, match=r"NEMO_SCORER=local spends none\. Unset it; MAX_RECORDS limits the rows"):
        require_scorer(replace(on_modal, scorer="local", scoring_budget=5.0))
