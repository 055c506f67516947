"""Bytes on the local disk: digests, verified copies, a lock between processes, and what a full disk says.

Belongs here: what both sources and targets need of plain files. Does not: Parquet and manifests (`storage`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from nemo_assets.errors import UserError
from nemo_assets.progress import Meter

CHUNK_BYTES = 4 << 20  # large enough that hashing dominates, small enough that a progress bar moves
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def disk_errors(path: Path, needed: int) -> Iterator[None]:
    """Turn a full disk into one line that names `path` and the `needed` bytes; every other error passes."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        folder = next(parent for parent in (path, *path.parents) if parent.is_dir())
        free = shutil.disk_usage(folder).free
        raise UserError(
            f"{path}: the disk is full: {needed:,} bytes are needed, {free:,} are free. "
            "Free some space or point NEMO_DATA_DIR at a larger disk."
        ) from error


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


def write_whole(destination: Path, content: bytes) -> None:
    """Replace a file by `content`: after a kill it holds the old bytes or all of the new ones."""
    temporary = destination.with_name(f"{destination.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        _sync(file)
    temporary.replace(destination)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path` as a lock between threads and processes; the kernel frees it when its holder dies."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
