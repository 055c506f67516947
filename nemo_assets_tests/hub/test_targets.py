"""What publishing promises, on the Hub and in a directory alike."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from nemo_assets.errors import UserError
from nemo_assets.hub.client import Hub, Retry
from nemo_assets.hub.destination import open_target, organisation_of
from nemo_assets.hub.directory_target import DirectoryTarget
from nemo_assets.hub.hub_target import HubTarget
from nemo_assets.hub.targets import Change, HeadMovedError, TagTakenError, Target
from nemo_assets_tests.hub.fixtures import RunningHub

REPO = "alice/nemotron-tiny-pools"
SHARD = b"PAR1\0rows\0PAR1"
README = b"---\nlicense: other\n---\n# Pools\n"


def target_on(hub: RunningHub, waits: list[float] | None = None, token: str | None = None) -> HubTarget:
    retry = Retry(sleep=waits.append if waits is not None else lambda _: None)
    return HubTarget(Hub(hub.endpoint, token or hub.token, retry))


def contents(target: Target, revision: str) -> dict[str, bytes | None]:
    """Path → bytes of every file at a revision."""
    return {path: target.read(REPO, path, revision) for path in target.paths(REPO, revision)}


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


def test_a_branch_begins_at_its_parent_and_main_does_not_see_it(target: Target) -> None:
    first = target.commit(REPO, release(a=b"\0a1"), None)
    assert target.head(REPO, "waiting/low") is None
    waiting = target.commit(REPO, release(b=b"\0b1"), first, "waiting/low")
    assert target.head(REPO, "waiting/low") == waiting
    assert target.head(REPO) == first
    assert contents(target, waiting) == {"a.parquet": b"\0a1", "b.parquet": b"\0b1"}
    with pytest.raises(HeadMovedError):
        target.commit(REPO, release(b=b"\0b2"), first, "waiting/low")
    further = target.commit(REPO, release(b=b"\0b2"), waiting, "waiting/low")
    assert target.read(REPO, "b.parquet", further) == b"\0b2"
    for _ in range(2):
        target.delete_branch(REPO, "waiting/low")
    assert target.head(REPO, "waiting/low") is None
    assert contents(target, "main") == {"a.parquet": b"\0a1"}


def test_a_repo_may_begin_with_a_branch(target: Target) -> None:
    waiting = target.commit(REPO, release(a=b"\0a1"), None, "waiting/low")
    assert target.head(REPO, "waiting/low") == waiting
    with pytest.raises(HeadMovedError):
        target.commit(REPO, release(b=b"\0b1"), None, "waiting/low")
    head = target.commit(REPO, release(b=b"\0b1"), target.head(REPO))
    assert contents(target, head) == {"b.parquet": b"\0b1"}


def test_files_are_brought_back_as_they_were(target: Target) -> None:
    first = target.commit(REPO, Change({"a.parquet": SHARD, "README.md": README, "k": b"k1"}, (), "First"), None)
    second = target.commit(REPO, Change({"a.parquet": b"\0a2", "README.md": b"two"}, ("k",), "Second"), first)
    back = Change({"b.parquet": b"\0b"}, (), "Back", restored=dict.fromkeys(("a.parquet", "README.md", "k"), first))
    third = target.commit(REPO, back, second)
    assert contents(target, third) == {"README.md": README, "a.parquet": SHARD, "b.parquet": b"\0b", "k": b"k1"}
    assert target.commit(REPO, back, third) == third
    with pytest.raises(UserError, match=r"never\.parquet"):
        target.commit(REPO, Change({}, (), "Back", restored={"never.parquet": first}), third)


def test_a_tag_names_one_commit_for_ever(target: Target) -> None:
    assert target.refs(REPO).tags == {}
    first = target.commit(REPO, release(a=b"\0a1"), None)
    second = target.commit(REPO, release(a=b"\0a2"), first)
    target.set_tag(REPO, "release-0002", second)
    for _ in range(2):
        target.set_tag(REPO, "release-0001", first, "The first")
    with pytest.raises(TagTakenError) as refused:
        target.set_tag(REPO, "release-0001", second)
    assert refused.value.revision == first
    assert list(target.refs(REPO).tags.items()) == [("release-0001", first), ("release-0002", second)]
    assert target.read(REPO, "a.parquet", "release-0001") == b"\0a1"


def test_parts_of_a_file_are_read(target: Target) -> None:
    content = bytes(range(256)) * 1000
    head = target.commit(REPO, Change({"x/a.parquet": content, "README.md": README}, (), "First"), None)
    with target.open(REPO, "x/a.parquet", head) as file:
        file.seek(-4, 2)
        assert file.read() == content[-4:]
        file.seek(1000)
        assert file.read(70_000) == content[1000:71_000]
        assert file.tell() == 71_000
    with target.open(REPO, "README.md", head) as file:
        assert file.read() == README
    for missing in ("x/b.parquet", "x"):
        with pytest.raises(UserError, match=missing):
            target.open(REPO, missing, head)


def test_a_folder_has_a_limit(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("hub_changes", "directory_target"):
        monkeypatch.setattr(f"nemo_assets.hub.{module}.FOLDER_ENTRIES", 3)
    many = {f"rows/{number}.parquet": b"\0%d" % number for number in range(3)}
    head = target.commit(REPO, Change(many, (), "Three"), None)
    with pytest.raises(UserError, match="rows"):
        target.commit(REPO, Change({"rows/below/3.parquet": b"\0"}, (), "Four"), head)
    target.commit(REPO, Change({"rows/3.parquet": b"\0"}, ("rows/0.parquet",), "Another three"), head)


def test_a_destination_is_an_organisation_or_a_directory(tmp_path: Path) -> None:
    assert open_target("hf://alice").location(REPO) == "hf://datasets/alice/nemotron-tiny-pools"
    assert open_target(str(tmp_path)).location(REPO) == str(tmp_path / REPO)
    assert organisation_of("hf://alice/", "local") == "alice"
    assert organisation_of(str(tmp_path), "local") == "local"
    for wrong in ("hf://", "hf://alice/repo", "s3://bucket", ""):
        with pytest.raises(UserError, match="NEMO_PUBLISH_TO"):
            open_target(wrong)
