"""Hostile records in a real browser: nothing runs, nothing is fetched, nothing is hidden; people of all kinds can read.

Belongs here: what only a browser can tell. Does not: contents (`test_pages`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from nemo_assets.settings import Settings
from nemo_assets.storage import Stage
from nemo_assets_tests.browser.person import person_at
from nemo_assets_tests.requirements import absent
from nemo_assets_tests.web.site import BIDI, BREAK_OUT, HOSTILE, MCQ, SCRIPT, guarded, served

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route


@dataclass
class Watched:
    """A browser's page, and everything it did that a page of these must not do."""

    page: Page
    address: str
    uids: dict[str, list[str]]
    dialogs: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        self.page.goto(f"{self.address}/lineage{path}")

    def require_quiet(self) -> None:
        assert (self.dialogs, self.errors, self.foreign) == ([], [], [])
        assert self.page.locator("main script, main img, main iframe, main style, main object, body link").count() == 0


@pytest.fixture(scope="module")
def watched(hostile: Settings) -> Iterator[Watched]:
    store = hostile.store
    ledger = pl.read_parquet(store.paths(store.current(Stage.LEDGER, MCQ))).sort("source_row")
    uids = {str(state): [uid.hex() for uid in rows["record_uid"]] for (state,), rows in ledger.group_by("state")}
    with served(guarded(hostile)) as address, person_at(address) as person:
        watched = Watched(person.page, address, uids)
        _watch(watched)
        yield watched


