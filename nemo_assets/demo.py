"""The demo: the bundled sample, a directory as Hub, and a tiny student trained on the spot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from nemo_assets.sample import HUB
from nemo_assets.scoring.demo_student import train_demo_student
from nemo_assets.settings import Settings
from nemo_assets.storage import Stage

STUDENT = "nemo-demo-student"


def demo_settings(settings: Settings) -> Settings:
    """The environment's settings, with everything embedded: sample sources, local scorer, releases in a directory."""
    return replace(
        settings, source_dir=HUB, publish_to=None, scorer="local", model_name=str(student_directory(settings.data_dir)), max_length=2048
    )


def student_directory(data_dir: Path) -> Path:
    """Where the demo student lies; its name says what it is."""
    return data_dir / "models" / STUDENT


def train_student(settings: Settings) -> Path:
    """Train the demo student on the kept rows, or reuse the one that was trained on the same rows."""
    paths = [path for key in settings.catalog.splits for path in settings.store.paths(settings.store.current(Stage.DEDUPED, key))]
    texts = pl.scan_parquet(paths).select("text").collect()["text"].to_list()
    return train_demo_student(texts, student_directory(settings.data_dir))


def traceable_ids(settings: Settings) -> tuple[str, str]:
    """The id of a kept row with a score, and the record_uid of a removed one: something to trace."""
    partitions = [key for key in settings.catalog.splits if settings.store.find(Stage.LEDGER, key)]
    entries = pl.concat([pl.read_parquet(settings.store.paths(settings.store.current(Stage.LEDGER, key))) for key in partitions])
    kept = entries.filter(pl.col("state") == "kept")["id"][0]
    removed = entries.filter(pl.col("state") == "removed")["record_uid"][0]
    return kept, removed.hex()
