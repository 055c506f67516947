"""Publishing to the Hub: what it costs, and that it lands once and whole whatever goes wrong."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from nemo_assets.disk import content_sha256
from nemo_assets.errors import UserError
from nemo_assets.hub.client import Hub
from nemo_assets.hub.hub_target import COMMIT_FILES, HubTarget
from nemo_assets.hub.targets import Change, HeadMovedError
from nemo_assets_tests.hub.faults import Fault, Request
from nemo_assets_tests.hub.fixtures import READ_TOKEN, RunningHub
from nemo_assets_tests.hub.test_targets import README, REPO, SHARD, release, target_on


def held(hub: RunningHub, revision: str = "main", repo: str = REPO) -> dict[str, bytes]:
    """Path → bytes of what the Hub has at a revision, hidden files left out."""
    repository = hub.store.repositories[repo]
    files = repository.commits[repository.resolve(revision)].files
    return {
        path: hub.store.content_path(entry).read_bytes() for path, entry in files.items() if not path.startswith(".")
    }


def calls(hub: RunningHub) -> list[Request]:
    """The requests that count against the rate limit of the API: all but the transfers of single files."""
    batch = "info/lfs/objects/batch"
    return [asked for asked in hub.wire.requests if asked.path.startswith("/api/") or asked.path.endswith(batch)]


# One commit


def test_a_release_is_one_commit(hub_server: RunningHub) -> None:
    target = target_on(hub_server)
    head = target.commit(REPO, Change({"a.parquet": SHARD, "README.md": README}, (), "Publish low", "all of low"), None)
    commits = hub_server.store.repositories[REPO].history("main")
    assert [commit.title for _, commit in commits] == ["Publish low", "initial commit"]
    assert commits[0][0] == head
    assert commits[0][1].message.startswith("all of low\n\nnemo-assets change: ")
    assert hub_server.store.repositories[REPO].private


def test_unchanged_shards_are_not_uploaded_again(hub_server: RunningHub) -> None:
    target = target_on(hub_server)
    head = target.commit(REPO, release(a=SHARD), None)
    target.commit(REPO, release(a=SHARD, b=b"\0b"), head)
    assert len(hub_server.wire.received("PUT", "/large/upload/")) == 2


def test_a_commit_whose_answer_was_lost_is_recognised(hub_server: RunningHub) -> None:
    target = target_on(hub_server)
    first = target.commit(REPO, release(a=b"\0a1"), None)
    hub_server.wire.inject(Fault("/commit/main", status=500, after=True))
    second = target.commit(REPO, release(a=b"\0a2"), first)
    assert hub_server.store.repositories[REPO].head == second
    assert len(hub_server.store.repositories[REPO].commits) == 3  # the initial one, and one for each release
    assert len(hub_server.wire.received("POST", "/commit/main")) == 2


@pytest.mark.parametrize("status", [409, 500, 504])
def test_a_commit_that_did_not_land_is_tried_again(hub_server: RunningHub, status: int) -> None:
    waits: list[float] = []
    hub_server.wire.inject(Fault("/commit/main", status=status))
    head = target_on(hub_server, waits).commit(REPO, release(a=SHARD), None)
    assert hub_server.store.repositories[REPO].head == head
    assert len(waits) == 1


def test_a_commit_waits_as_long_as_the_hub_asks(hub_server: RunningHub) -> None:
    waits: list[float] = []
    hub_server.wire.inject(Fault("/commit/main", status=429, headers={"Retry-After": "600"}))
    target_on(hub_server, waits).commit(REPO, release(a=SHARD), None)
    assert [int(wait) for wait in waits] == [600]


def test_an_upload_that_fails_publishes_nothing(hub_server: RunningHub) -> None:
    target = target_on(hub_server)
    first = target.commit(REPO, release(a=b"\0a1"), None)
    hub_server.wire.inject(Fault("/large/upload/", status=403, times=100))
    with pytest.raises(UserError, match=f"denies access to {REPO}"):
        target.commit(REPO, release(a=b"\0a2", b=b"\0b"), first)
    assert target.head(REPO) == first


def test_publishing_without_a_token_says_what_to_set(hub_server: RunningHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    target = HubTarget(Hub(hub_server.endpoint, None))
    with pytest.raises(UserError, match=r"hf://datasets/alice/nemotron-tiny-pools: .*HF_TOKEN"):
        target.commit(REPO, release(a=SHARD), None)
    assert not hub_server.store.repositories


def test_a_commit_without_an_answer_is_looked_for(hub_server: RunningHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first answer takes longer than anybody waits for, and the commit lands all the same."""
    from huggingface_hub import close_session

    target = target_on(hub_server)
    first = target.commit(REPO, release(a=b"\0a1"), None)
    monkeypatch.setattr("nemo_assets.hub.client.ANSWER_SECONDS", 0.5)
    close_session()
    hub_server.wire.inject(Fault("/commit/main", status=500, after=True, delay=1.5))
    second = target.commit(REPO, release(a=b"\0a2"), first)
    close_session()
    assert hub_server.store.repositories[REPO].head == second
    assert len(hub_server.store.repositories[REPO].commits) == 3


