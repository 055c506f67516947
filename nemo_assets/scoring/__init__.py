"""Scoring: how surprised a checkpoint is by the completion of every row.

Nothing here loads torch, transformers or modal at import except `attention`, `forward` and `nll`, which only engines
and containers import.
"""

from nemo_assets.scoring.demo_student import train_demo_student
from nemo_assets.scoring.engine import CheckpointRef, Engine, Limits, ScoredShard, ScoringError
from nemo_assets.scoring.local import LocalEngine
from nemo_assets.scoring.modal import ModalEngine
from nemo_assets.scoring.rows import INPUT_SCHEMA, MEASURED_SCHEMA, SCORE_SCHEMA, SHARD_SCHEMA, Score, ScoreInput

__all__ = [
    "INPUT_SCHEMA",
    "MEASURED_SCHEMA",
    "SCORE_SCHEMA",
    "SHARD_SCHEMA",
    "CheckpointRef",
    "Engine",
    "Limits",
    "LocalEngine",
    "ModalEngine",
    "Score",
    "ScoreInput",
    "ScoredShard",
    "ScoringError",
    "train_demo_student",
]
