"""A version in the making: what is current when, and what a rerun takes over."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec
import pytest

from nemo_assets.disk import disk_told, explained, write_durably
from nemo_assets.errors import UserError
from nemo_assets.storage import Basis, Manifest, Stage, Store, Unit

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
