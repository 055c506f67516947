"""Settings as a Dagster resource: what the environment says, overridden for one run in the launchpad.

Belongs here: the launchpad form. Does not: defaults and checks (`nemo_assets.settings`), tokens (environment only, so
that none is stored with a run).
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import dagster as dg
from pydantic import Field

from nemo_assets.errors import UserError
from nemo_assets.settings import Settings

# Field of the form → environment variable whose place it takes.
VARIABLES = {
    "data_dir": "NEMO_DATA_DIR",
    "source_dir": "NEMO_SOURCE_DIR",
    "publish_to": "NEMO_PUBLISH_TO",
    "public": "NEMO_PUBLIC",
    "scorer": "NEMO_SCORER",
    "model_name": "MODEL_NAME",
    "max_length": "MAX_LENGTH",
    "batch_size": "BATCH_SIZE",
    "max_records": "MAX_RECORDS",
    "scoring_budget": "NEMO_SCORING_BUDGET",
    "candidate_dataset_id": "CANDIDATE_DATASET_ID",
    "candidate_subdir": "CANDIDATE_SUBDIR",
    "endpoint": "HF_ENDPOINT",
    "workers": "NEMO_WORKERS",
    "catalog_dir": "NEMO_CATALOG_DIR",
}


class SettingsResource(dg.ConfigurableResource[Any]):
    """Settings of a run. A field left out is what the environment says; an empty text or 0 stands for unset."""

    data_dir: str | None = Field(default=None, description="Directory of all data (NEMO_DATA_DIR).")
    source_dir: str | None = Field(
        default=None,
        description="Read sources from this directory, <org>/<name>/…, not from the Hub (NEMO_SOURCE_DIR).",
    )
    publish_to: str | None = Field(default=None, description="hf://<org> or a directory (NEMO_PUBLISH_TO).")
    public: bool | None = Field(default=None, description="Make new repos on the Hub public (NEMO_PUBLIC).")
    scorer: str | None = Field(default=None, description="modal or local (NEMO_SCORER).")
    model_name: str | None = Field(default=None, description="Model of the student checkpoint (MODEL_NAME).")
    max_length: int | None = Field(default=None, description="Longest scored text in tokens (MAX_LENGTH).")
    batch_size: int | None = Field(default=None, description="Rows scored at once (BATCH_SIZE).")
    max_records: int | None = Field(default=None, description="Rows of each split to score at most (MAX_RECORDS).")
    scoring_budget: float | None = Field(
        default=None, description="Dollars that scoring one split may spend on GPUs (NEMO_SCORING_BUDGET)."
    )
    candidate_dataset_id: str | None = Field(
        default=None, description="Score this published dataset (CANDIDATE_DATASET_ID)."
    )
    candidate_subdir: str | None = Field(default=None, description="Part of it to score (CANDIDATE_SUBDIR).")
    endpoint: str | None = Field(default=None, description="The Hub (HF_ENDPOINT).")
    workers: int | None = Field(default=None, description="Processes a CPU stage uses (NEMO_WORKERS).")
    catalog_dir: str | None = Field(
        default=None, description="Directory of the catalog's YAML files (NEMO_CATALOG_DIR)."
    )
    sample_records: int | None = Field(
        default=None,
        description="Only the first records of each split, in a data_dir of its own (`nemo-assets run --max-records`).",
    )

    def load(self) -> Settings:
        """The settings of this run; raises UserError naming the first value that is wrong and what it may be."""
        given = {variable: getattr(self, field) for field, variable in VARIABLES.items()}
        overrides = {variable: _text(value) for variable, value in given.items() if value is not None}
        settings = Settings.from_environment({**os.environ, **overrides})
        if self.sample_records is None:
            return settings
        if not self.data_dir:
            raise UserError(
                "sample_records needs a data_dir of its own: a sample must not take the place of the whole split."
            )
        return replace(settings, sample_records=self.sample_records)


def config_of(settings: Settings) -> dict[str, Any]:
    """Launchpad values that make `SettingsResource.load` return `settings`, whatever the environment says.

    The token is left out: it comes from the environment of the process that runs.
    """
    values = {field: getattr(settings, field) for field in VARIABLES if field not in ("max_records", "publish_to")}
    values |= {"max_records": settings.scorer_max_records, "publish_to": settings.destination}
    numbers = {"max_length", "batch_size", "max_records", "scoring_budget", "workers"}
    config: dict[str, Any] = {
        name: value if isinstance(value, bool) else (value or 0) if name in numbers else str(value or "")
        for name, value in values.items()
    }
    return config | ({"sample_records": settings.sample_records} if settings.sample_records else {})


def _text(value: str | float | bool) -> str:
    """A value as the environment would hold it; what is empty or 0 unsets the variable."""
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value) if value else ""
