"""Large files that lie here: their digests, remembered, and taking one over verified.

Belongs here: what reading from a directory and keeping what was downloaded share. Does not: the transfer from the Hub
(`download`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from nemo_assets.disk import copy_hashed
from nemo_assets.progress import Meter

_WORTH_REMEMBERING_BYTES = 1 << 20  # less is read faster than looked up
_SETTLED_SECONDS = 2.0  # a file written a moment ago may be written again without its times showing it
_FICLONE = 0x40049409  # linux/fs.h: share the blocks of another file until one of the two is written to
_NO_CLONE = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM)


class _Note(msgspec.Struct, frozen=True):
    """The digest a file had when it looked like this; a change of its bytes moves at least `ctime_ns`."""

    path: str
    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    sha256: str


def sha256_at(path: Path) -> str:
    """Hex sha256 of a file, remembered across processes: one that was not touched since is not read again.

    The memory lies in the user's cache directory; whether it can be used makes a difference of time only.
    """
    before = path.stat()
    if before.st_size < _WORTH_REMEMBERING_BYTES:
        return _read(path)
    known = _recalled(path)
    if known is not None and known == _note(path, before, known.sha256):
        return known.sha256
    sha256 = _read(path)
    if time.time() - max(before.st_mtime, before.st_ctime) > _SETTLED_SECONDS:
        _keep(_note(path, before, sha256))
    return sha256


def remember(path: Path, sha256: str) -> None:
    """Remember the digest of a file that was just written and verified, and that nobody else writes to."""
    status = path.stat()
    if status.st_size >= _WORTH_REMEMBERING_BYTES:
        _keep(_note(path, status, sha256))


def take_over(source: Path, destination: Path, meter: Meter) -> str:
    """Make `destination` hold the bytes of `source`, durable when this returns; their hex sha256.

    Where the file system can, blocks are shared instead of copied; later edits of the source do not reach the
    destination, as they would through a hard link.
    """
    if not _cloned(source, destination):
        return copy_hashed(source, destination, meter)
    sha256 = _read(destination)
    meter.advance(destination.stat().st_size)
    return sha256


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[BinaryIO]:
    """A file in the making, open and for this thread alone: another one that makes it too waits and finds it moved.

    Whoever gets it moves it into place, or leaves it for the next attempt to go on with.
    """
    while True:
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_still(path, file):
                yield file
                return


def _is_still(path: Path, file: BinaryIO) -> bool:
    """Whether `path` still names the open `file`: whoever held the lock before may have moved it into place."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _cloned(source: Path, destination: Path) -> bool:
    with source.open("rb") as reading, destination.open("wb") as writing:
        try:
            fcntl.ioctl(writing.fileno(), _FICLONE, reading.fileno())
        except OSError as error:
            if error.errno in _NO_CLONE:
                return False
            raise
        os.fsync(writing.fileno())
    return True


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _note(path: Path, status: os.stat_result, sha256: str) -> _Note:
    return _Note(
        str(path.absolute()),
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        sha256,
    )


def _recalled(path: Path) -> _Note | None:
    with contextlib.suppress(OSError, msgspec.MsgspecError):  # no note, or one that was cut off: the file is read
        return msgspec.json.decode(_place(str(path.absolute())).read_bytes(), type=_Note)
    return None


def _keep(note: _Note) -> None:
    place = _place(note.path)
    aside = place.with_name(f".{place.name}.{os.getpid()}.{time.monotonic_ns()}")
    with contextlib.suppress(OSError):  # without a cache directory the file is read again next time
        place.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(msgspec.json.encode(note))
        aside.replace(place)


def _place(path: str) -> Path:
    cache = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(cache) if Path(cache).is_absolute() else Path("~/.cache").expanduser()
    return home / "nemo-assets" / "digests" / hashlib.sha256(path.encode()).hexdigest()
