"""The page that compares versions of a ledger, and the links to the runs that made what a page tells of."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import msgspec
import pytest
from starlette.testclient import TestClient

from nemo_assets.lineage import explain
from nemo_assets.lineage.compare_versions import ledger_versions
from nemo_assets.settings import Settings
from nemo_assets.storage import Stage
from nemo_assets.storage.manifest import made_by
from nemo_assets.web.app import mounted
from nemo_assets.web.links import Links
from nemo_assets_tests.lineage.chain import LOW, World
from nemo_assets_tests.lineage.indexing import copied
from nemo_assets_tests.web.site import MCQ, guarded
from nemo_assets_tests.web.test_pages import words

PATH = f"/lineage/compare/{MCQ}"
RUN = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.fixture
def client(hostile: Settings) -> Iterator[TestClient]:
    with TestClient(guarded(hostile), base_url="http://127.0.0.1") as client:
        yield client


def test_the_page_counts_every_record_and_links_to_those_of_the_current_ledger(
    hostile: Settings, client: TestClient
) -> None:
    newer, older = ledger_versions(hostile.catalog.split(MCQ), hostile.store)
    page = client.get(PATH).text
    told = words(page)
    assert f"0 unchanged; {older.records} vanished and {newer.records} appeared" in told
    assert f"data/MCQ.jsonl {older.records} {newer.records}" in told
    linked = set(re.findall(r'<a href="/lineage/row/([0-9a-f]{32})"', page))
    assert linked
    for uid in linked:
        assert client.get(f"/lineage/row/{uid}").status_code == 200
    assert "not in the current ledger" in told


def test_samples_change_with_the_seed_and_every_link_leads_somewhere(client: TestClient) -> None:
    page = client.get(PATH).text
    assert client.get(PATH).text == page
    links = {html.unescape(link) for link in re.findall(r'href="(/lineage[^"#]*)"', page)}
    assert any("seed=1" in link for link in links)
    assert {link: client.get(link).status_code for link in links if client.get(link).status_code != 200} == {}
    anchors = set(re.findall(r'href="#(cell-[0-9]+)"', page))
    assert anchors
    assert all(f'id="{anchor}"' in page for anchor in anchors)


def test_the_form_chooses_any_two_versions(hostile: Settings, client: TestClient) -> None:
    newer, older = (version.version for version in ledger_versions(hostile.catalog.split(MCQ), hostile.store))
    page = client.get(PATH, params={"from": newer, "to": older}).text
    chosen = re.findall(r'<option value="([0-9a-f]{16})" selected>', page)
    assert chosen == [newer, older]


def test_what_cannot_be_compared_is_told(world: World, pages: TestClient, client: TestClient) -> None:
    for path, told in (
        (f"/lineage/compare/{LOW}", "its ledger has one version"),
        ("/lineage/compare/none/at-all", "none"),
    ):
        answer = pages.get(path)
        assert (answer.status_code, told in words(answer.text)) == (404, True)
    answer = client.get(f"{PATH}?from=nope")
    assert (answer.status_code, "nope names no version" in words(answer.text)) == (404, True)


def test_pages_of_a_split_lead_to_the_comparison_where_there_is_one(pages: TestClient, client: TestClient) -> None:
    assert f'href="{PATH}?' in client.get(f"/lineage/source/{MCQ}").text
    assert f'href="{PATH}"' in client.get("/lineage/health").text
    assert "/lineage/compare/" not in pages.get(f"/lineage/source/{LOW}").text


@pytest.fixture(scope="module")
def run_world(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A copy of the small world whose ledger, normalized and pools name the run that made them."""
    made = copied(world, tmp_path_factory.mktemp("runs"))
    for stage in (Stage.NORMALIZED, Stage.POOLS, Stage.LEDGER):
        manifest = made.store.current(stage, LOW)
        (made.store.directory(stage, LOW) / "manifest.json").unlink()
        with made_by(RUN if stage is not Stage.POOLS else "javascript:alert(1)"):
            made.store.write_manifest(manifest)
    return made


def test_a_row_names_the_runs_that_made_its_stages(run_world: World) -> None:
    reference = "nvidia/Nemotron-Math-v2:low:data/low.jsonl:0"
    with TestClient(guarded(run_world.settings), base_url="http://127.0.0.1") as client:
        page = client.get(f"/lineage/row/{reference}").text
        told = client.get(f"/lineage/row/{reference}.json").json()
    assert f'href="/runs/{RUN}"' in page
    runs = {decision["stage"]: decision["run_id"] for decision in told["decisions"]}
    assert (runs["normalized"], runs["raw"]) == (RUN, None)
    assert 'href="javascript:' not in page
    assert explain(reference, run_world.catalog, run_world.store).decisions[1].run_id == RUN


def test_an_old_version_of_rows_still_names_its_run(run_world: World, world: World) -> None:
    """The ledger tells of rows that another version of `normalized` has taken the place of."""
    reference = "nvidia/Nemotron-Math-v2:low:data/low.jsonl:0"
    store = run_world.store
    manifest = store.current(Stage.NORMALIZED, LOW)
    other = msgspec.structs.replace(manifest, version="f" * 16, data_version="f" * 16, run_id="another")
    store.write_manifest(other)
    decisions = explain(reference, run_world.catalog, store).decisions
    assert {decision.stage: decision.run_id for decision in decisions}["normalized"] == RUN
    store.write_manifest(manifest)


def test_links_to_runs_begin_where_dagster_is(world: World) -> None:
    assert Links("/prefix/lineage", "/prefix", "").run(RUN) == f"/prefix/runs/{RUN}"
    assert Links("/lineage", "", "").run("a/../b") == "/runs/a%2F..%2Fb"
    assert Links("/lineage", None, "").run(RUN) is None
    assert Links("/lineage", "", "").run(None) is None


def test_pages_alone_have_no_links_to_runs(run_world: World) -> None:
    from starlette.applications import Starlette

    alone = TestClient(Starlette(routes=mounted(lambda: run_world.settings)), base_url="http://127.0.0.1")
    assert "/runs/" not in alone.get("/lineage/row/nvidia/Nemotron-Math-v2:low:data/low.jsonl:0").text
