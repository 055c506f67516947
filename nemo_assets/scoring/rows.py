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

Status = Literal["ok", "no_scored_tokens", "mask_mismatch", "too_long", "not_scored"]
STATUSES: tuple[str, ...] = get_args(Status)
"""`not_scored` is never a scorer's answer: nobody has scored the row, and the reason says why."""

Origin = Literal["measured", "imported"]


@dataclass(frozen=True)
class ScoreInput:
    """One row to score: its text, the loss mask the text was written with, whether the NLL of each token is kept."""

    id: str
    text: str
    loss_mode: LossMode
    loss_terminators: bool
    mask_sha1: str
    keep_tokens: bool = False


@dataclass(frozen=True)
class Score:
    """How surprised a checkpoint is by the completion of one row; `MEASURED_SCHEMA` says what each field is.

    Everything that was not measured is None: a row without scored tokens has no NLL, not an NLL of 0.
    """

    id: str
    nll_mean: float | None
    nll_sum: float | None
    ppl: float | None
    nll_per_byte: float | None
    nll_mean_first_512: float | None
    analysis_nll_sum: float | None
    tool_call_nll_sum: float | None
    final_nll_sum: float | None
    analysis_token_count: int
    tool_call_token_count: int
    final_token_count: int
    token_nll_p50: float | None
    token_nll_p90: float | None
    token_nll_p99: float | None
    token_nll_max: float | None
    share_above_2_nats: float | None
    share_above_5_nats: float | None
    rank_mean_clipped: float | None
    completion_token_count: int
    prompt_token_count: int
    truncated: bool
    straddlers: int
    status: Status
    reason: str | None
    text_sha1: str
    mask_sha1: str
    tokenizer_sha256: str
    model: str
    revision: str
    precision: str
    max_length: int
    token_begins: tuple[int, ...] | None = None
    token_nlls: tuple[float, ...] | None = None


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
"""What the columns of a row must be for it to be scored."""

SHARD_SCHEMA = INPUT_SCHEMA.append(
    _field("keep_tokens", pa.bool_(), "whether the NLL of every scored token is to be kept")
)
"""What an engine is given."""

