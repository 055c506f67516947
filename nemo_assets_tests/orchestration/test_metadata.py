"""What the UI is told of a manifest."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from nemo_assets.orchestration.metadata import materialized
from nemo_assets.settings import Settings
from nemo_assets.storage import Manifest


def _shown(tmp_path: Path, stage: str, **content: object) -> dict[str, object]:
    manifest = Manifest(stage, "alpha/low", "v1", "d1", {"raw": "r1"}, {}, **content)  # type: ignore[arg-type]
    result = materialized(manifest, Settings(data_dir=tmp_path))
    assert result.data_version == dg.DataVersion("d1")
    return dict(result.metadata or {})


def test_the_widest_histogram_of_lengths_is_still_shown_in_place(tmp_path: Path):
    bins = {"0": 7, **{str(1 << power): 40_000 - power for power in range(6, 18)}}

    shown = _shown(tmp_path, "normalized", counters={"rows": 1, "length_bins": bins}, details={"repo": "org/a"})[
        "lengths"
    ]

    assert isinstance(shown, dg.MarkdownMetadataValue)
    assert len(shown.md_str) < 1000  # the UI hides longer Markdown behind a link
    assert shown.md_str.endswith("From 0 to 262,144 tokens, one bar a doubling; the highest is 39,994 rows.")


def test_scores_are_a_table_and_each_mean_is_a_number_to_plot(tmp_path: Path):
    summary = {
        "rows": 4,
        "status": {"ok": 3, "too_long": 1},
        "nll_mean": 1.25,
        "model": "org/student",
        "revision": "abc",
    }

    shown = _shown(tmp_path, "scored", counters={"rows": 4, "checkpoints": {"student": summary}})

    assert shown["nll_mean_student"] == 1.25
    table = shown["scores"]
    assert isinstance(table, dg.TableMetadataValue)
    assert table.records[0].data["ok"] == 3


def test_a_sample_says_that_it_is_one(tmp_path: Path):
    manifest = Manifest("raw", "alpha/low", "v1", "d1", {}, {})

    metadata = materialized(manifest, Settings(data_dir=tmp_path, sample_records=10)).metadata or {}

    assert metadata["sample"] == "the first 10 records only"
