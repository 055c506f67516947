"""What happens to releases: withdrawal, approval, rollback, results, plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nemo_assets.errors import UserError
from nemo_assets.lineage import explain, passport_text
from nemo_assets.settings import Settings
from nemo_assets.stages.landing import target_of
from nemo_assets.stages.plan import standing
from nemo_assets.stages.published import approve
from nemo_assets.stages.release_plan import plan_release
from nemo_assets.stages.rollback import roll_back
from nemo_assets.storage import Stage
from nemo_assets_tests.hub.fixtures import RunningHub
from nemo_assets_tests.stages.making import make, rows_of, with_catalog

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
    with pytest.raises(UserError, match=r"release-0001 holds 1 records that were withdrawn since"):
        roll_back(after.catalog.split(KEY), "release-0001", after)


def test_a_rollback_is_a_new_release_with_the_old_content(releasing: Settings) -> None:
    first = make(Stage.PUBLISHED, KEY, releasing)
    make(Stage.PUBLISHED, OTHER, releasing)
    target, repo = target_of(releasing), releasing.release_repo(releasing.catalog.split(KEY))
    back = roll_back(releasing.catalog.split(KEY), "release-0001", releasing)
    assert back.tag == "release-0003"
    assert target.paths(repo, back.revision) == target.paths(repo, first.details["revision"])
    assert target.tags(repo)["release-0001"] == first.details["revision"]
    assert standing(Stage.PUBLISHED, OTHER, releasing).currency == "stale"
    make(Stage.PUBLISHED, OTHER, releasing)
    assert sorted(target.tags(repo)) == [f"release-000{number}" for number in (1, 2, 3, 4)]
    with pytest.raises(UserError, match="has no release release-0009"):
        roll_back(releasing.catalog.split(KEY), "release-0009", releasing)


def test_a_release_that_waits_is_not_current_until_it_is_approved(releasing: Settings) -> None:
    waiting = replace(releasing, approval=True)
    target, repo = target_of(releasing), releasing.release_repo(releasing.catalog.split(KEY))
    made = make(Stage.PUBLISHED, KEY, waiting)
    assert "tag" not in made.details
    assert target.tags(repo) == {}
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
    assert scored == ids_at(settings, ROWS)[:6]
    assert make(Stage.RESULTS, KEY, settings) == made
    target, repo = target_of(settings), settings.release_repo(settings.catalog.split(KEY))
    assert "images/nll.png" in target.paths(repo, made.details["revision"])
    after = withdrawn(settings, tmp_path, scored[0])
    make(Stage.PUBLISHED, KEY, after)
    assert "scores/tool_calling-00000.parquet" in target.paths(repo, target.head(repo) or "")
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
    assert (again.uploaded, again.upload_bytes, again.seconds) == ({}, 0, 0)
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
    assert list(target_of(settings).tags(settings.release_repo(settings.catalog.split(KEY)))) == ["release-0001"]
