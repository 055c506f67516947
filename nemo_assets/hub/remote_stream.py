"""A file on the Hub as a seekable stream, so that its head or its footer can be read without the rest.

Belongs here: reading by ranges, each one tried again like every other request. Does not: whole files (`download`),
which alone can be verified by their digest.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, cast

from httpx2 import RemoteProtocolError

from nemo_assets.hub.client import Hub

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_AHEAD_BYTES = 4 << 20  # one request a range: enough that a long head is not thousands of them


def open_remote(
    hub: Hub, repo_id: str, path: str, revision: str, size: int, ahead: int = _AHEAD_BYTES
) -> io.BufferedReader:
    """The file of `size` bytes at a pinned revision, read `ahead` bytes at a time, or more where more is asked for.

    Every failure of the Hub or the network is a UserError.
    """
    return io.BufferedReader(_RemoteFile(hub, repo_id, path, revision, size), ahead)


class _RemoteFile(io.RawIOBase):
    def __init__(self, hub: Hub, repo_id: str, path: str, revision: str, size: int) -> None:
        self._hub = hub
        self._repo_id = repo_id
        self._path = path
        self._revision = revision
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"{self._path}: cannot seek before its beginning")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        room = cast(memoryview, memoryview(buffer)).cast("B")
        stop = min(self._at + len(room), self._size)
        if stop <= self._at:
            return 0
        with self._hub.explained(self._repo_id, self._revision):
            content = self._hub.call(lambda: self._range(self._at, stop))
        room[: len(content)] = content
        self._at = stop
        return len(content)

    def _range(self, start: int, stop: int) -> bytes:
        """The bytes from `start` to before `stop`, also from a server that ignores what range was asked for."""
        received, wanted = bytearray(), stop - start
        with self._hub.stream(self._repo_id, self._path, self._revision, start, stop) as response:
            ahead = 0 if response.status_code == 206 else start
            for chunk in response.iter_bytes():
                received += chunk[ahead:]
                ahead = max(0, ahead - len(chunk))
                if len(received) >= wanted:
                    return bytes(received[:wanted])
        raise RemoteProtocolError(f"{self._path} ended before byte {stop:,}")
