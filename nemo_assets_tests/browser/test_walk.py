"""One split from its source to its scores, by clicking; then every page that a person would look at."""

from __future__ import annotations

import re

import pytest

from nemo_assets.records.schema import COLUMNS
from nemo_assets.settings import Settings
from nemo_assets.storage import Stage
from nemo_assets_tests.browser.dev_server import DevServer
from nemo_assets_tests.browser.person import Person, require_browser

pytestmark = pytest.mark.slow

SPLIT, SCOPE = "nemotron-science-v1/RQA", "distilled"
BEFORE_DUPLICATES = ["normalized", "signatures"]
AFTER_DUPLICATES = ["deduped", "ledger", "pools", "published"]

_STANDING = """query ($keys: [AssetKeyInput!], $partition: String) { assetNodes(assetKeys: $keys) {
    assetKey { path } staleStatus(partition: $partition) staleCauses(partition: $partition) { reason }
} }"""


def test_a_split_is_taken_through_the_chain_by_clicking_and_every_page_tells_of_it(
    person: Person, server: DevServer, seen: Settings
) -> None:
    after = [*AFTER_DUPLICATES, "scored"] if seen.model_name else AFTER_DUPLICATES
    sees_the_whole_chain(person)
    materializes_in_the_dialog(person, server)
    materializes_together(person, server, BEFORE_DUPLICATES)
    materializes_the_scope(person, server)
    materializes_together(person, server, after)

    sees_the_source(person)
    sees_what_became_of_the_records(person)
    sees_what_the_columns_mean(person)
    sees_that_the_records_are_conserved(person)
    sees_the_release(person, seen)
    if seen.model_name:
        sees_the_scores(person, seen)
    nothing_is_shown_as_outdated(server, SPLIT, ["raw", *BEFORE_DUPLICATES, *after])
    nothing_is_shown_as_outdated(server, SCOPE, ["duplicates"])
    assert person.complaints == []


def sees_the_whole_chain(person: Person) -> None:
    person.open_lineage()
    for group in ("sources", "rows", "pools", "scores", "reports"):
        visible(person, group)


def materializes_in_the_dialog(person: Person, server: DevServer) -> None:
    person.open_asset("raw", "partitions")
    person.ask_for("raw")
    person.pick_partition(SPLIT)
    server.wait_for_run(person.launch())


def materializes_together(person: Person, server: DevServer, assets: list[str]) -> None:
    person.open_lineage(" or ".join(f'key:"{asset}"' for asset in assets))
    # The page counts what can be materialized only while it shows something that cannot, here `source` and `recipe`.
    visible(person, "Materialize all…")
    person.ask_for(f"{len(assets)} assets")
    person.pick_partition(SPLIT)
    server.wait_for_run(person.launch())


def materializes_the_scope(person: Person, server: DevServer) -> None:
    person.open_asset("duplicates", "partitions", SCOPE)
    person.ask_for("duplicates")  # of the partition in view
    server.wait_for_run(person.launch())


def sees_the_source(person: Person) -> None:
    person.open_asset("raw", "partitions", SPLIT)
    visible(person, "Materialized")
    link = person.page.get_by_role("link", name="data/RQA.jsonl").first
    address = link.get_attribute("href") or ""
    assert re.match(r"file:///.*/nvidia/Nemotron-Science-v1/data/RQA\.jsonl$", address), address


def sees_what_became_of_the_records(person: Person) -> None:
    person.open_asset("normalized", "partitions", SPLIT)
    visible(person, "Materialized")
    visible(person, "funnel")
    assert person.line_of("dagster/row_count")[1].strip() == "27"
    assert person.line_of("no_messages")[:4] == ["rejected", "no_messages", "1", "3.4 %"]  # 1 of 29
    assert person.line_of("unparseable")[:4] == ["rejected", "unparseable", "1", "3.4 %"]
    assert person.line_of("93.1 %")[2:4] == ["27", "93.1 %"]
    histogram = person.page.locator("img[src^='data:image/svg']")
    drawn = "image => image.decode().then(() => image.naturalWidth > 0 && image.naturalHeight > 0)"
    assert histogram.evaluate(drawn)
    assert person.page.get_by_text(re.compile("^(Unsynced|Outdated)")).count() == 0


def sees_what_the_columns_mean(person: Person) -> None:
    person.open_asset("normalized")
    visible(person, "text_sha1")
    visible(person, next(column.description for column in COLUMNS if column.name == "text_sha1"))
    for shown in ("rows", "training-data", "Parquet", "Polars"):  # group, owner, kinds
        visible(person, shown)


def sees_that_the_records_are_conserved(person: Person) -> None:
    person.open_asset("ledger", "checks")
    for shown in ("records_are_conserved", "Passed", SPLIT):
        visible(person, shown)


def sees_the_release(person: Person, seen: Settings) -> None:
    details = seen.store.current(Stage.PUBLISHED, SPLIT).details
    person.open_asset("published", "partitions", SPLIT)
    for shown in (details["commit"], "local/nemotron-science-v1-pools"):
        visible(person, shown)


def sees_the_scores(person: Person, seen: Settings) -> None:
    student = seen.store.current(Stage.SCORED, SPLIT).counters["checkpoints"]["student"]
    person.open_asset("scored", "partitions", SPLIT)
    visible(person, "nll_mean_student")
    assert person.line_of("nll_mean_student")[1].strip() == str(student["nll_mean"])


def nothing_is_shown_as_outdated(server: DevServer, partition: str, assets: list[str]) -> None:
    keys = [{"path": [asset]} for asset in assets]
    nodes = server.graphql(_STANDING, keys=keys, partition=partition)["assetNodes"]
    assert len(nodes) == len(assets)
    assert [node for node in nodes if node["staleStatus"] != "FRESH"] == []


def visible(person: Person, text: str) -> None:
    from playwright.sync_api import expect

    expect(person.text(text)).to_be_visible()


def test_without_a_browser_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("playwright.sync_api")
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("NEMO_REQUIRE_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install chromium"):
        require_browser()
    monkeypatch.setenv("NEMO_REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="apt-get install chromium"):
        require_browser()
