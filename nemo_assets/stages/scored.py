"""Score every kept row of one split under each checkpoint that the catalog wants scored.

Belongs here: which rows and checkpoints, resuming, percentiles over the whole split. Does not: how a row is scored
(`scoring`), in which container.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from nemo_assets.catalog import Checkpoint, Split
from nemo_assets.errors import ConservationError, UserError
from nemo_assets.records.schema import ROW_SCHEMA
from nemo_assets.scoring.engine import SCORER_VERSION, CheckpointRef, Engine, Limits
from nemo_assets.scoring.local import LocalEngine
from nemo_assets.scoring.modal import ModalEngine, require_modal
from nemo_assets.scoring.model import directory_revision, require_extra
from nemo_assets.scoring.percentile import percentile_within_split
from nemo_assets.scoring.rows import ENGINE_SCHEMA, INPUT_SCHEMA, PERCENTILE_FIELD, SCORE_SCHEMA
from nemo_assets.settings import TOKENS_PER_FORWARD, Settings
from nemo_assets.stages.published import require_tagged
from nemo_assets.storage import Basis, Manifest, Stage, Staging, Store, Unit
from nemo_assets.storage.manifest import digest
from nemo_assets.storage.parquet import scan, write_part

SLICE_ROWS = 20_000  # rows handed to the engine at once: what a kill can lose, and what must fit in memory as text


@dataclass(frozen=True)
class Slice:
    """Rows [first, first + rows) of the split under one checkpoint: one unit of work."""

    number: int
    checkpoint: str
    first: int
    rows: int


def score(split: Split, settings: Settings) -> Manifest:
    """Write one set of score parts, table `scores.<checkpoint>`, for every checkpoint with `score: true`.

    Slices finished by an interrupted run are reused. Percentiles are computed when all rows of a checkpoint are in.

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
    total = min(deduped.rows(), settings.scorer_max_records or deduped.rows())
    with store.staging(Stage.SCORED, split.key, basis) as staging:
        engine = engine_for(settings, staging.directory)
        slices = plan_slices(tuple(checkpoints), total)
        for number in staging.missing(range(len(slices))):
            staging.add(_score_slice(slices[number], checkpoints, store, deduped, engine, settings, staging))
        finished = {s.number: staging.units[s.number] for s in slices}
        staging.units.clear()
        counters = {}
        for place, name in enumerate(checkpoints):
            paths = [store.path(p) for s in slices if s.checkpoint == name for p in finished[s.number].parts]
            unit, counters[name] = _finish_checkpoint(name, len(slices) + place, paths, total, staging)
            staging.add(unit)
        details = {"checkpoints": {name: _declared(c) for name, c in checkpoints.items()}, "scorer": settings.scorer}
        return staging.commit(counters={"rows": total, "checkpoints": counters}, details=details)


def require_scorer(settings: Settings) -> None:
    """Raise UserError at once where the scorer lacks its packages or credentials."""
    if settings.scorer == "local":
        require_extra()
    else:
        require_modal()


def scored_checkpoints(settings: Settings) -> dict[str, Checkpoint]:
    """The checkpoints to score, by name, in catalog order, each pinned: a branch may move, a score must not."""
    wanted = {name: c for name, c in settings.catalog.checkpoints.items() if c.score}
    return {name: msgspec.structs.replace(c, revision=_pinned(name, c, settings)) for name, c in wanted.items()}


def _pinned(name: str, checkpoint: Checkpoint, settings: Settings) -> str | None:
    """The commit of a model on the Hub, the digest of a model directory."""
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
    return Basis(inputs, declared | limits | {"scorer": SCORER_VERSION})


def texts_digest(deduped: Manifest, store: Store) -> str:
    """Changes when a text, a mask, an id or the order of the rows does."""
    texts = scan(store.paths(deduped), ROW_SCHEMA).select("id", "text_sha1", "mask_sha1").collect()
    return digest([digest(texts[name].to_list()) for name in texts.columns])


