"""The card of a release, and that the real `datasets` library loads what it describes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from markdown_it import MarkdownIt

from nemo_assets.errors import ConservationError
from nemo_assets.hub.card import (
    CardContent,
    ConfigSplit,
    PoolText,
    SplitChanges,
    SplitFunnel,
    Withdrawal,
    dataset_card,
    shard_glob,
)
from nemo_assets.hub.client import Hub
from nemo_assets.hub.directory_target import DirectoryTarget
from nemo_assets.hub.features import Features, features_of
from nemo_assets.hub.hub_target import HubTarget
from nemo_assets.hub.patterns import split_files
from nemo_assets.hub.targets import Change
from nemo_assets_tests.hub.fixtures import RunningHub

REPO = "alice/nemotron-tiny-pools"
REVISION = "3f2a91c" + "0" * 33
SCHEMA = pa.schema([("id", pa.string()), ("tags", pa.list_(pa.string()))])
FEATURES: Features = [{"name": "id", "dtype": "string"}, {"name": "tags", "list": "string"}]


def config_split(config: str, split: str, rows: int, features: Features = FEATURES) -> ConfigSplit:
    """100 bytes a row in memory, 10 in the file."""
    return ConfigSplit(config, split, shard_glob(config, split), rows, 100 * rows, 10 * rows, features)


RELEASE = CardContent(
    repo_id=REPO,
    title="Nemotron Tiny: candidate pools",
    source_repo="nvidia/Nemotron-Tiny",
    source_revisions={"low": REVISION, "high_part00": REVISION},
    license="cc-by-4.0 AND mit",
    pools=(PoolText("candidates_anchor", "Keeps what the student can do.", "meta_correctness >= 0.5 | verified"),),
    config_splits=(
        config_split("rows", "low", 5),
        config_split("rows", "high_part00", 4),
        config_split("candidates_anchor", "low", 2),
        config_split("candidates_anchor", "high_part00", 0),
        config_split("ledger", "low", 9),
    ),
    funnels=(
        SplitFunnel("low", 1010, 1005, {"unparseable": 1}, {"exact_duplicate": 2, "near_duplicate": 1}, {"error": 1}),
        SplitFunnel("high_part00", 4, 4, {}, {}),
    ),
    columns=(("id", "string", "stable join key"), ("text", "string", "prompt and completion")),
    attribution="© NVIDIA.",
    newest_split="low",
)


def front_matter(card: str) -> dict[str, object]:
    loaded = yaml.safe_load(card.split("---\n")[1])
    assert isinstance(loaded, dict)
    return loaded


def test_the_front_matter_says_what_the_hub_and_datasets_read() -> None:
    card = dataset_card(RELEASE)
    assert front_matter(card) == {
        "pretty_name": "Nemotron Tiny: candidate pools",
        "license": "other",
        "license_name": "per-row",
        "license_link": "https://huggingface.co/datasets/nvidia/Nemotron-Tiny",
        "language": ["en"],
        "task_categories": ["text-generation"],
        "size_categories": ["n<1K"],
        "source_datasets": ["nvidia/Nemotron-Tiny"],
        "source_revision": REVISION,
        "tags": ["harmony", "lineage"],
        "configs": [
            {
                "config_name": "rows",
                "default": True,
                "data_files": [
                    {"split": "low", "path": "rows/low-*.parquet"},
                    {"split": "high_part00", "path": "rows/high_part00-*.parquet"},
                ],
            },
            {
                "config_name": "candidates_anchor",
                "data_files": [{"split": "low", "path": "candidates_anchor/low-*.parquet"}],
            },
            {"config_name": "ledger", "data_files": [{"split": "low", "path": "ledger/low-*.parquet"}]},
        ],
        "dataset_info": [
            {
                "config_name": "rows",
                "features": [{"name": "id", "dtype": "string"}, {"name": "tags", "list": "string"}],
                "splits": [
                    {"name": "low", "num_bytes": 500, "num_examples": 5},
                    {"name": "high_part00", "num_bytes": 400, "num_examples": 4},
                ],
                "download_size": 90,
                "dataset_size": 900,
            },
            {
                "config_name": "candidates_anchor",
                "features": FEATURES,
                "splits": [{"name": "low", "num_bytes": 200, "num_examples": 2}],
                "download_size": 20,
                "dataset_size": 200,
            },
            {
                "config_name": "ledger",
                "features": FEATURES,
                "splits": [{"name": "low", "num_bytes": 900, "num_examples": 9}],
                "download_size": 90,
                "dataset_size": 900,
            },
        ],
    }
    assert split_files(card)["rows", "low"] == ("rows/low-*.parquet",)


def test_equal_content_gives_equal_bytes() -> None:
    assert dataset_card(RELEASE) == dataset_card(replace(RELEASE))


def test_one_licence_is_named_and_several_revisions_are_listed() -> None:
    revisions = {"low": "a" * 40, "high_part00": "b" * 40}
    card = dataset_card(replace(RELEASE, license="cc-by-4.0", source_revisions=revisions))
    metadata = front_matter(card)
    assert (metadata["license"], metadata.get("license_name")) == ("cc-by-4.0", None)
    assert metadata["source_revision"] == ["a" * 40, "b" * 40]
    assert "| `high_part00` | 4 | 0 | `bbbbbbbbbbbb` |" in card


@pytest.mark.parametrize(("rows", "category"), [(999, "n<1K"), (1000, "1K<n<10K"), (7_000_000, "1M<n<10M")])
def test_size_categories_are_those_of_the_hub(rows: int, category: str) -> None:
    release = replace(RELEASE, config_splits=(config_split("rows", "low", rows),))
    assert front_matter(dataset_card(release))["size_categories"] == [category]


def test_splits_with_other_columns_than_the_newest_are_left_out_and_named() -> None:
    older: Features = [{"name": "id", "dtype": "string"}]
    reordered = FEATURES[::-1]
    release = replace(
        RELEASE,
        config_splits=(
            config_split("rows", "low", 5),
            config_split("rows", "medium", 5000, older),
            config_split("rows", "high_part00", 4, reordered),
            config_split("ledger", "medium", 7, older),
        ),
    )
    card = dataset_card(release)
    assert set(split_files(card)) == {("rows", "low"), ("rows", "high_part00"), ("ledger", "medium")}
    assert "> **To be published again:**" in card
    assert "cannot be loaded by name: `medium` (`rows`)." in card
    assert "To be published again" not in dataset_card(RELEASE)


def test_the_page_tells_pools_splits_and_funnel() -> None:
    card = dataset_card(RELEASE)
    assert "| `candidates_anchor` | 2 | 22.2 % | Keeps what the student can do. |" in card
    assert "| `candidates_anchor` | `meta_correctness >= 0.5 \\| verified` |" in card
    assert (
        "| split | rows | candidates anchor |\n| --- | ---: | ---: |\n| `low` | 5 | 2 |\n| `high_part00` | 4 | 0 |\n"
        in card
    )
    assert "| **all** | **9** | **2** |" in card
    assert (
        "| split | records | rejected | removed | withdrawn | rows | kept |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        "| `low` | 1,010 | 1 | 3 | 1 | 1,005 | 99.5 % |\n"
        "| `high_part00` | 4 | 0 | 0 | 0 | 4 | 100.0 % |\n"
        "| **all** | **1,014** | **1** | **3** | **1** | **1,009** | **99.5 %** |"
    ) in card
    assert "| `near_duplicate` | removed | 1 |" in card
    assert "| split | unparseable | exact duplicate | near duplicate | error |\n" in card
    assert "| `ledger` | 9 | `low` | One entry for every record of the source" in card
    assert "`source_license`" in card
    assert "nemo-assets explain ID" in card


def test_headings_of_pools_leave_out_what_all_names_begin_with() -> None:
    pools = tuple(PoolText(name, "", "true") for name in ("cand_has_x", "cand_has_y_z"))
    splits = (
        config_split("rows", "low", 5),
        config_split("cand_has_x", "low", 1),
        config_split("cand_has_y_z", "low", 2),
    )
    card = dataset_card(replace(RELEASE, pools=pools, config_splits=splits))
    assert "without the `cand_has_` of its name" in card
    assert "| split | rows | x | y z |" in card


def test_examples_of_loading_name_a_revision() -> None:
    pinned = dataset_card(replace(RELEASE, pinned="release-0004"))
    assert f'load_dataset("{REPO}", "rows", split="low", revision="release-0004")' in pinned
    assert f'pl.scan_parquet("hf://datasets/{REPO}@release-0004/rows/low-*.parquet")' in pinned
    assert f"FROM 'hf://datasets/{REPO}@release-0004/rows/low-*.parquet';" in pinned
    assert 'revision="main"' in dataset_card(RELEASE)


def test_a_folder_is_loaded_from_where_it_lies() -> None:
    local = ConfigSplit("rows", "low", "data/low-*.parquet", 5, 500)
    card = dataset_card(replace(RELEASE, repo_id="out", pools=(), config_splits=(local,)))
    assert 'load_dataset("./out", "rows", split="low")' in card
    assert 'pl.scan_parquet("out/data/low-*.parquet")' in card
    assert "hf://" not in card
    assert "features" not in front_matter(card)["dataset_info"][0]  # type: ignore[index]


def test_withdrawals_are_counted_by_reason_and_listed_up_to_fifty() -> None:
    withdrawn = tuple(Withdrawal(f"id{number:02d}", "licence" if number else "takedown") for number in range(53))
    card = dataset_card(replace(RELEASE, withdrawals=withdrawn))
    assert "| licence | 52 |\n| takedown | 1 |" in card
    assert "`id49` and 3 more." in card
    assert "id50" not in card
    assert "until its history is squashed or the repo deleted" in card


def test_changes_are_told_by_cause() -> None:
    changes = SplitChanges("low", "release-0003", {"source": 1200, "code and settings": 4}, {"withdrawal": 2}, {}, {})
    card = dataset_card(replace(RELEASE, changes=(changes,)))
    assert "| `low` | `release-0003` | 4 code and settings, 1,200 source | 2 withdrawal | – | – |" in card


def test_only_pictures_that_exist_are_shown() -> None:
    card = dataset_card(replace(RELEASE, images=("images/domain.png", "images/tokens.png")))
    assert re.findall(r"!\[.+]\((.+)\)", card) == ["images/tokens.png", "images/domain.png"]


HOSTILE = "a|b\n---\n# <script>x</script> `` ` `` [l](javascript:0) *b* {\"q\": 1e5} & # c: 'd'\u2028e"


def saying(text: str) -> CardContent:
    """A release that says `text` wherever it may say what others wrote."""
    return replace(
        RELEASE,
        title=text,
        pools=(PoolText("candidates_anchor", text, text),),
        columns=((text, text, text),),
        withdrawals=(Withdrawal(text, text),),
        changes=(SplitChanges("low", text, {text: 1}, {}, {}, {}),),
        code_meanings={"error": text},
        config_meanings={"ledger": text},
        attribution=text,
        tags=(text,),
    )


def test_hostile_text_changes_neither_the_yaml_nor_the_page() -> None:
    card = dataset_card(saying(HOSTILE))
    matched = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)  # as the Hub finds where the YAML ends
    assert matched is not None
    metadata = yaml.safe_load(matched[1])
    assert (metadata["pretty_name"], metadata["tags"][-1]) == (HOSTILE, HOSTILE)
    harmless = as_read(dataset_card(saying("harmless")).split("---\n", 2)[2])
    one_line = " ".join(HOSTILE.split())
    assert as_read(card[matched.end() :]) == [part.replace("harmless", one_line) for part in harmless]
    assert sum("harmless" in part for part in harmless) == 13


def as_read(page: str) -> list[str]:
    """The parts of a page as a real parser of Markdown reads them: what each is, and its text."""
    parts = []
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(page):
        parts.append(f"{token.type} {token.markup}")
        parts += [f"{child.type} {child.content}" for child in token.children or []]
    return parts


@pytest.mark.parametrize("text", ["1e5", "0o17", "null", "yes", "3e4", ".5", "2026-01-01", "- a", "a: b", "#x", ""])
def test_text_stays_text_for_every_reader_of_yaml(text: str) -> None:
    card = dataset_card(replace(RELEASE, title=text))
    assert front_matter(card)["pretty_name"] == text
    if re.match(r"[\d.]", text):  # of which other readers take more for numbers than ours does
        assert f'pretty_name: "{text}"\n' in card


def test_a_funnel_that_loses_a_record_is_refused() -> None:
    with pytest.raises(ConservationError, match="low: 10 records were read, 9 are accounted for"):
        SplitFunnel("low", 10, 8, {"unparseable": 1}, {})


@pytest.mark.parametrize(("config", "split"), [("rows", "high-part00"), ("rows", "a.b"), ("a/b", "low"), ("", "low")])
def test_names_that_the_hub_refuses_are_refused(config: str, split: str) -> None:
    with pytest.raises(ValueError, match="name"):
        ConfigSplit(config, split, "x.parquet", 1, 1)


LOADING = """
import json, sys
from datasets import load_dataset