MEASURED_SCHEMA = pa.schema(
    [
        _field("id", pa.string(), "stable join key of the row"),
        _field("nll_mean", pa.float64(), "nll_sum / completion_token_count", "nats per token", nullable=True),
        _field("nll_sum", pa.float64(), "negative log-likelihood summed over the scored tokens", "nats", nullable=True),
        _field("ppl", pa.float64(), "exp(nll_mean); null where that overflows", "", nullable=True),
        _field(
            "nll_per_byte",
            pa.float64(),
            "nll_sum / UTF-8 bytes of the loss spans: comparable between tokenizers",
            "nats per byte",
            nullable=True,
        ),
        _field(
            "nll_mean_first_512", pa.float64(), "mean over the first 512 scored tokens", "nats per token", nullable=True
        ),
        _field("analysis_nll_sum", pa.float64(), "nll_sum of what is in channel analysis", "nats", nullable=True),
        _field("tool_call_nll_sum", pa.float64(), "nll_sum of messages to a recipient", "nats", nullable=True),
        _field("final_nll_sum", pa.float64(), "nll_sum of everything else, the answers", "nats", nullable=True),
        _field("analysis_token_count", pa.int32(), "scored tokens in channel analysis", "tokens"),
        _field("tool_call_token_count", pa.int32(), "scored tokens of messages to a recipient", "tokens"),
        _field("final_token_count", pa.int32(), "scored tokens of everything else", "tokens"),
        *(
            _field(f"token_nll_{name}", pa.float32(), f"{what} of the NLL of the scored tokens", "nats", nullable=True)
            for name, what in (
                ("p50", "median"),
                ("p90", "90 % quantile"),
                ("p99", "99 % quantile"),
                ("max", "maximum"),
            )
        ),
        *(
            _field(
                f"share_above_{nats}_nats",
                pa.float64(),
                f"scored tokens with an NLL above {nats} nats / all",
                nullable=True,
            )
            for nats in (2, 5)
        ),
        _field(
            "rank_mean_clipped",
            pa.float64(),
            "mean over the scored tokens of min(rank, 100), 1 being the likeliest token; over nll_mean it is the "
            "rank-surprisal ratio of arXiv 2601.14249",
            nullable=True,
        ),
        _field("completion_token_count", pa.int32(), "tokens that were scored; 0 wherever nll_mean is null", "tokens"),
        _field("prompt_token_count", pa.int32(), "tokens the model was given without being scored on them", "tokens"),
        _field("truncated", pa.bool_(), "messages were dropped from the left so that the completion fits max_length"),
        _field("straddlers", pa.int32(), "tokens that begin before a loss span and end in it; not scored", "tokens"),
        _field(
            "status",
            pa.string(),
            "ok, no_scored_tokens, mask_mismatch, too_long or not_scored; only ok rows have an NLL",
        ),
        _field("reason", pa.string(), "what was measured where status is not ok", nullable=True),
        _field("text_sha1", pa.string(), "sha1_text_id of the text that was scored"),
        _field("mask_sha1", pa.string(), "digest of the loss mask under which it was scored"),
        _field("tokenizer_sha256", pa.string(), "digest of the tokenizer that was loaded"),
        _field("model", pa.string(), "model that was loaded: its name on the Hub, or of its directory"),
        _field("revision", pa.string(), "commit that was loaded; for a directory a digest of its files"),
        _field("precision", pa.string(), "type of the weights as loaded, such as float32, bfloat16 or mxfp4"),
        _field("max_length", pa.int32(), "tokens a row could have at most", "tokens"),
        _field(
            "token_begins",
            pa.list_(pa.int32()),
            "where each scored token begins in the text; null unless asked for",
            "code points",
            nullable=True,
        ),
        _field(
            "token_nlls",
            pa.list_(pa.float32()),
            "NLL of each scored token; null unless asked for",
            "nats",
            nullable=True,
        ),
    ]
)
"""What a scorer measures; one record per `Score`."""

CHECKPOINT_FIELD = _field("checkpoint", pa.string(), "name of the checkpoint in the catalog")
ORIGIN_FIELD = _field(
    "origin",
    pa.string(),
    "measured by this project's scorer, or imported from another one; null where not scored",
    nullable=True,
)
PERCENTILE_FIELD = _field(
    "percentile_within_split",
    pa.float64(),
    "100 x (mean rank of nll_mean - 1/2) / rows with an NLL, in the split under the checkpoint; ties averaged",
    "percent",
    nullable=True,
)
COVERAGE_FIELD = _field("coverage_within_split", pa.float64(), "rows with an NLL / rows of the split; 1 is all of them")

_ALWAYS = ("id", "status", "text_sha1", "mask_sha1")
"""What is known even of a row that nobody has scored, or that another scorer has."""

SCORE_SCHEMA = pa.schema(
    [
        *(field if field.name in _ALWAYS else field.with_nullable(True) for field in MEASURED_SCHEMA),
        CHECKPOINT_FIELD,
        ORIGIN_FIELD,
        PERCENTILE_FIELD,
        COVERAGE_FIELD,
    ]
)
"""What the stage keeps: one row per row of the split and checkpoint."""

PUBLISHED_SCORE_SCHEMA = pa.schema(
    [field for field in SCORE_SCHEMA if field.name not in ("token_begins", "token_nlls")]
)
"""What is published: without the NLL of single tokens."""


def inputs_of_table(table: pa.Table) -> list[ScoreInput]:
    """The rows of a table that has the columns of `SHARD_SCHEMA`, in table order."""
    return [ScoreInput(**row) for row in table.select(SHARD_SCHEMA.names).to_pylist()]


def table_of_scores(scores: Sequence[Score]) -> pa.Table:
    """One row of `MEASURED_SCHEMA` per score, in order."""
    return pa.Table.from_pylist([dataclasses.asdict(score) for score in scores], schema=MEASURED_SCHEMA)
