"""What a person does in the UI: opens pages, picks a partition in the dialog, launches, reads.

Belongs here: the browser, and where Dagster's pages have their buttons. Does not: what should be on them (the tests).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from nemo_assets_tests.requirements import absent

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

WAIT_MS = 45_000  # a page on a slow machine, while a run uses the other core

_REQUIRED_BY = "NEMO_REQUIRE_BROWSER"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
_NOISE = re.compile(r"favicon|Failed to load resource|net::ERR_")  # of the network, not of a page


def require_browser() -> str:
    """Path of a Chromium that Playwright can drive. Without one the test skips, or fails if NEMO_REQUIRE_BROWSER=1."""
    try:
        import playwright.sync_api  # noqa: F401  (only whether it is there)
    except ImportError:
        absent("Playwright is missing: pip install -e '.[test]'", required_by=_REQUIRED_BY)
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    return found or absent("No Chromium on the PATH: apt-get install chromium", required_by=_REQUIRED_BY)


class Person:
    """Somebody in front of the UI. `complaints` are the errors that pages wrote to the console."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        self._address = address
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self._hear(message.type, message.text))

    def _hear(self, severity: str, text: str) -> None:
        if severity == "error" and not _NOISE.search(text):
            self.complaints.append(text)

    def open_lineage(self, selection: str = "") -> None:
        """The global lineage, narrowed by typing a selection."""
        self.page.goto(f"{self._address}/asset-groups")
        self.button("Materialize all").wait_for()
        if selection:
            self.page.locator(".CodeMirror").first.click()
            self.page.keyboard.type(selection)
            self.page.keyboard.press("Enter")

    def open_asset(self, asset: str, view: str = "overview", partition: str | None = None) -> None:
        """A tab of an asset, with a partition selected."""
        selected = f"&partition={quote(partition, safe='')}" if partition else ""
        self.page.goto(f"{self._address}/assets/{asset}?view={view}{selected}")

    def ask_for(self, what: str) -> None:
        """Press Materialize and see that the dialog is about the assets meant, such as `2 assets`."""
        self.button("Materialize").click()
        self.text(f"Launch runs to materialize {what}").wait_for()

    def pick_partition(self, partition: str) -> None:
        """Find a partition in the list of the dialog by typing, and tick it."""
        self.text("Select a partition or create one").click()
        self.page.get_by_placeholder("Filter partitions").fill(partition)
        self.page.get_by_role("menuitem").filter(has_text=partition).last.click()
        self.page.get_by_text("Launch runs to materialize").first.click()  # closes the list

    def launch(self) -> str:
        """Launch the one run that the dialog announces; returns how its id begins, as the UI says it."""
        self.button("Launch 1 run").click()
        said = self.page.get_by_text(re.compile(r"Launched run\s*[0-9a-f]{8}")).first.inner_text()
        return said.split()[-1]

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name).first

    def text(self, text: str | re.Pattern[str]) -> Locator:
        """The first visible place of exactly this text; long names are cut in the middle and stand there twice."""
        return self.page.get_by_text(text, exact=True).filter(visible=True).first

    def line_of(self, cell: str) -> list[str]:
        """The cells of the innermost table line that has this cell."""
        line = self.page.locator("tr").filter(has=self.page.get_by_text(cell, exact=True)).last
        return line.locator("td").all_inner_texts()


@contextmanager
def person_at(address: str) -> Iterator[Person]:
    """A person with a fresh browser."""
    browser_path = require_browser()
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path, args=list(_FLAGS))
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(WAIT_MS)
        try:
            yield Person(page, address)
        finally:
            browser.close()
