"""The control plane as a server that a test starts and stops."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import grpclib.server
from modal._utils.grpc_testing import patch_mock_servicer
from modal_proto import api_grpc

from nemo_assets_tests.modal.control_plane.calls import CallRpcs, ContainerRpcs
from nemo_assets_tests.modal.control_plane.cluster import Cluster
from nemo_assets_tests.modal.control_plane.deployment import DeploymentRpcs
from nemo_assets_tests.modal.control_plane.records import Loss
from nemo_assets_tests.modal.control_plane.volumes import BlockStore, VolumeRpcs


@patch_mock_servicer
class _Service(DeploymentRpcs, CallRpcs, ContainerRpcs, VolumeRpcs, api_grpc.ModalClientBase):
    """All parts as one gRPC service, for a client or for one container."""

    def __init__(self, cluster: Cluster, blocks: dict[bytes, bytes], container_id: str | None) -> None:
        self.cluster = cluster
        self.blocks = blocks
        self.container_id = container_id


class OfflineModal:
    """`with OfflineModal(...) as offline:` points the client at a control plane of its own, with credentials for it.

    `container_environment` is added to the environment of containers, `mount_variables` maps the mount path of a volume
    to the variable that tells a container where its copy lies. One per process: Modal's client remembers its server.
    """

    def __init__(
        self, root: Path, container_environment: Mapping[str, str], mount_variables: Mapping[str, str]
    ) -> None:
        self._root = root
        self._container_environment = container_environment
        self._mount_variables = mount_variables
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._servers: list[grpclib.server.Server] = []

    def __enter__(self) -> OfflineModal:
        self._thread.start()
        port = self._do(self._start())
        self.environment = {
            "MODAL_SERVER_URL": f"http://127.0.0.1:{port}",
            "MODAL_TOKEN_ID": "ak-offline",
            "MODAL_TOKEN_SECRET": "as-offline",
            "MODAL_ENVIRONMENT": "main",
        }
        self._before = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for name, value in self._before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @property
    def call_ids(self) -> list[str]:
        """Every call made so far, oldest first."""
        return list(self._cluster.calls)

    def events(self, kind: str) -> list[str]:
        """Ids of what `kind` happened to: `started`, `ended` and the values of `Loss` happen to containers, `called`,
        `delivered`, `retry`, `finished`, `cancelled` to calls.
        """
        return [subject for event, subject in self._cluster.events if event == kind]

    @property
    def history(self) -> list[tuple[str, str]]:
        """All events, oldest first: what happened, and the id of what it happened to."""
        return list(self._cluster.events)

    def lose_next(self, *losses: Loss) -> None:
        """Lose the containers that take the next inputs, one after the other, with the input in their hands."""
        self._cluster.losses.extend(losses)

    def deliver_twice_next(self) -> None:
        """Hand the next input out twice, the second time whether or not the first has been answered."""
        self._cluster.duplicates += 1

    def gpu_of(self, call_id: str) -> str:
        """The GPU type the call asked for."""
        return str(self._cluster.calls[call_id].function.definition.resources.gpu_config.gpu_type)

    def logs(self) -> str:
        """What all containers wrote."""
        return "\n".join(
            f"--- {path.parent.name}\n{path.read_text(errors='replace')}"
            for path in sorted(self._root.glob("containers/*/log.txt"))
        )

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(self) -> int:
        self._cluster = Cluster(self._root, self._container_environment, self._mount_variables)
        self._cluster.listen = self._listen
        self._store = BlockStore(self._cluster)
        self._cluster.http_address = await self._store.start()
        return await self._listen(None)

    async def _listen(self, container_id: str | None) -> int:
        """A port of its own for every container tells who asks."""
        server = grpclib.server.Server([_Service(self._cluster, self._store.blocks, container_id)])
        await server.start("127.0.0.1", 0)
        self._servers.append(server)
        return int(server._server.sockets[0].getsockname()[1])

    async def _stop(self) -> None:
        for container in self._cluster.containers.values():
            self._cluster.stop(container)
        for server in self._servers:
            server.close()
        await self._store.stop()
