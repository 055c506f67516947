"""How a method of the service becomes an RPC."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.empty_pb2 import Empty

from nemo_assets_tests.modal.control_plane.cluster import Cluster
from nemo_assets_tests.modal.control_plane.records import Container


class Part:
    """What every part of the service has: the cluster, and the container that asks (None for a client)."""

    cluster: Cluster
    container_id: str | None

    @property
    def container(self) -> Container:
        """The container that asks."""
        assert self.container_id is not None, "only containers ask this"
        return self.cluster.containers[self.container_id]


def rpc(answer: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[None]]:
    """An RPC with one request and one response; None is the empty response."""

    @functools.wraps(answer)
    async def handler(self: Any, stream: Any) -> None:
        response = await answer(self, await stream.recv_message())
        await stream.send_message(Empty() if response is None else response)

    return handler
