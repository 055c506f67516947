"""What publishing promises, on the Hub and in a directory alike."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nemo_assets.errors import UserError
from nemo_assets.hub.client import Hub, Retry
from nemo_assets.hub.destination import open_target, organisation_of
from nemo_assets.hub.directory_target import DirectoryTarget
from nemo_assets.hub.hub_target import HubTarget
from nemo_assets.hub.targets import Change, HeadMovedError, Target
from nemo_assets_tests.hub.faults import Fault
from nemo_assets_tests.hub.fixtures import RunningHub

REPO = "alice/nemotron-tiny-pools"
SHARD = b"PAR1\0rows\0PAR1"
README = b"---\nlicense: other\n---\n# Pools\n"


def target_on(hub: RunningHub, waits: list[float] | None = None) -> HubTarget:
    retry = Retry(sleep=waits.append if waits is not None else lambda _: None)
    return HubTarget(Hub(hub.endpoint, hub.token, retry))


@pytest.fixture(params=["directory", "hub"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    if request.param == "directory":
        return DirectoryTarget(tmp_path / "published")
    return target_on(request.getfixturevalue("hub_server"))


def release(**contents: bytes) -> Change:
    """A change that writes `<name>.parquet` for each keyword."""
    return Change({f"{name}.parquet": content for name, content in contents.items()}, (), "Publish")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_first_commit_creates_the_repo_with_everything_in_it(target: Target, tmp_path: Path) -> None:
    (tmp_path / "shard").write_bytes(SHARD)
    assert target.head(REPO) is None
    head = target.commit(
        REPO, Change({"rows/low-0.parquet": tmp_path / "shard", "README.md": README}, (), "Publish low"), None
    )
    assert target.head(REPO) == head
    assert target.paths(REPO, head) == {"README.md": sha256(README), "rows/low-0.parquet": sha256(SHARD)}
    assert target.read(REPO, "rows/low-0.parquet", head) == SHARD
    assert target.read(REPO, "README.md", head) == README
    assert target.read(REPO, "rows/none.parquet", head) is None


def test_a_change_replaces_adds_and_deletes_in_one_step(target: Target) -> None:
    first = target.commit(REPO, release(a=b"\0a1", b=b"\0b1"), None)
    change = Change({"a.parquet": b"\0a2", "x/c.parquet": b"\0c1"}, ("b.parquet", "never-there.parquet"), "Replace")
    second = target.commit(REPO, change, first)
    assert second != first
    assert target.paths(REPO, second) == {"a.parquet": sha256(b"\0a2"), "x/c.parquet": sha256(b"\0c1")}
    assert target.paths(REPO, first) == {"a.parquet": sha256(b"\0a1"), "b.parquet": sha256(b"\0b1")}


def test_a_stale_parent_is_refused_and_nothing_is_published(target: Target) -> None:
    first = target.commit(REPO, release(a=b"\0a1"), None)
    second = target.commit(REPO, release(b=b"\0b1"), first)
    for stale in (first, None):
        with pytest.raises(HeadMovedError):
            target.commit(REPO, release(a=b"\0a9"), stale)
    with pytest.raises(HeadMovedError):
        target.commit(REPO, release(b=b"\0b1"), first)  # there already, yet the head is not what the caller believes
    assert target.head(REPO) == second
    assert target.read(REPO, "a.parquet", second) == b"\0a1"


def test_publishing_the_same_again_leaves_no_trace(target: Target) -> None:
    change = Change({"a.parquet": SHARD, "README.md": README}, ("gone.parquet",), "Publish")
    head = target.commit(REPO, change, None)
    assert target.commit(REPO, change, head) == head


def test_two_writers_both_land_after_reading_again(target: Target) -> None:
    """Both begin from the same head at the same moment; whoever loses reads again and commits on top."""
    target.commit(REPO, release(base=b"\0base"), None)
    together = threading.Barrier(2)

    def publish(name: str) -> None:
        head = target.head(REPO)
        together.wait()
        while True:
            try:
                target.commit(REPO, release(**{name: name.encode() + b"\0"}), head)
                return
            except HeadMovedError:
                head = target.head(REPO)

    writers = [threading.Thread(target=publish, args=(name,)) for name in ("left", "right")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    head = target.head(REPO)
    assert head is not None
    assert sorted(target.paths(REPO, head)) == ["base.parquet", "left.parquet", "right.parquet"]


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../x", ".commits.jsonl", "a/.x", "./a"])
def test_a_change_takes_plain_relative_paths_only(path: str) -> None:
    with pytest.raises(ValueError, match="no plain relative path"):
        Change({path: b""}, (), "Publish")


# The Hub


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


def test_a_destination_is_an_organisation_or_a_directory(tmp_path: Path) -> None:
    assert open_target("hf://alice").location(REPO) == "hf://datasets/alice/nemotron-tiny-pools"
    assert open_target(str(tmp_path)).location(REPO) == str(tmp_path / REPO)
    assert organisation_of("hf://alice/", "local") == "alice"
    assert organisation_of(str(tmp_path), "local") == "local"
    for wrong in ("hf://", "hf://alice/repo", "s3://bucket", ""):
        with pytest.raises(UserError, match="NEMO_PUBLISH_TO"):
            open_target(wrong)


# A directory

DYING = """
import os, sys
from pathlib import Path
from nemo_assets.hub.directory_target import DirectoryTarget
from nemo_assets.hub.targets import Change

