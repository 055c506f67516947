"""Score the kept rows of one split under each checkpoint that the catalog wants scored.

What is measured goes to the score store as it comes, whatever the row, release or run it was measured for; a run only
has measured what is not there. The version of the split is put together from the store at the end.

Belongs here: what is measured, when to stop, statuses and percentiles. Does not: which rows and what they will cost
(`scoring_plan`), how a row is scored (`scoring`), in which container.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa

from nemo_assets.catalog import Checkpoint, Split
from nemo_assets.errors import UserError
from nemo_assets.records.schema import ROW_SCHEMA
from nemo_assets.scoring.engine import SCORER_VERSION
from nemo_assets.scoring.imported import ImportedScores
from nemo_assets.scoring.modal import require_modal
from nemo_assets.scoring.model import directory_revision, require_extra
from nemo_assets.scoring.percentile import percentile_within_split
from nemo_assets.scoring.rows import SCORE_SCHEMA, Origin
from nemo_assets.scoring.score_store import KEY, Scorer, ScoreStore
from nemo_assets.settings import Settings
from nemo_assets.stages.measuring import Run, measured_scores, with_reasons
from nemo_assets.stages.published import require_tagged
from nemo_assets.stages.scoring_plan import ScoringPlan, plan_rows, rows_of
from nemo_assets.storage import Basis, Manifest, Stage, Store, Unit
from nemo_assets.storage.manifest import digest
from nemo_assets.storage.parquet import scan, write_part


def score(split: Split, settings: Settings) -> Manifest:
    """Write the scores of a split, table `scores.<checkpoint>`, for every checkpoint with `score: true`.

    Every kept row has one, with an NLL or the reason why there is none; percentiles are among the rows that have one.
    What an interrupted run measured is in the score store and not measured again.

    Raises UserError for missing extras, credentials or models, and where `published` is older than `deduped`.
    """
    require_scorer(settings)
    store = settings.store
    published, deduped = store.current(Stage.PUBLISHED, split.key), store.current(Stage.DEDUPED, split.key)
    if published.inputs[Stage.DEDUPED] != deduped.data_version:
        raise UserError(f"{split.key}: published is older than deduped. Materialise published of {split.key} first.")
    require_tagged(split, published)
    checkpoints = scored_checkpoints(settings)
    basis = score_basis(settings, deduped, checkpoints)
    current = store.find_current(Stage.SCORED, split.key, basis)
    if current is not None:
        return current
    with store.staging(Stage.SCORED, split.key, basis) as staging:
        counters, runs, left = {}, {}, settings.scoring_budget
        for number, (name, checkpoint) in enumerate(checkpoints.items()):
            if checkpoint.imported:
                scores = _imported_scores(name, deduped, settings)
            else:
                scores, run = _measured(split, name, checkpoint, deduped, settings, left)
                runs[name] = _told(run, settings)
                left = None if left is None else left - run.dollars
            finished = finished_scores(scores, name, "imported" if checkpoint.imported else "measured")
            path = staging.target(f"scores.{name}", 0)
            part = staging.part(f"scores.{name}", path, write_part(path, finished))
            staging.add(Unit(number, (part,)))
            counters[name] = _summary(pl.DataFrame(pl.from_arrow(finished)))
        details = {"checkpoints": {name: _declared(c) for name, c in checkpoints.items()}, "runs": runs}
        return staging.commit(counters={"rows": deduped.rows(), "checkpoints": counters}, details=details)


def plan_scoring(keys: Sequence[str] | None, settings: Settings) -> Iterator[ScoringPlan]:
    """What scoring splits (None: all whose rows are there) would take, a plan for each checkpoint to be measured."""
    store = settings.store
    splits = [settings.catalog.split(key) for key in keys] if keys else list(settings.catalog.splits.values())
    for split in splits:
        deduped = store.current(Stage.DEDUPED, split.key) if keys else store.find(Stage.DEDUPED, split.key)
        for name, checkpoint in scored_checkpoints(settings).items():
            if deduped is not None and not checkpoint.imported:
                scores = score_store_of(settings.scores_dir, checkpoint, settings)
                yield plan_rows(split, name, checkpoint, scores, deduped, settings)


def require_scorer(settings: Settings) -> None:
    """Raise UserError at once where the scorer lacks its packages or credentials, or has a budget it cannot keep."""
    if not any(c.score and not c.imported for c in settings.catalog.checkpoints.values()):
        return
    if settings.scorer == "local":
        require_extra()
        if settings.scoring_budget is not None:
            raise UserError(
                "NEMO_SCORING_BUDGET counts dollars for GPUs, and NEMO_SCORER=local spends none. Unset it; MAX_RECORDS "
                "limits the rows."
            )
    else:
        require_modal()


def scored_checkpoints(settings: Settings) -> dict[str, Checkpoint]:
    """The checkpoints to score, by name, in catalog order, each pinned: a branch may move, a score must not."""
    wanted = {name: c for name, c in settings.catalog.checkpoints.items() if c.score}
    return {name: msgspec.structs.replace(c, revision=_pinned(name, c, settings)) for name, c in wanted.items()}


def _pinned(name: str, checkpoint: Checkpoint, settings: Settings) -> str | None:
    """The commit of a model on the Hub, the digest of a model directory or of what was imported."""
    if checkpoint.imported:
        return imported_scores_of(name, settings).revision
    path = Path(checkpoint.model).expanduser()
    if path.is_dir():
        return directory_revision(path)
    if checkpoint.model.startswith(("/", ".", "~")):
        raise UserError(
            f"checkpoint {name}: the model directory {path} does not exist. Set MODEL_NAME to one that does."
        )
    if checkpoint.revision and re.fullmatch(r"[0-9a-f]{40}", checkpoint.revision):
        return checkpoint.revision
    return _hub_commit(name, checkpoint.model, checkpoint.revision or "main", settings.endpoint, settings.token)


@functools.lru_cache(maxsize=64)
def _hub_commit(name: str, model: str, revision: str, endpoint: str, token: str | None) -> str:
    from httpx2 import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        commit = HfApi(endpoint=endpoint, token=token).model_info(model, revision=revision, expand=["sha"]).sha
    except (HfHubHTTPError, HTTPError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"checkpoint {name}: the commit of {model}@{revision} cannot be read from {endpoint} ({reason}). "
            "Set MODEL_NAME to a model that is there or to a directory, or pin `revision` "
            "in nemo_assets/catalog/policies/checkpoints.yaml."
        ) from None
    return str(commit)


def score_basis(settings: Settings, deduped: Manifest, checkpoints: Mapping[str, Checkpoint]) -> Basis:
    """Scores depend on texts and masks, on each checkpoint and on the scorer; not on who computes them."""
    inputs = {"texts": texts_digest(deduped, settings.store)}
    declared = {f"checkpoint.{name}": digest(_declared(checkpoint)) for name, checkpoint in checkpoints.items()}
    limits = {"max_length": str(settings.max_length), "max_records": str(settings.scorer_max_records or "all")}
    budget = {} if settings.scoring_budget is None else {"budget": str(settings.scoring_budget)}
    return Basis(inputs, declared | limits | budget | {"scorer": SCORER_VERSION})


def texts_digest(deduped: Manifest, store: Store) -> str:
    """Changes when a text, a mask, an id or the order of the rows does."""
    texts = scan(store.paths(deduped), ROW_SCHEMA).select("id", "text_sha1", "mask_sha1").collect()
    return digest([digest(texts[name].to_list()) for name in texts.columns])


def _declared(checkpoint: Checkpoint) -> dict[str, str | None]:
    """What names a pinned checkpoint; the path of a model directory is no part of it."""
    path = Path(checkpoint.model).expanduser()
    return {"model": path.name if path.is_dir() else checkpoint.model, "revision": checkpoint.revision}


def score_store_of(root: Path, checkpoint: Checkpoint, settings: Settings) -> ScoreStore:
    """Where the scores of a pinned checkpoint are kept, below `root`."""
    declared = _declared(checkpoint)
    return ScoreStore(root, Scorer(str(declared["model"]), str(declared["revision"]), settings.max_length))


def imported_scores_of(name: str, settings: Settings) -> ImportedScores:
    return ImportedScores(settings.scores_dir / "imported" / name)


def _measured(
    split: Split, name: str, checkpoint: Checkpoint, deduped: Manifest, settings: Settings, budget: float | None
) -> tuple[pl.DataFrame, Run]:
    """The scores of the kept rows, in base order, and what it took."""

    def plan(scores: ScoreStore) -> ScoringPlan:
        return plan_rows(split, name, checkpoint, scores, deduped, settings)

    paths, scores = settings.store.paths(deduped), score_store_of(settings.scores_dir, checkpoint, settings)
    return measured_scores(plan, paths, name, checkpoint, scores, settings, budget)


def _imported_scores(name: str, deduped: Manifest, settings: Settings) -> pl.DataFrame:
    """One row per kept row, in base order, with what was imported for its text."""
    imported = imported_scores_of(name, settings).all().with_columns(status=pl.lit("ok"), ppl=pl.col("nll_mean").exp())
    rows = rows_of(deduped, settings).select("id", *KEY)
    found = rows.join(imported, on="text_sha1", how="left", maintain_order="left")
    return with_reasons(found, pl.lit("no score of this text was imported"))


# The version


def finished_scores(scores: pl.DataFrame, checkpoint: str, origin: Origin = "measured") -> pa.Table:
    """`SCORE_SCHEMA`: the scores of all rows of a split with checkpoint, percentile and coverage.

    A text that occurs twice under the same mask counts once in the percentiles.
    """
    distinct = scores.select(*KEY, "nll_mean").unique(list(KEY), keep="first", maintain_order=True)
    percentiles = pl.Series("percentile_within_split", percentile_within_split(distinct["nll_mean"]), pl.Float64)
    ranked = scores.join(distinct.select(*KEY, percentiles), on=KEY, how="left", maintain_order="left")
    share = scores["nll_mean"].count() / max(scores.height, 1)
    given = ranked.with_columns(
        pl.lit(checkpoint).alias("checkpoint"),
        pl.when(pl.col("status") != "not_scored").then(pl.lit(origin)).alias("origin"),
        pl.lit(share, pl.Float64).alias("coverage_within_split"),
    )
    missing = [name for name in SCORE_SCHEMA.names if name not in given.columns]
    complete = given.with_columns(pl.lit(None).alias(name) for name in missing).select(SCORE_SCHEMA.names)
    return complete.to_arrow().cast(SCORE_SCHEMA)


def _summary(scores: pl.DataFrame) -> dict[str, Any]:
    """Counts by status and the mean of the rows that have an NLL; nats per token, rounded for display."""
    ok = scores.filter(pl.col("status") == "ok")
    quantile = {f"p{q}": ok["nll_mean"].quantile(q / 100, "linear") for q in (10, 50, 90)}
    means: dict[str, Any] = {"nll_mean": ok["nll_mean"].mean(), **quantile}
    return {
        "rows": scores.height,
        "status": dict(scores.group_by("status").len().sort("status").iter_rows()),
        "coverage": round(ok.height / max(scores.height, 1), 6),
        "truncated": int(scores["truncated"].sum()),
        "completion_tokens": int(scores["completion_token_count"].sum()),
        **{key: None if value is None else round(float(value), 6) for key, value in means.items()},
        **{name: ok[name][0] if ok.height else None for name in ("model", "revision", "precision")},
    }


def _told(run: Run, settings: Settings) -> dict[str, Any]:
    """What a run took, from which the next plan reckons."""
    return {
        "engine": settings.scorer, "scorer": run.plan.scorer, "tokens": run.exact_tokens,
        "approximate_tokens": run.finished, "seconds": round(run.seconds, 3),
        "dollars": round(run.dollars, 4), "rows": run.plan.to_score.height,
    }  # fmt: skip
