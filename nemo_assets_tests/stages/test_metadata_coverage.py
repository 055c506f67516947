"""What share of the rows of each split has correctness, reasoning, tools and so on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nemo_assets.catalog import CATALOG_DIR, Catalog, load_catalog
from nemo_assets.errors import UserError
from nemo_assets.hub.sources import open_source
from nemo_assets.stages.deduped import dedupe
from nemo_assets.stages.duplicates import find_duplicates
from nemo_assets.stages.metadata_coverage import MEASURES, measure_coverage
from nemo_assets.stages.normalized import normalize
from nemo_assets.stages.pools import build_pools
from nemo_assets.stages.raw import fetch_split
from nemo_assets.stages.signatures import sign
from nemo_assets.storage import Manifest, Stage, Store
from nemo_assets_tests.building import data_file

MATH, CHAT, RENDERED = "nemotron-math-v2/low", "nemotron-agentic-v1/tool_calling", "nemotron-math-v2-harmony-tools/low"

TOOL = {"name": "add", "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}}


def evaluated(passes: int) -> dict[str, Any]:
    return {"reason_low_no_tool": {"count": 8, "pass": passes, "accuracy": passes / 8}}


def turns(question: str, answer: str, reasoning: str | None = None) -> list[dict[str, Any]]:
    thought = {"reasoning_content": reasoning} if reasoning else {}
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer, **thought}]


def with_call(question: str, arguments: str) -> list[dict[str, Any]]:
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": arguments}}
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "name": "add", "content": "3"},
        {"role": "assistant", "content": "It is three."},
    ]


# Two of three evaluated, one of three verified (pass 0 is evaluated but not verified), two with reasoning.
MATH_RECORDS = [
    {"uuid": "p1", "expected_answer": "2", "messages": turns("1+1?", "two", "add them"), "metadata": evaluated(4)},
    {"uuid": "p2", "expected_answer": "3", "messages": turns("1+2?", "three", "add"), "metadata": evaluated(0)},
    {"expected_answer": None, "messages": turns("1+3?", "four"), "license": "cc-by-4.0", "used_in": []},
]
# Three of four with tools, two of four with a call, one of these breaking the schema of its tool.
TOOLS = [{"type": "function", "function": TOOL}]
CHAT_RECORDS = [
    {"uuid": "a", "tools": TOOLS, "messages": with_call("1+2", '{"x": 1}')},
    {"uuid": "b", "tools": TOOLS, "messages": with_call("one and two", '{"x": "one"}')},
    {"uuid": "c", "tools": TOOLS, "messages": turns("hello there", "hello"), "used_in": ["n"]},
    {"uuid": "d", "tools": [], "messages": turns("day", "good day"), "reasoning": "off", "capability_target": "chat"},
]


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """The catalog without the sources that have no data here."""
    directory = tmp_path / "catalog"
    shutil.copytree(CATALOG_DIR / "policies", directory / "policies")
    for key in (MATH, CHAT, RENDERED):
        shutil.copy(CATALOG_DIR / f"{key.partition('/')[0]}.yaml", directory)
    return load_catalog(directory)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data")


@pytest.fixture
def normalized(tmp_path: Path, catalog: Catalog, store: Store) -> Callable[..., Manifest]:
    """Put the records of a split into its source and normalize it."""

    def run(key: str, records: list[dict[str, Any]]) -> Manifest:
        split = catalog.split(key)
        path = tmp_path / "sources" / split.repo / data_file(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(records), path)
        else:
            path.write_text("".join(json.dumps(record) + "\n" for record in records))
        fetch_split(split, open_source(split.repo, tmp_path / "sources"), store)
        return normalize(split, store)

    return run


def table(manifest: Manifest) -> dict[str, dict[str, Any]]:
    return {line["split"]: line for line in manifest.details["splits"]}


def test_percentages_are_those_counted_by_hand(
    catalog: Catalog, store: Store, normalized: Callable[..., Manifest]
) -> None:
    normalized(CHAT, CHAT_RECORDS)
    normalized(MATH, MATH_RECORDS)
    coverage = table(measure_coverage(catalog, store))
    assert list(coverage) == [MATH, CHAT]  # the order of the catalog
    assert coverage[MATH] == {
        "split": MATH, "rows": 3, "correctness": 66.7, "row_verified": 33.3, "expected_answer": 66.7,
        "problem_id": 66.7, "reasoning_text": 66.7, "reasoning_flag": 0.0, "capability_target": 0.0,
        "tools_offered": 0.0, "tool_calls": 0.0, "license": 33.3, "uuid": 66.7, "used_in": 0.0,
        "valid_tool_schema": 100.0,
    }  # fmt: skip
    assert coverage[CHAT] == {
        "split": CHAT, "rows": 4, "correctness": 0.0, "row_verified": 0.0, "expected_answer": 0.0,
        "problem_id": 0.0, "reasoning_text": 0.0, "reasoning_flag": 25.0, "capability_target": 25.0,
        "tools_offered": 75.0, "tool_calls": 50.0, "license": 0.0, "uuid": 100.0, "used_in": 25.0,
        "valid_tool_schema": 75.0,
    }  # fmt: skip


def test_a_python_call_on_the_analysis_channel_is_no_reasoning(
    catalog: Catalog, store: Store, normalized: Callable[..., Manifest]
) -> None:
    messages = with_call("1+2?", '{"code": "print(3)"}')
    messages[1]["tool_calls"][0]["function"]["name"] = "python"
    rows = normalized(MATH, [{"uuid": "p", "messages": messages}])
    assert "<|channel|>analysis<|message|>print(3)" in pq.read_table(store.paths(rows)[0])["text"][0].as_py()
    line = table(measure_coverage(catalog, store))[MATH]
    assert (line["tool_calls"], line["reasoning_text"]) == (100.0, 0.0)


def test_rendered_text_has_the_correctness_that_pools_joined(
    catalog: Catalog, store: Store, normalized: Callable[..., Manifest]
) -> None:
    origin = pq.read_table(store.paths(normalized(MATH, MATH_RECORDS))[0])["text"].to_pylist()
    unknown = origin[0].replace("1+1?", "1+4?")
    normalized(RENDERED, [{"text": text} for text in (origin[0], origin[1], unknown, origin[0])])
    split = catalog.split(RENDERED)
    before = table(measure_coverage(catalog, store))[RENDERED]
    sign(split, catalog, store)
    find_duplicates(split.scope, catalog, store)
    dedupe(split, store)
    build_pools(split, catalog, store)
    after = table(measure_coverage(catalog, store))[RENDERED]
    assert (before["correctness"], before["expected_answer"]) == (0.0, 0.0)
    # Of four rows the two first are joined; the last, a duplicate of the first, was removed before.
    assert (after["rows"], after["correctness"], after["row_verified"], after["problem_id"]) == (4, 50.0, 25.0, 50.0)
    assert after["reasoning_text"] == before["reasoning_text"] == 100.0


def test_the_page_has_a_line_a_split_and_explains_every_column(
    catalog: Catalog, store: Store, normalized: Callable[..., Manifest]
) -> None:
    normalized(MATH, MATH_RECORDS)
    normalized(CHAT, [{"uuid": "a", "messages": []}])  # rejected, so the split has no row
    manifest = measure_coverage(catalog, store)
    lines = store.paths(manifest, "markdown")[0].read_text().splitlines()
    assert (
        f"| {MATH} | 3 | 66.7 | 33.3 | 66.7 | 66.7 | 66.7 | 0.0 | 0.0 | 0.0 | 0.0 | 33.3 | 66.7 | 0.0 | 100.0 |"
        in lines
    )
    assert f"| {CHAT} | 0 |{' – |' * len(MEASURES)}" in lines
    assert all(any(line.startswith(f"- `{name}`: ") for line in lines) for name in MEASURES)
    report = json.loads(store.paths(manifest, "metadata_coverage")[0].read_bytes())
    assert report[MATH]["counts"]["correctness"] == 2
    assert report[MATH]["percent"]["correctness"] == 66.7
    assert report[CHAT]["percent"]["uuid"] is None


def test_a_split_that_did_not_change_is_not_read_again(
    catalog: Catalog, store: Store, normalized: Callable[..., Manifest]
) -> None:
    math = normalized(MATH, MATH_RECORDS)
    first = measure_coverage(catalog, store)
    assert measure_coverage(catalog, store) == first
    for path in store.paths(math):
        path.unlink()
    normalized(CHAT, CHAT_RECORDS)
    second = table(measure_coverage(catalog, store))
    assert second[MATH] == table(first)[MATH]
    assert second[CHAT]["rows"] == 4


def test_without_any_normalized_split_it_says_what_to_make(catalog: Catalog, store: Store) -> None:
    with pytest.raises(UserError, match="Materialise normalized"):
        measure_coverage(catalog, store)
    assert store.find(Stage.METADATA_COVERAGE, "all") is None
