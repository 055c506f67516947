"""One file from the Hub to the disk, resumed wherever it stopped and verified by its digest.

Belongs here: the transfer itself. The stock client starts an interrupted download at byte 0 in the next process, does
not retry a connection reset and compares only sizes, so for files of tens of gigabytes it is not enough.
Does not: which files there are (`sources`).
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from httpx2 import HTTPError, RemoteProtocolError

from nemo_assets.disk import CHUNK_BYTES, disk_told, make_directory
from nemo_assets.errors import UserError
from nemo_assets.hub.client import Hub, Patience
from nemo_assets.hub.local_files import claimed, remember, sha256_at
from nemo_assets.progress import Meter, track

_WHOLE_TRIES = 2  # a second mismatch of the digest is not an accident of the line


@dataclass(frozen=True)
class RemoteFile:
    """One file of a dataset repo at a pinned revision; its bytes must hash to `sha256`, or to the git `blob_id`."""

    repo_id: str
    path: str
    revision: str
    size: int
    sha256: str | None
    blob_id: str | None

    @property
    def content_id(self) -> str:
        """What names the bytes, wherever they lie: the partial file bears it, so that only equal bytes are resumed."""
        name = self.sha256 or self.blob_id
        if name is None:
            raise ValueError(f"{self.repo_id}/{self.path} has neither sha256 nor blob id")
        return name


def partial_path(folder: Path, content_id: str) -> Path:
    """Where what has arrived of a file lies until all of it is there and verified."""
    return folder / f".{content_id}.part"


def download(hub: Hub, remote: RemoteFile, destination: Path) -> str:
    """Put the file at `destination`, whole and verified, and return the hex sha256 of its bytes.

    Bytes that an earlier attempt of any process left beside the destination are reused.

    Raises:
        UserError: the Hub stays unreachable, the disk is full, or the bytes twice do not have their digest.
        HTTPError: the Hub refuses; the caller says what that means.
    """
    make_directory(destination.parent)
    label = f"{remote.repo_id}/{remote.path}"
    aside = partial_path(destination.parent, remote.content_id)
    with (
        disk_told(destination, remote.size),
        track(label, remote.size, "B") as meter,
        claimed(aside) as file,
    ):
        sha256 = _complete_sha256(remote, destination)
        if sha256 is not None:
            aside.unlink()
            meter.advance(remote.size)
            return sha256
        partial = _Partial(file)
        for _ in range(_WHOLE_TRIES):
            _fill(hub, remote, partial, meter)
            if partial.holds(remote):
                partial.close()
                aside.replace(destination)
                remember(destination, partial.sha256)
                return partial.sha256
            partial.restart(meter)
        aside.unlink()
    raise UserError(
        f"{label} at {remote.revision}: the bytes received do not have the digest {remote.content_id} "
        "that the Hub names. Run again; if it stays so, a proxy in between or the repo itself is damaged."
    )


class _Partial:
    """The part of a file that has arrived, hashed as it grows."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.size = 0
        file.seek(0)
        while chunk := file.read(CHUNK_BYTES):
            self._sha256.update(chunk)
            self.size += len(chunk)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def append(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._sha256.update(chunk)
        self.size += len(chunk)

    def restart(self, meter: Meter) -> None:
        self._file.truncate(0)
        self._sha256 = hashlib.sha256()
        meter.advance(-self.size)
        self.size = 0

    def holds(self, remote: RemoteFile) -> bool:
        self._file.flush()
        if self.size != remote.size:
            return False
        return self.sha256 == remote.sha256 if remote.sha256 else git_blob_id(Path(self._file.name)) == remote.blob_id

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


def _complete_sha256(remote: RemoteFile, path: Path) -> str | None:
    """The hex sha256 of the file at `path` if it holds the bytes wanted, else None."""
    if not path.is_file() or path.stat().st_size != remote.size:
        return None
    sha256 = sha256_at(path)
    complete = sha256 == remote.sha256 if remote.sha256 else git_blob_id(path) == remote.blob_id
    return sha256 if complete else None


def _fill(hub: Hub, remote: RemoteFile, partial: _Partial, meter: Meter) -> None:
    """Append until the partial file has its full size, for as long as bytes keep coming."""
    patience = Patience(hub.retry, hub.retry.download_attempts)
    meter.advance(partial.size)
    while partial.size < remote.size:
        before = partial.size
        try:
            _stream(hub, remote, partial, meter)
        except HTTPError as error:
            if partial.size > before:
                patience.renew()
            patience.wait_or_raise(error)


def _stream(hub: Hub, remote: RemoteFile, partial: _Partial, meter: Meter) -> None:
    """One request for the missing bytes; the redirect to storage is asked for anew each time, as its signature ages."""
    with hub.stream(remote.repo_id, remote.path, remote.revision, start=partial.size) as response:
        if partial.size and response.status_code != 206:  # the server sends the whole file after all
            partial.restart(meter)
        for chunk in response.iter_bytes():
            partial.append(chunk)
            meter.advance(len(chunk))
            if partial.size > remote.size:  # whatever this is, it is not the file
                return
    if partial.size < remote.size:
        raise RemoteProtocolError(f"{remote.path} ended after {partial.size:,} of {remote.size:,} bytes")


def read_bytes(hub: Hub, repo_id: str, path: str, revision: str) -> bytes:
    """The whole of a small file, unverified. Raises what the client raises."""
    with hub.stream(repo_id, path, revision) as response:
        return response.read()


def git_blob_id(content: Path | bytes) -> str:
    """The git object id of a file's bytes: sha1 of `blob <size>\\0` and the bytes, as git itself computes it."""
    if isinstance(content, bytes):
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    digest = hashlib.sha1(b"blob %d\0" % content.stat().st_size, usedforsecurity=False)
    with content.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
