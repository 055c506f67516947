"""Publishing into a directory: what a reader sees at every moment, and what is left of a killed process."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.disk import locked
from nemo_assets.errors import UserError
from nemo_assets.hub.directory_target import DirectoryTarget
from nemo_assets.hub.targets import FOLDER_ENTRIES, Change, HeadMovedError, TagTakenError
from nemo_assets_tests.requirements import absent

REPO = "alice/nemotron-tiny-pools"
OLD = {"a.parquet": b"a1", "b.parquet": b"b1", "x/d.parquet": b"d1"}
NEW = {"a.parquet": b"a2", "b.parquet": b"b1", "c.parquet": b"c2"}
SECOND = Change({"a.parquet": b"a2", "c.parquet": b"c2"}, ("x/d.parquet",), "Second")


@pytest.fixture
def target(tmp_path: Path) -> DirectoryTarget:
    return DirectoryTarget(tmp_path / "published")


def place(target: DirectoryTarget) -> Path:
    return target.root / REPO


def machinery(target: DirectoryTarget) -> Path:
    return target.root / "alice/.nemotron-tiny-pools"


def contents(tree: Path) -> dict[str, bytes]:
    """The files below a tree, resolved once as a reader does."""
    tree = tree.resolve()
    return {path.relative_to(tree).as_posix(): path.read_bytes() for path in sorted(tree.rglob("*")) if path.is_file()}


def at(target: DirectoryTarget, revision: str) -> dict[str, bytes]:
    """The files at a revision, as all ways of reading say with one voice."""
    read = {path: target.read(REPO, path, revision) for path in target.paths(REPO, revision)}
    assert contents(Path(target.loadable(REPO, revision))) == read
    for path, content in read.items():
        with target.open(REPO, path, revision) as file:
            assert file.read() == content
    return {path: content for path, content in read.items() if content is not None}


def first_and_second(target: DirectoryTarget) -> tuple[str, str]:
    first = target.commit(REPO, Change(OLD, (), "First"), None)
    return first, target.commit(REPO, SECOND, first)


def test_the_place_shows_the_head_and_every_older_commit_stays_readable(target: DirectoryTarget) -> None:
    first, second = first_and_second(target)
    assert contents(place(target)) == at(target, second) == at(target, "main") == NEW
    assert at(target, first) == OLD
    assert not (place(target) / "x").exists()
    assert {path.stat().st_mode & 0o222 for path in (machinery(target) / "blobs").iterdir()} == {0}
    assert target.paths(REPO, first)["a.parquet"] == hashlib.sha256(b"a1").hexdigest()
    assert target.read(REPO, "never.parquet", first) is None
    with pytest.raises(UserError, match=r"no file never\.parquet"):
        target.open(REPO, "never.parquet", first)
    with pytest.raises(UserError, match="no revision nowhere"):
        target.paths(REPO, "nowhere")


def test_the_datasets_library_loads_the_place_and_any_revision(target: DirectoryTarget, tmp_path: Path) -> None:
    from datasets import load_dataset

    heads: list[str] = []
    for rows in ([1], [1, 2]):
        pq.write_table(pa.table({"n": rows}), tmp_path / "low-00000.parquet")
        card = b"---\nconfigs:\n- config_name: rows\n  data_files:\n  - {split: low, path: rows/low-*.parquet}\n---\n"
        change = Change({"rows/low-00000.parquet": tmp_path / "low-00000.parquet", "README.md": card}, (), "Publish")
        heads.append(target.commit(REPO, change, heads[-1] if heads else None))
        fresh = tmp_path / f"cache-{len(heads)}"  # the library's cache does not notice that a directory changes
        loaded = load_dataset(str(place(target)), "rows", split="low", cache_dir=str(fresh))
        assert loaded["n"][:] == rows
    for head, rows in zip(heads, ([1], [1, 2]), strict=True):
        path = target.loadable(REPO, head)
        assert load_dataset(path, "rows", split="low", cache_dir=str(tmp_path / "cache"))["n"][:] == rows


# Bytes on the disk


def test_a_finished_file_is_linked_and_one_that_may_change_is_copied(target: DirectoryTarget, tmp_path: Path) -> None:
    finished, open_still = tmp_path / "finished", tmp_path / "open"
    for path in (finished, open_still):
        path.write_bytes(path.name.encode())
    finished.chmod(0o444)
    head = target.commit(REPO, Change({"f": finished, "x/o": open_still, "y/f": finished}, (), "First"), None)
    assert (place(target) / "f").stat().st_ino == (place(target) / "y/f").stat().st_ino == finished.stat().st_ino
    assert (place(target) / "x/o").stat().st_ino != open_still.stat().st_ino
    assert open_still.stat().st_mode & 0o200
    open_still.write_bytes(b"edited")
    finished.unlink()
    assert at(target, head) == {"f": b"finished", "x/o": b"open", "y/f": b"finished"}


@pytest.mark.parametrize("mode", [0o444, 0o644])
def test_a_file_that_changes_while_it_is_published_is_refused(
    target: DirectoryTarget, tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The commit has taken its digest and waits for another publisher when the file is written to."""
    first, file, failures = target.commit(REPO, Change(OLD, (), "First"), None), tmp_path / "file", []
    file.write_bytes(b"a2")
    file.chmod(mode)

    def publish() -> None:
        try:
            target.commit(REPO, Change({"a.parquet": file}, (), "Second"), first)
        except UserError as error:
            failures.append(str(error))

    publisher = threading.Thread(target=publish)
    with locked(machinery(target) / "lock"):
        publisher.start()
        while "waiting for" not in caplog.text:
            time.sleep(0.01)
        file.chmod(0o644)
        file.write_bytes(b"a9")
        file.chmod(mode)
    publisher.join()
    assert failures == [f"{file} changed while it was being published. Run again when nothing writes to it."]
    assert contents(place(target)) == at(target, first) == OLD


