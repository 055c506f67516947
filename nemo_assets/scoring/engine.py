"""What every scoring engine does: rows and a checkpoint in, scores out.

Belongs here: the protocol and its words. The engines are `local` (this machine) and `modal` (GPU containers).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from nemo_assets.errors import UserError

SCORER_VERSION = "1"
"""Changes whenever a row may get another score under the same checkpoint: finished shards are then not reused."""


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


class Engine(Protocol):
    """Scores rows under a checkpoint."""

    def score(self, rows: pa.Table, checkpoint: CheckpointRef, limits: Limits) -> pa.Table:
        """One row of `ENGINE_SCHEMA` per row of `rows` (columns of `INPUT_SCHEMA`, unique ids), in the same order.

        Raises:
            UserError: something is missing that the user can supply: an extra, a model, credentials, a deployment.
            ScoringError: not every row came back with a score or a reason.
        """
        ...


def require_unique_ids(rows: pa.Table) -> None:
    """Scores are joined by id, so an id may occur once.

    Raises:
        ScoringError: an id occurs twice.
    """
    most_frequent = Counter(rows.column("id").to_pylist()).most_common(1)
    if most_frequent and most_frequent[0][1] > 1:
        raise ScoringError(f"id {most_frequent[0][0]} occurs {most_frequent[0][1]} times among the rows to score")
