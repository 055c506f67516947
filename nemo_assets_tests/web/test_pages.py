"""What the pages say, asked as a client asks: no browser is needed for that."""

from __future__ import annotations

import html
import itertools
import json
import re
from typing import Any

import pytest
from starlette.testclient import TestClient

from nemo_assets.lineage import Entry, explain
from nemo_assets.lineage.why import why
from nemo_assets.settings import Settings
from nemo_assets.stages.lineage_index import build_lineage_index
from nemo_assets.web.guard import HEADERS
from nemo_assets_tests.lineage.chain import LINES, LOW, MCQ, PARTITIONS, RENDERED, World
from nemo_assets_tests.web.site import MCQ as HOSTILE_SPLIT
from nemo_assets_tests.web.site import guarded

MCQ_PLACE = "nvidia/Nemotron-Science-v1:MCQ:data/MCQ.jsonl"
LOW_PLACE = "nvidia/Nemotron-Math-v2:low:data/low.jsonl"
KEPT, REMOVED, REJECTED = f"{LOW_PLACE}:0", f"{MCQ_PLACE}:1", f"{MCQ_PLACE}:4"


def entry(world: World, reference: str) -> Entry:
    return explain(reference, world.catalog, world.store).entry


def words(page: str) -> str:
    """The text of a page as a reader sees it."""
    cells = re.sub(r"</(?:td|th|dt|dd|li|p|h1|h2|caption|span|a)>", " ", page)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", cells)).split())


@pytest.mark.parametrize("reference", [KEPT, REMOVED, REJECTED])
def test_the_page_of_a_row_says_what_its_passport_says(world: World, pages: TestClient, reference: str) -> None:
    answer = pages.get(f"/lineage/row/{reference}")
    passport = explain(reference, world.catalog, world.store)
    assert answer.status_code == 200
    told = words(answer.text)
    heading = re.search(r"<h1>(.*?)</h1>", answer.text)
    assert heading is not None
    assert words(heading[1]) == " ".join(passport.verdict.split())
    for fact in (passport.entry.place, passport.entry.record_uid, passport.origin.file):
        assert fact in told
    assert all(decision.rule in told for decision in passport.decisions if decision.rule)


@pytest.mark.parametrize("reference", [KEPT, REMOVED, REJECTED])
def test_the_json_of_a_row_is_its_passport(world: World, pages: TestClient, reference: str) -> None:
    uid = entry(world, reference).record_uid
    told = pages.get(f"/lineage/row/{uid}.json").json()
    assert told == json.loads(json.dumps(explain(uid, world.catalog, world.store).as_json(), default=str))


@pytest.mark.parametrize("row", [0, 1, 3, 4, 5])
def test_the_original_is_the_line_of_the_source_byte_for_byte(pages: TestClient, row: int) -> None:
    """Also one that is no UTF-8 and one that ends in the middle; a mark at the beginning of the file is no record."""
    answer = pages.get(f"/lineage/row/{LOW_PLACE}:{row}/original")
    assert answer.content.removeprefix(b"\xef\xbb\xbf") == LINES[LOW][row].removeprefix(b"\xef\xbb\xbf")
    assert answer.headers["content-disposition"].startswith("attachment; ")
    assert answer.headers["content-type"].startswith("text/plain")


def test_a_parquet_row_has_its_text_and_its_own_page(world: World, pages: TestClient) -> None:
    place = "radna0/nemotron-math-v2-harmony-tools:low:data/low-00000-of-00002.parquet:0"
    text = next(iter(world.texts.values()))[0]
    assert json.loads(pages.get(f"/lineage/row/{place}/original").content) == {"text": text}
    assert pages.get(f"/lineage/row/{place}/text").text == text
    assert RENDERED in pages.get(f"/lineage/row/{place}").text


def test_the_loss_mask_shades_exactly_what_is_trained(world: World, pages: TestClient) -> None:
    page = pages.get(f"/lineage/row/{KEPT}?view=mask").text
    trained = re.findall(r'<span class="s-trained"><bdi class="data">(.*?)</bdi></span>', page, re.DOTALL)
    assert [html.unescape(each) for each in trained] == ["Two and two make four: \\boxed{4}"]
    assert "The spans have the digest the row was written with" in words(page)


def test_a_removed_row_names_its_survivor_and_links_to_a_comparison(world: World, pages: TestClient) -> None:
    removed, survivor = entry(world, REMOVED), entry(world, f"{MCQ_PLACE}:0")
    page = pages.get(f"/lineage/row/{REMOVED}").text
    assert f"/lineage/diff/{survivor.record_uid}/{removed.record_uid}" in page
    cluster = pages.get(f"/lineage/cluster/{removed.record_uid}")
    assert cluster.status_code == 200
    assert f'href="/lineage/row/{survivor.record_uid}"' in cluster.text
    assert f'href="/lineage/row/{removed.record_uid}"' in cluster.text


