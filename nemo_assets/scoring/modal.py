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
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nemo_assets.disk import make_directory, write_durably
from nemo_assets.errors import UserError
from nemo_assets.scoring.engine import CheckpointRef, Limits, ScoredShard, ScoringError
from nemo_assets.scoring.rows import SHARD_SCHEMA
from nemo_assets.scoring.shards import APP_NAME, SCORER_CLASS, VOLUME_NAME, Shard, shard_of, verified_scores

_log = logging.getLogger(__name__)

HELLO_SECONDS = 10.0
"""How long Modal may take to answer at all; its own client keeps trying for about a minute."""


@dataclass(frozen=True)
class ModalEngine:
    """Scores in containers of the deployed Modal app.

    `calls_file` keeps the ids of the calls under way, so that a process started after a crash waits for them instead of
    paying twice; one file for all that run at the same time. `gpu` and `max_containers` replace those of the
    deployment; `hub_token` is handed to the containers for gated models. At most `in_flight` shards are launched at a
    time, by default two for each container, or 16.
    """

    calls_file: Path
    app_name: str = APP_NAME
    volume_name: str = VOLUME_NAME
    gpu: str | None = None
    max_containers: int | None = None
    in_flight: int | None = None
    hub_token: str | None = field(default=None, repr=False)
    poll_seconds: float = 5.0

    def recover(self) -> Iterator[ScoredShard]:
        """See `Engine.recover`. A recorded call that is lost is no error: whoever plans next plans its rows again."""
        calls = _Calls(self.calls_file)
        if not calls.recorded:
            return
        require_modal()
        volume = _existing_volume(self.volume_name)
        _log.info("waiting for %d calls that an earlier run made", len(calls.recorded))
        with calls:
            calls.take_over()
            while calls.under_way:
                for call_id, shard, failure in calls.newly_finished():
                    found = _find(volume, shard, calls, call_id)
                    if found is not None:
                        yield found
                    else:
                        _log.warning("the recorded call of %s is lost (%s)", shard.input_path, _said(failure))
                    calls.forget(call_id)
                calls.pause(self.poll_seconds)

    def score(self, shards: Iterable[pa.Table], checkpoint: CheckpointRef, limits: Limits) -> Iterator[ScoredShard]:
        """See `Engine.score`. A shard whose scores are on the volume is not called for."""
        require_modal()
        volume = _existing_volume(self.volume_name)
        scorer = self._scorer(checkpoint, limits)
        room = self.in_flight or 2 * (self.max_containers or 8)
        models: set[tuple[str, str, str]] = set()
        waiting, is_more = iter(shards), True
        with _Calls(self.calls_file) as calls:
            while is_more or calls.under_way:
                while is_more and len(calls.under_way) < room:
                    rows = next(waiting, None)
                    if rows is None:
                        is_more = False
                        break
                    shard = shard_of(rows, checkpoint, limits)
                    found = _read(volume, shard)
                    if found is None:
                        _upload(volume, shard, rows)
                        calls.launch(scorer, shard)
                    else:
                        yield _of_one_model(found, models)
                for call_id, shard, failure in calls.newly_finished():
                    found = None if failure else _find(volume, shard, calls, call_id)
                    if found is None:
                        calls.forget(call_id)
                        raise _failed(shard, failure) from failure
                    yield _of_one_model(found, models)
                    calls.forget(call_id)
                calls.pause(self.poll_seconds)

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
    """Calls on record from the moment they are made until whoever asked for them has the answer.

    The record is replaced durably after every change, so whatever kills the process, the next one finds them.
    `recorded` is what is on record, call id -> shard; `under_way` those of them that are waited for here. Leaving the
    block by any exception cancels these; what could not be cancelled, and what has finished but was not taken, stays on
    record.
    """

    def __init__(self, record: Path) -> None:
        self._record = record
        self._is_idle = False
        self.recorded: dict[str, Shard] = {}
        with contextlib.suppress(FileNotFoundError):
            self.recorded = {call_id: Shard(**shard) for call_id, shard in json.loads(record.read_text()).items()}
        self.under_way: dict[str, Any] = {}

    def __enter__(self) -> _Calls:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        if error is not None:
            self._cancel()

    def take_over(self) -> None:
        """Wait for everything on record."""
        import modal

        self.under_way = {call_id: modal.FunctionCall.from_id(call_id) for call_id in self.recorded}

    def launch(self, scorer: Any, shard: Shard) -> None:
        call = scorer.score_shard.spawn(shard.input_path)
        self.recorded[call.object_id] = shard
        self.under_way[call.object_id] = call
        self._write()

    def newly_finished(self) -> Iterator[tuple[str, Shard, Exception | None]]:
        """Calls that have ended since the last time: id, shard, and what they failed with.

        Raises:
            UserError: Modal cannot be asked.
        """
        import modal

        unreachable = modal.exception.ConnectionError, modal.exception.ServiceError, modal.exception.AuthError
        self._is_idle = True
        for call_id, call in list(self.under_way.items()):
            failure = None
            try:
                call.get(timeout=0)
            except TimeoutError:
                continue
            except unreachable as error:
                raise UserError(f"Modal does not answer any more ({error}); run it again to go on") from error
            except Exception as error:  # noqa: BLE001  the type is whatever the container raised
                failure = error
            self._is_idle = False
            del self.under_way[call_id]
            yield call_id, self.recorded[call_id], failure

    def pause(self, seconds: float) -> None:
        """Wait, unless something has just finished and there may be more."""
        if self._is_idle and self.under_way:
            time.sleep(seconds)

    def forget(self, call_id: str) -> None:
        """Its answer has been taken, or there is none."""
        del self.recorded[call_id]
        self._write()

    def _cancel(self) -> None:
        import modal

        for call_id, call in self.under_way.items():
            try:
                call.cancel(terminate_containers=True)
            except modal.exception.NotFoundError:
                del self.recorded[call_id]
            except modal.exception.Error as error:  # it stays on record, so the next run takes it over
                _log.warning("the call of %s could not be cancelled: %s", self.recorded[call_id].input_path, error)
            else:
                del self.recorded[call_id]
        self._write()

    def _write(self) -> None:
        if not self.recorded:
            self._record.unlink(missing_ok=True)
            return
        make_directory(self._record.parent)
        told = {call_id: asdict(shard) for call_id, shard in self.recorded.items()}
        write_durably(self._record, json.dumps(told, indent=1).encode())


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


