"""Settings of a run: what the environment says, checked once and passed on as plain values.

Belongs here: every environment variable the project reads, its default and its check. Does not: what defines the data
(the catalog does).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec

from nemo_assets.catalog import CATALOG_DIR, Catalog, Checkpoint, Split, load_catalog
from nemo_assets.dedup.cluster import RayCluster
from nemo_assets.errors import UserError
from nemo_assets.hub.destination import organisation_of
from nemo_assets.machine import workers_that_fit
from nemo_assets.storage import Store

DEFAULT_ENDPOINT = "https://huggingface.co"
DEFAULT_MAX_LENGTH = 4096  # tokens
DEFAULT_BATCH_SIZE = 8  # rows
DEFAULT_TOKEN_NLL_ROWS = 64  # of each split
DEFAULT_COMMITS_PER_HOUR = 100  # the Hub has refused accounts at 128
TOKENS_PER_FORWARD = 16_384  # keeps the experts of a sparse model busy without outgrowing one accelerator

Scorer = Literal["modal", "local"]
DedupEngine = Literal["local", "ray"]


@dataclass(frozen=True)
class Settings:
    """Where data lie, where they come from and go to, who scores and compares. Built by `from_environment`.

    max_length in tokens, batch_size in rows; scorer_max_records limits the scorer alone, sample_records the whole chain
    (and moves it into `samples/` of the data directory). ray_address counts where dedup_engine is ray; None is what Ray
    makes of it. approval: releases wait for somebody; commits_per_hour: to all repos together. scoring_budget: dollars
    that one run of `scored` may spend on GPUs; token_nll_rows: rows of a split whose NLL is kept token by token.
    """

    data_dir: Path
    source_dir: Path | None = None
    publish_to: str | None = None
    public: bool = False
    scorer: Scorer = "modal"
    model_name: str | None = None
    max_length: int = DEFAULT_MAX_LENGTH
    batch_size: int = DEFAULT_BATCH_SIZE
    scorer_max_records: int | None = None
    candidate_dataset_id: str | None = None
    candidate_subdir: str | None = None
    endpoint: str = DEFAULT_ENDPOINT
    token: str | None = None
    workers: int = 1
    sample_records: int | None = None
    catalog_dir: Path = CATALOG_DIR
    dedup_engine: DedupEngine = "local"
    ray_address: str | None = None
    approval: bool = False
    commits_per_hour: int = DEFAULT_COMMITS_PER_HOUR
    scoring_budget: float | None = None
    token_nll_rows: int = DEFAULT_TOKEN_NLL_ROWS

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read every variable; raises UserError naming the first one that is wrong and what it may be.

        A data directory may hold `settings.env`, lines NAME=value that stand in for variables that are not set: `make
        demo` writes one, so that whoever opens its data reads the sample and not the Hub.
        """
        given = os.environ if environment is None else environment
        data_dir = _directory(given, "NEMO_DATA_DIR") or Path(".data").absolute()
        env = {**_defaults_of(data_dir), **given}
        return cls(
            data_dir=data_dir,
            source_dir=_directory(env, "NEMO_SOURCE_DIR"),
            publish_to=_destination(env.get("NEMO_PUBLISH_TO")),
            public=_flag(env, "NEMO_PUBLIC"),
            scorer=_one_of(env, "NEMO_SCORER", "modal", "local"),  # type: ignore[arg-type]  # it is one of these
            model_name=env.get("MODEL_NAME") or None,
            max_length=_positive(env, "MAX_LENGTH", DEFAULT_MAX_LENGTH),
            batch_size=_positive(env, "BATCH_SIZE", DEFAULT_BATCH_SIZE),
            scorer_max_records=_positive(env, "MAX_RECORDS", 0) or None,
            candidate_dataset_id=env.get("CANDIDATE_DATASET_ID") or None,
            candidate_subdir=env.get("CANDIDATE_SUBDIR") or None,
            endpoint=env.get("HF_ENDPOINT") or DEFAULT_ENDPOINT,
            token=env.get("HF_TOKEN") or None,
            workers=_positive(env, "NEMO_WORKERS", workers_that_fit()),
            catalog_dir=_directory(env, "NEMO_CATALOG_DIR") or CATALOG_DIR,
            dedup_engine=_one_of(env, "NEMO_DEDUP_ENGINE", "local", "ray"),  # type: ignore[arg-type]  # likewise
            ray_address=env.get("RAY_ADDRESS") or None,
            approval=_flag(env, "NEMO_APPROVAL"),
            commits_per_hour=_positive(env, "NEMO_COMMITS_PER_HOUR", DEFAULT_COMMITS_PER_HOUR),
            scoring_budget=_dollars(env, "NEMO_SCORING_BUDGET"),
            token_nll_rows=_count(env, "NEMO_TOKEN_NLL_ROWS", DEFAULT_TOKEN_NLL_ROWS),
        )

    def sampled(self, records: int) -> Settings:
        """The same settings for a sample of the first records of each split: own directory, never the Hub."""
        directory = self.data_dir / "samples" / f"first-{records}"
        return replace(self, data_dir=directory, publish_to=None, sample_records=records)

    @property
    def store(self) -> Store:
        return Store(self.data_dir)

    @property
    def catalog(self) -> Catalog:
        """The catalog, with MODEL_NAME in place of the student's model."""
        catalog = _catalog(self.catalog_dir)
        if self.model_name is None:
            return catalog
        declared = catalog.checkpoints.get("student", Checkpoint("", "Named by MODEL_NAME."))
        student = msgspec.structs.replace(declared, model=self.model_name, revision=None, tokens_per_second=None)
        return msgspec.structs.replace(catalog, checkpoints=catalog.checkpoints | {"student": student})

    @property
    def cluster(self) -> RayCluster | None:
        """Where signatures and buckets are made; None is here."""
        return RayCluster(self.ray_address) if self.dedup_engine == "ray" else None

    @property
    def destination(self) -> str:
        """`hf://<org>`, or the directory laid out like the Hub."""
        return self.publish_to or str(self.data_dir / "hub")

    def release_repo(self, split: Split) -> str:
        """The repo that rows and pools of this split are published to."""
        return f"{organisation_of(self.destination, default='local')}/{split.slug}-pools"

    @property
    def scores_dir(self) -> Path:
        """Scores by text, whatever split or release the text is in."""
        return self.data_dir / "scores"

    @property
    def dagster_home(self) -> Path:
        return self.data_dir / "dagster"


