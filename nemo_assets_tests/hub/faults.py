"""Failures on demand, and a record of every request, for the test Hub.

Belongs here: what goes wrong on the way, whatever the request is about. It wraps the server, which knows nothing of it.
Does not: a head that lags behind, which is a matter of content (`store.Store.lag`).
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ARRIVING_SECONDS = 0.05  # a reset throws away what the kernel has not delivered yet


@dataclass(frozen=True)
class Fault:
    """What to do to requests whose path matches the regular expression `path`: `times` times, after `skip` that pass.

    With `status`, answer that instead, with `headers`, and `message` as the reason; with `hang_up`, reset the
    connection (TCP RST) without an answer. `after` lets the server do its work first, so that only the answer is lost.
    With `reset_after`, send that many bytes of the body and reset the connection (TCP RST); with `drop_after`, close it
    in the middle of the body; with `truncate`, end the body there and say that this was its length. With `flip`, change
    its first byte.
    With `ignore_range`, answer as if no range was asked for. With `delay`, wait that many seconds first, or once the
    work is done; it goes with all others.
    """

    path: str
    method: str | None = None
    times: int = 1
    skip: int = 0
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = "injected"
    after: bool = False
    hang_up: bool = False
    reset_after: int | None = None
    drop_after: int | None = None
    truncate: int | None = None
    flip: bool = False
    ignore_range: bool = False
    delay: float = 0.0

    def matches(self, method: str, path: str) -> bool:
        return self.method in (None, method) and re.search(self.path, path) is not None


@dataclass(frozen=True)
class Request:
    """One request that was received."""

    method: str
    path: str
    host: str
    range: str | None
    authorized: bool


class FaultyWire:
    """An ASGI application around another one: it records requests and injects the faults that were asked for."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._left: list[tuple[Fault, int, int]] = []
        self.requests: list[Request] = []

    def inject(self, fault: Fault) -> None:
        """Let the next requests that match suffer `fault`; of several that match, the one injected first."""
        self._left.append((fault, fault.skip, fault.times))

    def waiting(self) -> list[Fault]:
        """The faults that have not struck as often as they are to."""
        return [fault for fault, _, left in self._left if left]

    def heal(self) -> None:
        """Forget the faults that have not struck yet."""
        self._left.clear()

    def forget(self) -> None:
        """Begin the record of requests anew."""
        self.requests.clear()

    def received(self, method: str, path: str) -> list[Request]:
        """The recorded requests with this method whose path matches the regular expression `path`."""
        return [request for request in self.requests if request.method == method and re.search(path, request.path)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.requests.append(
            Request(scope["method"], scope["path"], headers["host"], headers.get("range"), "authorization" in headers)
        )
        fault = self._take(scope["method"], scope["path"])
        if fault is None:
            await self._app(scope, receive, send)
            return
        if fault.after:
            await self._app(scope, receive, _swallow)
        await asyncio.sleep(fault.delay)
        if fault.hang_up:
            await asyncio.sleep(_ARRIVING_SECONDS)
            _reset(send)
        elif fault.status is None:
            await self._app(_without_range(scope) if fault.ignore_range else scope, receive, _Damaged(send, fault))
        else:
            await _answer(send, fault)

    def _take(self, method: str, path: str) -> Fault | None:
        for position, (fault, skip, left) in enumerate(self._left):
            if left and fault.matches(method, path):
                self._left[position] = (fault, max(0, skip - 1), left if skip else left - 1)
                if not skip:
                    return fault
        return None


class _Damaged:
    """Sends a body with its first byte changed, or only its beginning."""

    def __init__(self, send: Send, fault: Fault) -> None:
        self._send = send
        self._fault = fault
        self._sent = 0

    async def __call__(self, message: Message) -> None:
        fault, limit = self._fault, self._fault.truncate
        if message["type"] == "http.response.start":
            await self._send(message if limit is None else _shortened(message, limit))
            return
        body: bytes = message.get("body", b"")
        if fault.flip and body and not self._sent:
            body = bytes([body[0] ^ 1]) + body[1:]
        if limit is not None:
            body = body[: max(0, limit - self._sent)]
        cut = fault.drop_after if fault.reset_after is None else fault.reset_after
        if cut is not None and self._sent + len(body) > cut:
            await self._send({**message, "body": body[: cut - self._sent], "more_body": True})
            if fault.reset_after is not None:
                await asyncio.sleep(_ARRIVING_SECONDS)
                _reset(self._send)
            raise ConnectionResetError("injected")
        self._sent += len(body)
        await self._send({**message, "body": body})


def _reset(send: Send) -> None:
    """Reset the connection below `send`, a method of the server's object for one request."""
    transport: asyncio.Transport = send.__self__.transport  # type: ignore[attr-defined]
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _shortened(start: Message, limit: int) -> Message:
    lengths = [int(value) for name, value in start["headers"] if name == b"content-length"]
    others = [(name, value) for name, value in start["headers"] if name != b"content-length"]
    return {**start, "headers": [*others, (b"content-length", b"%d" % min([limit, *lengths]))]}


def _without_range(scope: Scope) -> Scope:
    return {**scope, "headers": [(name, value) for name, value in scope["headers"] if name != b"range"]}


async def _swallow(message: Message) -> None:
    """The answer gets lost."""


async def _answer(send: Send, fault: Fault) -> None:
    raw = [(name.lower().encode(), value.encode()) for name, value in fault.headers.items()]
    body = json.dumps({"error": fault.message}).encode()
    await send(
        {
            "type": "http.response.start",
            "status": fault.status,
            "headers": [(b"content-length", b"%d" % len(body)), *raw],
        }
    )
    await send({"type": "http.response.body", "body": body})
