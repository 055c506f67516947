"""Files on the local disk: digests, durable writes, verified copies, locks, and what a full disk says.

Belongs here: what the rooms that read and write files share. Does not: Parquet and manifests (`storage`), transfers
(`hub`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from functools import lru_cache
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from nemo_assets.errors import UserError
from nemo_assets.progress import Meter

CHUNK_BYTES = 4 << 20  # large enough that hashing dominates, small enough that a progress bar moves

_log = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT)
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


@contextlib.contextmanager
def disk_told(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turn what the user can mend about the disk below `path` into a UserError; every other error passes.

    `needed` is how many bytes are to be written, where that is known.
    """
    try:
        yield
    except OSError as error:
        told = explained(error, path, needed)
        if told is None:
            raise
        raise told from error


def explained(error: OSError, path: Path, needed: int | None = None) -> UserError | None:
    """One line for a full disk, a file beyond a limit, or a place that cannot be used; None for any other error."""
    if error.errno in _FULL:
        return UserError(
            f"{path}: the disk is full{_missing(path, needed)}. "
            "Free space there or set NEMO_DATA_DIR to a larger disk. Finished parts are kept."
        )
    if error.errno == errno.EFBIG:
        return UserError(
            f"{path}: the file became larger than its disk or `ulimit -f` allows. "
            "Raise the limit or set NEMO_DATA_DIR to another disk; finished parts are kept."
        )
    if error.errno in _WITHOUT_LOCKS:
        return UserError(
            f"{path}: its file system has no locks ({os.strerror(error.errno)}) to keep two processes apart. "
            "Set NEMO_DATA_DIR to a local disk."
        )
    if error.errno in _NOT_WRITABLE:
        return UserError(
            f"{path}: cannot be used ({os.strerror(error.errno)}). "
            "Set NEMO_DATA_DIR, or the folder you named, to a directory you own."
        )
    return None


def _missing(path: Path, needed: int | None) -> str:
    folder = next((parent for parent in (path, *path.parents) if parent.is_dir()), None)
    if needed is None or folder is None:
        return ""
    return f": {needed:,} bytes are needed, {shutil.disk_usage(folder).free:,} are free"


def make_directory(path: Path) -> None:
    """Make a directory and those above it; raises UserError where a disk or a setting is in the way."""
    with disk_told(path):
        path.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[FileIO]:
    """A file to write to with `write_all`; durably in the place of `path` when the block ends without an error.

    A kill leaves either the old or the new file. The file aside stays locked while its writer lives, which is how
    `remove_abandoned` tells it from one that a killed process left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with disk_told(path):
            file = temporary.open("wb", buffering=0)
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
            with disk_told(path):
                os.fsync(file.fileno())
                temporary.replace(path)
                _sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_all(file: FileIO, content: bytes) -> None:
    """Write all of it: an unbuffered file may take only the first bytes, such as those a disk has room for."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file by new content so that a kill leaves either the old or the new one."""
    with disk_told(path, len(content)), written_aside(path) as file:
        write_all(file, content)


def remove_abandoned(directory: Path) -> None:
    """Delete what killed writers left aside below `directory`; a file whose writer lives is locked and stays.

    To be called by whoever holds the lock of the directory, so that no new writer is just about to lock its file.
    """
    for path in directory.rglob(".*.tmp"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def copy_hashed(source: Path, destination: Path, meter: Meter) -> str:
    """Copy the bytes of `source`, durable when this returns; the hex sha256 of what was copied."""
    digest = hashlib.sha256()
    with source.open("rb") as reading, destination.open("wb") as writing:
        while chunk := reading.read(CHUNK_BYTES):
            writing.write(chunk)
            digest.update(chunk)
            meter.advance(len(chunk))
        _sync(writing)
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file; within this process a file unchanged in size and mtime is read once."""
    status = path.stat()
    return _sha256_at(path, status.st_size, status.st_mtime_ns)


def content_sha256(content: Path | bytes) -> str:
    """Hex sha256 of a file or of bytes at hand."""
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else sha256_of(content)


@lru_cache(maxsize=1 << 16)
def _sha256_at(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    """A rename is on the disk, and not only in memory, once its directory is."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path` as a lock between threads and processes; the kernel frees it when its holder dies.

    Who has to wait says so once, naming the process that holds it.
    """
    with disk_told(path):
        file = path.open("a+b", buffering=0)
    with file:
        with disk_told(path):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _log.warning("%s: waiting for %s", path.parent, path.read_text() or "another process")
                fcntl.flock(file, fcntl.LOCK_EX)
            file.truncate(0)  # the name of a holder that was killed
            file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
        try:
            yield
        finally:
            file.truncate(0)
