"""The synthetic stages are such that the index of them holds every record, and pieces of their texts are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from nemo_assets.lineage.index import LineageIndex
from nemo_assets.storage import Store
from nemo_assets_tests.benchmarks.lineage_index_speed import MANY, main


def test_the_benchmark_finds_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(tmp_path), "--records", "3000", "--megabytes", "1"])
    told = capsys.readouterr().out
    assert "3,000 records" in told
    assert "right one first 40 of 40" in told
    index = LineageIndex.open(Store(tmp_path / "many"), MANY)
    assert index is not None
    states = [entry.state for entry in index.entries(range(index.records))]
    assert len(states) == 3000
    assert set(states) == {"kept", "removed", "rejected"}
