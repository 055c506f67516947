"""Shard files: how rows travel to a scoring container and scores come back.

Belongs here: names, layout of the volume, what a container does with one file. Does not: Modal itself (`modal` calls,
`modal_jobs.nll_scoring` is called).

    in/<run key>/<number>.parquet    rows, `INPUT_SCHEMA`
    out/<run key>/<number>.parquet   scores, `MEASURED_SCHEMA`, same order
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from nemo_assets.harmony.identity import sha1_text_id
from nemo_assets.scoring.engine import SCORER_VERSION, CheckpointRef, Limits, ScoringError
from nemo_assets.scoring.rows import INPUT_SCHEMA, MEASURED_SCHEMA, inputs_of_table, table_of_scores

if TYPE_CHECKING:
    from nemo_assets.scoring.model import LoadedModel

APP_NAME = "nemo-nll-scoring"
SCORER_CLASS = "Scorer"
VOLUME_NAME = "nemo-nll-scores"


@dataclass(frozen=True)
class Shard:
    """A run of rows that one call scores; `text_sha1s` are what the scores must come back with."""

    number: int
    run_key: str
    rows: pa.Table
    text_sha1s: Sequence[str]

    @property
    def name(self) -> str:
        """File name, the same on the way in and out."""
        return f"{self.number:05d}.parquet"

    @property
    def input_path(self) -> str:
        """Where its rows lie on the volume."""
        return f"in/{self.run_key}/{self.name}"

    @property
    def output_path(self) -> str:
        """Where its scores lie on the volume."""
        return f"out/{self.run_key}/{self.name}"


def plan_shards(rows: pa.Table, checkpoint: CheckpointRef, limits: Limits, shard_rows: int) -> list[Shard]:
    """`rows` cut into shards under a key that names everything their scores depend on.

    The same rows, checkpoint and limits give the same key, so that a later run finds what an earlier one scored. A
    checkpoint without a revision is its name: pin the revision of a model that may change.
    """
    rows = rows.select(INPUT_SCHEMA.names).cast(INPUT_SCHEMA).combine_chunks()
    text_sha1s = [sha1_text_id(text) for text in rows.column("text").to_pylist()]
    digest = hashlib.sha256(repr((SCORER_VERSION, checkpoint.model, checkpoint.revision, limits, shard_rows)).encode())
    columns = (rows.column(name).to_pylist() for name in ("id", "loss_mode", "loss_terminators", "mask_sha1"))
    for row in zip(text_sha1s, *columns, strict=True):
        digest.update(repr(row).encode())
    run_key = digest.hexdigest()[:32]
    return [
        Shard(number, run_key, rows.slice(begin, shard_rows), text_sha1s[begin : begin + shard_rows])
        for number, begin in enumerate(range(0, rows.num_rows, shard_rows))
    ]


def require_scores_of(shard: Shard, scores: pa.Table) -> pa.Table:
    """`scores` as `MEASURED_SCHEMA`.

    Raises:
        ScoringError: they are not the scores of exactly the rows of `shard`.
    """
    pairs = _pairs(scores.column("id").to_pylist(), scores.column("text_sha1").to_pylist())
    expected = _pairs(shard.rows.column("id").to_pylist(), shard.text_sha1s)
    if list(pairs) != list(expected):
        raise ScoringError(
            f"{shard.output_path} does not hold the scores of the {shard.rows.num_rows} rows sent; "
            "remove it from the volume and score again"
        )
    return scores.cast(MEASURED_SCHEMA)


def _pairs(ids: Sequence[str], text_sha1s: Sequence[str]) -> Iterator[tuple[str, str]]:
    return zip(ids, text_sha1s, strict=True)


def output_of(input_path: str) -> str:
    """Where the scores of the rows at `input_path` belong.

    Raises:
        ValueError: the path is not `in/<run key>/<name>`.
    """
    top, run_key, name = input_path.split("/")
    if top != "in":
        raise ValueError(f"{input_path} is not a shard of rows, those lie under in/")
    return f"out/{run_key}/{name}"


def score_shard_file(volume: Path, input_path: str, loaded: LoadedModel, limits: Limits) -> dict[str, int]:
    """Score the rows at `input_path` under `volume` and write their scores; counts of rows and scored tokens.

    Scores that are already there are left as they are, so a call may be repeated after a preemption or a lost answer.
    They appear under their name only when they are complete.
    """
    from nemo_assets.scoring.nll import score_rows

    output = volume / output_of(input_path)
    if not output.exists():
        rows = inputs_of_table(pq.read_table(volume / input_path))
        scores = score_rows(
            rows,
            loaded,
            max_length=limits.max_length,
            token_budget=limits.token_budget,
            batch_size=limits.batch_size,
        )
        output.parent.mkdir(parents=True, exist_ok=True)
        unfinished = output.with_name(f".{output.name}.{uuid.uuid4().hex}")
        pq.write_table(table_of_scores(scores), unfinished, compression="zstd")
        unfinished.replace(output)
    counts = pq.read_table(output, columns=["completion_token_count"]).column(0).to_pylist()
    return {"rows": len(counts), "completion_tokens": sum(counts)}