def _watch(watched: Watched) -> None:
    page = watched.page

    def passed(route: Route) -> None:
        if route.request.url.startswith(watched.address):
            route.continue_()
        else:
            watched.foreign.append(route.request.url)
            route.abort()

    page.route("**/*", passed)
    page.on("dialog", lambda dialog: (watched.dialogs.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda error: watched.errors.append(str(error)))
    page.on("console", lambda line: watched.errors.append(line.text) if line.type == "error" else None)


def test_every_end_state_has_hostile_records(watched: Watched) -> None:
    assert {state: len(uids) >= least for state, least, uids in _counted(watched)} == {
        "kept": True, "removed": True, "rejected": True,
    }  # fmt: skip


def _counted(watched: Watched) -> Iterator[tuple[str, int, list[str]]]:
    for state, least in (("kept", len(HOSTILE)), ("removed", 1), ("rejected", 2)):
        yield state, least, watched.uids[state]


@pytest.mark.parametrize("view", ["turns", "rendered", "mask", "tokens"])
def test_rows_run_and_fetch_nothing_in_any_view(watched: Watched, view: str) -> None:
    for uids in watched.uids.values():
        for uid in uids:
            watched.open(f"/row/{uid}?view={view}")
            watched.page.locator("summary").first.click()
            watched.require_quiet()


def test_other_pages_run_and_fetch_nothing(watched: Watched) -> None:
    kept, removed, rejected = watched.uids["kept"], watched.uids["removed"], watched.uids["rejected"]
    paths = [
        "/", "/health", f"/source/{MCQ}", f"/source/{MCQ}/sample", f"/cluster/{removed[0]}", "/checkpoint/student",
        "/why/exact_duplicate", f"/diff/{kept[0]}/{kept[1]}", f"/diff/{kept[0]}/{rejected[0]}",
        f"/compare/{MCQ}",
    ]  # fmt: skip
    for path in paths:
        watched.open(path)
        watched.require_quiet()


@pytest.mark.parametrize("text", [*HOSTILE, "javascript:alert(1)", "\n".join(HOSTILE) * 50])
def test_what_is_pasted_is_shown_and_does_nothing(watched: Watched, text: str) -> None:
    watched.open("/")
    watched.page.locator("#paste").fill(text)
    watched.page.locator(".paste button").click()
    watched.page.wait_for_url("**/lineage/**")
    watched.page.locator("h1").wait_for()
    told = [error for error in watched.errors if "status of 404" not in error]  # nothing found is told as 404
    watched.errors[:] = told
    watched.require_quiet()


def test_the_style_sheet_is_loaded(watched: Watched) -> None:
    watched.open("/")
    assert watched.page.locator(".top").evaluate("bar => getComputedStyle(bar).display") == "flex"


def test_no_character_moves_others_or_hides(watched: Watched) -> None:
    """The text after an override reads from left to right, and the override can be seen."""
    row = next(n for n, text in enumerate(HOSTILE) if text is BIDI)
    watched.open(f"/row/{watched.uids['kept'][row]}?view=rendered")
    text = watched.page.locator("#text .text")
    assert "\\u202e" in text.inner_text()
    assert not set(watched.page.locator("body").inner_text()) & set("\u202e\u202c\u2066\u200b\ufeff\u0007")
    places = [mark.bounding_box() for mark in text.locator("abbr").all()[:2]]
    assert all(places)
    assert places[0]["x"] < places[1]["x"] or places[0]["y"] < places[1]["y"]  # type: ignore[index]


def test_a_row_of_a_megabyte_is_cut_and_can_be_downloaded(watched: Watched) -> None:
    large = watched.uids["kept"][len(HOSTILE)]
    watched.open(f"/row/{large}")
    assert "The first 200,000 of" in watched.page.locator("#text .note").inner_text()
    assert "too large to show" in watched.page.locator("#original").inner_text()
    with watched.page.expect_download() as download:
        watched.page.get_by_role("link", name="Download byte for byte").click()
    content = Path(download.value.path()).read_bytes()
    assert len(content) > 1 << 20
    assert SCRIPT.encode()[:8] in content
    watched.require_quiet()


def test_an_attribute_cannot_be_left(watched: Watched) -> None:
    watched.open(f"/find?q={BREAK_OUT}")
    assert watched.page.locator("#q").input_value() in ("", BREAK_OUT)
    assert watched.page.locator("img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_has_no_serious_finding(watched: Watched, scheme: str) -> None:
    axe = os.environ.get("NEMO_AXE") or absent(
        "axe-core is missing: npm pack axe-core, unpack it, and set NEMO_AXE to its axe.min.js", "NEMO_REQUIRE_AXE"
    )
    kept, removed, rejected = (watched.uids[state][0] for state in ("kept", "removed", "rejected"))
    paths = [
        "/", "/health", f"/row/{kept}", f"/row/{kept}?view=tokens", f"/row/{kept}?view=mask", f"/row/{removed}",
        f"/row/{rejected}", f"/cluster/{removed}", f"/diff/{kept}/{removed}", f"/source/{MCQ}", "/row/nothing-here",
        f"/source/{MCQ}/sample?state=kept", "/checkpoint/student",
        "/why/exact_duplicate", "/find?q=alert(1)%20text%20of%20some%20words", f"/compare/{MCQ}",
    ]  # fmt: skip
    browser = watched.page.context.browser
    assert browser is not None
    context = browser.new_context(bypass_csp=True, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    found = {}
    for path in paths:
        page.goto(f"{watched.address}/lineage{path}")
        page.add_script_tag(path=axe)
        violations = page.evaluate("async () => (await axe.run()).violations")
        found[path] = [
            (each["id"], [node["html"][:150] for node in each["nodes"][:3]])
            for each in violations
            if each["impact"] in ("serious", "critical")
        ]
    context.close()
    assert {path: violations for path, violations in found.items() if violations} == {}


@pytest.mark.parametrize("width", [320, 1280])
def test_no_page_is_wider_than_the_window(watched: Watched, width: int) -> None:
    watched.page.set_viewport_size({"width": width, "height": 800})
    row = f"/row/{watched.uids['kept'][0]}"
    for path in ("/", row, f"/source/{MCQ}", "/health", "/checkpoint/student", f"/compare/{MCQ}"):
        watched.open(path)
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= width, path
