"""Which rows of a split are to be scored under a checkpoint, and what that will take.

Belongs here: choosing rows within MAX_RECORDS and the budget, what is known already, tokens, hours and dollars. Does
not: scoring them (`scored`), the order in which rows are taken (`scoring.order`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from nemo_assets.catalog import Checkpoint, Split
from nemo_assets.records.schema import ROW_SCHEMA
from nemo_assets.scoring.order import ORDER_COLUMNS, stratified_order
from nemo_assets.scoring.score_store import KEY, ScoreStore
from nemo_assets.settings import Settings
from nemo_assets.storage import Manifest, Stage
from nemo_assets.storage.parquet import scan

WAVES = 8  # a budget that turns out too small stops between parts that each look like the whole


class Rate(NamedTuple):
    """Approximate tokens a second of one accelerator, `stats_approx_tokens` cut at the longest length, and its price.

    `origin` says where the rate comes from: measured by earlier runs, declared in the catalog, or unknown (0 tokens).
    """

    tokens_per_second: float
    dollars_per_hour: float
    origin: str

    def seconds(self, tokens: float) -> float | None:
        return tokens / self.tokens_per_second if self.tokens_per_second else None

    def dollars(self, seconds: float) -> float:
        return seconds * self.dollars_per_hour / 3600


@dataclass(frozen=True)
class ScoringPlan:
    """What scoring a split under a checkpoint will do.

    `rows` has one line per kept row, in base order: `id`, `text_sha1`, `mask_sha1`, `tokens` (approximate), `known`
    (measured before), `reason` (why it will not be scored, null where it will or is known), `wave`, `keep_tokens`.
    """

    split: str
    checkpoint: str
    scorer: str
    rows: pl.DataFrame
    rate: Rate

    @property
    def to_score(self) -> pl.DataFrame:
        return self.rows.filter(~pl.col("known") & pl.col("reason").is_null())

    def told(self) -> dict[str, Any]:
        """The plan in numbers: rows, tokens, accelerator hours and dollars; hours are None where no rate is known."""
        todo = self.to_score
        tokens = int(todo["tokens"].sum())
        seconds = self.rate.seconds(tokens)
        return {
            "split": self.split, "checkpoint": self.checkpoint, "rows": self.rows.height,
            "known": int(self.rows["known"].sum()), "to_score": todo.height,
            "left_out": int((~self.rows["known"] & self.rows["reason"].is_not_null()).sum()),
            "tokens": tokens, "hours": None if seconds is None else seconds / 3600,
            "dollars": None if seconds is None else self.rate.dollars(seconds),
            "tokens_per_second": self.rate.tokens_per_second or None, "dollars_per_hour": self.rate.dollars_per_hour,
            "rate": self.rate.origin,
        }  # fmt: skip

    @property
    def line(self) -> str:
        """The numbers in one line."""
        told = self.told()
        hours = "at a rate not known yet"
        if told["hours"] is not None:
            hours = f"{told['hours']:,.2f} h, ${told['dollars']:,.2f}"
        return (
            f"{self.split} under {self.checkpoint}: {told['to_score']:,} of {told['rows']:,} rows to score, "
            f"{told['known']:,} known, about {told['tokens']:,} tokens, {hours} ({self.rate.origin} rate)"
        )


def plan_rows(
    split: Split, name: str, checkpoint: Checkpoint, scores: ScoreStore, deduped: Manifest, settings: Settings
) -> ScoringPlan:
    """What is to be scored, as things stand in the score store now.

    MAX_RECORDS and the budget choose rows that look like the split (`scoring.order`); rows that are known cost nothing
    and are left in.
    """
    rows = rows_of(deduped, settings)
    rows = with_known(rows, scores).with_columns(tokens=pl.col("tokens").clip(upper_bound=settings.max_length))
    rate = rate_of(name, checkpoint, scores, settings)
    return ScoringPlan(split.key, name, scores.scorer.name, _chosen(rows, rate, settings), rate)


def with_known(rows: pl.DataFrame, scores: ScoreStore) -> pl.DataFrame:
    """`rows` with `known`: whether their text has a score under their mask."""
    known = scores.find(rows).select(*KEY, known=pl.lit(True))
    joined = rows.join(known, on=KEY, how="left", maintain_order="left")
    return joined.with_columns(pl.col("known").fill_null(False))


def rows_of(deduped: Manifest, settings: Settings) -> pl.DataFrame:
    """The kept rows of a split in base order: `id`, `text_sha1`, `mask_sha1`, `tokens`, `order`, `keep_tokens`."""
    columns = [*ORDER_COLUMNS, "mask_sha1"]
    rows = scan(settings.store.paths(deduped), ROW_SCHEMA).select(columns).collect()
    drawn = pl.col("text_sha1").rank("ordinal") <= settings.token_nll_rows
    return rows.select(
        "id", *KEY, drawn.alias("keep_tokens"),
        pl.col("stats_approx_tokens").alias("tokens"), stratified_order(rows).alias("order"),
    )  # fmt: skip


def _chosen(rows: pl.DataFrame, rate: Rate, settings: Settings) -> pl.DataFrame:
    """`rows` with `reason` and `wave`."""
    reason = pl.lit(None, pl.String)
    if settings.scorer_max_records is not None:
        beyond = pl.col("order") >= settings.scorer_max_records
        reason = pl.when(beyond).then(pl.lit(f"MAX_RECORDS is {settings.scorer_max_records}")).otherwise(reason)
    rows = rows.with_columns(reason=reason)
    if settings.scoring_budget is not None and rate.tokens_per_second:
        affordable = settings.scoring_budget / rate.dollars_per_hour * 3600 * rate.tokens_per_second
        costs = pl.when(~pl.col("known") & pl.col("reason").is_null()).then("tokens").otherwise(0)
        spent = rows.with_row_index("row").sort("order").with_columns(spent=costs.cum_sum(), costs=costs)
        over = (pl.col("spent") > affordable) & (pl.col("costs") > 0)
        told = pl.lit(beyond_budget(settings.scoring_budget))
        rows = spent.with_columns(reason=pl.when(over).then(told).otherwise("reason")).sort("row")
        rows = rows.drop("row", "spent", "costs")
    waves = 1 if settings.scoring_budget is None else WAVES
    return rows.with_columns(wave=pl.col("order").cast(pl.Int64) * waves // max(rows.height, 1)).drop("order")


def beyond_budget(dollars: float) -> str:
    """The reason of a row that there was no money for."""
    return f"the budget of ${dollars:,.2f} was spent"


def rate_of(name: str, checkpoint: Checkpoint, scores: ScoreStore, settings: Settings) -> Rate:
    """The rate of the longest earlier run with this scorer where there is one, else what the catalog declares."""
    price = 0.0 if settings.scorer == "local" else checkpoint.dollars_per_hour
    runs = list(_runs(name, scores, settings))
    if runs:
        tokens, seconds = max(runs, key=lambda run: run[1])
        return Rate(tokens / seconds, price, "measured")
    if checkpoint.tokens_per_second and settings.scorer == "modal":
        return Rate(checkpoint.tokens_per_second, price, "declared")
    return Rate(0.0, price, "unknown")


def _runs(name: str, scores: ScoreStore, settings: Settings) -> Iterator[tuple[float, float]]:
    """Approximate tokens and seconds of what earlier runs measured."""
    for manifest in settings.store.manifests(Stage.SCORED):
        run = manifest.details.get("runs", {}).get(name)
        if run and run["scorer"] == scores.scorer.name and run["engine"] == settings.scorer and run["seconds"] > 0:
            yield run["approximate_tokens"], run["seconds"]
