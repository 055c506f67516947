"""A test Hub with Xet storage, for what only Xet shows: how much of a changed file is sent.

The client of Xet keeps its chunks in a directory when told so, instead of sending them; here that directory is the
storage. Its index is locked by whoever has it open, so one process may upload at a time.

Belongs here: that storage, and serving a Hub with it. Does not: the Hub itself (`server`), which knows files by sha256
and gets them rebuilt from their chunks.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from nemo_assets_tests.hub.server import Hub
from nemo_assets_tests.hub.store import Entry, Store

TOKEN = "hf_test"
_EXPIRY_SECONDS = 3_600
_START_SECONDS = 30.0
_RECORD_BYTES = 48  # of the index of a shard: a file, a range of chunks, a digest
_RANGE_CHECKED, _WITH_SHA256 = 1 << 31, 1 << 30  # flags of a file


class XetStore(Store):
    """Large files may have come as chunks, which lie below `chunks`."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.chunks = root / "chunks"
        self.chunks.mkdir()

    @property
    def _kept(self) -> Path:
        return self.chunks / "xet" / "xorbs"

    def chunk_bytes(self) -> int:
        """What all chunks and the lists of them take, each chunk counted once."""
        kept = [*self._kept.glob("xorbs/*"), *self._kept.glob("shards/*.mdb")]
        return sum(path.stat().st_size for path in kept if path.suffix != ".tagset")

    def large_entry(self, oid: str, size: int | None = None) -> Entry:
        if not self.large_path(oid).exists():
            for file in self._files():
                if file.sha256 == oid:
                    self._rebuild(file)
                    break
        return super().large_entry(oid, size)

    def _files(self) -> Iterator[_XetFile]:
        for shard in self._kept.glob("shards/*.mdb"):
            yield from _files_of(shard.read_bytes())

    def _rebuild(self, file: _XetFile) -> None:
        """Put the file together from its chunks. The index is copied: the process that uploads has it locked."""
        import hf_xet

        with tempfile.TemporaryDirectory(dir=self.root) as folder:
            mirror, rebuilt = Path(folder) / "xet" / "xorbs", Path(folder) / "file"
            shutil.copytree(self._kept, mirror, copy_function=_linked)
            with hf_xet.XetSession().new_file_download_group(endpoint=f"local://{folder}") as group:
                group.start_download_file(hf_xet.XetFileInfo(file.xet_hash, file.size), str(rebuilt))
            with rebuilt.open("rb") as content:
                if hashlib.file_digest(content, "sha256").hexdigest() != file.sha256:
                    raise RuntimeError(f"{file.sha256} is another file when it is put together again")
            rebuilt.replace(self.large_path(file.sha256))


class _XetFile(NamedTuple):
    xet_hash: str
    sha256: str
    size: int


def _files_of(shard: bytes) -> Iterator[_XetFile]:
    """The files that a shard lists: each has a record, one for every range of chunks, maybe checks, and its sha256."""
    at = _RECORD_BYTES  # behind the header
    while at + _RECORD_BYTES <= len(shard) and shard[at : at + 32] != b"\xff" * 32:
        xet_hash = _hex(shard[at : at + 32])
        flags, ranges = struct.unpack_from("<II", shard, at + 32)
        sizes = [struct.unpack_from("<I", shard, at + _RECORD_BYTES * (n + 1) + 36)[0] for n in range(ranges)]
        at += _RECORD_BYTES * (1 + ranges * (2 if flags & _RANGE_CHECKED else 1))
        if flags & _WITH_SHA256:
            yield _XetFile(xet_hash, _hex(shard[at : at + 32]), sum(sizes))
            at += _RECORD_BYTES


def _hex(digest: bytes) -> str:
    """As Xet writes a digest: four little-endian numbers."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", digest))


def _linked(source: str, destination: str) -> None:
    if source.endswith(".redb"):
        shutil.copyfile(source, destination)
    else:
        os.link(source, destination)


@contextlib.contextmanager
def serving(store: XetStore) -> Iterator[str]:
    """A Hub over `store` on a free port; its endpoint. `TOKEN` may write."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        hub = Hub(store, {TOKEN: "alice"}, f"http://localhost:{port}").app()
        config = uvicorn.Config(_with_tokens(hub, store), log_level="critical", lifespan="off", date_header=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not server.started:
            if time.monotonic() > deadline:
                raise RuntimeError("the test Hub does not start")
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join()


def _with_tokens(hub: Starlette, store: XetStore) -> Starlette:
    """The Hub, which also tells where chunks go."""

    async def storage(_: Request) -> Response:
        place, expiry = f"local://{store.chunks}", int(time.time()) + _EXPIRY_SECONDS
        headers = {
            "X-Xet-Cas-Url": place,
            "X-Xet-Access-Token": "unused",
            "X-Xet-Token-Expiration": str(expiry),
        }
        return JSONResponse({"casUrl": place, "accessToken": "unused", "exp": expiry}, headers=headers)

    tokens = [
        Route(f"/api/datasets/{{org}}/{{name}}/xet-{kind}-token/{{revision:path}}", storage)
        for kind in ("read", "write")
    ]
    return Starlette(routes=[*tokens, Mount("/", hub)])
