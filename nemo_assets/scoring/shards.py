"""Shard files: how rows travel to a scoring container and scores come back.

Belongs here: names, layout of the volume, what a container does with one file, whether an answer fits its question.
Does not: Modal itself (`modal` calls, `modal_jobs.nll_scoring` is called).

    in/<aa>/<key>.parquet    rows, `SHARD_SCHEMA`; aa are the first two digits of the key
    out/<aa>/<key>.parquet   their scores, `MEASURED_SCHEMA`, same order
    runs/<dataset>/<revision>/<scorer>/<file>/all/<n>.parquet

The last are the scores of a file of a dataset on the Hub, a portion each; of N rows of it under `sample-<N>`.
"""

from __future__ import annotations

import hashlib
import heapq
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nemo_assets.errors import UserError
from nemo_assets.harmony.identity import sha1_text_id
from nemo_assets.scoring.engine import SCORER_VERSION, CheckpointRef, Limits, ScoredShard, ScoringError
from nemo_assets.scoring.rows import INPUT_SCHEMA, MEASURED_SCHEMA, SHARD_SCHEMA, inputs_of_table, table_of_scores

if TYPE_CHECKING:
    from nemo_assets.scoring.model import LoadedModel

APP_NAME = "nemo-nll-scoring"
SCORER_CLASS = "Scorer"
VOLUME_NAME = "nemo-nll-scores"

PORTION_ROWS = 2048
"""Of a file on the Hub: what a lost container can lose, minutes on a GPU."""

Counts = dict[str, float]
"""What a container answers, see `counts_of`: little, the scores themselves are on the volume."""


@dataclass(frozen=True)
class Shard:
    """Rows that one call scores, as what is needed to find and verify their scores when the rows are gone.

    `key` names everything the scores depend on, `rows` how many there are, `digest` which: ids, texts, masks in order.
    """

    key: str
    rows: int
    digest: str

    @property
    def input_path(self) -> str:
        """Where the rows lie on the volume."""
        return f"in/{self.key[:2]}/{self.key}.parquet"

    @property
    def output_path(self) -> str:
        """Where the scores lie on the volume."""
        return output_of(self.input_path)


def shard_of(rows: pa.Table, checkpoint: CheckpointRef, limits: Limits) -> Shard:
    """`rows` (`SHARD_SCHEMA`) as a shard; the same rows, checkpoint and limits give the same one.

    A checkpoint without a revision is its name: pin the revision of a model that may change.
    """
    text_sha1s = [sha1_text_id(text) for text in rows["text"].to_pylist()]
    digest = _digest_of(zip(rows["id"].to_pylist(), text_sha1s, rows["mask_sha1"].to_pylist(), strict=True))
    how = (rows[name].to_pylist() for name in ("loss_mode", "loss_terminators", "keep_tokens"))
    key = hashlib.sha256(repr((SCORER_VERSION, checkpoint.model, checkpoint.revision, limits, digest)).encode())
    for row in zip(*how, strict=True):
        key.update(repr(row).encode())
    return Shard(key.hexdigest()[:32], rows.num_rows, digest)


