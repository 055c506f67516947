"""The synthetic traits are such that every subset of the bundled policy takes some of them."""

from __future__ import annotations

import re
from pathlib import Path

from nemo_assets.selection.traits import SCHEMA, read_traits
from nemo_assets_tests.benchmarks.subset_speed import measure, write_splits
from nemo_assets_tests.building import CATALOG


def test_the_benchmark_fills_every_subset(tmp_path: Path) -> None:
    write_splits(tmp_path, CATALOG, 20_000)
    told = "\n".join(measure(tmp_path, CATALOG.subset_policy))
    assert "reading 20,000 rows of 17 files" in told
    selected = re.search(r"selecting (.*?):", told)
    assert selected
    taken = dict(pair.rsplit(" ", 1) for pair in selected[1].split(", "))
    assert set(taken) == set(CATALOG.subset_policy.subsets)
    assert all(int(rows.replace(",", "")) > 0 for rows in taken.values())
    splits = [sorted(directory.glob("*.arrow")) for directory in sorted(tmp_path.iterdir())]
    assert read_traits(splits, SCHEMA)["split_number"].unique().to_list() == list(range(17))
