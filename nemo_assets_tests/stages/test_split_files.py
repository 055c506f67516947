"""Which files make up a split: the catalog says it, else the card, else their names; and none counts twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from nemo_assets.catalog import Split
from nemo_assets.catalog.entries import SplitEntry
from nemo_assets.errors import UserError
from nemo_assets.hub.client import Hub, Retry
from nemo_assets.hub.sources import DirectorySource, HubSource
from nemo_assets.stages.split_files import LeftOut, split_files
from nemo_assets_tests.building import CATALOG
from nemo_assets_tests.hub.faults import Fault
from nemo_assets_tests.hub.fixtures import RunningHub

REPO = "org/Repo"


def a_split(name: str = "low", files: tuple[str, ...] | None = None, subset: str = "default") -> Split:
    split = CATALOG.split("nemotron-math-v2/low")
    source = replace(split.source, repo=REPO, subset=subset)
    return replace(split, name=name, source=source, entry=SplitEntry(files))


def card(low: str, config: str = "default") -> str:
    return f"---\nconfigs:\n- config_name: {config}\n  data_files:\n  - split: low\n    path: {low}\n---\n# A card\n"


@pytest.fixture
def source(tmp_path: Path) -> DirectorySource:
    (tmp_path / REPO / "data").mkdir(parents=True)
    return DirectorySource(tmp_path, REPO)


def put(source: DirectorySource, *paths: str, readme: str | None = None) -> DirectorySource:
    for path in paths:
        (source.root / REPO / path).parent.mkdir(parents=True, exist_ok=True)
        (source.root / REPO / path).write_text(path)
    if readme is not None:
        (source.root / REPO / "README.md").write_text(readme)
    return source


def paths_of(split: Split, source: DirectorySource) -> list[str]:
    return [file.path for file in split_files(split, source).files]


def refusal(split: Split, source: DirectorySource) -> str:
    with pytest.raises(UserError) as refused:
        split_files(split, source)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_the_card_says_which_files_a_split_has(source: DirectorySource) -> None:
    put(source, "data/a.jsonl", "data/b.jsonl", "data/old/c.jsonl", "low.jsonl", readme=card('["data/*.jsonl"]'))
    assert paths_of(a_split(), source) == ["data/a.jsonl", "data/b.jsonl"]


def test_the_config_is_the_subset_of_the_catalog(source: DirectorySource) -> None:
    put(source, "data/a.jsonl", readme=card("data/a.jsonl", "lean"))
    assert paths_of(a_split(subset="lean"), source) == ["data/a.jsonl"]
    assert refusal(a_split(), source) == (
        f"nemotron-math-v2/low: the card of org/Repo at {source.revision()[:7]} has no split default/low. "
        "It has lean/low. Correct the split in nemo_assets/catalog/nemotron-math-v2.yaml, or set `files` there."
    )


def test_files_in_the_catalog_prevail_over_the_card(source: DirectorySource) -> None:
    put(source, "data/a.jsonl", "data/b.jsonl", readme=card("data/a.jsonl"))
    assert paths_of(a_split(files=("data/b.*",)), source) == ["data/b.jsonl"]


def test_another_card_that_says_the_same_is_no_news_and_one_that_says_otherwise_is(source: DirectorySource) -> None:
    put(source, "data/a.jsonl", "data/b.jsonl", readme=card("data/a.jsonl"))
    before = split_files(a_split(), source)
    put(source, readme=card("data/a.jsonl") + "More words.\n")
    after = split_files(a_split(), source)
    assert (after.version, after.revision == before.revision) == (before.version, False)
    put(source, readme=card("data/*.jsonl"))
    assert split_files(a_split(), source).version != before.version


@pytest.mark.parametrize("readme", [None, "# No front matter\n", "---\nlicense: mit\n---\n"])
@pytest.mark.parametrize(
    ("name", "paths", "found"),
    [
        ("low", ["data/low.jsonl", "data/lower.jsonl", "data/low.txt"], ["data/low.jsonl"]),
        ("high_part00", ["data/high.part_00.jsonl", "data/high.part_01.jsonl"], ["data/high.part_00.jsonl"]),
        (
            "low",
            ["low-00000-of-00002.parquet", "low-00001-of-00002.parquet"],
            ["low-00000-of-00002.parquet", "low-00001-of-00002.parquet"],
        ),
    ],
)
def test_without_a_card_files_named_after_the_split_are_it(
    source: DirectorySource, readme: str | None, name: str, paths: list[str], found: list[str]
) -> None:
    assert paths_of(a_split(name), put(source, *paths, readme=readme)) == found


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        (["data/high.jsonl"], "no file of that name. It has data/high.jsonl"),
        (["a/low.jsonl", "b/low.jsonl"], "files of that name in several directories. It has a/low.jsonl, b/low.jsonl"),
        ([], "It has no file at all"),
    ],
)
def test_names_that_do_not_tell_are_refused(source: DirectorySource, paths: list[str], says: str) -> None:
    said = refusal(a_split(), put(source, *paths))
    assert said.startswith(f"nemotron-math-v2/low: org/Repo at {source.revision()[:7]} has no card that says")
    assert said.endswith("Set `files` in nemo_assets/catalog/nemotron-math-v2.yaml.")
    assert says in said


@pytest.mark.parametrize(
    ("lines", "tables"),
    [
        (["data/low.jsonl"], ["data/low-00000-of-00001.parquet"]),
        (["data/low.jsonl"], ["data/low.parquet"]),
        (["data/low.0.jsonl"], ["data/low_0-00000-of-00002.parquet", "data/low_0-00001-of-00002.parquet"]),
        (["data/low-00000-of-00003.jsonl", "data/low-00001-of-00003.jsonl"], ["data/low-00000-of-00001.parquet"]),
        (["data/low.jsonl", "data/low_more.jsonl"], ["data/low.parquet"]),
    ],
)  # fmt: skip
def test_parquet_that_says_the_same_as_jsonl_is_left_out_and_told(
    source: DirectorySource, lines: list[str], tables: list[str]
) -> None:
    put(source, *lines, *tables, readme=card("data/low*"))
    found = split_files(a_split(), source)
    assert [file.path for file in found.files] == lines
    assert found.left_out == tuple(LeftOut(path, f"the same records as {lines[0]}") for path in tables)


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        (["data/low.jsonl", "data/low_extra.parquet"], "data/low_extra.parquet has no JSONL of the same name"),
        (["data/low.jsonl", "data/sub/low.parquet"], "data/sub/low.parquet has no JSONL of the same name"),
        (
            ["data/low-00000-of-00001.parquet", "data/low-00000-of-00002.parquet", "data/low-00001-of-00002.parquet"],
            "data/low-00000-of-00001.parquet and data/low-00000-of-00002.parquet are not shards of one set",
        ),
        (["data/low.parquet", "data/low-00000-of-00001.parquet"], "are not shards of one set"),
        (["data/low.jsonl", "data/low.jsonl.gz"], "data/low.jsonl.gz cannot be read"),
        (["data/low.csv", "data/low.jsonl"], "data/low.csv cannot be read"),
        (["data/low.json"], "a split is made of .jsonl, .ndjson, .parquet files, not compressed"),
    ],
)
def test_records_that_would_count_twice_or_cannot_be_read_are_refused(
    source: DirectorySource, paths: list[str], says: str
) -> None:
    said = refusal(a_split(), put(source, *paths, readme=card("data/**/low*")))
    assert said.startswith("nemotron-math-v2/low: ")
    assert says in said
    assert "`files` in nemo_assets/catalog/nemotron-math-v2.yaml" in said


def test_all_splits_of_a_source_on_a_hub_take_one_request_for_its_card(hub_server: RunningHub) -> None:
    readme = card("data/low.jsonl") + "Read by nobody before.\n"
    hub_server.store.seed(REPO, {"data/low.jsonl": b"1\n", "README.md": readme.encode()})
    source = HubSource(REPO, Hub(hub_server.endpoint, hub_server.token))
    hub_server.wire.inject(Fault("/resolve/.*README", reset_after=10))
    found = [split_files(a_split(), HubSource(REPO, Hub(hub_server.endpoint, None, Retry(sleep=lambda _: None))))]
    assert len(hub_server.wire.received("GET", "/resolve/.*README")) == 2
    found += [split_files(a_split(), source) for _ in range(3)]
    assert {each.version for each in found} == {found[0].version}
    assert len(hub_server.wire.received("GET", "/resolve/.*README")) == 2


def test_a_card_damaged_on_the_way_is_read_again_and_never_believed(hub_server: RunningHub) -> None:
    hub_server.store.seed(REPO, {"data/low.jsonl": b"1\n", "README.md": card("data/low.jsonl").encode() + b"Damaged."})
    source = HubSource(REPO, Hub(hub_server.endpoint, hub_server.token))
    hub_server.wire.inject(Fault("/resolve/.*README", flip=True, times=3))
    with pytest.raises(UserError, match=r"^org/Repo at \w{7}: README\.md: the bytes received do not have the digest"):
        split_files(a_split(), source)
    assert [file.path for file in split_files(a_split(), source).files] == ["data/low.jsonl"]


def test_a_card_that_cannot_be_read_is_told_with_its_repo(source: DirectorySource) -> None:
    put(source, "data/low.jsonl", readme="---\nconfigs: nonsense\n---\n")
    assert refusal(a_split(), source).startswith(
        f"org/Repo at {source.revision()[:7]}: README.md: its `configs` are not"
    )