def _digest_of(rows: Iterable[tuple[str, str, str]]) -> str:
    """Of id, text_sha1 and mask_sha1 of rows, in order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(repr(row).encode())
    return digest.hexdigest()


def verified_scores(shard: Shard, content: bytes) -> ScoredShard:
    """The scores in the file at `output_path`.

    Raises:
        ScoringError: they are not the scores of exactly the rows of the shard, or the file cannot be read.
        UserError: the app that made them is older or newer than this installation.
    """
    try:
        scores = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise _not_the_scores(shard, f"cannot be read ({error})") from error
    told = scores.schema.metadata or {}
    version = told.get(b"scorer_version", b"none").decode()
    if version != SCORER_VERSION:
        raise UserError(
            f"{shard.output_path} was written by scorer version {version}, this is {SCORER_VERSION}; "
            "deploy the app again with `modal deploy -m modal_jobs.nll_scoring`"
        )
    try:
        digest = _digest_of(zip(*(scores[name].to_pylist() for name in ("id", "text_sha1", "mask_sha1")), strict=True))
        measured = scores.cast(MEASURED_SCHEMA)
        seconds, tokens = float(told[b"seconds"]), int(told[b"tokens"])
    except (KeyError, ValueError, pa.ArrowException) as error:
        raise _not_the_scores(shard, f"is no file of scores ({error})") from error
    if digest != shard.digest:
        raise _not_the_scores(shard, f"holds {measured.num_rows} scores, but not those of the {shard.rows} rows sent")
    return ScoredShard(measured, seconds, tokens)


def _not_the_scores(shard: Shard, why: str) -> ScoringError:
    path = shard.output_path
    return ScoringError(f"{path} {why}; remove it with `modal volume rm {VOLUME_NAME} {path}` and score again")


# What a container does


def output_of(input_path: str) -> str:
    """Where the scores of the rows at `input_path` belong.

    Raises:
        ValueError: the path is not `in/<aa>/<key>.parquet`.
    """
    top, first_digits, name = input_path.split("/")
    if top != "in":
        raise ValueError(f"{input_path} is not a shard of rows, those lie under in/")
    return f"out/{first_digits}/{name}"


def score_shard_file(volume: Path, input_path: str, loaded: LoadedModel, limits: Limits) -> Counts:
    """Score the rows at `input_path` under `volume` and write their scores, unless they are there."""
    output = volume / output_of(input_path)
    if not output.exists():
        _write_scores(pq.read_table(volume / input_path), output, loaded, limits)
    return counts_of([output])


def run_directory(dataset: str, revision: str, checkpoint: CheckpointRef, limits: Limits) -> str:
    """Where the scores of files of a dataset lie on the volume."""
    scorer = hashlib.sha256(repr((SCORER_VERSION, checkpoint.model, checkpoint.revision, limits)).encode()).hexdigest()
    return f"runs/{dataset}/{revision}/{PurePosixPath(checkpoint.model).name}-{scorer[:16]}"


def score_parquet_file(
    rows: Path, output: Path, loaded: LoadedModel, limits: Limits, max_records: int | None, commit: Callable[[], None]
) -> Counts:
    """Score a Parquet file that has the columns of `INPUT_SCHEMA`, or `max_records` rows of it, below `output`.

    The rows with the smallest SHA-1 of their id are taken. After every portion `commit` is called; portions that are
    there already are not scored again. Raises UserError naming the columns that the file lacks.
    """
    require_columns(rows.name, pq.read_schema(rows))
    whole = max_records is None or max_records >= pq.read_metadata(rows).num_rows
    below = output / ("all" if whole else f"sample-{max_records}")
    portions = []
    for number, portion in enumerate(_portions(_chosen(rows, None if whole else max_records))):
        portions.append(below / f"{number:05d}.parquet")
        if not portions[-1].exists():
            _write_scores(portion, portions[-1], loaded, limits)
            commit()
    return counts_of(portions)


def require_columns(name: str, schema: pa.Schema) -> None:
    """Raise UserError where a file lacks columns of `INPUT_SCHEMA`."""
    missing = [column for column in INPUT_SCHEMA.names if column not in schema.names]
    if missing:
        raise UserError(
            f"{name} has no column {', '.join(missing)}; scoring takes the files of a release, which have "
            f"{', '.join(INPUT_SCHEMA.names)}"
        )


def _chosen(path: Path, max_records: int | None) -> Iterator[pa.Table]:
    """The rows of a file as `SHARD_SCHEMA`, in file order; without limit all of them."""
    with pq.ParquetFile(path) as file:
        wanted = None
        if max_records is not None:
            ids = (row for batch in file.iter_batches(columns=["id"]) for row in batch["id"].to_pylist())
            smallest = heapq.nsmallest(max_records, ids, key=lambda row: hashlib.sha1(row.encode()).digest())
            wanted = pa.array(smallest, pa.string())
        for batch in file.iter_batches(PORTION_ROWS, columns=INPUT_SCHEMA.names):
            rows = pa.Table.from_batches([batch]).select(INPUT_SCHEMA.names)
            rows = rows.append_column("keep_tokens", pa.repeat(False, rows.num_rows)).cast(SHARD_SCHEMA)
            yield rows if wanted is None else rows.filter(pc.is_in(rows["id"], wanted))


def _portions(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows of `tables` in tables of `PORTION_ROWS`, the last one shorter."""
    held = SHARD_SCHEMA.empty_table()
    for table in tables:
        held = pa.concat_tables([held, table])
        while held.num_rows >= PORTION_ROWS:
            yield held.slice(0, PORTION_ROWS)
            held = held.slice(PORTION_ROWS)
    if held.num_rows:
        yield held


def _write_scores(rows: pa.Table, output: Path, loaded: LoadedModel, limits: Limits) -> None:
    """Score and write; the file appears under its name only when it is complete. It tells what it took."""
    from nemo_assets.scoring.nll import score_rows

    began = time.monotonic()
    scores = score_rows(
        inputs_of_table(rows),
        loaded,
        max_length=limits.max_length,
        token_budget=limits.token_budget,
        batch_size=limits.batch_size,
    )
    seconds = time.monotonic() - began
    tokens = sum(score.prompt_token_count + score.completion_token_count for score in scores)
    told = {"scorer_version": SCORER_VERSION, "seconds": repr(seconds), "tokens": str(tokens)}
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_name(f".{output.name}.{uuid.uuid4().hex}.unfinished")
    pq.write_table(table_of_scores(scores).replace_schema_metadata(told), unfinished, compression="zstd")
    unfinished.replace(output)


def counts_of(paths: Iterable[Path]) -> Counts:
    """Over files of scores: `rows`, `scored` ones, `completion_tokens`, all `tokens`, `seconds`, sum of `nll_means`."""
    counts = dict.fromkeys(("rows", "scored", "completion_tokens", "tokens", "seconds", "nll_means"), 0.0)
    for path in paths:
        scores = pq.read_table(path, columns=["nll_mean", "completion_token_count"])
        told = scores.schema.metadata
        found = {
            "rows": scores.num_rows,
            "scored": scores.num_rows - scores["nll_mean"].null_count,
            "completion_tokens": sum(scores["completion_token_count"].to_pylist()),
            "tokens": int(told[b"tokens"]),
            "seconds": float(told[b"seconds"]),
            "nll_means": sum(scores["nll_mean"].drop_null().to_pylist()),
        }
        counts = {name: counts[name] + found[name] for name in counts}
    return counts