def test_two_rows_side_by_side_show_the_words_that_differ(world: World, pages: TestClient) -> None:
    a, b = (entry(world, f"{LOW_PLACE}:{row}").record_uid for row in (0, 1))
    page = pages.get(f"/lineage/diff/{a}/{b}").text
    assert "Two" in "".join(re.findall(r"<del>(.*?)</del>", page))
    assert "Counting" in "".join(re.findall(r"<ins>(.*?)</ins>", page))
    form = pages.get("/lineage/diff", params={"a": f"{LOW_PLACE}:0", "b": f"{LOW_PLACE}:1"}, follow_redirects=False)
    assert form.headers["location"] == f"/lineage/diff/{a}/{b}"


@pytest.mark.parametrize("partition", PARTITIONS)
def test_the_funnel_of_a_split_counts_what_its_ledger_counts(world: World, pages: TestClient, partition: str) -> None:
    counters = world.store.current("ledger", partition).counters  # type: ignore[arg-type]
    told = words(pages.get(f"/lineage/source/{partition}").text)
    assert f"records {counters['records']}" in told
    assert f"kept {counters['kept']}" in told
    for code, count in (counters["rejected"] | counters["removed"]).items():
        assert f"{code.replace('_', ' ')} {count} sample why" in told


def test_a_sample_by_code_links_to_rows_with_that_code_and_is_the_same_again(world: World, pages: TestClient) -> None:
    path = f"/lineage/source/{MCQ}/sample?code=exact_duplicate&seed=4"
    page = pages.get(path).text
    uids = re.findall(r'href="/lineage/row/([0-9a-f]{32})"', page)
    assert uids
    assert {entry(world, uid).code for uid in uids} == {"exact_duplicate"}
    assert pages.get(path).text == page
    assert "seed=5" in page


def test_the_page_of_a_code_shows_its_rules_and_rows(world: World, pages: TestClient) -> None:
    found = why("exact_duplicate", world.catalog, world.store)
    told = pages.get("/lineage/why/exact_duplicate")
    assert f"exact duplicate: {found.count} of {found.records} records" in words(told.text)
    assert all(rule.rule in words(told.text) for rule in found.rules if rule.rule)
    uids = {each.entry.record_uid for rule in found.rules for each in rule.sample}
    assert uids
    assert all(f'href="/lineage/row/{uid}"' in told.text for uid in uids)
    assert pages.get("/lineage/why/nonsense").status_code == 404


@pytest.mark.parametrize("query", ["code=' OR 1=1 --", "code=nonsense", "state=dead"])
def test_a_sample_of_what_the_ledger_does_not_count_is_refused(pages: TestClient, query: str) -> None:
    answer = pages.get(f"/lineage/source/{MCQ}/sample?{query}")
    assert answer.status_code == 404
    assert "There are" in words(answer.text) or "It has" in words(answer.text)


def test_a_published_coordinate_leads_to_the_row(world: World, pages: TestClient) -> None:
    release = explain(KEPT, world.catalog, world.store).release
    assert release is not None
    file = release.files["rows"][0]
    for revision in (release.commit, release.tag):
        answer = pages.get(f"/lineage/pub/{release.repo}/{revision}/{file}/0", follow_redirects=False)
        assert answer.headers["location"] == f"/lineage/row/{entry(world, KEPT).record_uid}"
    found = pages.get("/lineage/find", params={"q": f"{release.repo}@{release.tag}:{file}:0"}, follow_redirects=False)
    assert found.headers["location"] == f"/lineage/row/{entry(world, KEPT).record_uid}"


@pytest.mark.parametrize("path", ["local/nope/main/rows/low-00000.parquet/0", "../x/main/a.parquet/0"])
def test_a_coordinate_that_is_none_says_so(pages: TestClient, path: str) -> None:
    assert pages.get(f"/lineage/pub/{path}").status_code == 404


def test_an_address_of_the_viewer_leads_to_the_row(world: World, pages: TestClient) -> None:
    url = explain(REMOVED, world.catalog, world.store).origin.viewer_url
    found = pages.post("/lineage/find", data={"q": url}, follow_redirects=False)
    assert found.headers["location"] == f"/lineage/row/{entry(world, REMOVED).record_uid}"


def test_a_name_of_several_records_offers_them(world: World, pages: TestClient) -> None:
    answer = pages.get("/lineage/row/99999999-cccc")
    assert answer.status_code == 300
    assert len(set(re.findall(r'href="/lineage/row/([0-9a-f]{32})"', answer.text))) == 2


def test_a_name_of_nothing_says_what_was_searched(pages: TestClient) -> None:
    answer = pages.get("/lineage/row/no-such-id")
    assert answer.status_code == 404
    assert "Searched" in words(answer.text)


