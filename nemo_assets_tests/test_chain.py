"""What the command line says at the end of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml

from nemo_assets.catalog import CATALOG_DIR
from nemo_assets.chain import warnings
from nemo_assets.settings import Settings
from nemo_assets_tests.stages.making import catalog_with


def test_failed_checks_of_duplicates_are_told(sample: Settings, tmp_path: Path) -> None:
    splits = list(sample.catalog.splits.values())
    assert warnings(splits, sample) == []
    directory = catalog_with(tmp_path / "catalog", *(path.stem for path in CATALOG_DIR.glob("*.yaml")))
    path = directory / "policies" / "duplicates.yaml"
    policy = yaml.safe_load(path.read_text()) | {"removal_ceilings": {"nemotron-math-v2": 0.01}}
    path.write_text(yaml.safe_dump(policy))
    (line,) = warnings(splits, replace(sample, catalog_dir=directory))
    assert line.startswith("nemotron-math-v2: ")
    assert "removal_ceilings in policies/duplicates.yaml" in line
