"""What other web pages may make a browser do here: nothing but follow a link to a page.

Dagster's web server has no login and executes what `/graphql` is asked, also by GET; whoever can make a browser on this
machine send a request could launch runs. The names under which the server answers stop DNS rebinding, the origin of a
request stops the rest.

Belongs here: which requests are refused, the headers of the pages. Does not: routes.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

HEADERS = {
    "Content-Security-Policy": (
        "sandbox allow-downloads allow-forms allow-popups allow-top-navigation-by-user-activation; default-src 'none'; "
        "style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every page: it runs nothing, loads nothing but its style sheet, and is framed by nobody."""

_ACTING = ("/graphql", "/report_asset")
# The pages are sandboxed, so their own origin is unknown to the server; these of their requests only read.
_READING = ("/lineage/find", "/lineage/subsets", "/lineage/static/")


class PageHeaders:
    """Puts `HEADERS` on every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class Guard:
    """Refuses foreign names with 400, and what another origin sends with 403; websockets are closed.

    hosts: names under which the server may be asked, in addition to those of the loopback.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] = ()) -> None:
        self._app = app
        self._hosts = LOOPBACK | {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, send)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        if _host_name(headers.get("host", "")) not in self._hosts:
            known = ", ".join(sorted(self._hosts))
            return PlainTextResponse(f"This server answers under {known} only. Open it by one of these.\n", 400)
        if _is_foreign(scope, headers):
            return PlainTextResponse("Another web page sent this request. Open the page here instead.\n", 403)
        return None


def _is_foreign(scope: Scope, headers: Headers) -> bool:
    """Whether another origin sends the request, and it is more than a click on a link that opens a page.

    Clients that are no browsers send neither `Origin` nor `Sec-Fetch-Site`.
    """
    path, origin = scope["path"], headers.get("origin")
    reads = any(part in path for part in _READING)
    if origin is not None and urlsplit(origin).netloc != headers["host"] and not (reads and origin == "null"):
        return True
    if headers.get("sec-fetch-site", "none") in ("none", "same-origin") or reads:
        return False
    opens_page = scope.get("method") in ("GET", "HEAD") and headers.get("sec-fetch-mode") == "navigate"
    return not opens_page or any(part in path for part in _ACTING)


def _host_name(host: str) -> str:
    """The name in a `Host` header, without port and brackets; empty for what is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