def test_what_two_commits_share_lies_on_the_disk_once(target: DirectoryTarget) -> None:
    first, second = first_and_second(target)
    trees = [Path(target.loadable(REPO, head)) for head in (first, second)]
    assert len({(tree / "b.parquet").stat().st_ino for tree in trees}) == 1


def test_on_another_file_system_a_finished_file_is_copied(target: DirectoryTarget) -> None:
    memory = Path("/dev/shm")
    target.root.mkdir()
    if not memory.is_dir() or memory.stat().st_dev == target.root.stat().st_dev:
        absent("There is no second file system: mount a tmpfs at /dev/shm", required_by="CI")
    with tempfile.NamedTemporaryFile(dir=memory) as file:
        file.write(b"far")
        file.flush()
        Path(file.name).chmod(0o444)
        head = target.commit(REPO, Change({"f": Path(file.name)}, (), "First"), None)
    assert at(target, head) == {"f": b"far"}


def test_a_full_disk_is_told_and_leaves_the_old_release(small_disk: Path) -> None:
    target = DirectoryTarget(small_disk)
    first = target.commit(REPO, Change(OLD, (), "First"), None)
    with pytest.raises(UserError, match="disk is full: 3,000,000 bytes are needed"):
        target.commit(REPO, Change({"big": os.urandom(3_000_000)}, (), "Second"), first)
    assert target.head(REPO) == first
    assert contents(place(target)) == OLD
    assert len(list((machinery(target) / "blobs").iterdir())) == len(OLD)


# What a user does to it by hand


def test_a_damaged_blob_is_found_and_told(target: DirectoryTarget) -> None:
    first, second = first_and_second(target)
    blob = machinery(target) / "blobs" / target.paths(REPO, second)["a.parquet"]
    blob.chmod(0o644)
    blob.write_bytes(b"a9")
    with pytest.raises(UserError, match=f"is not what was published there. Delete {blob} and publish again"):
        target.read(REPO, "a.parquet", second)
    blob.unlink()
    assert "a.parquet" not in target.paths(REPO, second)
    assert target.commit(REPO, SECOND, second) == second
    assert contents(place(target)) == at(target, second) == NEW
    assert at(target, first) == OLD


