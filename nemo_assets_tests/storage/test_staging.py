"""A version in the making: what is current when, and what a rerun takes over."""

from __future__ import annotations

import errno
import os
import pickle
import socket
import subprocess
import threading
import time
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from nemo_assets.disk import disk_told, explained, write_all, write_durably, written_aside
from nemo_assets.errors import UserError
from nemo_assets.storage import Basis, Manifest, Stage, Store, Unit
from nemo_assets.storage.manifest import made_by
from nemo_assets.storage.parquet import write_part

PATIENCE = 60  # seconds
KEY = "slug/split"
BASIS = Basis({"raw": "r1"}, {"code": "1"})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def commit(store: Store, basis: Basis, *contents: bytes) -> Manifest:
    """One unit a content."""
    with store.staging(Stage.NORMALIZED, KEY, basis) as staging:
        for number in staging.missing(range(len(contents))):
            path = staging.target("rows", number)
            path.write_bytes(contents[number])
            staging.add(Unit(number, (staging.part("rows", path, 1),)))
        return staging.commit(counters={"rows": len(contents)})


def test_a_version_is_named_by_what_it_is_made_from_and_its_data_version_by_what_it_holds(store: Store) -> None:
    first = commit(store, BASIS, b"a", b"b")
    other_code = commit(store, Basis(BASIS.inputs, {"code": "2"}), b"a", b"b")
    other_content = commit(store, Basis({"raw": "r2"}, BASIS.settings), b"a", b"c")
    assert len({first.version, other_code.version, other_content.version}) == 3
    assert first.data_version == other_code.data_version != other_content.data_version
    assert [part.path for part in first.parts] == [
        f"normalized/slug/split/{first.version}/part-0000{n}.parquet" for n in (0, 1)
    ]


def test_only_the_version_of_this_basis_with_whole_files_is_current(store: Store) -> None:
    manifest = commit(store, BASIS, b"a", b"b")
    assert store.find_current(Stage.NORMALIZED, KEY, BASIS) == manifest
    assert store.find_current(Stage.NORMALIZED, KEY, Basis({"raw": "r2"}, BASIS.settings)) is None
    store.paths(manifest)[1].write_bytes(b"")
    assert store.find_current(Stage.NORMALIZED, KEY, BASIS) is None
    store.paths(manifest)[1].unlink()
    assert store.find_current(Stage.NORMALIZED, KEY, BASIS) is None


def test_an_error_inside_leaves_the_old_version_and_its_finished_units_are_taken_over(store: Store) -> None:
    old = commit(store, BASIS, b"old")
    newer = Basis({"raw": "r2"}, BASIS.settings)
    with pytest.raises(KeyError):
        one_unit_and_a_failure(store, newer)
    assert store.current(Stage.NORMALIZED, KEY) == old
    with store.staging(Stage.NORMALIZED, KEY, newer) as staging:
        assert staging.missing(range(3)) == [1, 2]
        staging.target("rows", 0).unlink()
        assert staging.missing(range(3)) == [0, 1, 2]


def one_unit_and_a_failure(store: Store, basis: Basis) -> None:
    with store.staging(Stage.NORMALIZED, KEY, basis) as staging:
        path = staging.target("rows", 0)
        path.write_bytes(b"x")
        staging.add(Unit(0, (staging.part("rows", path, 1),)))
        staging.target("rows", 1).write_bytes(b"half")  # a part that no unit has claimed
        raise KeyError


