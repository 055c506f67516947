from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from nemo_assets.web.guard import Guard

EVIL = "http://evil.example"


async def _accept(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


def _done(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("done")


@pytest.fixture
def client() -> TestClient:
    """Something like Dagster's server: an API that acts, a socket, pages."""
    routes = [
        WebSocketRoute("/graphql", _accept),
        Route("/{path:path}", _done, methods=["GET", "POST", "HEAD"]),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(Guard, hosts=["ui.lan"])])
    return TestClient(app, base_url="http://127.0.0.1:3000")


@pytest.mark.parametrize("host", ["127.0.0.1:3000", "localhost:3000", "[::1]:3000", "LOCALHOST", "ui.lan:80"])
def test_the_names_of_the_loopback_and_those_given_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/graphql", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:3000", "evil.example:localhost", "[::2]", ""],
)
def test_any_other_name_is_refused_so_that_dns_rebinding_fails(client: TestClient, host: str) -> None:
    answer = client.get("/assets/ledger", headers={"Host": host})
    assert (answer.status_code, "done" in answer.text) == (400, False)


@pytest.mark.parametrize(
    "path", ["/graphql?query=mutation{setNuxSeen}", "/report_asset_materialization/x", "/prefix/graphql", "/"]
)
@pytest.mark.parametrize("origin", [EVIL, "null", "http://127.0.0.1:4000", "http://127.0.0.1"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_another_origin_sends_is_refused(client: TestClient, path: str, origin: str, method: str) -> None:
    assert client.request(method, path, headers={"Origin": origin}).status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("mode", ["no-cors", "cors", "navigate"])
def test_a_mutation_by_get_is_refused_without_an_origin_too(client: TestClient, site: str, mode: str) -> None:
    """An image or a link of another page sends no Origin, but the browser says where it comes from."""
    told = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
    assert client.get("/graphql?query=mutation{setNuxSeen}", headers=told).status_code == 403


def test_a_link_from_elsewhere_opens_a_page_but_nothing_embeds_it(client: TestClient) -> None:
    told = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/assets/ledger", headers=told).status_code == 200
    assert client.post("/assets/ledger", headers=told).status_code == 403
    assert client.get("/assets/ledger", headers=told | {"Sec-Fetch-Mode": "no-cors"}).status_code == 403


def test_the_own_pages_and_clients_that_are_no_browsers_are_answered(client: TestClient) -> None:
    own = {"Origin": "http://127.0.0.1:3000", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    assert client.post("/graphql", headers=own).status_code == 200
    assert client.post("/graphql").status_code == 200


def test_a_foreign_websocket_is_closed_and_the_own_one_opens(client: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect("/graphql", headers={"Origin": EVIL}):
        pass
    assert closed.value.code == 1008
    with client.websocket_connect(
        "/graphql", headers={"Origin": "http://127.0.0.1:3000", "Host": "127.0.0.1:3000"}
    ) as own:
        assert own.receive_text() == "hello"


def test_the_sandboxed_pages_may_send_their_search_and_load_their_style(client: TestClient) -> None:
    """They are of no origin; both requests only read."""
    told = {"Origin": "null", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.post("/lineage/find", headers=told).status_code == 200
    assert client.get("/lineage/static/lineage.css", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200
    assert client.post("/lineage/find", headers={"Origin": EVIL}).status_code == 403