path, cache, revision = sys.argv[1:]
pinned = {"revision": revision} if revision else {}
seen = {}
for config, split in [("rows", "low"), ("rows", "high_part00"), ("candidates_anchor", "low"), ("ledger", "low")]:
    whole = load_dataset(path, config, split=split, cache_dir=cache, **pinned)
    streamed = load_dataset(path, config, split=split, streaming=True, cache_dir=cache, **pinned)
    assert list(whole.features) == list(streamed.features) == ["id", "tags"]
    seen[f"{config}/{split}"] = [list(whole["id"]), [row["id"] for row in streamed]]
seen["default"] = sorted(load_dataset(path, cache_dir=cache, **pinned))
seen["anchor"] = sorted(load_dataset(path, "candidates_anchor", cache_dir=cache, **pinned))
print(json.dumps(seen))
"""
LOADED = {
    "rows/low": [["a0", "a1", "a2", "a3", "a4"]] * 2,
    "rows/high_part00": [["b0", "b1", "c0", "c1"]] * 2,
    "candidates_anchor/low": [["a0", "a1"]] * 2,
    "ledger/low": [[f"l{number}" for number in range(9)]] * 2,
    "default": ["high_part00", "low"],
    "anchor": ["low"],
}


def released(tmp_path: Path) -> Change:
    """Shards as the release describes them, several to a split, and one without rows that the card leaves out."""
    shards = {
        "rows/low-00000.parquet": ["a0", "a1", "a2"],
        "rows/low-00001.parquet": ["a3", "a4"],
        "rows/high_part00-00000.parquet": ["b0", "b1"],
        "rows/high_part00-00001.parquet": ["c0", "c1"],
        "candidates_anchor/low-00000.parquet": ["a0", "a1"],
        "candidates_anchor/high_part00-00000.parquet": [],
        "ledger/low-00000.parquet": [f"l{number}" for number in range(9)],
    }
    assert features_of(SCHEMA) == FEATURES
    files: dict[str, Path | bytes] = {"README.md": dataset_card(RELEASE).encode()}
    for path, ids in shards.items():
        files[path] = tmp_path / "built" / path
        (tmp_path / "built" / path).parent.mkdir(parents=True, exist_ok=True)
        rows = [{"id": name, "tags": []} for name in ids]
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), tmp_path / "built" / path)
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