def settings_file(data_dir: Path) -> Path:
    """Where a data directory keeps its own defaults."""
    return data_dir / "settings.env"


def _defaults_of(data_dir: Path) -> dict[str, str]:
    path = settings_file(data_dir)
    if not path.is_file():
        return {}
    lines = [line.strip() for line in path.read_text().splitlines()]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    wrong = next(
        (name for name, equals, _ in pairs if not equals or not name.isidentifier() or name == "NEMO_DATA_DIR"), None
    )
    if wrong is not None:
        raise UserError(f"{path}: {wrong!r} is no line NAME=value of a setting. Correct or delete the file.")
    return {name: value for name, _, value in pairs}


_catalogs: dict[Path, Catalog] = {}


def _catalog(directory: Path) -> Catalog:
    """Loaded once a process: a run must not see an edit half way."""
    if directory not in _catalogs:
        _catalogs[directory] = load_catalog(directory)
    return _catalogs[directory]


def _destination(value: str | None) -> str | None:
    """`hf://<org>` as it is, a directory as an absolute path."""
    if not value:
        return None
    if not value.startswith("hf://"):
        return str(Path(value).absolute())
    if not value.removeprefix("hf://").strip("/") or "/" in value.removeprefix("hf://").strip("/"):
        raise UserError(f"NEMO_PUBLISH_TO={value}: set it to hf://<org>, without a repo name, or to a directory.")
    return value


def _directory(env: Mapping[str, str], name: str) -> Path | None:
    """A local directory; a URL made into a path would name a directory `s3:` right here."""
    value = env.get(name)
    if not value:
        return None
    if "://" in value:
        raise UserError(f"{name}={value}: set it to a local directory; object stores are not supported.")
    return Path(value).absolute()


def _one_of(env: Mapping[str, str], name: str, default: str, other: str) -> str:
    value = env.get(name) or default
    if value not in (default, other):
        raise UserError(f"{name}={value}: set it to {default} or {other}.")
    return value


def _count(env: Mapping[str, str], name: str, default: int) -> int:
    value = env.get(name)
    if not value:
        return default
    if not value.isdecimal():
        raise UserError(f"{name}={value}: set it to a whole number of 0 or more.")
    return int(value)


def _dollars(env: Mapping[str, str], name: str) -> float | None:
    value = env.get(name)
    if not value:
        return None
    try:
        dollars = float(value)
    except ValueError:
        dollars = 0.0
    if not 0 < dollars < float("inf"):
        raise UserError(f"{name}={value}: set it to an amount of dollars above 0, such as 25.")
    return dollars


def _positive(env: Mapping[str, str], name: str, default: int) -> int:
    value = env.get(name)
    if not value:
        return default
    if not value.isdecimal() or int(value) < 1:
        raise UserError(f"{name}={value}: set it to a whole number of 1 or more.")
    return int(value)


def _flag(env: Mapping[str, str], name: str) -> bool:
    value = env.get(name, "")
    if value not in ("", "0", "1"):
        raise UserError(f"{name}={value}: set it to 1 or 0.")
    return value == "1"