def test_a_file_taken_out_of_the_tree_or_edited_is_put_back(target: DirectoryTarget) -> None:
    head = target.commit(REPO, Change(OLD, (), "First"), None)
    (place(target) / "a.parquet").unlink()
    shutil.rmtree(place(target) / "x")
    (place(target) / "edited").write_bytes(b"b9 of an editor")
    (place(target) / "edited").replace(place(target) / "b.parquet")
    assert set(target.paths(REPO, head)) == set(OLD)
    assert contents(place(target)) == OLD


def test_a_link_that_is_gone_comes_back_and_a_repo_without_machinery_is_absent(target: DirectoryTarget) -> None:
    first, second = first_and_second(target)
    place(target).unlink()
    assert target.head(REPO) == second
    assert contents(place(target)) == NEW
    place(target).unlink()
    place(target).symlink_to(f".nemotron-tiny-pools/trees/{first}")  # as from an older backup
    assert target.commit(REPO, SECOND, second) == second
    assert contents(place(target)) == NEW
    shutil.rmtree(machinery(target))
    assert target.head(REPO) is None
    assert target.refs(REPO).tags == {}
    with pytest.raises(HeadMovedError):
        target.commit(REPO, SECOND, second)
    assert target.commit(REPO, Change(OLD, (), "First"), None) == first
    assert contents(place(target)) == OLD


def test_a_repo_can_be_moved(target: DirectoryTarget, tmp_path: Path) -> None:
    _, second = first_and_second(target)
    moved = DirectoryTarget(tmp_path / "elsewhere")
    target.root.rename(moved.root)
    assert contents(place(moved)) == at(moved, second) == NEW


def test_what_somebody_else_put_there_is_left_alone_and_told(target: DirectoryTarget, tmp_path: Path) -> None:
    place(target).mkdir(parents=True)
    with pytest.raises(UserError, match=r"was not put there by publishing\. Move it away"):
        target.require_writable(REPO)
    (place(target) / ".commits.jsonl").touch()
    for attempt in (lambda: target.require_writable(REPO), lambda: target.commit(REPO, SECOND, None)):
        with pytest.raises(UserError, match=r"no longer written\. Delete it, or set NEMO_PUBLISH_TO to another dir"):
            attempt()
    shutil.rmtree(place(target))
    place(target).symlink_to(tmp_path)
    with pytest.raises(UserError, match="was not put there by publishing"):
        target.commit(REPO, SECOND, None)


@pytest.mark.parametrize("damage", [b"", b"\0" * 40, b'{"commit": "f"}\n'])
def test_a_log_that_was_damaged_is_not_trusted(target: DirectoryTarget, damage: bytes) -> None:
    _, second = first_and_second(target)
    log = machinery(target) / "commits.jsonl"
    log.write_bytes(damage + log.read_bytes().partition(b"\n")[2])
    for attempt in (lambda: target.paths(REPO, second), lambda: target.commit(REPO, SECOND, second)):
        with pytest.raises(
            UserError, match=r"commit [0-9a-f]{40} is missing or damaged\. Bring the file back, or delete"
        ):
            attempt()
    assert contents(place(target)) == NEW


def test_a_commit_that_was_edited_in_the_log_is_told(target: DirectoryTarget) -> None:
    _, second = first_and_second(target)
    log = machinery(target) / "commits.jsonl"
    log.write_text(log.read_text().replace('"c.parquet"', '"e.parquet"'))
    with pytest.raises(UserError, match=f"commit {second} is missing or damaged"):
        target.paths(REPO, second)


# Branches, tags, and bringing back


