"""The splits that the benchmark makes have records of every end state, and each is explained with its original."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nemo_assets_tests.benchmarks.row_page_speed import LINES, TABLES, main


def test_records_of_every_end_state_are_explained_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(tmp_path), "--records", "600", "--long", "60", "--rendered", "80"])
    told = capsys.readouterr().out
    assert f"{LINES}: 600 records" in told
    assert f"{TABLES}: 80 records" in told
    measured = re.findall(r"  (\w+), (\d+) records: passport median .* ms, .*; page median .* ms", told)
    assert {state for state, _ in measured} == {"kept", "removed", "rejected"}
    assert sum(int(count) for _, count in measured) > 150
