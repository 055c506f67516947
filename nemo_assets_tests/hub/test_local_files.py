"""Digests that are remembered as long as a file is what it was, and files taken over for good."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from nemo_assets.hub.local_files import remember, sha256_at, take_over
from nemo_assets.progress import track

CONTENT = b"x" * (1 << 20)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
WRONG = "f" * 64


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/nemo-assets/digests"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "low.jsonl"
    path.write_bytes(CONTENT)
    return path


def falsify(cache: Path) -> None:
    """Make the memory say something wrong, to see whether it is asked."""
    [note] = cache.iterdir()
    note.write_text(json.dumps(json.loads(note.read_bytes()) | {"sha256": WRONG}))


def test_a_file_that_was_not_touched_is_not_read_again(file: Path, cache: Path) -> None:
    remember(file, DIGEST)
    falsify(cache)
    assert sha256_at(file) == WRONG


def test_other_bytes_of_the_same_size_and_time_are_noticed(file: Path) -> None:
    remember(file, DIGEST)
    before = file.stat()
    file.write_bytes(b"y" * len(CONTENT))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert sha256_at(file) == hashlib.sha256(b"y" * len(CONTENT)).hexdigest()


def test_a_file_put_in_the_place_of_another_is_noticed(file: Path, tmp_path: Path) -> None:
    remember(file, DIGEST)
    (tmp_path / "other").write_bytes(b"y" * len(CONTENT))
    os.utime(tmp_path / "other", ns=(1, file.stat().st_mtime_ns))
    (tmp_path / "other").replace(file)
    assert sha256_at(file) == hashlib.sha256(b"y" * len(CONTENT)).hexdigest()


def test_a_file_written_a_moment_ago_may_still_change_unseen(file: Path, cache: Path) -> None:
    assert sha256_at(file) == DIGEST
    assert not cache.exists()


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"path": 1', b"\xff"])
def test_a_damaged_memory_is_no_memory(file: Path, cache: Path, damage: bytes) -> None:
    remember(file, DIGEST)
    [note] = cache.iterdir()
    note.write_bytes(damage)
    assert sha256_at(file) == DIGEST


def test_without_a_place_for_it_nothing_is_remembered_and_nothing_fails(
    file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    remember(file, WRONG)
    assert sha256_at(file) == DIGEST


def test_what_was_taken_over_does_not_follow_its_source(file: Path, tmp_path: Path) -> None:
    with track("copy", None, "B") as meter:
        assert take_over(file, tmp_path / "taken", meter) == DIGEST
    with file.open("r+b") as edited:
        edited.write(b"edited")
    assert (tmp_path / "taken").read_bytes() == CONTENT
