"""Small tables of traits and policies for the tests of selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from nemo_assets.catalog import SubsetPolicy, load_subset_policy
from nemo_assets.selection.traits import SCHEMA

ROW: dict[str, Any] = {
    "split_number": 0, "dataset": "org/a", "split": "low", "meta_domain": "math", "status": "ok", "truncated": False,
    "completion_tokens": 100, "tokens": 150, "nll_mean": 1.0, "quality_has_tool": False, "pools": [], "meta_tags": [],
    "quality_tags": [], "source_used_in": [],
}  # fmt: skip
"""A row scored by the student alone."""

POLICY: dict[str, Any] = {
    "checkpoints": {"student": "student"},
    "strata": {"columns": ["dataset"], "min_rows": 1, "min_share": 0.0},
    "trust": "TRUE",
    "subsets": {"likely": {"purpose": "Likely rows.", "predicate": "percentile <= 50"}},
}
"""One stratum per dataset, one subset."""


def traits_of(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Traits of rows that differ from `ROW` in what is given; `row` and `id_hash` count them unless given."""
    counted = [{**ROW, "row": number, "id_hash": number, **row} for number, row in enumerate(rows)]
    return pl.DataFrame(
        {name: pl.Series(name, [row.get(name) for row in counted], dtype=kind) for name, kind in SCHEMA.items()}
    )


def policy_of(directory: Path, **changed: Any) -> SubsetPolicy:
    """`POLICY` with other fields, by way of a file in `directory`."""
    path = directory / "subsets.yaml"
    path.write_text(yaml.safe_dump({**POLICY, **changed}))
    return load_subset_policy(path, ["student", "reference", "unconditional"])
