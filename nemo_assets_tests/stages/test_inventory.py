"""One report over the raw files of every split that is here."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nemo_assets.catalog import CATALOG_DIR, Catalog, load_catalog
from nemo_assets.errors import UserError
from nemo_assets.hub.sources import open_source
from nemo_assets.stages.inventory import census_of_split, take_inventory
from nemo_assets.stages.raw import fetch_split
from nemo_assets.storage import Manifest, Stage, Store

CHAT = "nvidia/Nemotron-Instruction-Following-Chat-v1"
RENDERED = "radna0/nemotron-math-v2-harmony-tools"

CHAT_LINES = [
    b'{"uuid": "a", "messages": [{"role": "user", "content": "q"}], "reasoning": "on"}',
    b'{"uuid": "b", "messages": [{"role": "tool", "content": {"k": 1}}], "reasoning": null}',
    b'{"uuid": "c", "messages": null}',
    b'{"uuid": 7, "messages": [], "reasoning": "off"}',
    b"",
    b'{"uuid": "cut off',
    b'{"uuid": "\xff"}',
    b"[1]",
]


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """The catalog without the sources that have no data here."""
    directory = tmp_path / "catalog"
    shutil.copytree(CATALOG_DIR / "policies", directory / "policies")
    for slug in ("nemotron-instruction-following-chat-v1", "nemotron-math-v2", "nemotron-math-v2-harmony-tools"):
        shutil.copy(CATALOG_DIR / f"{slug}.yaml", directory)
    return load_catalog(directory)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Eight chat lines, four of them objects, and three rows of rendered text in two files, one of them no UTF-8."""
    chat, rendered = tmp_path / "sources" / CHAT / "data", tmp_path / "sources" / RENDERED / "data"
    chat.mkdir(parents=True)
    rendered.mkdir(parents=True)
    (chat / "chat_if.jsonl").write_bytes(b"\n".join(CHAT_LINES))
    # Arrow does not check this view of bytes as text, so the file holds what a careless writer would leave.
    broken = pa.array([b"one", b"\xff\xfe"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": broken}), rendered / "low-00000-of-00002.parquet")
    pq.write_table(pa.table({"text": ["two"], "extra": [[{"n": 1}]]}), rendered / "low-00001-of-00002.parquet")
    return tmp_path / "sources"


@pytest.fixture
def store(tmp_path: Path, catalog: Catalog, sources: Path) -> Store:
    store = Store(tmp_path / "data")
    for key in ("nemotron-instruction-following-chat-v1/chat_if", "nemotron-math-v2-harmony-tools/low"):
        fetch(key, catalog, sources, store)
    return store


def fetch(key: str, catalog: Catalog, sources: Path, store: Store) -> Manifest:
    split = catalog.split(key)
    return fetch_split(split, open_source(split.repo, sources), store)


def report(manifest: Manifest, store: Store) -> Any:
    return json.loads(store.paths(manifest, "inventory")[0].read_bytes())


def test_lines_are_counted_whatever_becomes_of_them(catalog: Catalog, store: Store) -> None:
    split = report(take_inventory(catalog, store), store)[CHAT]["chat_if"]
    assert (split["records"], split["objects"]) == (8, 4)
    assert split["unparseable"] == {"blank_line": 1, "invalid_json": 1, "invalid_utf8": 1}
    assert split["not_an_object"] == {"list": 1}
    assert split["files"] == [{"path": "data/chat_if.jsonl", "records": 8, "bytes": len(b"\n".join(CHAT_LINES))}]


def test_mixed_types_and_null_rates_of_lines_are_visible(catalog: Catalog, store: Store) -> None:
    manifest = take_inventory(catalog, store)
    columns = report(manifest, store)[CHAT]["chat_if"]["columns"]
    assert columns["uuid"]["types"] == {"integer": 1, "string": 3}
    assert columns["reasoning"]["null_rate"] == 0.5  # null in one object, absent from another, of four
    assert columns["messages"]["paths"]["messages[].content"]["types"] == {"object": 1, "string": 1}
    assert manifest.details["splits"][0] == {
        "split": "nemotron-instruction-following-chat-v1/chat_if",
        "records": 8,
        "objects": 4,
        "columns": 3,
        "mixed_types": ["messages[].content", "uuid"],
        "null_rate_max": 0.5,
        "null_rate_max_column": "reasoning",
    }
    assert manifest.counters["splits"]["nemotron-math-v2-harmony-tools/low"] == {"records": 3, "columns": 2}


def test_parquet_rows_are_counted_like_lines_and_invalid_text_is_one_records_fault(
    catalog: Catalog, store: Store
) -> None:
    split = report(take_inventory(catalog, store), store)[RENDERED]["low"]
    assert (split["records"], split["objects"], split["unparseable"]) == (3, 2, {"invalid_utf8": 1})
    assert [file["records"] for file in split["files"]] == [2, 1]
    assert split["columns"]["text"]["types"] == {"string": 2}
    assert split["columns"]["extra"]["null_rate"] == 0.5  # the first file lacks it
    assert split["columns"]["extra"]["paths"]["extra[].n"] == {"present": 1, "types": {"integer": 1}}


def test_neither_workers_nor_the_cut_into_units_shows(catalog: Catalog, store: Store) -> None:
    raw = store.current(Stage.RAW, "nemotron-instruction-following-chat-v1/chat_if")
    assert census_of_split(raw, store, workers=2, unit_bytes=100) == census_of_split(raw, store)


def test_only_splits_with_new_raw_data_are_read_again(catalog: Catalog, sources: Path, store: Store) -> None:
    first = take_inventory(catalog, store)
    shutil.rmtree(store.root / Stage.RAW / "blobs")
    chat = sources / CHAT / "data" / "chat_if.jsonl"
    chat.write_bytes(CHAT_LINES[0])
    fetch("nemotron-instruction-following-chat-v1/chat_if", catalog, sources, store)
    second = take_inventory(catalog, store)  # the Parquet blobs are gone: their census is the kept one
    assert report(second, store)[CHAT]["chat_if"]["records"] == 1
    assert report(second, store)[RENDERED] == report(first, store)[RENDERED]
    assert second.data_version != first.data_version


def test_a_second_inventory_of_the_same_files_is_the_first(
    tmp_path: Path, catalog: Catalog, sources: Path, store: Store
) -> None:
    first = take_inventory(catalog, store)
    assert take_inventory(catalog, store) == first
    elsewhere = Store(tmp_path / "elsewhere")
    for key in reversed(first.inputs):
        fetch(key, catalog, sources, elsewhere)
    assert take_inventory(catalog, elsewhere, workers=2) == first  # same versions, same bytes


def test_a_file_that_is_gone_is_named(catalog: Catalog, store: Store) -> None:
    shutil.rmtree(store.root / Stage.RAW / "blobs")
    with pytest.raises(UserError, match=r"chat_if: data/chat_if.jsonl is gone .* Materialise raw of"):
        take_inventory(catalog, store)
    assert store.find(Stage.INVENTORY, "all") is None


def test_without_any_raw_split_it_says_what_to_make(tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(UserError, match="Materialise raw"):
        take_inventory(catalog, Store(tmp_path / "empty"))