def test_a_head_that_lags_behind_is_no_reason_to_refuse(hub_server: RunningHub) -> None:
    target = target_on(hub_server)
    first = target.commit(REPO, release(a=b"\0a1"), None)
    second = target.commit(REPO, release(b=b"\0b1"), first)
    hub_server.store.lag(REPO, first, reads=2)
    third = target.commit(REPO, release(c=b"\0c1"), second)
    assert sorted(held(hub_server, third)) == ["a.parquet", "b.parquet", "c.parquet"]


def test_who_lost_is_told_the_head_that_won_though_it_shows_late(hub_server: RunningHub) -> None:
    waits: list[float] = []
    target = target_on(hub_server, waits)
    first = target.commit(REPO, release(a=b"\0a1"), None)
    second = target.commit(REPO, release(b=b"\0b1"), first)
    hub_server.store.lag(REPO, first, reads=4)
    with pytest.raises(HeadMovedError) as refused:
        target.commit(REPO, release(c=b"\0c1"), first)
    assert refused.value.head == second
    assert waits


def test_a_repo_too_large_for_one_answer_is_listed_in_pages(
    hub_server: RunningHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nemo_assets.hub.hub_target._LISTED_AT_ONCE", 2)
    target = target_on(hub_server)
    head = target.commit(REPO, Change({"x/a.parquet": SHARD, "README.md": README}, (), "First"), None)
    assert target.paths(REPO, head) == {"README.md": content_sha256(README), "x/a.parquet": content_sha256(SHARD)}
    assert hub_server.wire.received("GET", "/tree/")


def test_one_of_equal_files_is_sent(hub_server: RunningHub) -> None:
    shard = SHARD * -(-70_000 // len(SHARD))  # smaller ones are sent: asking takes longer
    target_on(hub_server).commit(REPO, release(a=shard, b=shard, c=b"\0c", d=shard), None)
    assert len(hub_server.wire.received("PUT", "/large/upload/")) == 2
    assert held(hub_server)["d.parquet"] == shard


def test_large_files_are_brought_back_without_a_transfer(hub_server: RunningHub) -> None:
    target = target_on(hub_server)
    first = target.commit(REPO, release(a=SHARD), None)
    second = target.commit(REPO, release(a=b"\0a2"), first)
    hub_server.wire.forget()
    target.commit(REPO, Change({}, (), "Back", restored={"a.parquet": first}), second)
    assert held(hub_server) == {"a.parquet": SHARD}
    assert not hub_server.wire.received("PUT", "") + hub_server.wire.received("GET", "^/(large|datasets)/")


def test_a_part_of_a_large_file_costs_one_small_request(hub_server: RunningHub) -> None:
    target = target_on(hub_server)
    head = target.commit(REPO, release(a=bytes(range(256)) * 40_000), None)
    hub_server.wire.forget()
    with target.open(REPO, "a.parquet", head) as file:
        file.seek(5_000_000)
        assert file.read(100) == (bytes(range(256)) * 2)[64:164]
    [asked] = hub_server.wire.received("GET", "^/large/")
    assert asked.range == "bytes=5000000-5065535"
    assert not asked.authorized


def test_eight_writers_all_land_and_no_commit_loses_a_file(hub_server: RunningHub) -> None:
    together = threading.Barrier(8)

    def publish(number: int) -> str:
        target = target_on(hub_server)
        together.wait()
        while True:
            head = target.head(REPO)
            before = target.paths(REPO, head) if head else {}
            files = {f"w{number}/{shard}.parquet": b"\0%d %d" % (number, shard) for shard in range(3)}
            change = Change({**files, "README.md": b"%d files" % (len(before) // 3 * 3 + 3)}, (), f"Writer {number}")
            try:
                return target.commit(REPO, change, head)
            except HeadMovedError:
                continue

    with ThreadPoolExecutor(8) as pool:
        landed = set(pool.map(publish, range(8)))
    history = hub_server.store.repositories[REPO].history("main")
    assert len(landed) == 8
    assert {oid for oid, _ in history[:-1]} == landed
    for done, (oid, commit) in enumerate(reversed(history)):
        writers = {path.partition("/")[0] for path in commit.files if path.startswith("w")}
        assert (len(writers), len([path for path in commit.files if path.startswith("w")])) == (done, 3 * done)
        assert done == 0 or held(hub_server, oid)["README.md"] == b"%d files" % (3 * done)


# What it costs


def small_files(folder: Path, count: int, edition: int = 1) -> dict[str, Path | bytes]:
    """Files of a few bytes in three folders; the first hundred differ from edition to edition."""
    folder.mkdir(exist_ok=True)
    additions: dict[str, Path | bytes] = {}
    for number in range(count):
        path = folder / f"{number}"
        path.write_bytes(b"PAR1\0%d %d PAR1" % (number, edition if number < 100 else 0))
        additions[f"config-{number % 3}/low-{number:05d}.parquet"] = path
    return additions


def publish_and_verify(target: HubTarget, change: Change, tag: str, repo: str = REPO) -> str:
    """What a release does: read the head, commit, compare what is there, tag."""
    head = target.commit(repo, change, target.head(repo))
    assert set(change.additions) <= set(target.paths(repo, head))
    target.set_tag(repo, tag, head)
    assert target.refs(repo).tags[tag] == head
    return head


@pytest.mark.slow
def test_five_thousand_files_cost_two_calls_a_group(hub_server: RunningHub, tmp_path: Path) -> None:
    target = target_on(hub_server)
    files = small_files(tmp_path / "first", 5000)
    told: dict[str, Path | bytes] = {"README.md": README, "lineage/low.json": b'{"split": "low"}'}
    publish_and_verify(target, Change({**files, **told}, (), "First"), "release-0001")
    assert len(calls(hub_server)) <= 10 + 2 * 20
    assert len(hub_server.wire.received("PUT", "/large/upload/")) == 5000
    hub_server.wire.forget()
    files = small_files(tmp_path / "second", 5000, edition=2)
    publish_and_verify(target, Change({**files, **told}, (), "Second"), "release-0002")
    assert len(calls(hub_server)) <= 10 + 2
    assert len(hub_server.wire.received("PUT", "/large/upload/")) == 100


def test_six_hundred_files_cost_two_calls_a_group(hub_server: RunningHub, tmp_path: Path) -> None:
    target = target_on(hub_server)
    change = Change({**small_files(tmp_path / "first", 600), "README.md": README}, (), "First")
    publish_and_verify(target, change, "release-0001")
    assert len(calls(hub_server)) <= 10 + 2 * 3
    hub_server.wire.forget()
    publish_and_verify(target, change, "release-0001")
    assert len(calls(hub_server)) <= 6
    assert not hub_server.wire.received("PUT", "")


# More files than a commit takes


def seeded(hub: RunningHub) -> str:
    """A repo with an older release, some files of which the next one replaces or takes away."""
    older = {f"config-{number % 3}/low-{number:05d}.parquet": b"\0old%d" % number for number in range(0, 40, 2)}
    return target_on(hub).commit(REPO, Change({**older, "README.md": b"old"}, (), "Old"), None)


def large_release(folder: Path) -> Change:
    gone = tuple(f"config-{number % 3}/low-{number:05d}.parquet" for number in range(25, 40))
    return Change({**small_files(folder, 25), "README.md": README, "empty.txt": b""}, gone, "Large", "All of it")


def as_published(change: Change) -> dict[str, bytes]:
    return {path: new if isinstance(new, bytes) else new.read_bytes() for path, new in change.additions.items()}


def branches(hub: RunningHub) -> list[str]:
    return sorted(hub.store.repositories[REPO].branches)


@pytest.fixture
def small_commits(hub_server: RunningHub, monkeypatch: pytest.MonkeyPatch) -> RunningHub:
    """A Hub whose staged commits take ten operations; the last one on `main` may take more."""
    monkeypatch.setattr("nemo_assets.hub.hub_target.COMMIT_FILES", 10)
    return hub_server


def test_a_very_large_release_is_staged_and_appears_in_one_commit(small_commits: RunningHub, tmp_path: Path) -> None:
    before, change = seeded(small_commits), large_release(tmp_path / "new")
    small_commits.wire.forget()
    after = target_on(small_commits).commit(REPO, change, before)
    history = small_commits.store.repositories[REPO].history("main")
    assert [oid for oid, _ in history[:2]] == [after, before]
    assert held(small_commits) == as_published(change)
    assert branches(small_commits) == ["main"]
    staged = small_commits.wire.received("POST", "/commit/staging/[0-9a-f]{12}$")
    assert len(staged) == -(-(25 + 7) // 10)  # 25 files, and 7 of the old release that are taken away
    [last] = small_commits.wire.received("POST", "/commit/main")
    assert small_commits.wire.requests.index(last) > small_commits.wire.requests.index(staged[-1])
    assert max(Counter(put.path for put in small_commits.wire.received("PUT", "")).values()) == 1


def test_no_folder_is_ever_fuller_than_before_or_after(
    small_commits: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nemo_assets_tests.hub.store.FOLDER_LIMIT", 20)
    target = target_on(small_commits)
    old = Change({f"rows/old-{number}.parquet": b"\0%d" % number for number in range(20)}, (), "Old")
    first = target.commit(REPO, old, None)
    files = {f"rows/new-{number}.parquet": tmp_path / f"{number}" for number in range(20)}
    for number, path in enumerate(files.values()):
        path.write_bytes(b"\0new %d" % number)
    target.commit(REPO, Change(files, tuple(old.additions), "New"), first)
    assert sorted(held(small_commits)) == sorted(files)


def test_a_staged_release_may_go_to_a_branch_and_to_a_repo_that_is_not_there(
    small_commits: RunningHub, tmp_path: Path
) -> None:
    change = replace(large_release(tmp_path / "new"), deletions=())
    waiting = target_on(small_commits).commit(REPO, change, None, "waiting/low")
    assert held(small_commits, waiting) == as_published(change)
    assert held(small_commits) == {}
    assert branches(small_commits) == ["main", "waiting/low"]


@pytest.mark.parametrize("commit", range(5))
def test_a_staged_release_goes_on_where_it_stopped(small_commits: RunningHub, tmp_path: Path, commit: int) -> None:
    """Four staged commits and the last: one of them is refused, and somebody else publishes before all goes on."""
    before, change = seeded(small_commits), large_release(tmp_path / "new")
    small_commits.wire.forget()
    small_commits.wire.inject(Fault("/commit/", status=403, skip=commit))
    target = target_on(small_commits)
    with pytest.raises(UserError, match="denies access"):
        target.commit(REPO, change, before)
    assert small_commits.store.repositories[REPO].head == before
    moved = target.commit(REPO, Change({"other.txt": b"other"}, (), "Other"), before)
    after = target.commit(REPO, change, moved)
    assert held(small_commits, after) == as_published(change) | {"other.txt": b"other"}
    assert branches(small_commits) == ["main"]
    assert max(Counter(put.path for put in small_commits.wire.received("PUT", "")).values()) == 1
    assert len(small_commits.wire.received("POST", "/commit/staging/")) == (5 if commit < 4 else 4)


def test_a_staging_branch_left_by_a_kill_after_the_last_commit_is_removed(
    small_commits: RunningHub, tmp_path: Path
) -> None:
    before, change = seeded(small_commits), large_release(tmp_path / "new")
    target = target_on(small_commits)
    small_commits.wire.inject(Fault("/branch/", method="DELETE", status=403))
    with pytest.raises(UserError):
        target.commit(REPO, change, before)
    head = target.head(REPO)
    assert head is not None
    assert len(branches(small_commits)) == 2
    assert target.commit(REPO, change, head) == head
    assert branches(small_commits) == ["main"]


def test_the_hub_refuses_a_commit_of_too_many_operations(hub_server: RunningHub) -> None:
    """The test Hub has this limit; releases are staged long before."""
    assert hub_server.store.operations_limit > COMMIT_FILES
    hub_server.store.operations_limit = 2
    with pytest.raises(UserError, match=r"413.*at most 2 operations"):
        target_on(hub_server).commit(REPO, release(a=b"\0a", b=b"\0b", c=b"\0c"), None)


# A kill

PUBLISHING = """
import sys
from pathlib import Path
from nemo_assets.hub import hub_target
from nemo_assets.hub.client import Hub
from nemo_assets.hub.targets import Change

endpoint, repo, folder = sys.argv[1:]
hub_target.COMMIT_FILES = 10
files = {f"rows/{path.name}.parquet": path for path in sorted(Path(folder).iterdir())}
change = Change({**files, "README.md": b"# Pools"}, (), "Publish")
target = hub_target.HubTarget(Hub(endpoint))
target.commit(repo, change, target.head(repo))
"""


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/large/upload/", 1),
        ("/large/upload/", 12),
        ("/objects/verify", 20),
        ("/commit/staging", 2),
        ("/commit/main", 1),
    ],
)
def test_a_killed_publication_sends_nothing_twice(hub_server: RunningHub, tmp_path: Path, path: str, seen: int) -> None:
    for number in range(30):
        (tmp_path / f"{number:02d}").write_bytes(b"PAR1\0%d" % number)
    hub_server.wire.inject(Fault("/large/upload/|verify|/commit/", delay=0.02, times=10_000))  # leaves time for a kill
    command = [sys.executable, "-c", PUBLISHING, hub_server.endpoint, REPO, str(tmp_path)]
    environment = hub_server.environment()
    running = subprocess.Popen(command, env=environment)
    while len([asked for asked in hub_server.wire.requests if path in asked.path]) < seen:
        assert running.poll() is None
        time.sleep(0.002)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    time.sleep(0.2)  # what was on the way arrives or is given up
    sent = {put.path.rpartition("/")[2] for put in hub_server.wire.received("PUT", "/large/upload/")}
    in_flight = {oid for oid in sent if not hub_server.store.large_path(oid).exists()}
    assert set(held(hub_server)) in (set(), {"README.md", *(f"rows/{number:02d}.parquet" for number in range(30))})
    subprocess.run(command, env=environment, check=True)
    counts = Counter(put.path.rpartition("/")[2] for put in hub_server.wire.received("PUT", "/large/upload/"))
    assert len(counts) == 30
    assert {oid for oid, count in counts.items() if count > 1} <= in_flight
    assert len(in_flight) <= 5
    assert len(held(hub_server)) == 31
    assert len(hub_server.store.repositories[REPO].history("main")) == 2
    assert branches(hub_server) == ["main"]


# What a user can put right


@dataclass(frozen=True)
class Refusal:
    """What is in the way, and what the message says."""

    told: str
    token: str | None = None
    repo: str = REPO
    namespaces: frozenset[str] | None = None
    hidden: bool = False
    storage: int | None = None
    fault: Fault | None = None


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal("refuses the token for alice/nemotron-tiny-pools. Set HF_TOKEN", token="hf_wrong"),
        Refusal("you must use a write token.*Set HF_TOKEN", token=READ_TOKEN),
        Refusal("may not create datasets of bob .*rights.*NEMO_PUBLISH_TO", repo="bob/x", namespaces=frozenset("a")),
        Refusal("may not create datasets of nobody", repo="nobody/x", fault=Fault("/repos/create", status=404)),
        Refusal("a repo of that name exists, and this token does not see it", repo="alice/taken", hidden=True),
        Refusal("has no room for alice.*storage limit reached.*Free storage", storage=10),
        Refusal("has no room.*Quota", fault=Fault("/large/upload/", status=413, message="Quota exceeded", times=9)),
        Refusal("answered 413.*too large", fault=Fault("/commit/", status=413, message="too large")),
        Refusal("limits the rate.*in 9000 s", fault=Fault("/commit/", status=429, headers={"Retry-After": "9000"})),
        Refusal("limits the rate", fault=Fault("/commit/", status=429, headers={"Retry-After": "9"}, times=99)),
        Refusal("refuses the dataset card", fault=Fault("validate-yaml", status=400, message="no")),
        Refusal("is no dataset repo name", repo="alice"),
    ],
    ids=lambda refusal: refusal.told[:30],
)
def test_a_refusal_is_one_line_and_nothing_is_current(hub_server: RunningHub, refusal: Refusal) -> None:
    existed = refusal.repo == REPO
    first = target_on(hub_server).commit(REPO, release(a=b"\0a1"), None) if existed else None
    hub_server.store.namespaces = set(refusal.namespaces) if refusal.namespaces else None
    hub_server.store.hidden = {refusal.repo} if refusal.hidden else set()
    hub_server.store.storage_limit = refusal.storage
    if refusal.fault is not None:
        hub_server.wire.inject(refusal.fault)
    target = target_on(hub_server, token=refusal.token)
    change = Change({"a.parquet": b"\0a2", "b.parquet": b"\0b", "README.md": README}, (), "Publish")
    with pytest.raises(UserError, match=refusal.told) as refused:
        target.commit(refusal.repo, change, first)
    assert "\n" not in str(refused.value)
    if existed:
        assert hub_server.store.repositories[REPO].head == first
        assert held(hub_server) == {"a.parquet": b"\0a1"}
    else:
        assert refusal.repo not in hub_server.store.repositories


def test_a_tag_without_a_write_token_is_refused(hub_server: RunningHub) -> None:
    head = target_on(hub_server).commit(REPO, release(a=SHARD), None)
    with pytest.raises(UserError, match="write token"):
        target_on(hub_server, token=READ_TOKEN).set_tag(REPO, "release-0001", head)
    assert target_on(hub_server).refs(REPO).tags == {}


# Any one request that fails

FAULTS = (
    Fault("", status=500),
    Fault("", status=503, headers={"Retry-After": "0"}),
    Fault("", hang_up=True),
    Fault("", status=504, after=True),
    Fault("", hang_up=True, after=True),
)


@dataclass(frozen=True)
class Publication:
    """The second release of a repo of its own, with bytes of its own, so that many can go on at once."""

    hub: RunningHub
    number: int
    shard: Path | bytes

    @property
    def repo(self) -> str:
        return f"alice/pools-{self.number}"

    @property
    def change(self) -> Change:
        return Change({"rows/a.parquet": self.shard, "k.json": b"%d" % self.number}, ("gone.parquet",), "Second")

    def seed(self) -> str:
        return self.hub.store.seed(self.repo, {"rows/a.parquet": b"\0old %d" % self.number, "gone.parquet": b"\0"})

    def publish(self) -> str:
        target = target_on(self.hub)
        while True:
            head = target.head(self.repo)
            try:
                published = target.commit(self.repo, self.change, head)
                break
            except HeadMovedError:
                continue
        assert set(self.change.additions) == set(target.paths(self.repo, published))
        target.set_tag(self.repo, "release-0001", published)
        return published

    @property
    def names(self) -> tuple[str, str]:
        """What tells the requests of this publication from those of another."""
        return self.repo, content_sha256(self.shard)


def publications(hub: RunningHub, folder: Path, count: int, staged: bool) -> list[Publication]:
    shards = [b"PAR1\0%d" % number for number in range(count)]
    paths = [folder / f"{number}" for number in range(count)]
    for path, shard in zip(paths, shards, strict=True):
        path.write_bytes(shard)
    return [Publication(hub, number, paths[number] if staged else shards[number]) for number in range(count)]


def as_asked_by(publication: Publication, other: Publication, path: str) -> str:
    """A pattern for the path of a request of `publication`, as `other` makes it: commit ids are those of its repo."""
    for mine, its in zip(publication.names, other.names, strict=True):
        path = path.replace(mine, its)
    pattern = re.sub(r"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])", "[0-9a-f]{40}", re.escape(path))
    return "^" + re.sub(r"staging/[0-9a-f]{12}", "staging/[0-9a-f]{12}", pattern) + "$"


def counted(requests: list[tuple[str, str]]) -> list[tuple[str, str, int]]:
    """Each request, and how many equal ones came before it."""
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for request in requests:
        found.append((*request, seen[request]))
        seen[request] += 1
    return found


@pytest.mark.parametrize("staged", [False, True])
def test_any_request_may_fail_in_any_way(
    hub_server: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, staged: bool
) -> None:
    """Each request of a publication in turn, each fault in turn, in a repo of its own; many at once to save time."""
    if staged:
        monkeypatch.setattr("nemo_assets.hub.hub_target.COMMIT_FILES", 1)
    wire = hub_server.wire
    example, *others = publications(hub_server, tmp_path, 1 + 30 * len(FAULTS), staged)
    example.seed()
    wire.forget()
    example.publish()
    requests = counted([(request.method, re.sub(r"\?.*", "", request.path)) for request in wire.requests])
    assert (9 if not staged else 15) <= len(requests) <= 30
    cases = list(zip(others, itertools.product(requests, FAULTS), strict=False))
    before = []
    for publication, ((method, path, skip), fault) in cases:
        before.append(publication.seed())
        wire.inject(replace(fault, path=as_asked_by(example, publication, path), method=method, skip=skip))
    with ThreadPoolExecutor(16) as pool:
        published = list(pool.map(lambda case: case[0].publish(), cases))
    assert not wire.waiting()
    for (publication, _), old, new in zip(cases, before, published, strict=True):
        repository = hub_server.store.repositories[publication.repo]
        assert [oid for oid, _ in repository.history("main")[:2]] == [new, old]
        assert held(hub_server, new, publication.repo) == as_published(publication.change)
        assert (repository.tags, set(repository.branches)) == ({"release-0001": new}, {"main"})


@pytest.mark.parametrize("path", ["/api/repos/create", "/api/validate-yaml", "/revision/main"])
@pytest.mark.parametrize("fault", FAULTS)
def test_any_request_of_a_first_release_may_fail(hub_server: RunningHub, path: str, fault: Fault) -> None:
    hub_server.wire.inject(replace(fault, path=path))
    target = target_on(hub_server)
    head = target.commit(REPO, Change({"a.parquet": SHARD, "README.md": README}, (), "First"), None)
    assert not hub_server.wire.waiting()
    assert held(hub_server) == {"a.parquet": SHARD, "README.md": README}
    assert [oid for oid, _ in hub_server.store.repositories[REPO].history("main")[:-1]] == [head]


def test_a_hub_that_stays_unwell_leaves_the_old_release(hub_server: RunningHub) -> None:
    target = target_on(hub_server)
    first = target.commit(REPO, release(a=b"\0a1"), None)
    hub_server.wire.inject(Fault("/commit/main", status=500, times=99))
    with pytest.raises(UserError, match="answered 500"):
        target.commit(REPO, release(a=b"\0a2"), first)
    assert held(hub_server) == {"a.parquet": b"\0a1"}
