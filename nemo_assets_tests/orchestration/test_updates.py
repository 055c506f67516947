"""Updates of sources on the Hub, noticed by real ticks and followed by real runs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

import dagster as dg
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData

from nemo_assets.orchestration.resources import config_of
from nemo_assets.orchestration.updates import look
from nemo_assets.storage import Stage
from nemo_assets_tests.hub.faults import Fault
from nemo_assets_tests.hub.store import Store
from nemo_assets_tests.orchestration.daemon import Daemon, asked_for
from nemo_assets_tests.orchestration.world import CHAIN_OF_A_SPLIT, QUIET, World, problem

# Dagster's own evaluation for tests selects external assets by a parameter still in beta.
pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")

FILLED = ("alpha/low", "alpha/high", "beta/chat")
HIGH = "org/alpha/data/high.jsonl"
OTHER = [problem("p4", "4 + 4", "8")]
CHECK = dg.AssetCheckKey(dg.AssetKey("source"), "splits_match_the_source")


def sources_of(tick: SensorExecutionData) -> list[str | None]:
    """The splits whose `source` a tick reported."""
    said = [event for event in tick.asset_events if isinstance(event, dg.AssetMaterialization)]
    return [event.partition for event in said if event.asset_key == dg.AssetKey("source")]


def put_to_rest(store: Store) -> None:
    """Make every commit old enough to count at first sight."""
    for repository in store.repositories.values():
        old = {oid: replace(commit, date="2026-01-01T00:00:00.000Z") for oid, commit in repository.commits.items()}
        repository.commits.update(old)


def requests_of(world: World, repo: str) -> list[tuple[str, str]]:
    """Method and path of every request about a repo since the last call."""
    assert world.hub is not None
    told = [(request.method, request.path.partition(repo)[2]) for request in world.hub.wire.requests]
    world.hub.wire.requests.clear()
    return [(method, path) for method, path in told if path]


@pytest.fixture
def store(hub_world: World) -> Store:
    assert hub_world.hub is not None
    return hub_world.hub.store


@pytest.fixture
def seen(hub_world: World, store: Store) -> World:
    """A project that knows its sources."""
    hub_world.write_texts("org/rendered/data/low.parquet", ["text"])
    put_to_rest(store)
    assert sources_of(hub_world.tick()) == ["alpha/low", "alpha/high", "beta/chat", "rendered/low"]
    requests_of(hub_world, "org/alpha")
    return hub_world


@pytest.fixture
def daemon(seen: World) -> Daemon:
    """A filled project whose automation has been on for a while."""
    seen.fill(*FILLED)
    seen.run(None, "inventory", "metadata_coverage")
    daemon = Daemon(seen)
    assert daemon.until_quiet() == []
    return daemon


def of_splits(asked: list[set[tuple[str, str | None]]]) -> list[tuple[str, str | None]]:
    """What was asked for, reports over all splits left out."""
    return [key for key in asked_for(asked) if key[1] is not None]


# What follows from a change


def test_one_changed_file_runs_the_chain_of_its_split_and_what_depends_on_it_once(daemon: Daemon):
    daemon.world.write_jsonl(HIGH, OTHER)
    first = daemon.world.tick()
    assert daemon.until_quiet() == []  # perhaps one of many commits
    second = daemon.world.tick()

    asked = of_splits(daemon.until_quiet())

    assert (sources_of(first), sources_of(second)) == ([], ["alpha/high"])
    chain = [(name, "distilled" if name == "duplicates" else "alpha/high") for name in CHAIN_OF_A_SPLIT]
    scope_mates = [("deduped", "alpha/low"), ("deduped", "beta/chat")]  # nothing changes there, so nothing follows
    assert asked == sorted([*chain, *scope_mates], key=str)
    assert sources_of(daemon.world.tick()) == []
    assert daemon.until_quiet() == []


def test_a_commit_that_changes_no_file_of_a_split_runs_nothing(daemon: Daemon, store: Store):
    for content in ({"README.md": b"# Alpha\n"}, {"data/high.jsonl": _content(daemon.world, store)}):
        store.seed("org/alpha", content)
        put_to_rest(store)

        assert sources_of(daemon.world.tick()) == []
        assert daemon.until_quiet() == []


def _content(world: World, store: Store) -> bytes:
    repository = store.repositories["org/alpha"]
    return store.content_path(repository.commits[repository.head].files["data/high.jsonl"]).read_bytes()


def test_a_change_without_another_row_stops_at_the_rows(daemon: Daemon, store: Store):
    daemon.world.write_jsonl("org/alpha/data/low_more.jsonl", [])
    put_to_rest(store)

    assert sources_of(daemon.world.tick()) == ["alpha/low"]
    assert of_splits(daemon.until_quiet()) == [("normalized", "alpha/low"), ("raw", "alpha/low")]


def test_a_download_that_fails_is_asked_for_once_more(daemon: Daemon, store: Store):
    assert daemon.world.hub is not None
    daemon.world.write_jsonl(HIGH, OTHER)
    put_to_rest(store)
    daemon.world.tick()
    daemon.world.hub.wire.inject(Fault("/resolve/.*/high.jsonl", status=403, times=2))
    daemon.failing = {"raw"}

    assert of_splits(daemon.until_quiet()) == [("raw", "alpha/high")] * 2


def test_switching_both_sensors_on_in_a_fresh_instance_starts_nothing(hub_world: World, store: Store):
    hub_world.write_texts("org/rendered/data/low.parquet", ["text"])
    put_to_rest(store)
    daemon = Daemon(hub_world)
    assert daemon.tick() == set()

    assert len(sources_of(hub_world.tick())) == 4
    assert daemon.until_quiet() == []
    assert sources_of(hub_world.tick()) == []
    assert Daemon(hub_world).until_quiet() == []  # also when automation comes second


# What counts as a change


def test_a_tick_without_a_change_is_one_request_a_source(seen: World):
    assert seen.hub is not None
    seen.hub.wire.requests.clear()
    seen.tick()

    told = sorted(f"{request.method} {request.path}" for request in seen.hub.wire.requests)
    assert told == [
        "HEAD /datasets/org/alpha/resolve/main/.gitattributes",
        "HEAD /datasets/org/beta/resolve/main/.gitattributes",
        "HEAD /datasets/org/rendered/resolve/main/.gitattributes",
    ]


def test_a_changed_file_takes_four_requests_and_a_new_card_two(seen: World, store: Store):
    seen.write_jsonl(HIGH, OTHER)
    put_to_rest(store)
    seen.tick()
    head = store.repositories["org/alpha"].head
    assert requests_of(seen, "org/alpha") == [
        ("HEAD", "/resolve/main/.gitattributes"), ("GET", f"/tree/{head}"), ("GET", f"/tree/{head}/data"),
        ("GET", f"/commits/{head}"),
    ]  # fmt: skip

    head = store.seed("org/alpha", {"LICENSE": b"Free.\n"})
    seen.tick()
    assert requests_of(seen, "org/alpha") == [("HEAD", "/resolve/main/.gitattributes"), ("GET", f"/tree/{head}")]


def test_an_upload_in_many_commits_is_reported_when_it_is_over(seen: World):
    for part in range(3):
        seen.write_jsonl(HIGH, [problem(f"p{part}", "4 + 4", "8")])
        tick = seen.tick()
        assert sources_of(tick) == []
        assert "org/alpha: the head" in (tick.skip_message or "")

    assert sources_of(seen.tick()) == ["alpha/high"]


def test_an_older_head_is_a_lagging_cache_until_it_stays(seen: World, store: Store):
    before = store.repositories["org/alpha"].head
    seen.write_jsonl(HIGH, OTHER)
    put_to_rest(store)
    assert sources_of(seen.tick()) == ["alpha/high"]

    store.lag("org/alpha", before, reads=2)
    for _ in range(2):
        tick = seen.tick()
        assert sources_of(tick) == []
        assert f"the head {before[:7]} is older" in (tick.skip_message or "")
    assert sources_of(seen.tick()) == []  # the cache has caught up: nothing is new

    store.lag("org/alpha", before, reads=3)
    assert [sources_of(seen.tick()) for _ in range(3)] == [[], [], ["alpha/high"]]


def test_a_squashed_history_is_no_change_and_later_ones_are_seen(daemon: Daemon, store: Store):
    store.squash("org/alpha")
    put_to_rest(store)
    assert sources_of(daemon.world.tick()) == []

    daemon.world.write_jsonl(HIGH, OTHER)
    put_to_rest(store)
    assert sources_of(daemon.world.tick()) == ["alpha/high"]
    daemon.until_quiet()
    raw = daemon.world.manifest(Stage.RAW, "alpha/high")
    assert raw.details["revision"] == store.repositories["org/alpha"].head


def test_a_lagging_head_that_a_squash_took_away_is_told_and_forgotten(seen: World, store: Store):
    before = store.repositories["org/alpha"].head
    seen.write_jsonl(HIGH, OTHER)
    put_to_rest(store)
    seen.tick()
    store.lag("org/alpha", before, reads=1)
    store.squash("org/alpha")
    put_to_rest(store)

    gone, after = seen.tick(), seen.tick()

    assert (sources_of(gone), sources_of(after)) == ([], [])
    assert f"org/alpha has no revision {before}" in (gone.skip_message or "")


def test_a_run_that_is_shown_a_lagging_head_reads_what_was_reported(daemon: Daemon, store: Store):
    before = store.repositories["org/alpha"].head
    daemon.world.write_jsonl(HIGH, OTHER)
    put_to_rest(store)
    daemon.world.tick()
    store.lag("org/alpha", before, reads=1)
    assert of_splits(daemon.until_quiet()).count(("pools", "alpha/high")) == 1

    assert sources_of(daemon.world.tick()) == []
    assert of_splits(daemon.until_quiet()) == []


def test_what_was_reported_and_got_lost_is_reported_again(seen: World):
    seen.instance.wipe_assets([dg.AssetKey("source")])

    assert len(sources_of(seen.tick())) == 4


def test_a_busy_source_is_left_alone_and_hides_no_other(seen: World, store: Store):
    assert seen.hub is not None
    seen.hub.wire.inject(Fault("org/beta/resolve", status=429, headers={"Retry-After": "300"}))
    seen.write_jsonl(HIGH, OTHER)
    put_to_rest(store)

    tick = seen.tick()

    assert sources_of(tick) == ["alpha/high"]
    assert "limits the rate of requests for org/beta. Run again in 300 s" in (tick.skip_message or "")


@pytest.fixture
def silent_endpoint() -> Iterator[str]:
    """Accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_nobody_waits_for_a_source_that_does_not_answer(hub_world: World, silent_endpoint: str):
    found = look(replace(hub_world.settings, endpoint=silent_endpoint), hub_world.instance, seconds=0.2)

    assert set(found.unreachable) == {"alpha", "beta", "rendered"}
    assert "has not answered within" in found.said
    assert {report.asset for report in found.news} == {"recipe"}


