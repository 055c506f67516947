"""Failures on demand, and a record of every request, for the test Hub.

Belongs here: what goes wrong on the way, whatever the request is about. It wraps the server, which knows nothing of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass(frozen=True)
class Fault:
    """What to do to requests whose path matches the regular expression `path`, `times` times.

    With `status`, answer that instead; `after` lets the server do its work first, so that only the answer is lost.
    With `drop_after`, send that many bytes of the body and cut the connection. With `flip`, change the first byte.
    """

    path: str
    method: str | None = None
    times: int = 1
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    after: bool = False
    drop_after: int | None = None
    flip: bool = False

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
        self._left: list[tuple[Fault, int]] = []
        self.requests: list[Request] = []

    def inject(self, fault: Fault) -> None:
        self._left.append((fault, fault.times))

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
        elif fault.status is None:
            await self._app(scope, receive, _Damaged(send, fault))
        else:
            if fault.after:
                await self._app(scope, receive, _swallow)
            await _answer(send, fault.status, fault.headers)

    def _take(self, method: str, path: str) -> Fault | None:
        for position, (fault, left) in enumerate(self._left):
            if left and fault.matches(method, path):
                self._left[position] = (fault, left - 1)
                return fault
        return None


class _Damaged:
    """Sends a body with its first byte changed, or only its beginning."""

    def __init__(self, send: Send, fault: Fault) -> None:
        self._send = send
        self._fault = fault
        self._sent = 0

    async def __call__(self, message: Message) -> None:
        body: bytes = message.get("body", b"")
        limit = self._fault.drop_after
        if self._fault.flip and body and not self._sent:
            message = {**message, "body": bytes([body[0] ^ 1]) + body[1:]}
        if limit is not None and self._sent + len(body) > limit:
            await self._send({**message, "body": body[: limit - self._sent], "more_body": True})
            raise ConnectionResetError("injected")
        self._sent += len(body)
        await self._send(message)


async def _swallow(message: Message) -> None:
    """The answer gets lost."""


async def _answer(send: Send, status: int, headers: Mapping[str, str]) -> None:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    body = json.dumps({"error": "injected"}).encode()
    await send(
        {"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(body)), *raw]}
    )
    await send({"type": "http.response.body", "body": body})