def test_a_branch_begins_at_its_parent_and_readers_of_the_place_do_not_see_it(target: DirectoryTarget) -> None:
    first = target.commit(REPO, Change(OLD, (), "First"), None)
    waiting = target.commit(REPO, SECOND, first, branch="waiting")
    assert (target.head(REPO), target.head(REPO, "waiting"), target.head(REPO, "other")) == (first, waiting, None)
    assert contents(place(target)) == OLD
    assert at(target, "waiting") == NEW
    with pytest.raises(HeadMovedError):
        target.commit(REPO, SECOND, first, branch="waiting")
    for no_parent in (None, "f" * 40):
        with pytest.raises(HeadMovedError):
            target.commit(REPO, SECOND, no_parent, branch="other")
    assert target.commit(REPO, SECOND, first) == waiting  # the same change on the same parent
    target.delete_branch(REPO, "waiting")
    target.delete_branch(REPO, "waiting")
    assert at(target, waiting) == contents(place(target)) == NEW


def test_what_only_a_deleted_branch_held_takes_no_room(target: DirectoryTarget) -> None:
    first = target.commit(REPO, Change(OLD, (), "First"), None)
    waiting = target.commit(REPO, SECOND, first, branch="waiting")
    target.delete_branch(REPO, "waiting")
    assert len(list((machinery(target) / "blobs").iterdir())) == len(OLD)
    assert [tree.name for tree in (machinery(target) / "trees").iterdir()] == [first]
    with pytest.raises(UserError, match=f"no revision {waiting}"):
        target.paths(REPO, waiting)
    assert target.commit(REPO, SECOND, first) == waiting
    assert at(target, waiting) == NEW


def test_a_repo_may_begin_with_a_branch(target: DirectoryTarget) -> None:
    waiting = target.commit(REPO, Change(OLD, (), "First"), None, branch="waiting")
    assert target.head(REPO) is None
    assert not place(target).is_symlink()
    assert target.commit(REPO, Change(OLD, (), "First"), None) == waiting
    assert contents(place(target)) == OLD


def test_a_tag_names_one_commit_for_ever(target: DirectoryTarget) -> None:
    first, second = first_and_second(target)
    target.set_tag(REPO, "release-0002", "main", "the second")
    target.set_tag(REPO, "release-0001", first)
    target.set_tag(REPO, "release-0001", first)
    with pytest.raises(TagTakenError):
        target.set_tag(REPO, "release-0001", second)
    assert list(target.refs(REPO).tags.items()) == [("release-0001", first), ("release-0002", second)]
    assert at(target, "release-0001") == OLD
    with pytest.raises(UserError, match="no revision"):
        target.set_tag("alice/absent", "release-0001", first)
    assert not (target.root / "alice/.absent").exists()


def test_files_are_brought_back_from_any_revision(target: DirectoryTarget) -> None:
    first, second = first_and_second(target)
    target.set_tag(REPO, "release-0001", first)
    change = Change({}, ("c.parquet",), "Back", restored={"a.parquet": first, "x/d.parquet": "release-0001"})
    third = target.commit(REPO, change, second)
    assert contents(place(target)) == at(target, third) == OLD
    with pytest.raises(UserError, match=r"no file c\.parquet at .* to bring back"):
        target.commit(REPO, Change({}, (), "Back", restored={"c.parquet": first}), third)


def test_commit_ids_depend_on_content_and_history_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a2")
    (tmp_path / "file").chmod(0o444)
    here, there = DirectoryTarget(tmp_path / "here"), DirectoryTarget(tmp_path / "there")
    linked = Change({**SECOND.additions, "a.parquet": tmp_path / "file"}, SECOND.deletions, SECOND.summary)
    first = there.commit(REPO, Change(OLD, (), "First"), None)
    assert first_and_second(here) == (first, there.commit(REPO, linked, first))


