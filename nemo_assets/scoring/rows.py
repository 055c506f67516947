"""What goes into the scorer and what comes out of it.

Belongs here: the input row, the score, their Arrow forms. Does not: how a score is computed (`nll`), where (`engine`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import pyarrow as pa

from nemo_assets.harmony.spans import LossMode

Status = Literal["ok", "no_scored_tokens", "mask_mismatch", "too_long"]
STATUSES: tuple[str, ...] = get_args(Status)


@dataclass(frozen=True)
class ScoreInput:
    """One row to score: its text and the loss mask the text was written with."""

    id: str
    text: str
    loss_mode: LossMode
    loss_terminators: bool
    mask_sha1: str


@dataclass(frozen=True)
class Score:
    """How surprised a checkpoint is by the completion of one row.

    NLL is in nats. Everything that was not measured is None: a row without scored tokens has no NLL, not an NLL of 0.
    """

    id: str
    nll_mean: float | None
    nll_sum: float | None
    ppl: float | None
    completion_token_count: int
    prompt_token_count: int
    truncated: bool
    straddlers: int
    status: Status
    reason: str | None
    text_sha1: str
    model: str
    revision: str


def _field(name: str, kind: pa.DataType, description: str, unit: str = "", nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"description": description, "unit": unit})


INPUT_SCHEMA = pa.schema(
    [
        _field("id", pa.string(), "stable join key of the row"),
        _field("text", pa.string(), "Harmony-rendered prompt and completion, exactly what the model sees"),
        _field("loss_mode", pa.string(), "what is in the loss: assistant_all, assistant_last or assistant_sampled"),
        _field("loss_terminators", pa.bool_(), "whether message terminators are in the loss"),
        _field("mask_sha1", pa.string(), "digest of the loss mask; the scorer must reproduce it or refuse the row"),
    ]
)

MEASURED_SCHEMA = pa.schema(
    [
        _field("id", pa.string(), "stable join key of the row"),
        _field("nll_mean", pa.float64(), "nll_sum / completion_token_count", "nats per token", nullable=True),
        _field("nll_sum", pa.float64(), "negative log-likelihood summed over the scored tokens", "nats", nullable=True),
        _field("ppl", pa.float64(), "exp(nll_mean); null where that overflows", "", nullable=True),
        _field("completion_token_count", pa.int32(), "tokens that were scored; 0 wherever nll_mean is null", "tokens"),
        _field("prompt_token_count", pa.int32(), "tokens the model was given without being scored on them", "tokens"),
        _field("truncated", pa.bool_(), "messages were dropped from the left so that the completion fits max_length"),
        _field("straddlers", pa.int32(), "tokens that begin before a loss span and end in it; not scored", "tokens"),
        _field("status", pa.string(), "ok, no_scored_tokens, mask_mismatch or too_long; only ok rows have an NLL"),
        _field("reason", pa.string(), "what was measured where status is not ok", nullable=True),
        _field("text_sha1", pa.string(), "sha1_text_id of the text that was scored"),
        _field("model", pa.string(), "model that was loaded: its name on the Hub, or of its directory"),
        _field("revision", pa.string(), "commit that was loaded; for a directory a digest of its files"),
    ]
)
"""What a scorer measures; one record per `Score`."""

CHECKPOINT_FIELD = _field("checkpoint", pa.string(), "name of the checkpoint in the catalog")
PERCENTILE_FIELD = _field(
    "percentile_within_split",
    pa.float64(),
    "100 x (mean rank of nll_mean - 1/2) / rows with an NLL, in the split under the checkpoint; ties averaged",
    "percent",
    nullable=True,
)

ENGINE_SCHEMA = MEASURED_SCHEMA.append(CHECKPOINT_FIELD)
"""What an engine returns. Percentiles need the whole split, so they come after every shard is back."""

SCORE_SCHEMA = ENGINE_SCHEMA.append(PERCENTILE_FIELD)
"""What is stored and published."""


def inputs_of_table(table: pa.Table) -> list[ScoreInput]:
    """The rows of a table that has at least the columns of `INPUT_SCHEMA`, in table order."""
    return [ScoreInput(**row) for row in table.select(INPUT_SCHEMA.names).to_pylist()]


def table_of_scores(scores: Sequence[Score]) -> pa.Table:
    """One row of `MEASURED_SCHEMA` per score, in order."""
    return pa.Table.from_pylist([dataclasses.asdict(score) for score in scores], schema=MEASURED_SCHEMA)


def with_checkpoint(measured: pa.Table, checkpoint: str) -> pa.Table:
    """`measured` with the checkpoint's name on every row: the form an engine returns."""
    names = pa.array([checkpoint] * measured.num_rows, CHECKPOINT_FIELD.type)
    return measured.append_column(CHECKPOINT_FIELD, names).cast(ENGINE_SCHEMA)
