"""Which files a card gives to which split."""

from __future__ import annotations

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
