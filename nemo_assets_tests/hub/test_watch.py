"""Looking at a source on the Hub with few requests, and knowing when to rely on what it shows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from nemo_assets.errors import UserError
from nemo_assets.hub.client import Hub, Retry
from nemo_assets.hub.sources import Commit, HubSource
from nemo_assets.hub.watch import Memory, WatchedHub, reason_to_wait
from nemo_assets_tests.hub.faults import Fault
from nemo_assets_tests.hub.fixtures import RunningHub

REPO = "nvidia/Nemotron-Tiny"
NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def watched(hub: RunningHub) -> WatchedHub:
    return WatchedHub(REPO, Hub(hub.endpoint, hub.token, Retry(attempts=2, sleep=lambda _: None)))


def asked(hub: RunningHub) -> list[tuple[str, str]]:
    """Every request since the last call, as method and what comes after the name of the repo."""
    told = [(request.method, request.path.partition(REPO)[2]) for request in hub.wire.requests]
    hub.wire.requests.clear()
    return told


@pytest.fixture
def large(hub_server: RunningHub) -> RunningHub:
    """1,000 files in ten folders, 1,200 in another, and a card; listed once."""
    train = {f"data/train/{folder}/{file:02}.jsonl": b"{}\n" for folder in range(10) for file in range(100)}
    archive = {f"archive/{file:04}.jsonl": b"{}\n" for file in range(1200)}
    hub_server.store.seed(REPO, {**train, **archive, "README.md": b"# Tiny\n"})
    source = watched(hub_server)
    assert len(source.files(source.revision())) == 1000 + 1200 + 2
    hub_server.wire.requests.clear()
    return hub_server


def test_the_head_is_one_small_request(large: RunningHub):
    assert watched(large).revision() == large.store.repositories[REPO].head
    assert asked(large) == [("HEAD", "/resolve/main/.gitattributes")]


def test_a_repo_without_gitattributes_has_a_head_too(large: RunningHub):
    head = large.store.seed(REPO, {}, removed=[".gitattributes"])

    assert watched(large).revision() == head


def test_a_head_that_the_request_does_not_tell_is_asked_of_the_api(large: RunningHub):
    large.wire.inject(Fault("/resolve/", status=404, headers={"X-Error-Code": "EntryNotFound"}))

    assert watched(large).revision() == large.store.repositories[REPO].head
    assert asked(large) == [("HEAD", "/resolve/main/.gitattributes"), ("GET", "")]


def test_only_folders_on_the_way_to_a_change_are_listed(large: RunningHub):
    head = large.store.seed(REPO, {"data/train/7/31.jsonl": b'{"a": 1}\n'})

    files = watched(large).files(head)

    assert asked(large) == [
        ("GET", f"/tree/{head}"), *(("GET", f"/tree/{head}/{path}") for path in ("data", "data/train", "data/train/7")),
    ]  # fmt: skip
    assert files == HubSource(REPO, watched(large).hub).files(head)


def test_a_card_is_seen_without_listing_the_data(large: RunningHub):
    head = large.store.seed(REPO, {"README.md": b"# Tiny, corrected\n"})

    assert watched(large).files(head) == HubSource(REPO, watched(large).hub).files(head)
    assert asked(large)[:1] == [("GET", f"/tree/{head}")]


def test_folders_that_come_and_go_are_seen(large: RunningHub):
    gone = [f"archive/{file:04}.jsonl" for file in range(1200)]
    head = large.store.seed(REPO, {"more/deep/new.jsonl": b"{}\n"}, removed=gone)

    assert watched(large).files(head) == HubSource(REPO, watched(large).hub).files(head)


def test_where_everything_changed_everything_is_listed_at_once(large: RunningHub):
    head = large.store.seed(REPO, {f"data/train/{folder}/00.jsonl": b'{"a": 1}\n' for folder in range(10)})

    assert len(watched(large).files(head)) == 2202
    # root, data, train and five of the ten folders one by one; then 2,202 files and 13 folders, 1,000 a page
    assert len(asked(large)) == 8 + 3


def test_the_history_of_a_commit_that_was_squashed_away_is_empty(hub_server: RunningHub):
    first = hub_server.store.seed(REPO, {"low.jsonl": b"{}\n"})
    second = hub_server.store.seed(REPO, {"low.jsonl": b"[]\n"})
    source = watched(hub_server)
    assert [commit.id for commit in source.history(second)][:2] == [second, first]

    squashed = hub_server.store.squash(REPO)

    assert source.history(second) == ()
    assert [commit.id for commit in source.history(squashed)] == [squashed]


def test_a_source_that_asks_to_wait_long_is_left_alone_and_told(hub_server: RunningHub):
    hub_server.store.seed(REPO, {"low.jsonl": b"{}\n"})
    waits: list[float] = []
    source = WatchedHub(
        REPO, Hub(hub_server.endpoint, hub_server.token, Retry(longest_told_wait=5, sleep=waits.append))
    )
    hub_server.wire.inject(Fault("/resolve/", status=429, headers={"Retry-After": "300"}))

    with pytest.raises(UserError, match=f"limits the rate of requests for {REPO}. Run again in 300 s"):
        source.revision()

    assert waits == []


@dataclass(frozen=True)
class Past:
    """A source of which only the history matters: commit → its parent; each is a day younger than its parent."""

    parents: dict[str, str]
    age: timedelta
    repo_id: str = REPO

    def history(self, revision: str) -> tuple[Commit, ...]:
        found: list[Commit] = []
        while revision in self.parents:
            found.append(Commit(revision, NOW - self.age - timedelta(days=len(found))))
            revision = self.parents[revision]
        return tuple(found)


LINE = {"c": "b", "b": "a", "a": ""}


@pytest.mark.parametrize(
    ("parents", "head", "known", "age", "looks", "waits"),
    [
        (LINE, "c", [], timedelta(minutes=59), 1, True),  # new, and perhaps one of many
        (LINE, "c", [], timedelta(minutes=61), 1, False),  # nothing followed for an hour
        (LINE, "c", ["b"], timedelta(minutes=1), 2, False),  # seen twice in a row
        (LINE, "b", ["c"], timedelta(days=9), 2, True),  # older than what is known, however long ago it was made
        (LINE, "b", ["a", "c"], timedelta(days=9), 2, True),
        (LINE, "b", ["c"], timedelta(days=9), 3, False),  # three times: somebody went back
        ({"s": ""}, "s", ["c"], timedelta(hours=2), 1, False),  # a squash: what is known is gone
        ({**LINE, "d": "a"}, "d", ["c"], timedelta(hours=2), 1, False),  # another branch was put in place of `c`
        ({}, "x", [], timedelta(0), 1, False),  # a directory has no history
    ],
)
def test_when_a_head_counts(
    parents: dict[str, str], head: str, known: list[str], age: timedelta, looks: int, waits: bool
):
    memory = replace(Memory(), found=head, looks=looks)

    assert (reason_to_wait(Past(parents, age), memory, known, NOW) is not None) is waits  # type: ignore[arg-type]


def test_looks_are_counted_in_a_row():
    memory = Memory().having_found("a").having_found("b").having_found("b")

    assert (memory.found, memory.looks) == ("b", 2)
    assert memory.having_found("a").looks == 1