def test_a_unit_is_recorded_by_whoever_did_it_and_taken_over_by_whoever_commits(store: Store) -> None:
    with store.staging(Stage.NORMALIZED, KEY, BASIS) as staging:
        path = staging.target("rows", 0)
        path.write_bytes(b"x")
        unit = Unit(0, (staging.part("rows", path, 1),), {"kept": 1})
        sent = pickle.loads(pickle.dumps(staging))  # as a worker has it
        sent.record(unit)
        assert sent.units == staging.units == {}
        record = staging.directory / "unit-00000.json"
        before = record.stat()
        staging.add(unit)
        assert (record.stat().st_ino, record.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        staging.add(Unit(0, unit.parts, {"kept": 2}))  # done again, with another result
        assert staging.finished(0) == staging.units[0] != unit


def test_what_travels_to_a_worker_does_not_grow_with_what_is_done(store: Store) -> None:
    with store.staging(Stage.NORMALIZED, KEY, BASIS) as staging:
        small = len(pickle.dumps(staging))
        staging.units |= {number: Unit(number, (), {"kept": number}) for number in range(1_000)}
        assert len(pickle.dumps(staging)) == small < 2_000


def test_tables_that_describe_the_content_do_not_change_its_data_version(store: Store) -> None:
    def committed(second: bytes, table: str = "census") -> Manifest:
        with store.staging(Stage.NORMALIZED, KEY, BASIS) as staging:
            contents = {"rows": b"rows", table: second}
            for name, content in contents.items():
                staging.target(name, 0).write_bytes(content)
            parts = tuple(staging.part(name, staging.target(name, 0), 1) for name in contents)
            staging.add(Unit(0, parts))
            return staging.commit(counters={})

    first, second = committed(b"1"), committed(b"22")
    assert first.data_version == second.data_version
    assert [part.table for part in second.parts] == ["rows", "census"]
    assert committed(b"1", "tools").data_version != committed(b"22", "tools").data_version


def test_what_killed_writers_left_is_removed_and_what_living_ones_write_is_not(store: Store) -> None:
    commit(store, BASIS, b"old")
    directory = store.directory(Stage.NORMALIZED, KEY)
    left = [directory / ".manifest.json.1.tmp", directory / "v" / ".part-00000.parquet.1.tmp"]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    elsewhere = store.directory(Stage.NORMALIZED, "slug/other") / ".manifest.json.1.tmp"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(b"half")
    with written_aside(directory / "v" / "part-00001.parquet") as file:
        living = Path(str(file.name))
        write_all(file, b"whole")
        commit(store, Basis({"raw": "r2"}, BASIS.settings), b"new")
        assert living.read_bytes() == b"whole"
    assert (directory / "v" / "part-00001.parquet").read_bytes() == b"whole"
    assert elsewhere.exists()
    assert not any(path.exists() for path in left)


def test_a_partition_is_held_by_one_at_a_time_and_who_waits_says_for_whom(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    order: list[str] = []

    def second() -> None:
        with store.sole(Stage.RAW, KEY):
            order.append("second")

    waiting = threading.Thread(target=second)
    with store.sole(Stage.RAW, KEY):
        waiting.start()
        deadline = time.monotonic() + PATIENCE
        while not caplog.messages:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        order.append("first")
    waiting.join(PATIENCE)
    assert order == ["first", "second"]
    place = store.directory(Stage.RAW, KEY)
    assert caplog.messages == [f"{place}: waiting for process {os.getpid()} on {socket.gethostname()}"]
    assert (place / ".lock").read_bytes() == b""


def test_other_partitions_and_stages_are_not_held(store: Store) -> None:
    held = []

    def hold(stage: Stage, partition: str) -> None:
        with store.sole(stage, partition):
            held.append((stage, partition))

    others = [(Stage.RAW, "slug/other"), (Stage.NORMALIZED, KEY)]
    with store.sole(Stage.RAW, KEY):
        threads = [threading.Thread(target=hold, args=other) for other in others]
        for thread in threads:
            thread.start()
            thread.join(PATIENCE)
        assert held == others


@pytest.mark.parametrize("partition", [KEY, "slug/other"])
def test_nobody_holds_one_partition_while_waiting_for_another(store: Store, partition: str) -> None:
    with (
        store.sole(Stage.RAW, KEY),
        pytest.raises(RuntimeError, match="cannot be held together with raw of slug/split"),
        store.sole(Stage.NORMALIZED, partition),
    ):
        pytest.fail("two are held")
    with store.sole(Stage.NORMALIZED, partition):
        assert (store.directory(Stage.NORMALIZED, partition) / ".lock").read_text().startswith("process ")


def test_a_full_disk_leaves_the_current_version(small_disk: Path) -> None:
    store = Store(small_disk / "data")
    old = commit(store, BASIS, b"old" * 100_000)
    with pytest.raises(UserError, match="the disk is full") as raised:
        commit_table(store, Basis({"raw": "r2"}, BASIS.settings), os.urandom(2 << 20))
    assert "\n" not in str(raised.value)
    assert store.find_current(Stage.NORMALIZED, KEY, BASIS) == old
    assert store.paths(old)[0].read_bytes() == b"old" * 100_000
    assert not list(small_disk.rglob("*.tmp"))
    assert commit_table(store, Basis({"raw": "r2"}, BASIS.settings), b"small") == store.current(Stage.NORMALIZED, KEY)


def test_a_disk_that_cannot_be_written_leaves_the_current_version(small_disk: Path) -> None:
    store = Store(small_disk / "data")
    old = commit(store, BASIS, b"old")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for partition in (KEY, "slug/new"):
        with pytest.raises(UserError, match="Read-only file system"), store.sole(Stage.NORMALIZED, partition):
            pytest.fail("it is held")
    assert store.find_current(Stage.NORMALIZED, KEY, BASIS) == old


def commit_table(store: Store, basis: Basis, content: bytes) -> Manifest:
    with store.staging(Stage.NORMALIZED, KEY, basis) as staging:
        path = staging.target("rows", 0)
        write_part(path, pa.table({"content": [content]}))
        staging.add(Unit(0, (staging.part("rows", path, 1),)))
        return staging.commit(counters={})


def test_every_version_that_was_current_is_listed_in_the_order_in_which_it_last_became_so(store: Store) -> None:
    bases = [Basis({"raw": name}, BASIS.settings) for name in ("r1", "r2", "r3")]
    assert store.versions(Stage.NORMALIZED, KEY) == []
    made = []
    for number, basis in enumerate(bases):
        made.append(commit(store, basis, b"%d" % number))
        os.utime(store.directory(Stage.NORMALIZED, KEY) / "manifest.json", (number, number))  # seconds
    with pytest.raises(KeyError):
        one_unit_and_a_failure(store, Basis({"raw": "r4"}, BASIS.settings))
    listed = store.versions(Stage.NORMALIZED, KEY)
    assert [(each.manifest, each.since.timestamp(), each.is_current) for each in listed] == [
        (manifest, number, number == 2) for number, manifest in enumerate(made)
    ]
    assert commit(store, bases[0], b"0") == made[0]
    listed = store.versions(Stage.NORMALIZED, KEY)
    assert [(each.manifest, each.is_current) for each in listed] == [
        (made[1], False),
        (made[2], False),
        (made[0], True),
    ]
    assert all(store.is_whole(each.manifest) for each in listed)
    store.paths(made[1])[0].unlink()
    assert [store.is_whole(each.manifest) for each in listed] == [False, True, True]


def test_a_version_kept_by_a_process_that_was_killed_before_it_made_another_current_is_listed_once(
    store: Store,
) -> None:
    made = commit(store, BASIS, b"a")
    directory = store.directory(Stage.NORMALIZED, KEY)
    (directory / made.version / "version.json").write_bytes((directory / "manifest.json").read_bytes())
    assert [(each.manifest, each.is_current) for each in store.versions(Stage.NORMALIZED, KEY)] == [(made, True)]


def test_a_damaged_manifest_of_an_old_version_is_named(store: Store) -> None:
    old = commit(store, BASIS, b"a")
    commit(store, Basis({"raw": "r2"}, BASIS.settings), b"b")
    (store.directory(Stage.NORMALIZED, KEY) / old.version / "version.json").write_bytes(b"{")
    with pytest.raises(UserError, match=rf"{old.version}/version\.json: not a manifest .*Delete it\.$"):
        store.versions(Stage.NORMALIZED, KEY)


def test_a_manifest_names_the_run_that_made_it_and_is_otherwise_the_same(tmp_path: Path) -> None:
    store, beside = Store(tmp_path / "runs"), Store(tmp_path / "no-run")
    with made_by("run-1"):
        first = commit(store, BASIS, b"a")
    without = commit(beside, BASIS, b"a")
    assert (first.run_id, without.run_id) == ("run-1", None)
    assert (first.version, first.data_version) == (without.version, without.data_version)
    with made_by("run-2"):
        assert commit(store, BASIS, b"a") == first  # the same again is still what the first run made
        assert commit(store, Basis({"raw": "r2"}, BASIS.settings), b"b").run_id == "run-2"
    with made_by("run-3"):
        assert commit(store, BASIS, b"a") == first
    assert [version.manifest.run_id for version in store.versions(Stage.NORMALIZED, KEY)] == ["run-2", "run-1"]
    assert commit(store, Basis({"raw": "r3"}, BASIS.settings), b"c").run_id is None


def test_manifests_are_listed_in_chain_order(store: Store) -> None:
    for stage, partition in [
        (Stage.LEDGER, "b/x"),
        (Stage.RAW, "b/x"),
        (Stage.RAW, "a/y"),
        (Stage.DUPLICATES, "distilled"),
    ]:
        store.write_manifest(Manifest(stage, partition, "v", "d", {}, {}))
    assert [(m.stage, m.partition) for m in store.manifests()] == [
        ("raw", "a/y"),
        ("raw", "b/x"),
        ("duplicates", "distilled"),
        ("ledger", "b/x"),
    ]
    assert [m.partition for m in store.manifests(Stage.RAW)] == ["a/y", "b/x"]


def test_a_damaged_manifest_is_named_with_what_to_do(store: Store) -> None:
    manifest = commit(store, BASIS, b"a")
    path = store.directory(Stage.NORMALIZED, KEY) / "manifest.json"
    path.write_bytes(msgspec.json.encode(manifest)[:-1])
    with pytest.raises(
        UserError, match=r"manifest\.json: not a manifest .*Delete it and materialise normalized of slug/split again"
    ):
        store.find(Stage.NORMALIZED, KEY)
    with pytest.raises(UserError, match=r"manifest\.json: not a manifest"):
        list(store.manifests())


def test_what_is_not_there_is_told_with_what_to_make(store: Store) -> None:
    with pytest.raises(
        UserError, match=r"^slug/split: ledger does not exist yet\. Materialise ledger of slug/split first\.$"
    ):
        store.current(Stage.LEDGER, KEY)


@pytest.mark.parametrize("root", ["s3://bucket/data", "hf://datasets/a/b"])
def test_a_url_is_no_data_directory(root: str) -> None:
    with pytest.raises(UserError, match="the data directory must be a local path"):
        Store(Path(root))


def test_a_failed_write_leaves_the_old_content_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "manifest.json"
    write_durably(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="the disk is full"):
        write_durably(path, b"new")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("manifest.json", b"old")]


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, "the disk is full. Free space there or set NEMO_DATA_DIR"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EFBIG, "larger than its disk or `ulimit -f` allows"),
        (
            errno.EROFS,
            "cannot be used (Read-only file system). Set NEMO_DATA_DIR, or the folder you named, to a directory you",
        ),
        (errno.EACCES, "cannot be used (Permission denied)"),
        (errno.ENOLCK, "file system has no locks (No locks available)"),
        (errno.ENOTDIR, "cannot be used (Not a directory)"),
    ],
)
def test_what_the_user_can_mend_on_a_disk_is_told_so(number: int, told: str) -> None:
    error = explained(OSError(number, os.strerror(number)), Path("/data/part"))
    assert isinstance(error, UserError)
    assert str(error).startswith("/data/part: ")
    assert told in str(error)


def test_other_errors_stay_what_they_are() -> None:
    error = OSError(errno.EIO, os.strerror(errno.EIO))
    assert explained(error, Path("/data/part")) is None
    with pytest.raises(OSError, match="Input/output error"), disk_told(Path("/data/part")):
        raise error
