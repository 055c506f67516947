"""The demo: the bundled sample, a directory as Hub, and a tiny student trained on the spot."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from nemo_assets.disk import write_durably
from nemo_assets.errors import UserError
from nemo_assets.sample import HUB
from nemo_assets.scoring.demo_student import train_demo_student
from nemo_assets.settings import Settings, settings_file
from nemo_assets.storage import Stage

STUDENT = "nemo-demo-student"


def demo_settings(settings: Settings) -> Settings:
    """Settings with everything embedded: sample sources, releases in a directory, a local scorer, the demo's student.

    They are written to `settings.env` of the data directory, so that the UI and later commands use the same.

    Raises UserError where the data directory holds data of other sources, which the sample must not replace.
    """
    data_dir = settings.data_dir
    values = {
        "NEMO_SOURCE_DIR": str(HUB),
        "NEMO_PUBLISH_TO": str(data_dir / "hub"),
        "NEMO_SCORER": "local",
        "MODEL_NAME": str(student_directory(data_dir)),
        "MAX_LENGTH": "2048",
    }
    path = settings_file(data_dir)
    if not path.exists() and any(settings.store.manifests(Stage.RAW)):
        raise UserError(
            f"{data_dir} holds data of other sources. Set NEMO_DATA_DIR to an empty directory for the demo."
        )
    data_dir.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Written by the demo. A variable set in the environment wins over its line here.",
        *(f"{k}={v}" for k, v in values.items()),
    ]
    write_durably(path, "\n".join([*lines, ""]).encode())
    return Settings.from_environment({"NEMO_DATA_DIR": str(data_dir), "NEMO_WORKERS": str(settings.workers), **values})


def student_directory(data_dir: Path) -> Path:
    """Where the demo student lies; its name says what it is."""
    return data_dir / "models" / STUDENT


def train_student(settings: Settings) -> Path:
    """Train the demo student on the kept rows, or reuse the one that was trained on the same rows."""
    paths = [
        path
        for key in settings.catalog.splits
        for path in settings.store.paths(settings.store.current(Stage.DEDUPED, key))
    ]
    texts = pl.scan_parquet(paths).select("text").collect()["text"].to_list()
    return train_demo_student(texts, student_directory(settings.data_dir))


def traceable_ids(settings: Settings) -> tuple[str, str]:
    """The id of a kept row with a score, and the record_uid of a removed one: something to trace."""
    partitions = [key for key in settings.catalog.splits if settings.store.find(Stage.LEDGER, key)]
    entries = pl.concat(
        [pl.read_parquet(settings.store.paths(settings.store.current(Stage.LEDGER, key))) for key in partitions]
    )
    kept = entries.filter(pl.col("state") == "kept")["id"][0]
    removed = entries.filter(pl.col("state") == "removed")["record_uid"][0]
    return kept, removed.hex()
