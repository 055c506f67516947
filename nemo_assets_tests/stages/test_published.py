"""Releases: what lies in the repo after publishing, in a directory and on a Hub."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
import yaml

from nemo_assets.errors import UserError
from nemo_assets.settings import Settings
from nemo_assets.stages.plan import standing
from nemo_assets.storage import Manifest, Stage
from nemo_assets_tests.hub.fixtures import RunningHub
from nemo_assets_tests.stages.making import make, rows_of

KEY, OTHER = "nemotron-agentic-v1/tool_calling", "nemotron-agentic-v1/interactive_agent"
RENDERED = "nemotron-math-v2-harmony-tools/medium"


@pytest.fixture(scope="module")
def released(sample: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Both splits of a source with tools, and a rendered one with joined correctness, in a directory of their own."""
    directory = tmp_path_factory.mktemp("released")
    shutil.copytree(sample.data_dir, directory / "data")
    settings = replace(sample, data_dir=directory / "data", publish_to=str(directory / "published"))
    for key in (KEY, OTHER, RENDERED):
        make(Stage.PUBLISHED, key, settings)
    return settings


def repo_of(settings: Settings, key: str) -> Path:
    return Path(settings.destination) / settings.release_repo(settings.catalog.split(key))


def commits(settings: Settings, key: str) -> list[dict[str, Any]]:
    repo = repo_of(settings, key)
    return [json.loads(line) for line in (repo.parent / f".{repo.name}" / "commits.jsonl").read_text().splitlines()]


