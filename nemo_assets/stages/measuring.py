"""Having rows measured: shards for an engine, what comes back kept at once, an end when the budget is spent.

Belongs here: between the files of a stage and an engine. Does not: which rows (`scoring_plan`), what is made of the
scores (`scored`).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from nemo_assets.catalog import Checkpoint
from nemo_assets.progress import track
from nemo_assets.scoring.engine import CheckpointRef, Engine, Limits, ScoringError
from nemo_assets.scoring.local import LocalEngine
from nemo_assets.scoring.modal import ModalEngine
from nemo_assets.scoring.rows import INPUT_SCHEMA, MEASURED_SCHEMA, SHARD_SCHEMA
from nemo_assets.scoring.score_store import KEY, ScoreStore
from nemo_assets.settings import TOKENS_PER_FORWARD, Settings
from nemo_assets.stages.scoring_plan import ScoringPlan, beyond_budget
from nemo_assets.storage.parquet import read_batches

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShardSize:
    """A shard ends before it holds more; `tokens` are approximate."""

    rows: int
    tokens: int


SHARD_SIZES = {"modal": ShardSize(2048, 4_000_000), "local": ShardSize(256, 200_000)}
"""On a GPU some minutes, long against the start of a call; here what a kill can lose."""


@dataclass
class Run:
    """What measuring under one checkpoint has taken; `budget` in dollars. Tokens are approximate unless said."""

    plan: ScoringPlan
    budget: float | None
    launched: int = 0
    finished: int = 0
    exact_tokens: int = 0
    seconds: float = 0.0
    is_stopped: bool = False

    @property
    def dollars(self) -> float:
        return self.plan.rate.dollars(self.seconds)

    def may_launch(self, tokens: int) -> bool:
        """Whether there is money for so many tokens more, what is under way included."""
        if self.budget is None:
            return True
        rate = self.finished / self.seconds if self.seconds else self.plan.rate.tokens_per_second
        coming = (self.launched - self.finished + tokens) / rate if rate else 0.0
        return self.plan.rate.dollars(self.seconds + coming) <= self.budget


def measured_scores(
    plan_with: Callable[[ScoreStore], ScoringPlan],
    paths: Sequence[Path],
    name: str,
    checkpoint: Checkpoint,
    scores: ScoreStore,
    settings: Settings,
    budget: float | None = None,
) -> tuple[pl.DataFrame, Run]:
    """One row of `MEASURED_SCHEMA` per planned row, in order, and what it took.

    `paths` are the files of the rows. The plan is made when what an earlier process launched has come back. A row that
    nobody scores has the plan's reason, or that the budget was spent.

    Raises ScoringError if rows come back without a score though nothing stopped the run.
    """
    engine = engine_for(settings, checkpoint, scores.directory / "calls" / f"{_file_name(name, paths)}.json")
    for shard in engine.recover():
        scores.add(shard.scores)
    plan = plan_with(scores)
    run = Run(plan, budget)
    if plan.to_score.height:
        _log.info("%s", plan.line)
        _measure(run, paths, engine, CheckpointRef(name, checkpoint.model, checkpoint.revision), settings, scores)
    rows = plan.rows.select("id", *KEY, pl.col("reason").alias("left_out"))
    found = rows.join(scores.find(rows), on=KEY, how="left", maintain_order="left")
    stopped = beyond_budget(settings.scoring_budget) if run.is_stopped and settings.scoring_budget else None
    told = with_reasons(found, pl.coalesce("left_out", pl.lit(stopped)))
    if (lost := told.filter(pl.col("reason").is_null() & (pl.col("status") == "not_scored"))).height:
        raise ScoringError(f"{plan.split}: {lost.height} rows came back without a score, such as {lost['id'][0]}.")
    return told.select(MEASURED_SCHEMA.names), run


def with_reasons(found: pl.DataFrame, why: pl.Expr) -> pl.DataFrame:
    """`found` with a status on every row, and `why` as the reason of those that have no score."""
    nobody = pl.col("status").is_null()
    reason = pl.col("reason") if "reason" in found.columns else pl.lit(None, pl.String)
    return found.with_columns(
        pl.when(nobody).then(why).otherwise(reason).alias("reason"),
        pl.col("status").fill_null("not_scored"),
    )


def engine_for(settings: Settings, checkpoint: Checkpoint, calls_file: Path) -> Engine:
    """Who scores, by NEMO_SCORER; `calls_file` keeps what a restart needs to find its calls again."""
    if settings.scorer == "local":
        return LocalEngine()
    return ModalEngine(calls_file=calls_file, gpu=checkpoint.gpu, hub_token=settings.token)


def _limits_of(settings: Settings) -> Limits:
    return Limits(settings.max_length, settings.batch_size, max(TOKENS_PER_FORWARD, settings.max_length))


def _measure(
    run: Run, paths: Sequence[Path], engine: Engine, reference: CheckpointRef, settings: Settings, scores: ScoreStore
) -> None:
    """Have the rows of a plan scored until all have come back or the budget is spent; each shard is kept at once.

    `paths` are the files of the planned rows, in order.
    """
    tokens = dict(run.plan.to_score.select("id", "tokens").iter_rows())
    shards = _affordable(_shards(run.plan.rows, paths, SHARD_SIZES[settings.scorer]), run, tokens)
    with track(f"scoring {run.plan.split} under {reference.name}", len(tokens)) as meter:
        for shard in engine.score(shards, reference, _limits_of(settings)):
            scores.add(shard.scores)
            run.exact_tokens += shard.tokens
            run.finished += sum(tokens[row] for row in shard.scores["id"].to_pylist())
            run.seconds += shard.seconds
            meter.advance(shard.scores.num_rows)


def _affordable(shards: Iterable[pa.Table], run: Run, tokens: Mapping[str, int]) -> Iterator[pa.Table]:
    """The shards until the budget has no room for the next; `tokens` by id."""
    for shard in shards:
        more = sum(tokens[row] for row in shard["id"].to_pylist())
        if not run.may_launch(more):
            run.is_stopped = True
            return
        run.launched += more
        yield shard


def _shards(rows: pl.DataFrame, paths: Sequence[Path], size: ShardSize) -> Iterator[pa.Table]:
    """The rows to score as shards (`SHARD_SCHEMA`), one wave after another, each in base order.

    Whatever stops a run between two waves, what was scored looks like the split.
    """
    todo = ~rows["known"] & rows["reason"].is_null()
    for wave in rows["wave"].filter(todo).unique().sort():
        yield from _shards_of(paths, rows, todo & (rows["wave"] == wave), size)


def _shards_of(paths: Sequence[Path], rows: pl.DataFrame, wanted: pl.Series, size: ShardSize) -> Iterator[pa.Table]:
    """The `wanted` rows of files, cut to `size`; `rows` holds `tokens` and `keep_tokens` of every row of the files."""
    begun: list[pa.Table] = []
    first = held_rows = held_tokens = 0
    for batch in read_batches(paths, INPUT_SCHEMA.names, rows=256):
        here = slice(first, first := first + batch.num_rows)
        chosen = pa.concat_tables([batch.append_column("keep_tokens", rows["keep_tokens"][here].to_arrow())])
        chosen = chosen.filter(wanted[here].to_arrow()).cast(SHARD_SCHEMA)
        tokens = rows["tokens"][here].filter(wanted[here]).to_list()
        begin = 0
        for place, more in enumerate(tokens):
            if held_rows and (held_rows == size.rows or held_tokens + more > size.tokens):
                yield pa.concat_tables([*begun, chosen.slice(begin, place - begin)]).combine_chunks()
                begun, begin, held_rows, held_tokens = [], place, 0, 0
            held_rows, held_tokens = held_rows + 1, held_tokens + more
        begun.append(chosen.slice(begin))
    if held_rows:
        yield pa.concat_tables(begun).combine_chunks()


def _file_name(name: str, paths: Sequence[Path]) -> str:
    """Of the record of the calls for these files."""
    digest = hashlib.sha256("\n".join(map(str, paths)).encode()).hexdigest()
    return f"{name}-{digest[:16]}"
