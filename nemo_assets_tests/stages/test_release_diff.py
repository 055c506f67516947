"""Two releases as they lie at a destination, compared."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow.parquet as pq
import pytest
import yaml

from nemo_assets.errors import UserError
from nemo_assets.hub.directory_target import DirectoryTarget
from nemo_assets.hub.targets import Target
from nemo_assets.sample import HUB
from nemo_assets.settings import Settings
from nemo_assets.stages.landing import target_of
from nemo_assets.stages.release_comparison import PLACE_COLUMNS
from nemo_assets.stages.release_diff import release_diff, since_release
from nemo_assets.stages.release_record import records_at
from nemo_assets.storage import Stage
from nemo_assets_tests.building import agentic, assistant, prose, user
from nemo_assets_tests.hub.fixtures import RunningHub
from nemo_assets_tests.stages.making import make, make_chain, with_catalog

KEY, OTHER = "nemotron-agentic-v1/tool_calling", "nemotron-agentic-v1/interactive_agent"
SOURCE = "nvidia/Nemotron-Agentic-v1/data/tool_calling.jsonl"
NEW_POOL = "candidates_short"


@pytest.fixture(params=["directory", "hub"])
def releasing(request: pytest.FixtureRequest, own_sample: Settings, tmp_path: Path) -> Settings:
    """The sample with a source that a test may change, published to a directory or a Hub."""
    shutil.copytree(HUB, tmp_path / "sources")
    own = replace(own_sample, source_dir=tmp_path / "sources")
    if request.param == "directory":
        return replace(own, publish_to=str(tmp_path / "published"))
    hub: RunningHub = request.getfixturevalue("hub_server")
    return replace(own, publish_to="hf://alice", endpoint=hub.endpoint, token=hub.token)


def repo_of(settings: Settings) -> str:
    return settings.release_repo(settings.catalog.split(KEY))


def rows_at(target: Target, repo: str, revision: str) -> dict[str, dict[str, Any]]:
    """Every row of the split in a release, by id."""
    with target.open(repo, "rows/tool_calling-00000.parquet", revision) as file:
        return {row["id"]: row for row in pq.read_table(file).to_pylist()}


def change_source(settings: Settings) -> None:
    """Take out the fifth record, change the licence of the last one, and add one that says something else."""
    assert settings.source_dir is not None
    path = settings.source_dir / SOURCE
    lines = path.read_bytes().splitlines()
    relicensed = json.dumps(json.loads(lines[-1]) | {"license": "cc0-1.0"})
    added = json.dumps(agentic(uuid="added", messages=[user(prose(1, 40)), assistant(prose(2, 40))], tools=[]))
    path.write_bytes(b"\n".join([*lines[:4], *lines[5:-1], relicensed.encode(), added.encode()]) + b"\n")


def with_new_pool(settings: Settings, directory: Path, withdrawn: str) -> Settings:
    pools = yaml.safe_load((settings.catalog_dir / "policies" / "pools.yaml").read_text())
    pools["pools"][NEW_POOL] = {"purpose": "Short rows.", "predicate": "stats_messages <= 4"}
    withdrawals = {"withdrawals": [{"id": withdrawn, "reason": "takedown"}]}
    return with_catalog(settings, directory, {"policies/pools.yaml": pools, "policies/withdrawals.yaml": withdrawals})


def test_a_changed_source_is_told_row_by_row(releasing: Settings) -> None:
    first = make(Stage.PUBLISHED, KEY, releasing)
    change_source(releasing)
    make(Stage.RAW, KEY, releasing)
    make_chain(releasing, Stage.PUBLISHED, [KEY])
    target, repo = target_of(releasing), repo_of(releasing)
    (diff,) = release_diff(target, repo, "release-0001", "release-0002")
    tags = target.refs(repo).tags
    before, after = (rows_at(target, repo, tags[name]) for name in ("release-0001", "release-0002"))
    assert set(diff.entered["id"]) == set(after) - set(before) == {"added"}
    assert set(diff.left["id"]) == set(before) - set(after)
    changed = {
        name: [column for column in row if column not in PLACE_COLUMNS and row[column] != after[name][column]]
        for name, row in before.items()
        if name in after
    }
    told = dict(diff.changed.select("id", "columns").iter_rows())
    assert {
        name: [c for c in columns if c != "source_meta_json"] for name, columns in changed.items() if columns
    } == told
    assert ["source_license"] in told.values()
    assert diff.relocated == len(changed) - len(told)
    assert {cause for counts in diff.summary.values() for cause in counts} == {"source"}
    assert (diff.rows_before, diff.rows_after) == (len(before), len(after))
    record = records_at(target, repo, tags["release-0002"])["tool_calling"]
    assert record["changes"] == {"since": "release-0001", **diff.summary}
    by_commit = release_diff(target, repo, first.details["revision"], tags["release-0002"])
    assert [each.summary for each in by_commit] == [diff.summary]


@pytest.mark.parametrize("releasing", ["directory"], indirect=True)
def test_a_pool_and_a_withdrawal_are_told_apart(releasing: Settings, tmp_path: Path) -> None:
    for key in (KEY, OTHER):
        make(Stage.PUBLISHED, key, releasing)
    target, repo = target_of(releasing), repo_of(releasing)
    rows = rows_at(target, repo, target.refs(repo).tags["release-0002"])
    withdrawn, *stay = rows
    changed = with_new_pool(releasing, tmp_path / "catalog", withdrawn)
    make(Stage.POOLS, KEY, changed)
    make(Stage.PUBLISHED, KEY, changed)
    other, own = release_diff(target, repo, "release-0002", "release-0003")
    assert (other.split, other.is_empty) == (OTHER, True)
    short = [name for name in stay if rows[name]["stats_messages"] <= 4]
    assert 0 < len(short) < len(stay)
    assert own.summary == {
        "entered": {}, "left": {"withdrawal": 1}, "changed": {}, "moved": {"settings": len(short)}
    }  # fmt: skip
    assert own.moved["id"].to_list() == sorted(short)
    assert own.moved.row(0)[1:3] == ([NEW_POOL], [])
    back = release_diff(target, repo, "release-0003", "release-0002")[1]
    assert back.summary["entered"] == {"withdrawal": 1}
    first = release_diff(target, repo, "release-0001", "release-0002")
    assert [each.summary["entered"] for each in first] == [{"source": first[0].rows_after}, {}]


def test_a_release_nobody_made_is_refused_with_those_there_are(releasing: Settings) -> None:
    target, repo = target_of(releasing), repo_of(releasing)
    with pytest.raises(UserError, match=r"has no release release-0001\. .*It has none yet\."):
        release_diff(target, repo, "release-0001", "release-0002")
    make(Stage.PUBLISHED, KEY, releasing)
    for name in ("release-0002", "main", "0" * 40):
        with pytest.raises(UserError, match=rf"has no release {name}\. .*It has release-0001\.") as refused:
            release_diff(target, repo, "release-0001", name)
        assert "\n" not in str(refused.value)


@dataclass(frozen=True)
class Watched(DirectoryTarget):
    """Notes which files are opened."""

    opened: list[str] = field(default_factory=list)

    @contextmanager
    def open(self, repo_id: str, path: str, revision: str) -> Iterator[BinaryIO]:
        self.opened.append(path)
        with super().open(repo_id, path, revision) as file:
            yield file


def test_files_of_equal_bytes_are_not_read(own_sample: Settings, tmp_path: Path) -> None:
    settings = replace(own_sample, publish_to=str(tmp_path / "published"))
    make(Stage.PUBLISHED, KEY, settings)
    changed = with_catalog(settings, tmp_path / "catalog", {})
    pools = tmp_path / "catalog" / "policies" / "pools.yaml"
    pools.write_text(pools.read_text().replace("predicate: quality_has_tool", "predicate: stats_tool_calls > 1"))
    for stage in (Stage.POOLS, Stage.PUBLISHED):
        make(stage, KEY, changed)
    watched = Watched(tmp_path / "published")
    repo = repo_of(settings)
    (diff,) = release_diff(watched, repo, "release-0001", "release-0002")
    assert list(diff.summary["moved"]) == ["settings"]
    assert watched.opened == ["candidates_tool_use/tool_calling-00000.parquet"] * 2


def test_a_release_that_is_about_to_be_is_compared_from_this_machine(own_sample: Settings, tmp_path: Path) -> None:
    settings = replace(own_sample, publish_to=str(tmp_path / "published"))
    split = settings.catalog.split(KEY)
    make(Stage.PUBLISHED, KEY, settings)
    target, repo = target_of(settings), repo_of(settings)
    revision = target.refs(repo).tags["release-0001"]
    record = records_at(target, repo, revision)["tool_calling"]
    files = {path: tmp_path / "files" / path for config in record["configs"].values() for path in config["paths"]}
    for path, place in files.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        with target.open(repo, path, revision) as file:
            place.write_bytes(file.read())
    assert since_release(target, repo, revision, split, record, files).is_empty
    rows = pq.read_table(files["rows/tool_calling-00000.parquet"])
    pq.write_table(rows.slice(1), files["rows/tool_calling-00000.parquet"])
    record["configs"]["rows"] |= {"sha256": ["another"], "rows": rows.num_rows - 1}
    diff = since_release(target, repo, revision, split, record, files)
    assert diff.left["id"].to_list() == [rows["id"][0].as_py()]
    assert diff.summary["left"] == {"source": 1}
    assert diff.common == rows.num_rows - 1
