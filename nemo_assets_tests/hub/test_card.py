"""The card of a release, and that the real `datasets` library loads what it describes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from nemo_assets.errors import ConservationError
from nemo_assets.hub.card import CardContent, ConfigSplit, PoolText, SplitFunnel, dataset_card
from nemo_assets.hub.client import Hub
from nemo_assets.hub.directory_target import DirectoryTarget
from nemo_assets.hub.hub_target import HubTarget
from nemo_assets.hub.patterns import split_files
from nemo_assets.hub.targets import Change
from nemo_assets_tests.hub.fixtures import RunningHub

REPO = "alice/nemotron-tiny-pools"
RELEASE = CardContent(
    repo_id=REPO,
    title="Nemotron Tiny: candidate pools",
    source_repo="nvidia/Nemotron-Tiny",
    source_revision="3f2a91c" + "0" * 33,
    license="other",
    pools=(PoolText("anchor", "Keeps what the student can do.", "meta_correctness >= 0.5 | verified"),),
    config_splits=(
        ConfigSplit("rows", "low", ("rows/low-*.parquet",), 5, 500),
        ConfigSplit("rows", "high_part00", ("rows/high_part00-0.parquet", "rows/high_part00-1.parquet"), 4, 400),
        ConfigSplit("anchor", "low", ("anchor/low-0.parquet",), 2, 200),
        ConfigSplit("anchor", "high_part00", ("anchor/high_part00-0.parquet",), 0, 0),
        ConfigSplit("ledger", "low", ("ledger/low-0.parquet",), 9, 90),
    ),
    funnels=(
        SplitFunnel("low", 1009, 1005, {"unparseable": 1}, {"exact_duplicate": 2, "near_duplicate": 1}),
        SplitFunnel("high_part00", 4, 4, {}, {}),
    ),
    columns=(("id", "string", "stable join key"), ("text", "string", "prompt and completion")),
    attribution="© NVIDIA.",
)


def front_matter(card: str) -> dict[str, object]:
    loaded = yaml.safe_load(card.split("---\n")[1])
    assert isinstance(loaded, dict)
    return loaded


def test_the_front_matter_says_what_the_hub_and_datasets_read() -> None:
    card = dataset_card(RELEASE)
    metadata = front_matter(card)
    assert metadata["size_categories"] == ["n<1K"]
    assert metadata["source_datasets"] == ["nvidia/Nemotron-Tiny"]
    assert metadata["source_revision"] == RELEASE.source_revision
    assert metadata["configs"] == [
        {
            "config_name": "rows",
            "default": True,
            "data_files": [
                {"split": "low", "path": "rows/low-*.parquet"},
                {"split": "high_part00", "path": ["rows/high_part00-0.parquet", "rows/high_part00-1.parquet"]},
            ],
        },
        {"config_name": "anchor", "data_files": [{"split": "low", "path": "anchor/low-0.parquet"}]},
        {"config_name": "ledger", "data_files": [{"split": "low", "path": "ledger/low-0.parquet"}]},
    ]
    assert metadata["dataset_info"][0] == {  # type: ignore[index]
        "config_name": "rows",
        "splits": [
            {"name": "low", "num_bytes": 500, "num_examples": 5},
            {"name": "high_part00", "num_bytes": 400, "num_examples": 4},
        ],
        "dataset_size": 900,
    }
    assert split_files(card)["rows", "low"] == ("rows/low-*.parquet",)


@pytest.mark.parametrize(("rows", "category"), [(999, "n<1K"), (1000, "1K<n<10K"), (7_000_000, "1M<n<10M")])
def test_size_categories_are_those_of_the_hub(rows: int, category: str) -> None:
    release = replace(RELEASE, config_splits=(ConfigSplit("rows", "low", ("x.parquet",), rows, 1),))
    assert front_matter(dataset_card(release))["size_categories"] == [category]


def test_the_body_tells_pools_funnel_and_how_to_trace() -> None:
    card = dataset_card(RELEASE)
    assert "| config | low | high_part00 |\n| --- | --- | --- |\n| `rows` | 5 | 4 |\n" in card
    assert "| `anchor` | 2 | 0 |\n| `ledger` | 9 | – |" in card
    assert "| `anchor` | Keeps what the student can do. | `meta_correctness >= 0.5 \\| verified` |" in card
    assert (
        "| split | records | rejected: unparseable | removed: exact_duplicate | removed: near_duplicate | kept |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        "| low | 1,009 | 1 | 2 | 1 | 1,005 |\n"
        "| high_part00 | 4 | 0 | 0 | 0 | 4 |"
    ) in card
    assert f'load_dataset("{REPO}", "rows", split="low")' in card
    assert "nemo-assets explain ID" in card
    assert "`source_license`" in card


def test_a_funnel_that_loses_a_record_is_refused() -> None:
    with pytest.raises(ConservationError, match="low: 10 records were read, 9 are accounted for"):
        SplitFunnel("low", 10, 8, {"unparseable": 1}, {})


def test_a_split_name_that_datasets_refuses_is_refused() -> None:
    with pytest.raises(ValueError, match="high-part00"):
        ConfigSplit("rows", "high-part00", ("x.parquet",), 1, 1)


LOADING = """
import json, sys
from datasets import load_dataset