def test_a_folder_takes_as_many_entries_as_on_the_hub(target: DirectoryTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    assert FOLDER_ENTRIES == 10_000
    monkeypatch.setattr("nemo_assets.hub.directory_target.FOLDER_ENTRIES", 3)
    head = target.commit(REPO, Change({f"x/{n}": b"" for n in "abc"}, (), "First"), None)
    with pytest.raises(UserError, match=r"nemotron-tiny-pools/x would have 4 entries, and the Hub takes 3"):
        target.commit(REPO, Change({"x/d/e": b""}, (), "Second"), head)
    head = target.commit(REPO, Change({"x/d/e": b"", "x/d/f": b""}, ("x/a",), "Second"), head)
    with pytest.raises(UserError, match="x/d would be a file and a folder"):
        target.commit(REPO, Change({"x/d": b""}, (), "Third"), head)


# Other processes

DYING = """
import os, shutil, signal, sys
from pathlib import Path
from nemo_assets.hub.directory_target import DirectoryTarget
from nemo_assets_tests.hub.test_directory_target import REPO, SECOND

STEPS = ("open", "os.mkdir", "os.link", "os.symlink", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.truncate")

def live(root, parent, die_at):
    seen = 0
    def hook(event, arguments):
        nonlocal seen
        if event in STEPS:
            seen += 1
            if seen == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    DirectoryTarget(root).commit(REPO, SECOND, parent)
    os._exit(0)

before, roots, parent = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
for die_at in range(1, 1000):
    root = roots / str(die_at)
    shutil.copytree(before, root, symlinks=True)
    child = os.fork()
    if not child:
        live(root, parent if parent != "None" else None, die_at)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


@pytest.mark.parametrize("begun", [True, False])
def test_a_commit_killed_at_any_step_is_wholly_there_or_not_at_all(
    target: DirectoryTarget, tmp_path: Path, begun: bool
) -> None:
    """Killed before the first thing it does to the disk, the second, … until one comes to its end."""
    target.root.mkdir()
    first = target.commit(REPO, Change(OLD, (), "First"), None) if begun else None
    old = OLD if begun else {}
    new = NEW if begun else {"a.parquet": b"a2", "c.parquet": b"c2"}
    command = [sys.executable, "-c", DYING, str(target.root), str(tmp_path / "roots"), str(first)]
    subprocess.run(command, check=True)
    roots = sorted((tmp_path / "roots").iterdir(), key=lambda root: int(root.name))
    assert len(roots) > 20
    outcomes = []
    for root in roots:
        dead = DirectoryTarget(root)
        assert contents(place(dead)) in (old, new)
        head = dead.head(REPO)
        outcomes.append(head != first)
        assert contents(place(dead)) == (new if head != first else old)
        if head is not None:
            assert at(dead, head) == (new if head != first else old)
        second = dead.commit(REPO, SECOND, head)
        assert contents(place(dead)) == at(dead, second) == new
        history = [first, second] if first else [second]
        lines = (machinery(dead) / "commits.jsonl").read_text().splitlines()
        assert [json.loads(line)["commit"] for line in lines] == history
        everything = {*new.values(), *old.values()}
        assert {path.read_bytes() for path in (machinery(dead) / "blobs").iterdir()} == everything
        assert sorted(path.name for path in (machinery(dead) / "trees").iterdir()) == sorted(history)
        known = {"blobs", "trees", "commits.jsonl", "refs.json", "lock"}
        assert {path.name for path in machinery(dead).iterdir()} == known
    assert outcomes == sorted(outcomes)  # once it is published it stays so
    assert False in outcomes
    assert True in outcomes[:-1]


def test_leftovers_of_a_killed_process_are_used_again_or_removed(target: DirectoryTarget) -> None:
    first = target.commit(REPO, Change(OLD, (), "First"), None)
    blobs, log = machinery(target) / "blobs", machinery(target) / "commits.jsonl"
    whole, cut = blobs / hashlib.sha256(b"a2").hexdigest(), blobs / hashlib.sha256(b"c2").hexdigest()
    whole.write_bytes(b"a2")
    cut.write_bytes(b"c")
    (blobs / "partial").write_bytes(b"half")
    (machinery(target) / "trees/partial/x").mkdir(parents=True)
    with log.open("ab") as file:
        file.write(b'{"commit": "cut')
    inode = whole.stat().st_ino
    second = target.commit(REPO, SECOND, first)
    assert whole.stat().st_ino == inode
    assert contents(place(target)) == at(target, second) == NEW
    assert len(list(blobs.iterdir())) == len({*OLD.values(), *NEW.values()})
    assert [json.loads(line)["commit"] for line in log.read_text().splitlines()] == [first, second]


def test_a_reader_sees_one_commit_and_never_a_mixture(target: DirectoryTarget) -> None:
    names = [f"x/{number}.parquet" for number in range(8)]
    done, seen, failures = threading.Event(), set(), []

    def read() -> None:
        while not done.is_set():
            found = contents(place(target))
            head = target.head(REPO)
            told = {target.read(REPO, name, str(head)) for name in names}
            seen.add(len(set(found.values())))
            if len(set(found.values())) != 1 or len(found) != len(names) or len(told) != 1:
                failures.append((found, told))

    head = target.commit(REPO, Change(dict.fromkeys(names, b"0"), (), "0"), None)
    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 51):
        head = target.commit(REPO, Change(dict.fromkeys(names, str(number).encode()), (), str(number)), head)
    done.set()
    reader.join()
    assert not failures
    assert seen == {1}
    assert set(contents(place(target)).values()) == {b"50"}


PUBLISHING = """
import sys
from pathlib import Path
from nemo_assets.hub.directory_target import DirectoryTarget
from nemo_assets.hub.targets import Change, HeadMovedError

target, name, moved = DirectoryTarget(Path(sys.argv[1])), sys.argv[2], 0
for number in range(10):
    while True:
        head = target.head("alice/nemotron-tiny-pools")
        try:
            change = Change({f"{name}/{number}": name.encode()}, (), f"{name} {number}")
            target.commit("alice/nemotron-tiny-pools", change, head)
            break
        except HeadMovedError:
            moved += 1
"""


def test_processes_that_publish_at_once_all_land_on_top_of_one_another(target: DirectoryTarget) -> None:
    names = ("left", "middle", "right")
    command = [sys.executable, "-c", PUBLISHING, str(target.root)]
    processes = [subprocess.Popen([*command, name]) for name in names]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    assert contents(place(target)) == {f"{name}/{number}": name.encode() for name in names for number in range(10)}
    entries = [json.loads(line) for line in (machinery(target) / "commits.jsonl").read_text().splitlines()]
    assert [entry["parent"] for entry in entries] == [None, *(entry["commit"] for entry in entries[:-1])]


# Against a model

NAMES = st.sampled_from(["a", "b", "x/a", "x/b", "x/y/c", "z/d"])
BYTES = st.sampled_from([b"", b"1", b"2", b"3"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.dictionaries(NAMES, BYTES), st.sets(NAMES), st.dictionaries(NAMES, st.integers(0, 9)))))
def test_every_revision_is_what_a_dictionary_says(
    steps: list[tuple[dict[str, bytes], set[str], dict[str, int]]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        target = DirectoryTarget(Path(directory))
        model: dict[str, dict[str, bytes]] = {}
        head: str | None = None
        for additions, deletions, back in steps:
            revisions = list(model)
            restored = {
                path: revisions[which % len(revisions)]
                for path, which in back.items()
                if revisions and path not in additions and path in model[revisions[which % len(revisions)]]
            }
            gone = deletions - set(additions) - set(restored)
            files = dict(model[head]) if head else {}
            files |= additions | {path: model[revision][path] for path, revision in restored.items()}
            expected = {path: content for path, content in files.items() if path not in gone}
            now = target.commit(REPO, Change(additions, tuple(gone), "Step", restored=restored), head)
            assert (now == head) == (head is not None and expected == model[head])
            model[now] = expected
            head = now
        for revision, files in model.items():
            assert at(target, revision) == dict(sorted(files.items()))
        assert head is None or contents(place(target)) == model[head]
