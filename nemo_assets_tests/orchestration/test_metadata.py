"""What the UI is told of a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster_shared.serdes import serialize_value

from nemo_assets.orchestration import duplicate_search
from nemo_assets.orchestration.columns import CODES
from nemo_assets.orchestration.metadata import FILES_SHOWN, materialized
from nemo_assets.orchestration.tables import CELL_CHARACTERS
from nemo_assets.settings import Settings
from nemo_assets.storage import Manifest
from nemo_assets_tests.building import prose, reworded
from nemo_assets_tests.orchestration.world import World, chat, problem

KIB = 1024


def _shown(tmp_path: Path, stage: str, **content: object) -> dict[str, Any]:
    manifest = Manifest(stage, "alpha/low", "v1", "d1", {"raw": "r1"}, {}, **content)  # type: ignore[arg-type]
    result = materialized(manifest, Settings(data_dir=tmp_path))
    assert result.data_version == dg.DataVersion("d1")
    return dict(result.metadata or {})


def _metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    """What the instance keeps of a real materialization; tables as their lines."""
    (event,) = result.asset_materializations_for_node(asset)
    assert len(serialize_value(event.metadata)) < 8 * KIB
    return {name: _value(value) for name, value in event.metadata.items()}


def _value(value: Any) -> Any:
    if isinstance(value, dg.TableMetadataValue):
        assert all(list(record.data) == [column.name for column in value.schema.columns] for record in value.records)
        return [dict(record.data) for record in value.records]
    return value.value


@pytest.fixture
def two_files(world: World) -> World:
    """alpha/low in two files: rows, one of them twice, and rejections of three codes."""
    world.write_jsonl(
        "org/alpha/data/low.jsonl", [problem("p1", "1 + 1", "2"), "not json", problem("p2", "2 + 2", "4")]
    )
    silent = problem("p3", "3 + 3", "6")
    silent["messages"][1] |= {"content": "", "reasoning_content": "…"}
    broken = [problem("p1", "1 + 1", "2"), "[]", silent, '"text"']
    world.write_jsonl("org/alpha/data/low_more.jsonl", broken)
    return world


def test_rows_are_told_by_code_with_a_place_to_look_at_and_by_file(two_files: World):
    shown = _metadata(two_files.run("alpha/low", "raw", "normalized"), "normalized")

    assert shown["funnel"] == [
        {"state": "records", "code": "", "records": 7, "share": "100.0 %", "example": "", "meaning": ""},
        {"state": "rows", "code": "", "records": 3, "share": "42.9 %", "example": "", "meaning": ""},
        {
            "state": "rejected",
            "code": "empty_completion",
            "records": 1,
            "share": "14.3 %",
            "example": "data/low_more.jsonl:2",
            "meaning": "has no assistant turn, or none that says anything",
        },
        {
            "state": "rejected",
            "code": "not_an_object",
            "records": 2,
            "share": "28.6 %",
            "example": "data/low_more.jsonl:1",
            "meaning": "is JSON, but no object",
        },
        {
            "state": "rejected",
            "code": "unparseable",
            "records": 1,
            "share": "14.3 %",
            "example": "data/low.jsonl:1",
            "meaning": CODES["unparseable"],
        },
    ]
    assert shown["by_file"] == [
        {"file": "data/low.jsonl", "records": 3, "rows": 2, "rejected": 1},
        {"file": "data/low_more.jsonl", "records": 4, "rows": 1, "rejected": 3},
    ]
    assert shown["tags"] == [{"tag": "too_short", "rows": 3, "share": "100.0 %"}]
    assert "one bar a doubling" in shown["lengths"]


def test_counts_by_code_are_numbers_so_that_the_ui_plots_them(two_files: World):
    normalized = _metadata(two_files.run("alpha/low", "raw", "normalized", "signatures"), "normalized")
    two_files.run("distilled", "duplicates")
    ledger = _metadata(two_files.run("alpha/low", "deduped", "ledger"), "ledger")

    coded = {"rejected": 4, "rejected_empty_completion": 1, "rejected_not_an_object": 2, "rejected_unparseable": 1}
    assert {name: normalized[name] for name in ("records", "rows", *coded)} == {"records": 7, "rows": 3, **coded}
    removed = {"kept": 2, "removed": 1, "removed_exact_duplicate": 1}
    assert {name: ledger[name] for name in ("records", *coded, *removed)} == {"records": 7, **coded, **removed}


def test_the_ledger_is_told_by_code_and_by_file(two_files: World):
    two_files.run("alpha/low", "raw", "normalized", "signatures")
    two_files.run("distilled", "duplicates")

    shown = _metadata(two_files.run("alpha/low", "deduped", "ledger"), "ledger")

    told = [(line["state"], line["code"], line["records"], line["example"]) for line in shown["funnel"]]
    assert told == [
        ("records", "", 7, ""),
        ("kept", "", 2, ""),
        ("rejected", "empty_completion", 1, "data/low_more.jsonl:2"),
        ("rejected", "not_an_object", 2, "data/low_more.jsonl:1"),
        ("rejected", "unparseable", 1, "data/low.jsonl:1"),
        ("removed", "exact_duplicate", 1, "data/low_more.jsonl:0"),
    ]
    assert shown["by_file"] == [
        {"file": "data/low.jsonl", "records": 3, "kept": 2, "rejected": 1, "removed": 0},
        {"file": "data/low_more.jsonl", "records": 4, "kept": 0, "rejected": 3, "removed": 1},
    ]


def test_a_split_without_a_rejection_has_no_example(world: World):
    world.write_jsonl("org/beta/data/chat.jsonl", [chat("c1", "Hello", "Good day to you.")])

    shown = _metadata(world.run("beta/chat", "raw", "normalized"), "normalized")

    assert [(line["state"], line["records"]) for line in shown["funnel"]] == [("records", 1), ("rows", 1)]
    assert shown["rejected"] == 0


def test_thousands_of_files_are_few_lines_that_still_add_up(tmp_path: Path):
    name = "data/" + "long_folder/" * 40
    files = {f"{name}{n:05d}.jsonl": {"records": 3, "rows": 2, "rejected": 1} for n in range(5_000)}
    counters = {"records": 15_000, "rows": 10_000, "rejected": {"unparseable": 5_000}, "files": files}

    shown = _shown(tmp_path, "normalized", counters=counters, details={"repo": "org/a"})

    lines = [record.data for record in shown["by_file"].records]
    assert len(lines) == FILES_SHOWN + 1
    assert lines[-1] == {"file": "… 4,960 more", "records": 14_880, "rows": 9_920, "rejected": 4_960}
    assert sum(int(line["records"]) for line in lines) == 15_000
    assert {len(str(line["file"])) for line in lines[:-1]} == {CELL_CHARACTERS}
    assert len(serialize_value(shown["by_file"])) < 24 * KIB


def test_the_widest_histogram_of_lengths_is_still_shown_in_place(tmp_path: Path):
    bins = {"0": 7, **{str(1 << power): 40_000 - power for power in range(6, 18)}}
    counters = {"records": 1, "rows": 1, "rejected": {}, "length_bins": bins, "files": {}}

    shown = _shown(tmp_path, "normalized", counters=counters, details={"repo": "org/a"})["lengths"]

    assert isinstance(shown, dg.MarkdownMetadataValue)
    assert len(shown.md_str) < 1000  # the UI hides longer Markdown behind a link
    assert shown.md_str.endswith("From 0 to 262,144 tokens, one bar a doubling; the highest is 39,994 rows.")


def test_scores_are_a_table_and_each_mean_is_a_number_to_plot(tmp_path: Path):
    summary = {
        "rows": 4,
        "status": {"ok": 3, "too_long": 1},
        "nll_mean": 1.25,
        "model": "org/student",
        "revision": "abc",
    }

    shown = _shown(tmp_path, "scored", counters={"rows": 4, "checkpoints": {"student": summary}})

    assert shown["nll_mean_student"] == 1.25
    table = shown["scores"]
    assert isinstance(table, dg.TableMetadataValue)
    assert table.records[0].data["ok"] == 3


def test_imported_scores_stand_beside_measured_ones_though_nobody_knows_their_model(tmp_path: Path):
    measured = {
        "rows": 4, "status": {"ok": 4}, "coverage": 1.0, "nll_mean": 1.25,
        "model": "org/student", "revision": "abc", "precision": "float32",
    }  # fmt: skip
    imported = measured | dict.fromkeys(("nll_mean", "model", "revision", "precision")) | {"status": {"not_scored": 4}}

    for checkpoints in ({"a": measured, "b": imported}, {"b": imported, "a": measured}):
        shown = _shown(tmp_path, "scored", counters={"rows": 4, "checkpoints": checkpoints})
        assert [record.data["checkpoint"] for record in shown["scores"].records] == list(checkpoints)
        assert shown["loaded_a"] == "org/student @ abc"
        assert "loaded_b" not in shown


def test_a_sample_says_that_it_is_one(tmp_path: Path):
    manifest = Manifest("raw", "alpha/low", "v1", "d1", {}, {})

    metadata = materialized(manifest, Settings(data_dir=tmp_path, sample_records=10)).metadata or {}

    assert metadata["sample"] == "the first 10 records only"


@pytest.fixture
def searched(world: World) -> dict[str, Any]:
    """Metadata of `duplicates` of rows that are equal, similar and siblings, as they are before they are stored."""
    question, answer = prose(1, 40), prose(2, 100)
    near = [chat(f"c{place}", question, reworded(answer, place)) for place in (10, 90)]
    siblings = [chat(f"n{number}", f"{prose(3, 40)} {number}", prose(4, 40)) for number in range(2)]
    world.write_jsonl("org/beta/data/chat.jsonl", [*near, *siblings, siblings[1]])
    world.run("beta/chat", "raw", "normalized", "signatures")
    (event,) = world.run("distilled", "duplicates").asset_materializations_for_node("duplicates")
    return dict(event.metadata)


def test_a_search_for_duplicates_tells_how_it_was_made_and_what_it_found(searched: dict[str, Any]):
    shown = {name: _value(value) for name, value in searched.items()}

    assert (shown["threshold"], shown["bands"]) == (0.8, "18 of 7 slots")
    assert shown["expected_recall"] == "at 0.8: 98.55 %, at 0.85: 99.90 %, at 0.9: 99.99 %"
    assert {line["relation"]: line["rows"] for line in shown["relations"]} == {
        "template_sibling": 1,
        "prompt_similar": 0,
        "contained": 0,
    }
    assert [(line["rule"].partition(",")[0], line["rows"]) for line in shown["rules"]] == [
        ("Jaccard of 5-token shingles", 1),
        ("equal content_sha1", 1),
    ]
    # One question twice, the other one with a number once and with another number twice.
    assert shown["rows_with_the_same_prompt"] == [{"rows": "1", "prompts": 1}, {"rows": "2 to 3", "prompts": 2}]
    assert (shown["dagster/row_count"], shown["removed"], shown["buckets_over_cap"]) == (5, 2, 0)


def test_a_sample_of_the_pairs_stands_beside_the_report_on_all(searched: dict[str, Any]):
    (line,) = _value(searched["least_similar_removed"])
    page = Path(searched["precision_report"].path).read_text()

    # Two words are other ones, each in 5 of 96 shingles spoken: 86 / 106. In the metadata columns are in reading order.
    assert list(line) == ["similarity", "words_that_differ", "first", "removed", "survivor"]
    assert (line["similarity"], line["words_that_differ"]) == (round(86 / 106, 4), 2)
    assert {line["removed"], line["survivor"]} == {"c10", "c90"}
    assert "1 of 1 rows" in page
    assert "0.8113" in page


def test_plots_are_pictures_that_the_ui_shows(searched: dict[str, Any]):
    for name in ("collision_curve", "similarity_histogram", "group_sizes"):
        assert isinstance(searched[name], dg.MarkdownMetadataValue)
        assert "](data:image/svg+xml;base64," in searched[name].md_str
    assert len(serialize_value(searched)) < 72 * KIB  # kept for ever, of two partitions


def test_of_many_pairs_only_the_first_are_shown_and_long_differences_are_cut(tmp_path: Path):
    pair = {"removed": "r", "survivor": "s", "similarity": 0.8, "words_that_differ": 1, "first": "x" * 5_000}

    shown = duplicate_search._least_similar([pair] * 50)["least_similar_removed"]

    assert len(shown.records) == duplicate_search.PAIRS_SHOWN
    assert len(serialize_value(shown)) < 8 * KIB


def test_a_search_that_finds_nothing_has_every_table(world: World):
    world.run("alpha/low", "raw", "normalized", "signatures")
    (event,) = world.run("distilled", "duplicates").asset_materializations_for_node("duplicates")

    shown = {name: _value(value) for name, value in event.metadata.items()}

    assert "least_similar_removed" not in shown
    assert (shown["rules"], shown["removed"]) == ([{"nothing": "none"}], 0)