def _declared(checkpoint: Checkpoint) -> dict[str, str | None]:
    """What names a pinned checkpoint; the path of a model directory is no part of it."""
    path = Path(checkpoint.model).expanduser()
    return {"model": path.name if path.is_dir() else checkpoint.model, "revision": checkpoint.revision}


def plan_slices(checkpoints: tuple[str, ...], rows: int, slice_rows: int = SLICE_ROWS) -> list[Slice]:
    """Slices of all checkpoints, numbered; a function of the row count alone."""
    starts = range(0, rows, slice_rows)
    pairs = [(name, first) for name in checkpoints for first in starts]
    return [Slice(n, name, first, min(slice_rows, rows - first)) for n, (name, first) in enumerate(pairs)]


def engine_for(settings: Settings, directory: Path) -> Engine:
    """Who scores, by NEMO_SCORER; `directory` keeps what a restart needs to find its calls again."""
    if settings.scorer == "local":
        return LocalEngine()
    return ModalEngine(calls_file=directory / "calls.json", hub_token=settings.token)


def _score_slice(
    piece: Slice,
    checkpoints: Mapping[str, Checkpoint],
    store: Store,
    deduped: Manifest,
    engine: Engine,
    settings: Settings,
    staging: Staging,
) -> Unit:
    rows = scan(store.paths(deduped), ROW_SCHEMA).select(INPUT_SCHEMA.names).slice(piece.first, piece.rows).collect()
    checkpoint = checkpoints[piece.checkpoint]
    reference = CheckpointRef(piece.checkpoint, checkpoint.model, checkpoint.revision)
    limits = Limits(settings.max_length, settings.batch_size, max(TOKENS_PER_FORWARD, settings.max_length))
    measured = engine.score(rows.to_arrow().cast(INPUT_SCHEMA), reference, limits)
    path = staging.target(f"measured.{piece.checkpoint}", piece.number)
    count = write_part(path, measured)
    return Unit(piece.number, (staging.part(f"measured.{piece.checkpoint}", path, count),))


def _finish_checkpoint(
    name: str, number: int, paths: list[Path], total: int, staging: Staging
) -> tuple[Unit, dict[str, Any]]:
    """All scores of a checkpoint with their percentile within the split, and a summary."""
    measured = pa.concat_tables(
        [ENGINE_SCHEMA.empty_table(), *(pq.read_table(path, schema=ENGINE_SCHEMA) for path in paths)]
    )
    if measured.num_rows != total:
        raise ConservationError(
            f"{staging.partition}: {total} rows were to be scored by {name}, {measured.num_rows} came back."
        )
    percentiles = percentile_within_split(measured["nll_mean"].to_pylist())
    scores = measured.append_column(PERCENTILE_FIELD, pa.array(percentiles, pa.float64())).cast(SCORE_SCHEMA)
    path = staging.target(f"scores.{name}", 0)
    write_part(path, scores)
    return Unit(number, (staging.part(f"scores.{name}", path, scores.num_rows),)), _summary(
        pl.DataFrame(pl.from_arrow(scores))
    )


def _summary(scores: pl.DataFrame) -> dict[str, Any]:
    """Counts by status and the mean of the rows that have an NLL; nats per token, rounded for display."""
    ok = scores.filter(pl.col("status") == "ok")
    quantile = {f"p{q}": ok["nll_mean"].quantile(q / 100, "linear") for q in (10, 50, 90)}
    means: dict[str, Any] = {"nll_mean": ok["nll_mean"].mean(), **quantile}
    return {
        "rows": scores.height,
        "status": dict(scores.group_by("status").len().sort("status").iter_rows()),
        "truncated": int(scores["truncated"].sum()),
        "completion_tokens": int(scores["completion_token_count"].sum()),
        **{key: None if value is None else round(float(value), 6) for key, value in means.items()},
        "model": scores["model"][0] if scores.height else None,
        "revision": scores["revision"][0] if scores.height else None,
    }
