"""What happens to releases: withdrawal, approval, rollback, results, plan."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import HfApi

from nemo_assets.errors import UserError
from nemo_assets.lineage import explain, passport_text
from nemo_assets.sample import HUB
from nemo_assets.settings import Settings
from nemo_assets.stages import published, release_files
from nemo_assets.stages.landing import target_of
from nemo_assets.stages.plan import standing
from nemo_assets.stages.published import approve
from nemo_assets.stages.release_plan import plan_release
from nemo_assets.stages.rollback import roll_back
from nemo_assets.storage import Stage
from nemo_assets_tests.hub.fixtures import RunningHub
from nemo_assets_tests.stages.making import make, make_chain, rows_of, with_catalog

KEY, OTHER = "nemotron-agentic-v1/tool_calling", "nemotron-agentic-v1/interactive_agent"
ROWS = "rows/tool_calling-00000.parquet"


@pytest.fixture(params=["directory", "hub"])
def releasing(request: pytest.FixtureRequest, own_sample: Settings, tmp_path: Path) -> Settings:
    """Where releases go to: a directory, and a Hub."""
    if request.param == "directory":
        return replace(own_sample, publish_to=str(tmp_path / "published"))
    hub: RunningHub = request.getfixturevalue("hub_server")
    return replace(own_sample, publish_to="hf://alice", endpoint=hub.endpoint, token=hub.token)


def ids_at(settings: Settings, path: str, revision: str | None = None) -> list[str]:
    """The ids in a published file, at the head unless told otherwise."""
    target, repo = target_of(settings), settings.release_repo(settings.catalog.split(KEY))
    at = revision or target.head(repo)
    assert at is not None
    with target.open(repo, path, at) as file:
        ids: list[str] = pq.read_table(file, columns=["id"])["id"].to_pylist()
    return ids


def withdrawn(settings: Settings, tmp_path: Path, *ids: str) -> Settings:
    """The same with these ids withdrawn."""
    entries = [{"id": each, "reason": "takedown", "note": "asked for by its author"} for each in ids]
    return with_catalog(settings, tmp_path / "catalog", {"policies/withdrawals.yaml": {"withdrawals": entries}})


def test_a_withdrawn_row_leaves_every_pool_and_the_card_names_it(releasing: Settings, tmp_path: Path) -> None:
    make(Stage.PUBLISHED, KEY, releasing)
    before = ids_at(releasing, ROWS)
    taken = before[3]
    kept = rows_of(releasing.store.current(Stage.DEDUPED, KEY), releasing.store).to_pylist()
    said = {row["id"]: row["text"].rpartition("<|message|>")[2][:60] for row in kept}
    assert sum(said[taken] in row["text"] for row in kept) == 1
    after = withdrawn(releasing, tmp_path, taken)
    assert standing(Stage.PUBLISHED, KEY, after).currency == "stale"
    made = make(Stage.PUBLISHED, KEY, after)
    assert (made.details["tag"], made.counters["withdrawn"]) == ("release-0002", {"takedown": 1})
    assert ids_at(after, ROWS) == [each for each in before if each != taken]
    pools = sorted(set(after.catalog.pools) & set(made.counters["configs"]))
    assert len(pools) == 2
    for config in pools:
        assert taken not in ids_at(after, f"{config}/tool_calling-00000.parquet"), config
    target, repo = target_of(after), after.release_repo(after.catalog.split(KEY))
    head = target.head(repo)
    assert head is not None
    with target.open(repo, "ledger/tool_calling-00000.parquet", head) as file:
        entry = next(row for row in pq.read_table(file).to_pylist() if row["id"] == taken)
    assert entry["state"] == "withdrawn"
    words = said[taken]
    for path in target.paths(repo, head):
        content = target.read(repo, path, head) or b""
        told = str(pq.read_table(pa.BufferReader(content)).to_pylist()) if path.endswith(".parquet") else str(content)
        assert words not in told, path
    readme = (target.read(repo, "README.md", head) or b"").decode()
    assert taken in readme
    assert "takedown" in readme
    assert made.counters["changes"]["left"] == {"withdrawal": 1}
    told = passport_text(explain(taken, after.catalog, after.store))
    assert f"left out of {repo}: withdrawn (takedown)" in " ".join(told.split())
    with pytest.raises(UserError, match=r"release-0001 holds 1 records of tool_calling that are withdrawn"):
        roll_back(after.catalog.split(KEY), "release-0001", after)


def test_a_release_asks_the_hub_little(own_sample: Settings, hub_server: RunningHub) -> None:
    settings = replace(own_sample, publish_to="hf://alice", endpoint=hub_server.endpoint, token=hub_server.token)
    for key in (KEY, OTHER):
        hub_server.wire.forget()
        made = make(Stage.PUBLISHED, key, settings)
        asked = [each for each in hub_server.wire.requests if re.search(r"^/api/|/info/lfs/objects/batch$", each.path)]
        assert len(made.details["files"]) < 256
        assert len(asked) <= 10 + 2, asked  # committed, verified, loaded with `datasets`, and tagged


def test_a_rollback_is_a_new_release_with_the_old_content(releasing: Settings) -> None:
    first = make(Stage.PUBLISHED, KEY, releasing)
    make(Stage.PUBLISHED, OTHER, releasing)
    target, repo = target_of(releasing), releasing.release_repo(releasing.catalog.split(KEY))
    back = roll_back(releasing.catalog.split(KEY), "release-0001", releasing)
    assert back.tag == "release-0003"
    assert target.paths(repo, back.revision) == target.paths(repo, first.details["revision"])
    assert target.refs(repo).tags["release-0001"] == first.details["revision"]
    assert standing(Stage.PUBLISHED, OTHER, releasing).currency == "stale"
    make(Stage.PUBLISHED, OTHER, releasing)
    assert sorted(target.refs(repo).tags) == [f"release-000{number}" for number in (1, 2, 3, 4)]
    with pytest.raises(UserError, match="has no release release-0009"):
        roll_back(releasing.catalog.split(KEY), "release-0009", releasing)


def test_a_release_that_waits_is_not_current_until_it_is_approved(releasing: Settings) -> None:
    waiting = replace(releasing, approval=True)
    target, repo = target_of(releasing), releasing.release_repo(releasing.catalog.split(KEY))
    made = make(Stage.PUBLISHED, KEY, waiting)
    assert "tag" not in made.details
    assert target.refs(repo).tags == {}
    head = target.head(repo)
    assert head is None or ROWS not in target.paths(repo, head)
    assert make(Stage.PUBLISHED, KEY, waiting) == made
    with pytest.raises(UserError, match=f"`nemo-assets approve {KEY}`"):
        make(Stage.SCORED, KEY, waiting)
    landed = approve(waiting.catalog.split(KEY), waiting)
    assert landed.details["tag"] == "release-0001"
    assert landed.data_version == made.data_version
    there = target.paths(repo, landed.details["revision"])
    assert {path: there[path] for path in made.details["files"]} == made.details["files"]
    assert target.head(repo, "waiting/tool_calling") is None
    assert standing(Stage.PUBLISHED, KEY, waiting).currency == "current"
    with pytest.raises(UserError, match="no release of this split waits"):
        approve(waiting.catalog.split(KEY), waiting)


def test_scores_land_in_a_second_commit_and_leave_with_withdrawn_rows(
    releasing: Settings, tiny_student: Path, tmp_path: Path
) -> None:
    settings = replace(releasing, model_name=str(tiny_student), scorer_max_records=6)
    make(Stage.PUBLISHED, KEY, settings)
    make(Stage.SCORED, KEY, settings)
    made = make(Stage.RESULTS, KEY, settings)
    assert made.details["tag"] == "release-0002"
    scored = ids_at(settings, "scores/tool_calling-00000.parquet")
    assert scored == ids_at(settings, ROWS)
    assert make(Stage.RESULTS, KEY, settings) == made
    target, repo = target_of(settings), settings.release_repo(settings.catalog.split(KEY))
    assert "images/nll.png" in target.paths(repo, made.details["revision"])
    roll_back(settings.catalog.split(KEY), "release-0001", settings)
    assert standing(Stage.PUBLISHED, KEY, settings).currency == "current"
    assert standing(Stage.RESULTS, KEY, settings).currency == "stale"
    assert make(Stage.RESULTS, KEY, settings).details["tag"] == "release-0004"
    after = withdrawn(settings, tmp_path, scored[0])
    make(Stage.PUBLISHED, KEY, after)
    assert "scores/tool_calling-00000.parquet" not in target.paths(repo, target.head(repo) or "")  # of other rows
    make(Stage.RESULTS, KEY, after)
    assert ids_at(after, "scores/tool_calling-00000.parquet") == scored[1:]


def test_a_plan_says_what_publishing_then_does(releasing: Settings) -> None:
    split = releasing.catalog.split(KEY)
    plan = plan_release(split, releasing)
    target, repo = target_of(releasing), releasing.release_repo(split)
    assert target.head(repo) is None
    made = make(Stage.PUBLISHED, KEY, releasing)
    assert (set(plan.uploaded), plan.unchanged, plan.deleted) == (set(made.details["files"]), {}, ())
    assert (plan.commits, plan.seconds) == (1, None)
    again = plan_release(split, releasing)
    assert (again.uploaded, again.upload_bytes, again.seconds, again.commits) == ({}, 0, 0, 0)
    assert set(again.unchanged) == set(plan.uploaded)


def test_a_release_that_is_damaged_on_the_way_gets_no_tag(own_sample: Settings, tmp_path: Path) -> None:
    settings = replace(own_sample, publish_to=str(tmp_path / "published"))
    manifest = make(Stage.PUBLISHED, KEY, settings)
    store = settings.store
    store.write_manifest(msgspec.structs.replace(manifest, version="0" * 16))
    repo = Path(settings.destination) / settings.release_repo(settings.catalog.split(KEY))
    shard = (repo / ROWS).resolve()
    shard.chmod(0o644)
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError, match="rows"):
        make(Stage.PUBLISHED, OTHER, settings)
    assert list(target_of(settings).refs(settings.release_repo(settings.catalog.split(KEY))).tags) == ["release-0001"]


def test_what_waits_is_not_approved_once_a_row_of_it_is_withdrawn(own_sample: Settings, tmp_path: Path) -> None:
    waiting = replace(own_sample, publish_to=str(tmp_path / "published"), approval=True)
    make(Stage.PUBLISHED, KEY, waiting)
    taken = ids_at_branch(waiting)[0]
    after = withdrawn(waiting, tmp_path, taken)
    with pytest.raises(UserError, match="what waits is older than rows, catalog or withdrawals"):
        approve(after.catalog.split(KEY), after)
    make(Stage.PUBLISHED, KEY, after)
    approve(after.catalog.split(KEY), after)
    assert taken not in ids_at(after, ROWS)


def ids_at_branch(settings: Settings) -> list[str]:
    target, repo = target_of(settings), settings.release_repo(settings.catalog.split(KEY))
    head = target.head(repo, "waiting/tool_calling")
    assert head is not None
    return ids_at(settings, ROWS, head)


def test_approval_switched_off_lands_what_waits(own_sample: Settings, tmp_path: Path) -> None:
    waiting = replace(own_sample, publish_to=str(tmp_path / "published"), approval=True)
    made = make(Stage.PUBLISHED, KEY, waiting)
    landed = make(Stage.PUBLISHED, KEY, replace(waiting, approval=False))
    assert (landed.details["tag"], landed.data_version) == ("release-0001", made.data_version)


def test_a_record_withdrawn_by_its_uid_does_not_come_back_when_its_file_changes(
    own_sample: Settings, tmp_path: Path
) -> None:
    sources = tmp_path / "sources"
    shutil.copytree(HUB, sources)
    settings = replace(own_sample, publish_to=str(tmp_path / "published"), source_dir=sources)
    ledger = rows_of(settings.store.current(Stage.LEDGER, KEY), settings.store).to_pylist()
    entry = next(each for each in ledger if each["state"] == "kept")
    listed = [{"record_uid": entry["record_uid"].hex(), "reason": "takedown"}]
    settings = with_catalog(settings, tmp_path / "catalog", {"policies/withdrawals.yaml": {"withdrawals": listed}})
    make(Stage.PUBLISHED, KEY, settings)
    assert entry["id"] not in ids_at(settings, ROWS)
    path = sources / "nvidia/Nemotron-Agentic-v1" / entry["source_file"]
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[-1])
    make_chain(settings, Stage.POOLS, [KEY])
    with pytest.raises(UserError, match=f"Write `id: {entry['id']}` in policies/withdrawals.yaml instead"):
        make(Stage.PUBLISHED, KEY, settings)


def test_a_row_that_is_listed_as_withdrawn_does_not_come_back_by_a_rollback(
    own_sample: Settings, tmp_path: Path
) -> None:
    settings = replace(own_sample, publish_to=str(tmp_path / "published"))
    make(Stage.PUBLISHED, KEY, settings)
    make(Stage.PUBLISHED, OTHER, settings)
    after = withdrawn(settings, tmp_path, ids_at(settings, ROWS)[0])  # and not published yet
    with pytest.raises(UserError, match=r"release-0001 holds 1 records of tool_calling that are withdrawn"):
        roll_back(after.catalog.split(KEY), "release-0001", after)


def test_data_of_somebody_else_is_left_alone(own_sample: Settings, hub_server: RunningHub) -> None:
    settings = replace(own_sample, publish_to="hf://alice", endpoint=hub_server.endpoint, token=hub_server.token)
    repo = settings.release_repo(settings.catalog.split(KEY))
    mine = hub_server.store.seed(repo, {"README.md": b"# Mine", "data/train.csv": b"a,b"})
    with pytest.raises(UserError, match=r"holds data/train\.csv, which no release put there"):
        make(Stage.PUBLISHED, KEY, settings)
    assert hub_server.store.repositories[repo].head == mine


def test_a_lost_tag_is_made_again(own_sample: Settings, hub_server: RunningHub) -> None:
    settings = replace(own_sample, publish_to="hf://alice", endpoint=hub_server.endpoint, token=hub_server.token)
    first = make(Stage.PUBLISHED, KEY, settings).details
    HfApi(settings.endpoint, settings.token).delete_tag(first["repo"], tag=first["tag"], repo_type="dataset")
    assert standing(Stage.PUBLISHED, KEY, settings).currency == "stale"
    again = make(Stage.PUBLISHED, KEY, settings).details
    assert target_of(settings).refs(first["repo"]).tags == {again["tag"]: first["revision"]}


def test_publishing_one_split_again_changes_nothing_whichever_was_last(own_sample: Settings, tmp_path: Path) -> None:
    settings = replace(own_sample, publish_to=str(tmp_path / "published"))
    for key in (OTHER, KEY):
        make(Stage.PUBLISHED, key, settings)
    (settings.store.directory(Stage.PUBLISHED, OTHER) / "manifest.json").unlink()
    again = make(Stage.PUBLISHED, OTHER, settings)
    assert again.details["tag"] == "release-0002"
    assert len(target_of(settings).refs(again.details["repo"]).tags) == 2


def test_another_licence_is_published(own_sample: Settings, tmp_path: Path) -> None:
    settings = replace(own_sample, publish_to=str(tmp_path / "published"))
    make(Stage.PUBLISHED, KEY, settings)
    source = yaml.safe_load((settings.catalog_dir / "nemotron-agentic-v1.yaml").read_text())
    changed = {"nemotron-agentic-v1.yaml": source | {"license": "cc-by-nc-4.0"}}
    after = with_catalog(settings, tmp_path / "catalog", changed)
    made = make(Stage.PUBLISHED, KEY, after)
    readme = target_of(after).read(made.details["repo"], "README.md", made.details["revision"]) or b""
    assert b"license: cc-by-nc-4.0" in readme


def test_splits_whose_columns_are_of_an_earlier_release_hold_up_nothing(
    own_sample: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(own_sample, publish_to=str(tmp_path / "published"))
    for key in (OTHER, KEY):
        make(Stage.PUBLISHED, key, settings)
    wider = dict(release_files.SIDE_SCHEMAS)
    wider["tools"] = wider["tools"].append(pa.field("new", pa.string()))
    monkeypatch.setattr(release_files, "SIDE_SCHEMAS", wider)
    monkeypatch.setattr(release_files, "published_rows", _with_new_column(release_files.published_rows))
    monkeypatch.setattr(published, "PUBLISHED_CODE", "wider")
    made = make(Stage.PUBLISHED, KEY, settings)
    assert made.details["tag"] == "release-0003"
    readme = (target_of(settings).read(made.details["repo"], "README.md", made.details["revision"]) or b"").decode()
    assert "To be published again" in readme


def _with_new_column(original: Any) -> Any:
    def rows(table: pa.Table, schema: pa.Schema, joined: Path | None = None) -> pa.Table:
        if "new" in schema.names:
            return original(table, schema.remove(len(schema) - 1), joined).append_column(
                schema.field("new"), pa.nulls(table.num_rows, pa.string())
            )
        return original(table, schema, joined)

    return rows