# The schedule


def run_the_schedule(world: World) -> None:
    """What the daemon does at four o'clock: evaluate the schedule, launch the run it asks for."""
    repository = world.defs.get_repository_def()
    schedule = repository.get_schedule_def("source_updates_daily")
    (request,) = schedule.evaluate_tick(dg.build_schedule_context(instance=world.instance)).run_requests or ()
    settings = {"resources": {"settings": {"config": config_of(world.settings)}}, "loggers": QUIET}
    result = repository.get_job(schedule.job_name).execute_in_process(
        instance=world.instance, run_config={**request.run_config, **settings}
    )
    assert result.success


def test_the_schedule_reports_what_the_sensor_would(daemon: Daemon, store: Store):
    run_the_schedule(daemon.world)
    assert daemon.until_quiet() == []

    daemon.world.write_jsonl(HIGH, OTHER)
    run_the_schedule(daemon.world)
    assert daemon.until_quiet() == []  # made a moment ago
    put_to_rest(store)
    run_the_schedule(daemon.world)

    assert ("pools", "alpha/high") in asked_for(daemon.until_quiet())
    assert sources_of(daemon.world.tick()) == []


def test_the_schedule_takes_no_lagging_cache_for_a_change(seen: World, store: Store):
    before = store.repositories["org/alpha"].head
    seen.write_jsonl(HIGH, OTHER)
    put_to_rest(store)
    run_the_schedule(seen)

    store.lag("org/alpha", before, reads=1)
    run_the_schedule(seen)

    assert sources_of(seen.tick()) == []