path, cache, revision = sys.argv[1:]
pinned = {"revision": revision} if revision else {}
seen = {}
for config, split in [("rows", "low"), ("rows", "high_part00"), ("anchor", "low"), ("ledger", "low")]:
    whole = load_dataset(path, config, split=split, cache_dir=cache, **pinned)
    streamed = load_dataset(path, config, split=split, streaming=True, cache_dir=cache, **pinned)
    seen[f"{config}/{split}"] = [list(whole["id"]), [row["id"] for row in streamed]]
seen["default"] = sorted(load_dataset(path, cache_dir=cache, **pinned))
print(json.dumps(seen))
"""
LOADED = {
    "rows/low": [["a0", "a1", "a2", "a3", "a4"]] * 2,
    "rows/high_part00": [["b0", "b1", "c0", "c1"]] * 2,
    "anchor/low": [["a0", "a1"]] * 2,
    "ledger/low": [[f"l{number}" for number in range(9)]] * 2,
    "default": ["high_part00", "low"],
}


def released(tmp_path: Path) -> Change:
    """Shards as the release describes them, one of three rows and one of two behind the glob."""
    shards = {
        "rows/low-0.parquet": ["a0", "a1", "a2"],
        "rows/low-1.parquet": ["a3", "a4"],
        "rows/high_part00-0.parquet": ["b0", "b1"],
        "rows/high_part00-1.parquet": ["c0", "c1"],
        "anchor/low-0.parquet": ["a0", "a1"],
        "anchor/high_part00-0.parquet": [],
        "ledger/low-0.parquet": [f"l{number}" for number in range(9)],
    }
    files: dict[str, Path | bytes] = {"README.md": dataset_card(RELEASE).encode()}
    for path, ids in shards.items():
        files[path] = tmp_path / "built" / path
        (tmp_path / "built" / path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"id": pa.array(ids, pa.string())}), tmp_path / "built" / path)
    return Change(files, (), "Publish")


def loaded(path: str, cache: Path, environment: dict[str, str], revision: str = "") -> object:
    """What a fresh process with an empty cache loads: `datasets` would fall back to what it has cached."""
    fresh = {**environment, "HF_HOME": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    arguments = [sys.executable, "-c", LOADING, path, str(cache / "datasets"), revision]
    run = subprocess.run(arguments, env=fresh, check=True, stdout=subprocess.PIPE)
    return json.loads(run.stdout)


def test_datasets_loads_a_release_in_a_directory(hub_server: RunningHub, tmp_path: Path) -> None:
    target = DirectoryTarget(tmp_path / "published")
    target.commit(REPO, released(tmp_path), None)
    assert loaded(target.location(REPO), tmp_path / "cache", hub_server.environment()) == LOADED


def test_datasets_loads_a_release_from_the_hub(hub_server: RunningHub, tmp_path: Path) -> None:
    target = HubTarget(Hub(hub_server.endpoint, hub_server.token))
    head = target.commit(REPO, released(tmp_path), None)
    assert loaded(REPO, tmp_path / "cache", hub_server.environment(), head) == LOADED
