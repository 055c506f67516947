"""The engine that scores on Modal's GPUs: uploads shards, calls the deployed app, survives a restart, reads back.

Belongs here: the client's side. Does not: what a container does (`modal_jobs.nll_scoring`), the shard files (`shards`).
The `modal` package is imported where it is used; settings and credentials belong to the caller and to Modal.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nemo_assets.errors import UserError
from nemo_assets.progress import track
from nemo_assets.scoring.engine import CheckpointRef, Limits, ScoringError, require_unique_ids
from nemo_assets.scoring.rows import MEASURED_SCHEMA, with_checkpoint
from nemo_assets.scoring.shards import APP_NAME, SCORER_CLASS, VOLUME_NAME, Shard, plan_shards, require_scores_of

_log = logging.getLogger(__name__)

HELLO_SECONDS = 10.0
"""How long Modal may take to answer at all; its own client keeps trying for about a minute."""


@dataclass(frozen=True)
class ModalEngine:
    """Scores in containers of the deployed Modal app.

    `calls_file` keeps the ids of the calls under way, so that a run started again after a crash waits for them instead
    of paying twice; one file per partition. `gpu` and `max_containers` replace those of the deployment; `hub_token` is
    handed to the containers for gated models.
    """

    calls_file: Path
    app_name: str = APP_NAME
    volume_name: str = VOLUME_NAME
    shard_rows: int = 2048
    gpu: str | None = None
    max_containers: int | None = None
    hub_token: str | None = field(default=None, repr=False)
    poll_seconds: float = 5.0

    def score(self, rows: pa.Table, checkpoint: CheckpointRef, limits: Limits) -> pa.Table:
        """See `Engine.score`. Leaving it by any exception cancels the calls that are not finished."""
        require_unique_ids(rows)
        require_modal()
        shards = plan_shards(rows, checkpoint, limits, self.shard_rows)
        volume = _existing_volume(self.volume_name)
        self._score_missing(volume, shards, checkpoint, limits)
        measured = [MEASURED_SCHEMA.empty_table(), *(_read_scores(volume, shard) for shard in shards)]
        _require_one_revision(measured)
        self.calls_file.unlink(missing_ok=True)
        return with_checkpoint(pa.concat_tables(measured), checkpoint.name)

    def _score_missing(self, volume: Any, shards: Sequence[Shard], checkpoint: CheckpointRef, limits: Limits) -> None:
        """Have every shard scored whose scores are not on the volume yet, and wait for them."""
        finished = _names_under(volume, "out", shards)
        missing = [shard for shard in shards if shard.name not in finished]
        if not missing:
            return
        scorer = self._scorer(checkpoint, limits)
        _upload(volume, missing)
        with (
            track(f"scoring under {checkpoint.name}", sum(shard.rows.num_rows for shard in missing)) as meter,
            _Calls(self.calls_file, missing, scorer) as calls,
        ):
            while calls.unfinished:
                for shard in calls.newly_finished():
                    meter.advance(shard.rows.num_rows)
                if calls.unfinished:
                    time.sleep(self.poll_seconds)

    def _scorer(self, checkpoint: CheckpointRef, limits: Limits) -> Any:
        """The deployed class, bound to the checkpoint."""
        import modal

        options: dict[str, Any] = {"gpu": self.gpu, "max_containers": self.max_containers}
        if self.hub_token:
            options["secrets"] = [modal.Secret.from_dict({"HF_TOKEN": self.hub_token})]
        options = {name: value for name, value in options.items() if value is not None}
        scorer = modal.Cls.from_name(self.app_name, SCORER_CLASS)
        try:
            scorer.hydrate()
        except modal.exception.NotFoundError as missing:
            raise _not_deployed(f"the app {self.app_name}") from missing
        return (scorer.with_options(**options) if options else scorer)(
            model_id=checkpoint.model,
            revision=checkpoint.revision or "",
            max_length=limits.max_length,
            batch_size=limits.batch_size,
            token_budget=limits.token_budget,
        )


class _Calls:
    """The calls of one run, on record from the moment they are made.

    The record is replaced atomically after every call, so whatever kills the process, the next one finds them.
    """

    def __init__(self, record: Path, shards: Sequence[Shard], scorer: Any) -> None:
        self._record = record
        self._scorer = scorer
        self._run_key = shards[0].run_key
        self._ids = self._recorded_ids()
        self._taken_over = set(self._ids)
        self.unfinished = {shard.name: shard for shard in shards}

    def __enter__(self) -> _Calls:
        try:
            for shard in self.unfinished.values():
                if shard.name not in self._ids:
                    self._call(shard)
        except BaseException:
            self._cancel_unfinished()
            raise
        return self

    def __exit__(self, error: object, *_: object) -> None:
        if error is not None:
            self._cancel_unfinished()

    def newly_finished(self) -> list[Shard]:
        """The shards whose calls have come back since the last time; a call taken over that is lost is made again.

        Raises:
            ScoringError: a call gave up after its retries.
            UserError: a container met something the user can put right.
        """
        finished = [shard for shard in self.unfinished.values() if self._is_finished(shard)]
        for shard in finished:
            del self.unfinished[shard.name]
        return finished

    def _is_finished(self, shard: Shard) -> bool:
        import modal

        call = modal.FunctionCall.from_id(self._ids[shard.name])
        try:
            call.get(timeout=0)
        except TimeoutError:
            return False
        except UserError:
            raise
        except Exception as error:  # the type is whatever the container raised
            if shard.name not in self._taken_over:
                raise ScoringError(
                    f"{shard.input_path} could not be scored: {type(error).__name__}: {error}"
                ) from error
            _log.info("the recorded call of %s is lost (%s), it is made again", shard.input_path, type(error).__name__)
            self._call(shard)
            return False
        return True

    def _call(self, shard: Shard) -> None:
        self._taken_over.discard(shard.name)
        self._ids[shard.name] = self._scorer.score_shard.spawn(shard.input_path).object_id
        self._write()

    def _cancel_unfinished(self) -> None:
        import modal

        for name in self.unfinished:
            if name not in self._ids:
                continue
            try:
                modal.FunctionCall.from_id(self._ids[name]).cancel(terminate_containers=True)
            except modal.exception.Error as error:  # its id stays on record, so the next run takes it over
                _log.warning("the call of %s/%s could not be cancelled: %s", self._run_key, name, error)
            else:
                del self._ids[name]
        self._write()

    def _recorded_ids(self) -> dict[str, str]:
        with contextlib.suppress(FileNotFoundError):
            recorded = json.loads(self._record.read_text())
            if recorded["run_key"] == self._run_key:
                return dict(recorded["calls"])
        return {}

    def _write(self) -> None:
        self._record.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self._record.with_name(f".{self._record.name}.unfinished")
        unfinished.write_text(json.dumps({"run_key": self._run_key, "calls": self._ids}, indent=1))
        unfinished.replace(self._record)


def require_modal() -> None:
    """Fail at once where Modal cannot be used.

    Raises:
        UserError: the package is not installed, there are no credentials, or Modal does not answer.
    """
    try:
        import modal
        from modal.config import config
    except ImportError as missing:
        raise UserError(
            "scoring on Modal needs its client: pip install -e '.[modal]', or set NEMO_SCORER=local"
        ) from missing
    if not (config.get("token_id") and config.get("token_secret")) and not config.get("oauth_refresh_token"):
        raise UserError(
            "scoring on Modal needs credentials: set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET (or run `modal token new`), "
            "or set NEMO_SCORER=local"
        )
    answer: Future[None] = Future()

    def ask() -> None:
        try:
            answer.set_result(modal.Client.from_env().hello())
        except modal.exception.Error as error:
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    server = config.get("server_url")
    try:
        answer.result(HELLO_SECONDS)
    except TimeoutError as silence:
        raise UserError(
            f"Modal at {server} does not answer within {HELLO_SECONDS:.0f} s; check the network"
        ) from silence
    except modal.exception.AuthError as refusal:
        raise UserError(f"Modal at {server} refuses MODAL_TOKEN_ID and MODAL_TOKEN_SECRET: {refusal}") from refusal
    except modal.exception.Error as error:
        raise UserError(f"Modal at {server} cannot be used: {error}") from error


def _not_deployed(what: str) -> UserError:
    return UserError(f"{what} is not on Modal; deploy it once with `modal deploy -m modal_jobs.nll_scoring`")


def _existing_volume(name: str) -> Any:
    import modal

    volume = modal.Volume.from_name(name)
    try:
        volume.hydrate()
    except modal.exception.NotFoundError as missing:
        raise _not_deployed(f"the volume {name}") from missing
    return volume


def _names_under(volume: Any, top: str, shards: Sequence[Shard]) -> set[str]:
    """File names of the run under `in` or `out`."""
    import modal

    if not shards:
        return set()
    try:
        return {Path(entry.path).name for entry in volume.listdir(f"{top}/{shards[0].run_key}")}
    except (FileNotFoundError, modal.exception.NotFoundError):
        return set()


def _upload(volume: Any, shards: Sequence[Shard]) -> None:
    uploaded = _names_under(volume, "in", shards)
    waiting = [shard for shard in shards if shard.name not in uploaded]
    with track("uploading rows", len(waiting), "shards") as meter:
        for shard in waiting:
            file = io.BytesIO()
            pq.write_table(shard.rows, file, compression="zstd")
            file.seek(0)
            with volume.batch_upload(force=True) as batch:
                batch.put_file(file, f"/{shard.input_path}")
            meter.advance(1)


def _read_scores(volume: Any, shard: Shard) -> pa.Table:
    return require_scores_of(shard, pq.read_table(pa.BufferReader(b"".join(volume.read_file(shard.output_path)))))


def _require_one_revision(measured: Sequence[pa.Table]) -> None:
    revisions = {revision for table in measured for revision in table.column("revision").to_pylist()}
    if len(revisions) > 1:
        raise ScoringError(
            f"the model changed while it was scored, shards have revisions {', '.join(sorted(revisions))}; "
            "pin the revision of the checkpoint"
        )