root, parent, die_at = sys.argv[1], sys.argv[2], int(sys.argv[3])
replace, calls = os.replace, 0

def dying(source, destination):
    global calls
    calls += 1
    if calls == die_at:
        os._exit(9)
    replace(source, destination)

Path.replace = lambda self, destination: dying(self, destination)
change = Change({"a.parquet": b"a2", "b.parquet": b"b2", "c.parquet": b"c2"}, ("d.parquet",), "Second")
print(DirectoryTarget(Path(root)).commit("alice/nemotron-tiny-pools", change, parent))
"""
OLD = {"a.parquet": b"a1", "b.parquet": b"b1", "d.parquet": b"d1"}
NEW = {"a.parquet": b"a2", "b.parquet": b"b2", "c.parquet": b"c2"}


@pytest.mark.parametrize("die_at", range(1, 9))
def test_a_directory_commit_killed_anywhere_is_wholly_there_or_not_at_all(tmp_path: Path, die_at: int) -> None:
    """Three renames stage the files, the fourth declares the intent, three move them; at the eighth nobody dies."""
    target = DirectoryTarget(tmp_path)
    first = target.commit(REPO, Change(OLD, (), "First"), None)
    run = subprocess.run([sys.executable, "-c", DYING, str(tmp_path), first, str(die_at)], check=False)
    assert run.returncode == (9 if die_at < 8 else 0)
    head = target.head(REPO)
    assert (head == first) == (die_at <= 4)
    assert contents(tmp_path / REPO) == (OLD if die_at <= 4 else NEW)
    again = target.commit(REPO, Change(NEW, ("d.parquet",), "Second"), head)
    assert contents(tmp_path / REPO) == NEW
    assert len((tmp_path / REPO / ".commits.jsonl").read_text().splitlines()) == 2
    assert target.head(REPO) == again


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if not path.name.startswith(".")}


def test_a_log_line_cut_by_a_kill_is_written_again(tmp_path: Path) -> None:
    target = DirectoryTarget(tmp_path)
    first = target.commit(REPO, release(a=b"a1"), None)
    second = target.commit(REPO, release(a=b"a2"), first)
    log = tmp_path / REPO / ".commits.jsonl"
    whole = log.read_bytes()
    intent = whole.splitlines()[1]
    log.write_bytes(whole[:-20])
    (tmp_path / REPO / ".staging").mkdir()
    (tmp_path / REPO / ".staging/intent.json").write_bytes(intent)
    assert target.head(REPO) == second
    assert log.read_bytes() == whole


def test_commit_ids_of_a_directory_depend_on_content_and_history_alone(tmp_path: Path) -> None:
    heads = set()
    for name in ("here", "there"):
        target = DirectoryTarget(tmp_path / name)
        heads.add(target.commit(REPO, release(b=b"b2"), target.commit(REPO, release(a=b"a1", b=b"b1"), None)))
    assert len(heads) == 1


def test_a_published_file_that_somebody_took_away_is_published_again(tmp_path: Path) -> None:
    target = DirectoryTarget(tmp_path)
    head = target.commit(REPO, release(a=b"a1"), None)
    (tmp_path / REPO / "a.parquet").unlink()
    target.commit(REPO, release(a=b"a1"), head)
    assert (tmp_path / REPO / "a.parquet").read_bytes() == b"a1"


def test_an_older_commit_of_a_directory_cannot_be_read(tmp_path: Path) -> None:
    target = DirectoryTarget(tmp_path)
    first = target.commit(REPO, release(a=b"a1"), None)
    target.commit(REPO, release(a=b"a2"), first)
    with pytest.raises(HeadMovedError):
        target.read(REPO, "a.parquet", first)


def test_a_file_changed_by_hand_is_not_passed_off_as_published(tmp_path: Path) -> None:
    target = DirectoryTarget(tmp_path)
    head = target.commit(REPO, release(a=b"a1"), None)
    (tmp_path / REPO / "a.parquet").write_bytes(b"mine")
    with pytest.raises(UserError, match="is not what was published"):
        target.read(REPO, "a.parquet", head)


def test_folders_that_a_deletion_leaves_empty_go_with_it(tmp_path: Path) -> None:
    target = DirectoryTarget(tmp_path)
    head = target.commit(REPO, Change({"x/y/a.parquet": b"a"}, (), "First"), None)
    target.commit(REPO, Change({}, ("x/y/a.parquet",), "Second"), head)
    assert contents(tmp_path / REPO) == {}
