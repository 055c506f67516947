"""What every scoring engine does: shards of rows and a checkpoint in, scores out.

Belongs here: the protocol and its words. The engines are `local` (this machine) and `modal` (GPU containers).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from nemo_assets.errors import UserError

SCORER_VERSION = "2"
"""Changes whenever a row may get another score under the same checkpoint: scores under another one are not reused."""


class ScoringError(Exception):
    """The scorer did not give a score or a reason for every row, or its worker gave up. Nothing is made current."""


@dataclass(frozen=True)
class CheckpointRef:
    """A checkpoint: its name in the catalog, the model on the Hub or its directory, the revision (None: newest)."""

    name: str
    model: str
    revision: str | None = None


@dataclass(frozen=True)
class Limits:
    """How much goes through the model at once.

    `max_length`: tokens of one row; context beyond it is dropped from the left, a completion beyond it is not scored.
    `batch_size`: rows of one forward pass. `token_budget`: tokens of one forward pass; the one that decides memory and
    speed (16k to 32k keep the experts of a mixture-of-experts model busy on one GPU).

    Raises:
        UserError: a limit is not a positive number.
    """

    max_length: int = 4096
    batch_size: int = 64
    token_budget: int = 16384

    def __post_init__(self) -> None:
        for name, value in (
            ("MAX_LENGTH", self.max_length),
            ("BATCH_SIZE", self.batch_size),
            ("token budget", self.token_budget),
        ):
            if value < 1:
                raise UserError(f"{name} is {value}; the scorer needs a positive whole number")


@dataclass(frozen=True)
class ScoredShard:
    """What came back of one shard: `MEASURED_SCHEMA`, one row per row sent, in their order.

    `seconds` is what the accelerator (or CPU) was busy with it, loading the model left out; `tokens` all that went
    through the model, prompts included.
    """

    scores: pa.Table
    seconds: float
    tokens: int


class Engine(Protocol):
    """Scores shards of rows under a checkpoint."""

    def recover(self) -> Iterator[ScoredShard]:
        """Wait for what an earlier process launched and did not live to fetch; nothing where there is no such thing.

        Raises what `score` raises.
        """
        ...

    def score(self, shards: Iterable[pa.Table], checkpoint: CheckpointRef, limits: Limits) -> Iterator[ScoredShard]:
        """Each shard (`SHARD_SCHEMA`, at least one row) comes back once, in whatever order they are finished.

        A shard is drawn from `shards` when there is room for it, so whoever stops yielding stops the launching; what is
        under way is still finished. Closing the iterator, or any exception, cancels what is under way.

        Raises:
            UserError: something is missing that the user can supply: an extra, a model, credentials, a deployment.
            ScoringError: not every row came back with a score or a reason.
        """
        ...