def _upload(volume: Any, shard: Shard, rows: pa.Table) -> None:
    file = io.BytesIO()
    pq.write_table(rows.select(SHARD_SCHEMA.names).cast(SHARD_SCHEMA), file, compression="zstd")
    file.seek(0)
    with volume.batch_upload(force=True) as batch:
        batch.put_file(file, f"/{shard.input_path}")


def _read(volume: Any, shard: Shard) -> ScoredShard | None:
    """The scores on the volume, None where there are none yet; raises what `verified_scores` raises."""
    import modal

    try:
        content = b"".join(volume.read_file(shard.output_path))
    except (FileNotFoundError, modal.exception.NotFoundError):
        return None
    return verified_scores(shard, content)


def _find(volume: Any, shard: Shard, calls: _Calls, call_id: str) -> ScoredShard | None:
    """`_read` for a call that has ended; one with a wrong answer is taken off the record, asking again is of no use."""
    try:
        return _read(volume, shard)
    except (ScoringError, UserError):
        calls.forget(call_id)
        raise


def _failed(shard: Shard, failure: Exception | None) -> Exception:
    if isinstance(failure, UserError):
        return failure
    why = "the call came back without writing it" if failure is None else f"the call failed: {_said(failure)}"
    return ScoringError(f"{shard.output_path} is missing for {shard.rows} rows at {shard.input_path}: {why}")


def _said(failure: Exception | None) -> str:
    return "it wrote no scores" if failure is None else f"{type(failure).__name__}: {failure}".rstrip(": ")


def _of_one_model(found: ScoredShard, models: set[tuple[str, str, str]]) -> ScoredShard:
    """`found`, adding its model to `models`; raises ScoringError if that makes two."""
    names = ("model", "revision", "tokenizer_sha256")
    models.update(zip(*(found.scores[name].to_pylist() for name in names), strict=True))
    if len(models) > 1:
        told = "; ".join(
            ", ".join(f"{name} {value}" for name, value in zip(names, m, strict=True)) for m in sorted(models)
        )
        raise ScoringError(f"the model changed while it was scored: {told}. Pin the revision of the checkpoint.")
    return found