def visible(repo: Path) -> dict[str, str]:
    paths = [path for path in repo.rglob("*") if path.is_file()]
    names = {path.relative_to(repo).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return {name: sha256 for name, sha256 in sorted(names.items()) if not name.startswith(".")}


def test_a_split_is_one_commit_and_leaves_nothing_behind(released: Settings) -> None:
    manifest = released.store.current(Stage.PUBLISHED, KEY)
    first, second = commits(released, KEY)
    assert (first["parent"], second["parent"]) == (None, first["commit"])
    assert manifest.details["commit"] == first["commit"]
    added = {path for path in first["added"] if not path.startswith("images/")}
    assert added == {*manifest.details["files"], "README.md", "lineage/tool_calling.json"}
    assert manifest.details["tag"] == "release-0001"
    left = {path.name for path in released.store.directory(Stage.PUBLISHED, KEY).iterdir()}
    assert left == {"manifest.json", ".lock"}


def test_shards_lie_by_config_and_split_and_an_empty_pool_is_left_out(released: Settings) -> None:
    pools = {name for name, rows in released.store.current(Stage.POOLS, KEY).counters["pools"].items() if rows}
    assert 0 < len(pools) < len(released.catalog.pools)
    files = released.store.current(Stage.PUBLISHED, KEY).details["files"]
    side = {"tools", "ledger", "rejected", "removed", "inventory", "metadata_coverage"}
    assert set(files) == {f"{config}/tool_calling-00000.parquet" for config in {"rows"} | side | pools}
    assert {path: sha256 for path, sha256 in visible(repo_of(released, KEY)).items() if path in files} == files


def test_the_datasets_library_loads_every_config_with_the_counted_rows(released: Settings, tmp_path: Path) -> None:
    from datasets import load_dataset

    for key in (KEY, RENDERED):
        counts = released.store.current(Stage.PUBLISHED, key).counters["configs"]
        split = released.catalog.split(key).name
        assert {"rows", "ledger"} < set(counts)
        for config, rows in counts.items():
            loaded = load_dataset(str(repo_of(released, key)), config, split=split, cache_dir=str(tmp_path / "cache"))
            assert len(loaded) == rows, config


def test_what_is_published_is_what_is_kept_with_uids_in_hex(released: Settings) -> None:
    store, repo = released.store, repo_of(released, KEY)
    kept = rows_of(store.current(Stage.DEDUPED, KEY), store).to_pylist()
    for row in kept:
        row["record_uid"] = row["record_uid"].hex()
    assert pq.read_table(repo / "rows/tool_calling-00000.parquet").to_pylist() == kept
    memberships = rows_of(store.current(Stage.POOLS, KEY), store)["pools"].to_pylist()
    for pool in ("candidates_tool_use", "candidates_missing_correctness_meta"):
        members = [row for row, pools in zip(kept, memberships, strict=True) if pool in pools]
        assert pq.read_table(repo / f"{pool}/tool_calling-00000.parquet").to_pylist() == members
    tools = pq.read_table(repo / "tools/tool_calling-00000.parquet").to_pylist()
    assert {row["source_tools_id"] for row in kept} - {None} <= {tool["source_tools_id"] for tool in tools}
    ledger = pq.read_table(repo / "ledger/tool_calling-00000.parquet")
    assert ledger.num_rows == store.current(Stage.LEDGER, KEY).counters["records"] == 37
    assert set(map(len, ledger["record_uid"].to_pylist())) == {32}


def test_rendered_rows_are_published_with_the_joined_correctness(released: Settings) -> None:
    store = released.store
    joined = {
        row["record_uid"].hex(): row
        for row in rows_of(store.current(Stage.POOLS, RENDERED), store, "joined").to_pylist()
    }
    assert joined
    for row in pq.read_table(repo_of(released, RENDERED) / "rows/medium-00000.parquet").to_pylist():
        origin = joined.get(row["record_uid"], {})
        assert row["meta_correctness"] == origin.get("meta_correctness")
        assert row["meta_problem_id"] == origin.get("meta_problem_id")


def test_the_card_names_the_files_of_every_split(released: Settings) -> None:
    front = yaml.safe_load((repo_of(released, KEY) / "README.md").read_text().split("---")[1])
    rows = next(config for config in front["configs"] if config["config_name"] == "rows")
    splits = {entry["split"] for entry in rows["data_files"]}
    assert splits == {"tool_calling", "interactive_agent"}


@pytest.fixture
def own_release(own_sample: Settings, tmp_path: Path) -> Settings:
    return replace(own_sample, publish_to=str(tmp_path / "published"))


def test_publishing_again_commits_nothing(own_release: Settings) -> None:
    first = make(Stage.PUBLISHED, KEY, own_release)
    assert make(Stage.PUBLISHED, KEY, own_release) == first
    (own_release.store.directory(Stage.PUBLISHED, KEY) / "manifest.json").unlink()  # killed before it was noted
    again = make(Stage.PUBLISHED, KEY, own_release)
    assert {**first.details, "upload": None} == {**again.details, "upload": None}
    assert (again.data_version, again.counters) == (first.data_version, first.counters)
    assert len(commits(own_release, KEY)) == 1


def test_a_release_that_is_gone_is_published_again(own_release: Settings) -> None:
    make(Stage.PUBLISHED, KEY, own_release)
    whole = visible(repo_of(own_release, KEY))
    shutil.rmtree(own_release.destination)
    make(Stage.PUBLISHED, KEY, own_release)
    assert visible(repo_of(own_release, KEY)) == whole


def test_a_changed_split_takes_away_what_it_no_longer_has_and_leaves_the_others(own_release: Settings) -> None:
    make(Stage.PUBLISHED, OTHER, own_release)
    make(Stage.PUBLISHED, KEY, own_release)
    before = visible(repo_of(own_release, KEY))
    empty_pool(own_release, "candidates_tool_use")
    after = make(Stage.PUBLISHED, KEY, own_release)
    now = visible(repo_of(own_release, KEY))
    assert set(before) - set(now) == {"candidates_tool_use/tool_calling-00000.parquet"}
    assert "candidates_tool_use" not in after.counters["configs"]
    assert after.counters["changes"]["since"] == "release-0002"
    assert {path for path in now if path.split("/")[-1].startswith("interactive_agent")} == {
        path for path in before if path.split("/")[-1].startswith("interactive_agent")
    }
    assert all(now[path] == sha256 for path, sha256 in after.details["files"].items())
    front = yaml.safe_load((repo_of(own_release, KEY) / "README.md").read_text().split("---")[1])
    tool_use = next(config for config in front["configs"] if config["config_name"] == "candidates_tool_use")
    assert [entry["split"] for entry in tool_use["data_files"]] == ["interactive_agent"]


def empty_pool(settings: Settings, name: str) -> Manifest:
    """Memberships of KEY without this pool, as another policy would make them."""
    store = settings.store
    pools = store.current(Stage.POOLS, KEY)
    members = rows_of(pools, store)
    left = [[pool for pool in each if pool != name] for each in members["pools"].to_pylist()]
    changed = members.set_column(2, members.schema.field("pools"), [left])
    pq.write_table(changed, store.paths(pools)[0])
    return store.write_manifest(msgspec.structs.replace(pools, data_version="e" * 16, version="e" * 16))


def test_a_release_needs_pools_and_ledger_of_the_same_rows(own_release: Settings) -> None:
    store = own_release.store
    pools = store.current(Stage.POOLS, KEY)
    store.write_manifest(msgspec.structs.replace(pools, inputs={"deduped": "d" * 16}))
    with pytest.raises(
        UserError, match=r"pools is older than deduped\. Materialise pools of nemotron-agentic-v1/tool_calling first"
    ):
        make(Stage.PUBLISHED, KEY, own_release)
    assert not repo_of(own_release, KEY).exists()


def test_shards_are_cut_between_parts_and_hold_the_same_rows(
    own_release: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nemo_assets.stages import release_files
    from nemo_assets.stages.normalized import normalize

    store = own_release.store
    normalize(own_release.catalog.split(KEY), store, unit_bytes=20_000)
    for stage, partition in (
        (Stage.SIGNATURES, KEY),
        (Stage.DUPLICATES, "distilled"),
        (Stage.DEDUPED, KEY),
        (Stage.LEDGER, KEY),
        (Stage.POOLS, KEY),
    ):
        make(stage, partition, own_release)
    monkeypatch.setattr(release_files, "SHARD_BYTES", 40_000)
    manifest = make(Stage.PUBLISHED, KEY, own_release)
    paths = [path for path in manifest.details["files"] if path.startswith("rows/")]
    assert paths == [f"rows/tool_calling-{number:05d}.parquet" for number in range(len(paths))]
    assert len(paths) > 1
    repo = repo_of(own_release, KEY)
    kept = rows_of(store.current(Stage.DEDUPED, KEY), store)["id"].to_pylist()
    assert [name for path in paths for name in pq.read_table(repo / path)["id"].to_pylist()] == kept
    memberships = rows_of(store.current(Stage.POOLS, KEY), store).to_pylist()
    members = [row["id"] for row in memberships if "candidates_tool_use" in row["pools"]]
    published_members = [
        pq.read_table(repo / path)["id"].to_pylist()
        for path in manifest.details["files"]
        if path.startswith("candidates_tool_use/")
    ]
    assert [name for names in published_members for name in names] == members


@pytest.fixture
def on_hub(own_sample: Settings, hub_server: RunningHub) -> Settings:
    return replace(own_sample, publish_to="hf://alice", endpoint=hub_server.endpoint, token=hub_server.token)


def hub_files(hub: RunningHub, repo: str) -> dict[str, str]:
    head = hub.store.repositories[repo].history("main")[0][1]
    digests = {
        path: hashlib.sha256(hub.store.content_path(entry).read_bytes()).hexdigest()
        for path, entry in head.files.items()
    }
    return {path: sha256 for path, sha256 in sorted(digests.items()) if not path.startswith(".")}


def test_the_hub_gets_the_same_files_as_a_directory_in_a_private_repo(
    released: Settings, on_hub: Settings, hub_server: RunningHub
) -> None:
    make(Stage.PUBLISHED, KEY, on_hub)
    make(Stage.PUBLISHED, OTHER, on_hub)
    repository = hub_server.store.repositories["alice/nemotron-agentic-v1-pools"]
    assert repository.private
    assert len(repository.history("main")) == 1 + 2  # the Hub's own first commit, and one a split
    on_the_hub, in_the_directory = hub_files(hub_server, repository.repo_id), visible(repo_of(released, KEY))
    assert on_the_hub.keys() == in_the_directory.keys()
    assert {path for path in on_the_hub if on_the_hub[path] != in_the_directory[path]} <= {
        "README.md"
    }  # it names the repo
    make(Stage.PUBLISHED, KEY, on_hub)
    assert len(repository.history("main")) == 3


def test_a_public_repo_is_asked_for(on_hub: Settings, hub_server: RunningHub) -> None:
    make(Stage.PUBLISHED, KEY, replace(on_hub, public=True))
    assert not hub_server.store.repositories["alice/nemotron-agentic-v1-pools"].private


def test_splits_published_at_once_all_land(on_hub: Settings, hub_server: RunningHub) -> None:
    failures: list[Exception] = []

    def publish_one(key: str) -> None:
        try:
            make(Stage.PUBLISHED, key, on_hub)
        except Exception as error:  # noqa: BLE001  (told below, in the thread that runs the test)
            failures.append(error)

    keys = [key for key in on_hub.catalog.splits if key.startswith("nemotron-math-v2/")]
    threads = [threading.Thread(target=publish_one, args=[key]) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    there = hub_files(hub_server, "alice/nemotron-math-v2-pools")
    for key in keys:
        files = on_hub.store.current(Stage.PUBLISHED, key).details["files"]
        assert {path: there[path] for path in files} == files
    card = hub_server.store.repositories["alice/nemotron-math-v2-pools"].history("main")[0][1].files["README.md"]
    front = yaml.safe_load(hub_server.store.content_path(card).read_text().split("---")[1])
    rows = next(config for config in front["configs"] if config["config_name"] == "rows")
    assert len(rows["data_files"]) == len(keys) == 5


def test_a_release_that_is_gone_from_the_destination_is_not_current_and_is_published_again(
    released: Settings, tmp_path: Path
) -> None:
    settings = replace(released, publish_to=str(tmp_path / "elsewhere"))
    first = make(Stage.PUBLISHED, KEY, settings)
    assert standing(Stage.PUBLISHED, KEY, settings).currency == "current"
    shutil.rmtree(tmp_path / "elsewhere")
    assert standing(Stage.PUBLISHED, KEY, settings).currency == "stale"
    again = make(Stage.PUBLISHED, KEY, settings)
    assert again.details["files"] == first.details["files"]
    assert set(first.details["files"]) <= set(visible(repo_of(settings, KEY)))
