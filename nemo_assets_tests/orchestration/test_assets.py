"""One split, end to end, through real runs."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from nemo_assets.storage import Stage
from nemo_assets_tests.orchestration.world import TEXT, World


def _metadata(result: Any, asset: str) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in event.metadata.items()}


def _lines(table: Any) -> list[dict[str, Any]]:
    return [dict(record.data) for record in table.records]


def _version(result: Any, asset: str) -> str:
    (event,) = result.asset_materializations_for_node(asset)
    return str(event.tags["dagster/data_version"])


def test_a_split_runs_from_its_source_to_pools(world: World):
    first = world.run("beta/chat", "raw", "normalized", "signatures")
    world.run("distilled", "duplicates")
    last = world.run("beta/chat", "deduped", "ledger", "pools")

    normalized = _metadata(first, "normalized")
    assert (normalized["records"], normalized["dagster/row_count"], normalized["rejected"]) == (3, 2, 1)
    assert [(line["state"], line["code"], line["records"]) for line in _lines(normalized["funnel"])] == [
        ("records", "", 3),
        ("rows", "", 2),
        ("rejected", "unparseable", 1),
    ]
    ledger = _metadata(last, "ledger")
    assert (ledger["records"], ledger["kept"], ledger["rejected"], ledger["removed"]) == (3, 2, 1, 0)
    assert [record.data for record in _metadata(last, "pools")["pools"].records] == [
        {"pool": "evaluated", "rows": 0, "share": "0.0 %"},
        {"pool": "chat", "rows": 2, "share": "100.0 %"},
    ]
    assert _metadata(first, "raw")["source"] == (world.root / "sources/org/beta/data/chat.jsonl").as_uri()


def test_the_data_version_of_an_asset_is_that_of_its_manifest(world: World):
    result = world.run("alpha/low", "raw", "normalized")

    assert _version(result, "raw") == world.manifest(Stage.RAW, "alpha/low").data_version
    assert _version(result, "normalized") == world.manifest(Stage.NORMALIZED, "alpha/low").data_version
    assert _version(world.run("alpha/low", "normalized"), "normalized") == _version(result, "normalized")


def test_duplicates_are_found_across_sources_of_a_scope_that_exist(world: World):
    world.write_jsonl("org/alpha/data/high.jsonl", [{"uuid": "p9", **_same_as_low(world)}])
    for key in ("alpha/low", "alpha/high"):
        world.run(key, "raw", "normalized", "signatures")

    shown = _metadata(world.run("distilled", "duplicates"), "duplicates")

    assert (shown["rows"], shown["removed"], shown["across_splits"]) == (3, 1, 1)
    assert [record.data["split"] for record in shown["splits"].records] == ["alpha/low", "alpha/high"]


def _same_as_low(world: World) -> dict[str, Any]:
    first = (world.root / "sources/org/alpha/data/low.jsonl").read_text().splitlines()[0]
    return {name: value for name, value in json.loads(first).items() if name != "uuid"}


def test_rendered_rows_get_the_correctness_of_their_origin(world: World):
    world.fill("alpha/low")
    rows = world.settings.store.paths(world.manifest(Stage.NORMALIZED, "alpha/low"))
    world.write_texts("org/rendered/data/low.parquet", [pl.read_parquet(rows)["text"][0], TEXT])
    world.run("rendered/low", "raw", "normalized", "signatures")
    world.run("rendered", "duplicates")

    pools = _metadata(world.run("rendered/low", "deduped", "pools"), "pools")

    assert (pools["correctness_joined"], pools["correctness_join_rate"]) == (1, 0.5)


def test_reports_read_the_splits_there_are(world: World):
    world.fill("beta/chat")

    result = world.run(None, "inventory", "metadata_coverage")

    assert [record.data["split"] for record in _metadata(result, "inventory")["splits"].records] == ["beta/chat"]
    assert _metadata(result, "metadata_coverage")["dagster/row_count"] == 2


def test_a_release_to_a_directory_names_its_commit(world: World):
    world.fill("beta/chat")

    result = world.run("beta/chat", "published")

    shown = _metadata(result, "published")
    assert shown["repo"] == "local/beta-pools"
    assert shown["commit"] == world.manifest(Stage.PUBLISHED, "beta/chat").details["commit"]
    assert shown["tag"] == "release-0001"
    assert [check.passed for check in result.get_asset_check_evaluations()] == [True, True]


def test_evaluation_sets_are_read_and_shown_set_by_set(world: World):
    world.write_jsonl("org/exam/test.jsonl", [{"q": "Which of these gases do plants take in by day?"}, {"q": "Why?"}])
    exam = {"repo": "org/exam", "files": ["*.jsonl"], "columns": ["q"]}
    world.edit_catalog("policies/evaluation_sets", lambda policy: policy["evaluation_sets"].update(exam=exam))

    shown = _metadata(world.run(None, "evaluation_sets"), "evaluation_sets")

    (line,) = _lines(shown["evaluation_sets"])
    assert (line["evaluation_set"], line["records"], line["texts"], line["too_short"]) == ("exam", 2, 2, 1)
    assert (shown["dagster/row_count"], shown["too_short"]) == (2, 1)
