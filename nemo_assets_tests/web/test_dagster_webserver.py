"""The contract with Dagster's web server, which is no public API: its pages and its API still answer beside ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from starlette.testclient import TestClient

from nemo_assets.web.dagster_webserver import LineageWebserver
from nemo_assets_tests.browser.dev_server import DevServer, serving
from nemo_assets_tests.browser.person import person_at

MUTATION = "/graphql?query=mutation%7BsetNuxSeen%7D"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    room = tmp_path_factory.mktemp("ui")
    (room / "home").mkdir()
    environment = {"NEMO_DATA_DIR": str(room / "data"), "DAGSTER_HOME": str(room / "home")}
    command = ["nemo_assets.web.dagster_webserver", "-p", "{port}", "-m", "nemo_assets.definitions"]
    with serving(command, environment, room / "server.log") as server:
        yield server


def asked(server: DevServer, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    """Status and text of an answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urlopen(Request(server.address + path, body, named)) as reply:
            return reply.status, reply.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def test_pages_of_both_answer_on_one_server(server: DevServer) -> None:
    for path in ("/", "/assets/ledger", "/server_info", "/lineage", "/lineage/", "/lineage/health"):
        assert asked(server, path)[0] == 200, path
    assert "What is made of every split" in asked(server, "/lineage/health")[1]
    assert 'href="/assets/' not in asked(server, "/lineage/")[1]
    assert server.graphql("{ version }")["version"]


def test_another_page_cannot_make_dagster_do_anything(server: DevServer) -> None:
    """The stock server executes each of these."""
    seen = server.graphql("{ shouldShowNux }")
    body = json.dumps({"query": "mutation { setNuxSeen }"}).encode()
    told = {"Content_Type": "application/json"}
    assert asked(server, MUTATION, Origin="http://evil.example")[0] == 403
    assert asked(server, MUTATION, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")[0] == 403
    assert asked(server, "/graphql", body, Origin="http://evil.example", **told)[0] == 403
    assert asked(server, "/graphql", body, Host="evil.example", **told)[0] == 400
    assert asked(server, "/lineage/", Host="evil.example")[0] == 400
    assert server.graphql("{ shouldShowNux }") == seen
    assert asked(server, MUTATION)[0] == 200  # a client that is no browser


def test_dagster_works_in_a_browser_and_the_pages_lead_there(server: DevServer) -> None:
    with person_at(server.address) as person:
        failed: list[str] = []
        page = person.page
        page.on("response", lambda reply: failed.append(reply.url) if reply.status >= 400 else None)
        page.goto(f"{server.address}/lineage/health")
        page.get_by_role("link", name="Dagster").click()
        page.goto(f"{server.address}/assets/ledger?view=partitions")
        page.get_by_text("ledger").first.wait_for()
        page.wait_for_load_state("networkidle")
        assert failed == []


def test_another_origin_in_a_browser_is_refused(server: DevServer) -> None:
    """A page of another origin on the same machine: the browser sends its request, and it is not executed."""
    with person_at(server.address) as person:
        page = person.page
        page.goto(server.address.replace("127.0.0.1", "localhost") + "/server_info")
        with page.expect_response(lambda reply: "graphql" in reply.url) as answer:
            page.evaluate("url => fetch(url, {mode: 'no-cors'})", server.address + MUTATION)
        assert answer.value.status == 403


@pytest.fixture
def prefixed() -> TestClient:
    made: Any = LineageWebserver(None, "/prefix")
    return TestClient(made.create_asgi_app(), base_url="http://127.0.0.1")


def test_behind_a_path_prefix_pages_and_links_begin_with_it(
    prefixed: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("NEMO_DATA_DIR", str(tmp_path_factory.mktemp("data")))
    page = prefixed.get("/prefix/lineage")
    assert page.status_code == 200
    assert 'href="/prefix/lineage/health"' in page.text
    assert 'href="/prefix/"' in page.text
    assert prefixed.get("/prefix/server_info").status_code == 200


def test_further_names_are_answered_where_they_are_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("NEMO_DATA_DIR", str(tmp_path_factory.mktemp("data")))
    monkeypatch.setenv("NEMO_UI_HOSTS", "ui.lan, other.lan")
    made: Any = LineageWebserver(None)
    client = TestClient(made.create_asgi_app(), base_url="http://ui.lan")
    assert client.get("/lineage/").status_code == 200
    assert client.get("/lineage/", headers={"Host": "third.lan"}).status_code == 400
