"""Which files a card gives to which split."""

from __future__ import annotations

from pathlib import Path

import datasets
import pytest

from nemo_assets.errors import UserError
from nemo_assets.hub.patterns import match, split_files

CARD = """---
license: other
configs:
- config_name: default
  data_files:
  - split: low
    path: data/low.jsonl
  - split: high_part00
    path: ["data/high_part00-*.parquet", ./extra/high_part00.parquet]
- config_name: proofs
  data_dir: lean
  data_files: "*.jsonl"
- config_name: by_name
  data_files:
    train: a.jsonl
    test: [b.jsonl, c.jsonl]
---
# A card

---
configs: not front matter
---
"""


def test_every_way_of_writing_data_files_is_read() -> None:
    assert split_files(CARD) == {
        ("default", "low"): ("data/low.jsonl",),
        ("default", "high_part00"): ("data/high_part00-*.parquet", "extra/high_part00.parquet"),
        ("proofs", "train"): ("lean/*.jsonl",),
        ("by_name", "train"): ("a.jsonl",),
        ("by_name", "test"): ("b.jsonl", "c.jsonl"),
    }


@pytest.mark.parametrize("card", ["", "# No front matter\n", "---\n---\n", "---\nlicense: mit\n---\n"])
def test_a_card_without_configs_names_no_files(card: str) -> None:
    assert split_files(card) == {}


@pytest.mark.parametrize("card", ["---\nconfigs: [\n---\n", "---\n- a list\n---\n"])
def test_a_card_that_cannot_be_read_is_told(card: str) -> None:
    with pytest.raises(UserError, match=r"README\.md: its front matter"):
        split_files(card)


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("data/*.jsonl", ["data/high.part_00.jsonl", "data/low.jsonl"]),
        ("data/high.part_0?.jsonl", ["data/high.part_00.jsonl"]),
        ("data/**", ["data/high.part_00.jsonl", "data/low.jsonl", "data/old/low.jsonl"]),
        ("**/low.jsonl", ["data/low.jsonl", "data/old/low.jsonl", "low.jsonl"]),
        ("data/[!h]*.jsonl", ["data/low.jsonl"]),
        ("data/low?jsonl", ["data/low.jsonl"]),
        ("data/low.json", []),
    ],
)
def test_a_glob_stays_within_its_directory_unless_it_says_otherwise(pattern: str, matched: list[str]) -> None:
    paths = [
        "low.jsonl",
        "data/old/low.jsonl",
        "data/low.jsonl",
        "data/high.part_00.jsonl",
        "data/.x.jsonl",
        ".c/low.jsonl",
    ]
    assert list(match([pattern], paths)) == matched


@pytest.mark.parametrize("configs", ["- just words\n", "- data_files:\n  - {split: low}\n"])
def test_configs_that_are_none_are_told(configs: str) -> None:
    with pytest.raises(UserError, match=r"README\.md: its `configs` are not written as `datasets` reads them"):
        split_files(f"---\nconfigs:\n{configs}---\n")


ORACLE_CARD = """---
configs:
- config_name: default
  data_files:
  - {split: low, path: data/low.jsonl}
  - {split: high_part00, path: ["data/high.part_0?.jsonl", "./extra/**/*.jsonl"]}
- config_name: lean
  data_dir: lean
  data_files: "*.jsonl"
- config_name: by_name
  data_files:
  - {split: train, path: "**/[!l]*.jsonl"}
  - {split: test, path: [lean/b.jsonl, data/low.jsonl]}
---
"""
ORACLE_FILES = ["data/low.jsonl", "data/high.part_00.jsonl", "data/high.part_01.jsonl", "data/high.part_10.jsonl",
                "extra/a/x.jsonl", "extra/y.jsonl", "extra/.z.jsonl", "lean/b.jsonl", "lean/c.jsonl",
                "lean/sub/d.jsonl", "__cache/e.jsonl", "top.jsonl"]  # fmt: skip


def test_files_of_a_split_are_those_that_datasets_would_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ORACLE_FILES:
        (tmp_path / "repo" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "repo" / path).write_text('{"a": 1}\n')
    (tmp_path / "repo/README.md").write_text(ORACLE_CARD)
    read: dict[tuple[str, str], list[str]] = {}
    for config in ("default", "lean", "by_name"):
        builder = datasets.load_dataset_builder(str(tmp_path / "repo"), config, cache_dir=str(tmp_path / "cache"))
        for split, files in builder.config.data_files.items():
            read[config, str(split)] = sorted(Path(file).relative_to(tmp_path / "repo").as_posix() for file in files)
    ours = {key: list(match(globs, ORACLE_FILES)) for key, globs in split_files(ORACLE_CARD).items()}
    assert ours == read
    assert ours["default", "high_part00"] == [
        "data/high.part_00.jsonl", "data/high.part_01.jsonl", "extra/a/x.jsonl", "extra/y.jsonl",
    ]  # fmt: skip
