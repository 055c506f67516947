"""Bringing files here: once, pinned, and a sample of them without fetching all."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from nemo_assets.errors import UserError
from nemo_assets.hub.sources import open_source
from nemo_assets.sample import HUB
from nemo_assets.settings import Settings
from nemo_assets.stages.normalized import normalize
from nemo_assets.storage import Stage
from nemo_assets_tests.hub.fixtures import RunningHub
from nemo_assets_tests.stages.making import make, rows_of

LINES = "nemotron-agentic-v1/tool_calling"
LINES_REPO = "nvidia/Nemotron-Agentic-v1"
PARQUET = "nemotron-math-v2-harmony-tools/medium"  # two files, 15 and 16 rows
PARQUET_REPO = "radna0/nemotron-math-v2-harmony-tools"


@pytest.fixture
def own_source(settings: Settings, tmp_path: Path) -> Settings:
    """Sources that a test may change."""
    for repo in (LINES_REPO, PARQUET_REPO):
        shutil.copytree(HUB / repo, tmp_path / "sources" / repo)
    return replace(settings, source_dir=tmp_path / "sources")


def parquet_files(settings: Settings) -> list[Path]:
    assert settings.source_dir is not None
    return sorted((settings.source_dir / PARQUET_REPO / "data").glob("medium-*.parquet"))


def test_a_file_that_did_not_change_keeps_its_bytes_and_its_first_revision(own_source: Settings) -> None:
    first = make(Stage.RAW, PARQUET, own_source)
    blob = own_source.data_dir / first.details["files"][0]["blob"]
    fetched = blob.stat()
    one, two = parquet_files(own_source)
    pq.write_table(pq.read_table(two).slice(0, 3), two)
    second = make(Stage.RAW, PARQUET, own_source)
    assert second.details["revision"] != first.details["revision"]
    assert [file["revision"] for file in second.details["files"]] == [
        first.details["revision"],
        second.details["revision"],
    ]
    assert (blob.stat().st_ino, blob.stat().st_mtime_ns) == (fetched.st_ino, fetched.st_mtime_ns)
    assert blob.read_bytes() == one.read_bytes()
    assert second.data_version != first.data_version


def test_a_new_revision_that_leaves_the_split_alone_changes_nothing(own_source: Settings) -> None:
    first = make(Stage.RAW, LINES, own_source)
    assert own_source.source_dir is not None
    (own_source.source_dir / LINES_REPO / "README.md").write_text("another card")
    assert make(Stage.RAW, LINES, own_source) == first


def test_a_hub_is_asked_for_a_file_once(hub_server: RunningHub, settings: Settings) -> None:
    path = "data/tool_calling.jsonl"
    content = (HUB / LINES_REPO / path).read_bytes()
    hub_server.store.seed(LINES_REPO, {path: content, "README.md": b"one"})
    on_hub = replace(settings, source_dir=None, endpoint=hub_server.endpoint, token=hub_server.token)
    first = make(Stage.RAW, LINES, on_hub)
    assert (on_hub.data_dir / first.details["files"][0]["blob"]).read_bytes() == content
    hub_server.store.seed(LINES_REPO, {"README.md": b"two"})
    assert make(Stage.RAW, LINES, on_hub) == first
    (on_hub.store.directory(Stage.RAW, LINES) / "manifest.json").unlink()
    again = make(Stage.RAW, LINES, on_hub)
    assert again.details["revision"] != first.details["revision"]
    assert len(hub_server.wire.received("GET", f"/resolve/.*{path}")) == 1


def test_a_file_that_the_source_lacks_is_told_with_what_it_has(own_source: Settings) -> None:
    assert own_source.source_dir is not None
    data = own_source.source_dir / LINES_REPO / "data"
    (data / "tool_calling.jsonl").rename(data / "tool-calling.jsonl")
    revision = open_source(LINES_REPO, own_source.source_dir).revision()
    with pytest.raises(UserError) as error:
        make(Stage.RAW, LINES, own_source)
    assert str(error.value) == (
        "nemotron-agentic-v1/tool_calling: the card names data/tool_calling.jsonl, "
        f"the source nvidia/Nemotron-Agentic-v1 at {revision[:7]} has no such file. "
        "It has data/interactive_agent.jsonl, data/tool-calling.jsonl. "
        "Set `files` in nemo_assets/catalog/nemotron-agentic-v1.yaml."
    )
    assert own_source.store.find(Stage.RAW, LINES) is None


def test_parquet_that_is_none_is_named_and_nothing_is_made_current(own_source: Settings) -> None:
    parquet_files(own_source)[1].write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    make(Stage.RAW, PARQUET, own_source)
    clear = r"^radna0/\S*/data/medium-00001-of-00002\.parquet: cannot be read as Parquet \(.*\)\. Fetch it again"
    with pytest.raises(UserError, match=clear):
        make(Stage.NORMALIZED, PARQUET, own_source)
    assert own_source.store.find(Stage.NORMALIZED, PARQUET) is None
    sampled = own_source.sampled(20)
    with pytest.raises(UserError, match=clear):
        make(Stage.RAW, PARQUET, sampled)
    assert sampled.store.find(Stage.RAW, PARQUET) is None


def test_parquet_with_damaged_pages_is_named(own_source: Settings) -> None:
    """The footer is whole, so that the damage shows only when the rows are read."""
    _, two = parquet_files(own_source)
    content = bytearray(two.read_bytes())
    content[4:200] = bytes(196)
    two.write_bytes(content)
    make(Stage.RAW, PARQUET, own_source)
    with pytest.raises(UserError, match=r"^radna0/\S*/data/medium-00001-of-00002\.parquet: cannot be read as Parquet"):
        make(Stage.NORMALIZED, PARQUET, own_source)
    with pytest.raises(UserError, match=r"^radna0/\S*/data/medium-00001-of-00002\.parquet: cannot be read as Parquet"):
        make(Stage.RAW, PARQUET, own_source.sampled(20))


@pytest.fixture(params=["directory", "hub"])
def anywhere(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """The two splits in a directory, and on a Hub."""
    if request.param == "directory":
        return settings
    hub: RunningHub = request.getfixturevalue("hub_server")
    for repo in (LINES_REPO, PARQUET_REPO):
        hub.store.seed(
            repo, {path.relative_to(HUB / repo).as_posix(): path.read_bytes() for path in (HUB / repo).rglob("*.*")}
        )
    return replace(settings, source_dir=None, endpoint=hub.endpoint, token=hub.token)


def test_a_sample_of_lines_is_the_head_of_the_file_byte_for_byte(anywhere: Settings) -> None:
    make(Stage.RAW, LINES, anywhere)
    whole = normalize(anywhere.catalog.split(LINES), anywhere.store)
    sampled = anywhere.sampled(8)
    raw = make(Stage.RAW, LINES, sampled)
    lines = (HUB / LINES_REPO / "data/tool_calling.jsonl").read_bytes().splitlines(keepends=True)
    assert (sampled.data_dir / raw.details["files"][0]["blob"]).read_bytes() == b"".join(lines[:8])
    head = make(Stage.NORMALIZED, LINES, sampled)
    assert head.counters["records"] == 8
    rows = rows_of(head, sampled.store)
    assert rows == rows_of(whole, anywhere.store).slice(0, rows.num_rows)  # uids, row numbers and offsets included


def test_a_sample_of_parquet_goes_on_into_the_next_file(anywhere: Settings) -> None:
    make(Stage.RAW, PARQUET, anywhere)
    whole = normalize(anywhere.catalog.split(PARQUET), anywhere.store)
    sampled = anywhere.sampled(20)
    make(Stage.RAW, PARQUET, sampled)
    head = make(Stage.NORMALIZED, PARQUET, sampled)
    assert [file["records"] for file in head.counters["files"].values()] == [15, 5]
    rows = rows_of(head, sampled.store)
    assert rows == rows_of(whole, anywhere.store).slice(0, rows.num_rows)


def test_a_sample_is_not_cut_at_a_row_group(own_source: Settings) -> None:
    one, _ = parquet_files(own_source)
    pq.write_table(pq.read_table(one), one, row_group_size=3)
    sampled = own_source.sampled(10)
    make(Stage.RAW, PARQUET, sampled)
    assert make(Stage.NORMALIZED, PARQUET, sampled).counters["records"] == 10


def test_a_sample_of_a_large_file_on_a_hub_reads_its_head_alone(hub_server: RunningHub, settings: Settings) -> None:
    path = "data/tool_calling.jsonl"
    content = (HUB / LINES_REPO / path).read_bytes()
    padded = content + (content.splitlines(keepends=True)[1] * 6_000)
    assert len(padded) > 10 << 20  # so that the Hub keeps it as a large file
    hub_server.store.seed(LINES_REPO, {path: padded})
    sampled = replace(settings, source_dir=None, endpoint=hub_server.endpoint, token=hub_server.token).sampled(5)
    make(Stage.RAW, LINES, sampled)
    assert make(Stage.NORMALIZED, LINES, sampled).counters["records"] == 5
    ranges = [request.range for request in hub_server.wire.received("GET", "/large/|/resolve/")]
    assert ranges
    assert None not in ranges
