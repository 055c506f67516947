"""RPCs of volumes (version 2) and the block store their content travels through."""

# ruff: noqa: N802  (the methods have the names of the protocol)

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import aiohttp.web
from grpclib import GRPCError, Status
from modal_proto import api_pb2 as pb

from nemo_assets_tests.modal.control_plane.cluster import Cluster
from nemo_assets_tests.modal.control_plane.rpc import Part, rpc

BLOCK_BYTES = 8 * 1024 * 1024


class BlockStore:
    """Blocks uploaded by their SHA-256, and blocks of volume files downloaded by path and offset, over HTTP."""

    def __init__(self, cluster: Cluster) -> None:
        self.blocks: dict[bytes, bytes] = {}
        self._cluster = cluster
        application = aiohttp.web.Application(client_max_size=2 * BLOCK_BYTES)
        application.router.add_put("/blocks/{digest}", self._put)
        application.router.add_get("/files/{volume_id}/{offset}/{path:.*}", self._get)
        self._runner = aiohttp.web.AppRunner(application, shutdown_timeout=0.2)

    async def start(self) -> str:
        """Listen; the address."""
        await self._runner.setup()
        site = aiohttp.web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _put(self, request: aiohttp.web.Request) -> aiohttp.web.Response:
        block = await request.read()
        digest = hashlib.sha256(block).digest()
        self.blocks[digest] = block
        return aiohttp.web.Response(body=digest)

    async def _get(self, request: aiohttp.web.Request) -> aiohttp.web.Response:
        path = self._cluster.volume_directory(request.match_info["volume_id"]) / request.match_info["path"]
        begin = int(request.match_info["offset"])
        return aiohttp.web.Response(body=path.read_bytes()[begin : begin + BLOCK_BYTES])


class VolumeRpcs(Part):
    """Volumes, seen from the client and from containers."""

    blocks: dict[bytes, bytes]

    @rpc
    async def VolumeGetOrCreate(self, request: Any) -> pb.VolumeGetOrCreateResponse:
        name = request.deployment_name
        if name not in self.cluster.volume_ids:
            if request.object_creation_type == pb.OBJECT_CREATION_TYPE_UNSPECIFIED:
                raise GRPCError(Status.NOT_FOUND, f"Volume '{name}' not found in environment 'main'")
            self.cluster.volume_ids[name] = self.cluster.new_id("vo")
            self.cluster.volume_directory(self.cluster.volume_ids[name]).mkdir(parents=True)
        metadata = pb.VolumeMetadata(version=pb.VOLUME_FS_VERSION_V2, name=name)
        return pb.VolumeGetOrCreateResponse(volume_id=self.cluster.volume_ids[name], version=2, metadata=metadata)

    @rpc
    async def VolumeCommit(self, request: Any) -> pb.VolumeCommitResponse:
        _copy_into(self.container.volumes[request.volume_id], self.cluster.volume_directory(request.volume_id))
        return pb.VolumeCommitResponse(skip_reload=True)

    @rpc
    async def VolumeReload(self, request: Any) -> None:
        _copy_into(self.cluster.volume_directory(request.volume_id), self.container.volumes[request.volume_id])

    @rpc
    async def VolumeListFiles2(self, request: Any) -> pb.VolumeListFiles2Response:
        root = self.cluster.volume_directory(request.volume_id)
        directory = root / request.path.lstrip("/")
        if not directory.is_dir():
            raise GRPCError(Status.NOT_FOUND, f"{request.path} not found")
        entries = [
            pb.FileEntry(
                path=str(path.relative_to(root)),
                size=path.stat().st_size,
                type=pb.FileEntry.FileType.DIRECTORY if path.is_dir() else pb.FileEntry.FileType.FILE,
            )
            for path in sorted(directory.rglob("*") if request.recursive else directory.iterdir())
        ]
        return pb.VolumeListFiles2Response(entries=entries)

    @rpc
    async def VolumeGetFile2(self, request: Any) -> pb.VolumeGetFile2Response:
        relative = request.path.lstrip("/")
        path = self.cluster.volume_directory(request.volume_id) / relative
        if not path.is_file():
            raise GRPCError(Status.NOT_FOUND, f"{request.path}: no such file")
        size = path.stat().st_size
        address = f"{self.cluster.http_address}/files/{request.volume_id}"
        urls = [f"{address}/{offset}/{relative}" for offset in range(0, size, BLOCK_BYTES)]
        return pb.VolumeGetFile2Response(get_urls=urls, size=size, start=0, len=size)

    @rpc
    async def VolumePutFiles2(self, request: Any) -> pb.VolumePutFiles2Response:
        missing = [
            pb.VolumePutFiles2Response.MissingBlock(
                file_index=file_index,
                block_index=block_index,
                put_url=f"{self.cluster.http_address}/blocks/{block.contents_sha256.hex()}",
            )
            for file_index, file in enumerate(request.files)
            for block_index, block in enumerate(file.blocks)
            if block.contents_sha256 not in self.blocks
        ]
        if not missing:
            for file in request.files:
                path = self.cluster.volume_directory(request.volume_id) / file.path.lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"".join(self.blocks[block.contents_sha256] for block in file.blocks))
        return pb.VolumePutFiles2Response(missing_blocks=missing)


def _copy_into(source: Path, target: Path) -> None:
    """Every file of `source`, each appearing in `target` at once; what only `target` has stays."""
    for path in source.rglob("*"):
        copy = target / path.relative_to(source)
        if path.is_dir():
            copy.mkdir(parents=True, exist_ok=True)
        else:
            copy.parent.mkdir(parents=True, exist_ok=True)
            unfinished = copy.with_name(f".{copy.name}.unfinished")
            shutil.copy2(path, unfinished)
            unfinished.replace(copy)