# Splits that come and go


def check_of(world: World) -> tuple[bool, str]:
    """Whether the check passed when it was last evaluated, and what it says, as the UI shows it."""
    record = world.instance.event_log_storage.get_latest_asset_check_execution_by_key([CHECK])[CHECK]
    assert record.event is not None
    evaluation = record.event.dagster_event.asset_check_evaluation_data  # type: ignore[union-attr]
    return evaluation.passed, evaluation.description or ""


CARD = b"""---
configs:
- config_name: default
  data_files:
  - {split: low, path: data/low*.jsonl}
  - {split: high, path: data/high.jsonl}
  - {split: tool, path: data/tool.jsonl}
---
"""


def test_a_split_that_comes_or_goes_upstream_fails_the_check_by_name(daemon: Daemon, store: Store):
    world = daemon.world
    assert check_of(world) == (True, "Every split of the catalog is there, and there is no other.")
    rows = world.manifest(Stage.POOLS, "alpha/high").data_version

    store.seed("org/alpha", {"README.md": CARD, "data/tool.jsonl": b"{}\n"}, removed=["data/high.jsonl"])
    world.tick()
    assert check_of(world)[0]  # a moment ago
    assert sources_of(world.tick()) == []

    passed, told = check_of(world)
    assert not passed
    assert "alpha/high" in told
    assert f"add `tool` to `splits` in {world.settings.catalog_dir}/alpha.yaml" in told
    assert daemon.until_quiet() == []
    assert world.manifest(Stage.POOLS, "alpha/high").data_version == rows
    world.tick()
    assert not check_of(world)[0]  # it stays until somebody acts

    world.write_jsonl(HIGH, OTHER)
    store.seed("org/alpha", {}, removed=["data/tool.jsonl"])
    put_to_rest(store)
    assert sources_of(world.tick()) == ["alpha/high"]
    assert check_of(world)[0]


