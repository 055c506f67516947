"""The engine on this machine: GPU if there is one, else CPU. For the demo, for tests, for small runs."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from nemo_assets.progress import track
from nemo_assets.scoring.engine import CheckpointRef, Limits, require_unique_ids
from nemo_assets.scoring.model import load_checkpoint_once, require_extra
from nemo_assets.scoring.rows import MEASURED_SCHEMA, inputs_of_table, table_of_scores, with_checkpoint


@dataclass(frozen=True)
class LocalEngine:
    """Scores in this process. `device` None takes the GPU if there is one; `shard_rows` are planned at a time."""

    device: str | None = None
    shard_rows: int = 256

    def score(self, rows: pa.Table, checkpoint: CheckpointRef, limits: Limits) -> pa.Table:
        """See `Engine.score`."""
        require_extra()
        from nemo_assets.scoring.nll import score_rows

        require_unique_ids(rows)
        loaded = load_checkpoint_once(checkpoint.model, checkpoint.revision, self.device)
        measured = [MEASURED_SCHEMA.empty_table()]
        with track(f"scoring under {checkpoint.name}", rows.num_rows) as meter:
            for begin in range(0, rows.num_rows, self.shard_rows):
                shard = inputs_of_table(rows.slice(begin, self.shard_rows))
                scores = score_rows(
                    shard,
                    loaded,
                    max_length=limits.max_length,
                    token_budget=limits.token_budget,
                    batch_size=limits.batch_size,
                )
                measured.append(table_of_scores(scores))
                meter.advance(len(shard))
        return with_checkpoint(pa.concat_tables(measured), checkpoint.name)
