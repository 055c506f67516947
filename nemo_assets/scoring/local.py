"""The engine on this machine: GPU if there is one, else CPU. For the demo, for tests, for small runs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from nemo_assets.scoring.engine import CheckpointRef, Limits, ScoredShard
from nemo_assets.scoring.model import load_checkpoint_once, require_extra
from nemo_assets.scoring.rows import inputs_of_table, table_of_scores


@dataclass(frozen=True)
class LocalEngine:
    """Scores in this process, one shard after another. `device` None takes the GPU if there is one."""

    device: str | None = None

    def recover(self) -> Iterator[ScoredShard]:
        """Nothing outlives this process."""
        return iter(())

    def score(self, shards: Iterable[pa.Table], checkpoint: CheckpointRef, limits: Limits) -> Iterator[ScoredShard]:
        """See `Engine.score`."""
        require_extra()
        from nemo_assets.scoring.nll import score_rows

        loaded = load_checkpoint_once(checkpoint.model, checkpoint.revision, self.device)
        for shard in shards:
            began = time.monotonic()
            scores = score_rows(
                inputs_of_table(shard),
                loaded,
                max_length=limits.max_length,
                token_budget=limits.token_budget,
                batch_size=limits.batch_size,
            )
            tokens = sum(score.prompt_token_count + score.completion_token_count for score in scores)
            yield ScoredShard(table_of_scores(scores), time.monotonic() - began, tokens)