def test_a_file_nobody_takes_is_told_where_no_card_names_splits(seen: World, store: Store):
    seen.write_jsonl("org/beta/data/news.jsonl", ["{}"])
    put_to_rest(store)
    run_the_schedule(seen)

    passed, told = check_of(seen)
    assert not passed
    assert "beta/news: org/beta has this split (data/news.jsonl)" in told


def test_the_check_can_be_run_by_hand_and_is_the_one_that_ticks_evaluate(seen: World, store: Store):
    store.seed("org/beta", {}, removed=["data/chat.jsonl"])
    put_to_rest(store)
    by_hand = dg.define_asset_job("by_hand", dg.AssetSelection.checks(CHECK))
    job = dg.Definitions.merge(seen.defs, dg.Definitions(jobs=[by_hand])).resolve_job_def("by_hand")
    result = job.execute_in_process(
        instance=seen.instance,
        run_config={"resources": {"settings": {"config": config_of(seen.settings)}}, "loggers": QUIET},
    )

    (evaluation,) = result.get_asset_check_evaluations()
    assert (evaluation.asset_check_key, evaluation.passed) == (CHECK, False)
    assert "beta/chat" in (evaluation.description or "")


def test_the_check_warns_where_it_could_not_look(seen: World):
    assert seen.hub is not None
    seen.hub.wire.inject(Fault("org/beta/resolve", status=403))
    seen.tick()

    passed, told = check_of(seen)
    assert not passed
    assert "denies access to org/beta" in told