def test_a_paste_of_ten_megabytes_is_answered_with_what_was_searched(pages: TestClient) -> None:
    answer = pages.post("/lineage/find", content=b"q=" + b"nothing%20like%20this%0A" * 600_000)
    assert answer.status_code == 404
    assert "The text was cut after 12 MiB" in words(answer.text)
    assert len(answer.content) < 100_000


def test_the_checkpoint_lists_the_most_surprising_row_first(world: World, pages: TestClient) -> None:
    page = pages.get("/lineage/checkpoint/student").text
    values = [float(value) for value in re.findall(r'<td class="number">(\d+\.\d{4})</td>', page)]
    half = len(values) // 2
    assert values == sorted(values[:half], reverse=True) + sorted(values[half:])
    missing = pages.get("/lineage/checkpoint/nobody")
    assert (missing.status_code, "There are scores by student" in words(missing.text)) == (404, True)


def test_health_names_every_split_and_says_that_records_are_accounted_for(world: World, pages: TestClient) -> None:
    told = words(pages.get("/lineage/health").text)
    assert all(key in told for key in world.catalog.splits)
    assert f"{len(LINES[MCQ])} of {len(LINES[MCQ])}" in told


PATHS = [
    "/",
    "/health",
    f"/row/{KEPT}",
    f"/row/{KEPT}.json",
    f"/row/{KEPT}/original",
    "/row/nothing",
    "/nothing/at/all",
]


@pytest.mark.parametrize("path", [*PATHS, "/static/lineage.css", "/find?q=x"])
def test_every_answer_has_the_headers(pages: TestClient, path: str) -> None:
    headers = pages.get(f"/lineage{path}").headers
    sheet = {"Cross-Origin-Resource-Policy": "cross-origin"} if path.startswith("/static") else {}
    assert {name: headers[name] for name in HEADERS} == HEADERS | sheet
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "script" not in headers["content-security-policy"]


def test_links_lead_to_dagster_where_it_is_and_nowhere_where_it_is_not(world: World, pages: TestClient) -> None:
    assert (
        'href="/assets/ledger?view=partitions&amp;partition=nemotron-math-v2%2Flow"'
        in pages.get(f"/lineage/row/{KEPT}").text
    )
    from starlette.applications import Starlette

    from nemo_assets.web.app import mounted

    alone = TestClient(Starlette(routes=mounted(lambda: world.settings)), base_url="http://127.0.0.1")
    assert "/assets/" not in alone.get(f"/lineage/row/{KEPT}").text


@pytest.mark.parametrize("path", [*PATHS[:3], f"/cluster/{REMOVED}", f"/source/{MCQ}", "/checkpoint/student"])
def test_every_page_has_one_main_one_first_heading_and_headings_in_order(pages: TestClient, path: str) -> None:
    page = pages.get(f"/lineage{path}").text
    levels = [int(level) for level in re.findall(r"<h([1-6])[ >]", page)]
    assert (page.count("<main"), levels.count(1), levels[0]) == (1, 1, 1)
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert page.count("<table") == page.count("<caption")
    assert not re.search(r"<script|\son\w+=|\sstyle=|javascript:", page)


def test_every_link_of_the_pages_leads_somewhere(pages: TestClient) -> None:
    """Followed from the first page until nothing new is found."""
    seen: dict[str, int] = {}
    waiting = ["/lineage/"]
    while waiting:
        path = waiting.pop()
        if path in seen or not path.startswith("/lineage") or "seed=1" in path:  # there is always another sample
            continue
        answer = pages.get(path)
        seen[path] = answer.status_code
        if answer.headers["content-type"].startswith("text/html"):
            waiting += [html.unescape(link).partition("#")[0] for link in re.findall(r'href="([^"]*)"', answer.text)]
    assert len(seen) > 60
    assert {path: status for path, status in seen.items() if status != 200} == {}


def test_pages_of_an_empty_data_directory_say_what_to_do(settings: Settings) -> None:
    client = TestClient(guarded(settings), base_url="http://127.0.0.1")
    assert "Materialise ledger" in words(client.get("/lineage/").text)
    answers: dict[str, Any] = {
        path: client.get(f"/lineage{path}")
        for path in (f"/source/{HOSTILE_SPLIT}", "/row/abcdef", "/checkpoint/student", "/source/none")
    }
    assert {answer.status_code for answer in answers.values()} == {404}
    assert client.get("/lineage/health").status_code == 200


def test_the_first_page_says_over_how_many_records_the_index_was_built_and_when(world: World) -> None:
    client = TestClient(guarded(world.settings), base_url="http://127.0.0.1")
    assert "There is no index yet" in words(client.get("/lineage/").text)
    index = build_lineage_index(world.catalog.split(LOW), world.catalog, world.store)
    told = words(client.get("/lineage/").text)
    assert f"built {index.details['built']} or later, over {index.counters['records']} of them" in told
