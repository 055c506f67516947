"""One report over the records of every split that is normalized, from what was counted on the way."""

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nemo_assets.catalog import Catalog, load_catalog
from nemo_assets.errors import ConservationError, UserError
from nemo_assets.hub.sources import open_source
from nemo_assets.stages.inventory import take_inventory
from nemo_assets.stages.normalized import normalize
from nemo_assets.stages.raw import fetch_split
from nemo_assets.storage import Manifest, Stage, Store
from nemo_assets_tests.stages.making import catalog_with

CHAT = "nvidia/Nemotron-Instruction-Following-Chat-v1"
RENDERED = "radna0/nemotron-math-v2-harmony-tools"
CHAT_KEY, RENDERED_KEY = "nemotron-instruction-following-chat-v1/chat_if", "nemotron-math-v2-harmony-tools/low"

CHAT_LINES = [
    b'{"uuid": "a", "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "Yes."}], '
    b'"reasoning": "on"}',
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
    slugs = ("nemotron-instruction-following-chat-v1", "nemotron-math-v2", "nemotron-math-v2-harmony-tools")
    return load_catalog(catalog_with(tmp_path / "catalog", *slugs))


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
    for key in (CHAT_KEY, RENDERED_KEY):
        make_rows(key, catalog, sources, store)
    return store


def make_rows(key: str, catalog: Catalog, sources: Path, store: Store, **how: int) -> Manifest:
    split = catalog.split(key)
    fetch_split(split, open_source(split.repo, sources), store)
    return normalize(split, store, **how)


def report(manifest: Manifest, store: Store) -> Any:
    return json.loads(store.paths(manifest, "inventory")[0].read_bytes())


def test_records_are_counted_whatever_became_of_them(catalog: Catalog, store: Store) -> None:
    split = report(take_inventory(catalog, store), store)[CHAT]["chat_if"]
    assert (split["records"], split["objects"]) == (8, 4)
    assert split["rejected"] == {"empty_completion": 1, "no_messages": 2, "not_an_object": 1, "unparseable": 3}
    assert split["unparseable"] == {"blank_line": 1, "invalid_json": 1, "invalid_utf8": 1}
    assert split["not_an_object"] == {"list": 1}
    assert split["files"] == [{"path": "data/chat_if.jsonl", "records": 8, "bytes": len(b"\n".join(CHAT_LINES))}]


def test_types_null_rates_and_examples_are_visible_also_of_records_that_were_rejected(
    catalog: Catalog, store: Store
) -> None:
    manifest = take_inventory(catalog, store)
    split = report(manifest, store)[CHAT]["chat_if"]
    uuid, messages = split["columns"]["uuid"], split["columns"]["messages"]
    assert uuid["types"] == {"integer": 1, "string": 3}
    assert uuid["examples"] == {"integer": "7", "string": '"a"'}
    assert split["columns"]["reasoning"]["null_rate"] == 0.5  # null in one object, absent from another, of four
    assert messages["paths"]["messages[].content"]["types"] == {"object": 1, "string": 2}
    assert messages["paths"]["messages[].content"]["examples"] == {"string": '"q"'}
    assert split["mixed_types"] == ["messages[].content", "uuid"]
    assert manifest.details["splits"][0] == {
        "split": CHAT_KEY,
        "records": 8,
        "objects": 4,
        "rejected": 7,
        "columns": 3,
        "mixed_types": ["messages[].content", "uuid"],
        "null_rate_max": 0.5,
        "null_rate_max_column": "reasoning",
    }
    assert manifest.counters["splits"][RENDERED_KEY] == {"records": 3, "columns": 2}


def test_parquet_rows_are_counted_like_lines_and_invalid_text_is_one_records_fault(
    catalog: Catalog, store: Store
) -> None:
    split = report(take_inventory(catalog, store), store)[RENDERED]["low"]
    assert (split["records"], split["objects"], split["unparseable"]) == (3, 2, {"invalid_utf8": 1})
    assert [file["records"] for file in split["files"]] == [2, 1]
    assert split["columns"]["text"]["types"] == {"string": 2}
    assert split["columns"]["extra"]["null_rate"] == 0.5  # the first file lacks it
    assert split["columns"]["extra"]["paths"]["extra[].n"]["types"] == {"integer": 1}


def test_neither_workers_nor_the_cut_into_units_shows(
    tmp_path: Path, catalog: Catalog, sources: Path, store: Store
) -> None:
    elsewhere = Store(tmp_path / "elsewhere")
    cut = make_rows(CHAT_KEY, catalog, sources, elsewhere, unit_bytes=100, workers=2)
    assert len(cut.table("census")) >= 3
    found = report(take_inventory(catalog, elsewhere), elsewhere)
    assert found[CHAT] == report(take_inventory(catalog, store), store)[CHAT]


def test_nothing_but_counts_is_read_and_a_second_inventory_is_the_first(catalog: Catalog, store: Store) -> None:
    for pattern in ("raw/blobs", "normalized/*/*/*/part-*.parquet"):
        for path in store.root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    first = take_inventory(catalog, store)
    assert (store.root / first.parts[0].path).stat().st_size == first.parts[0].bytes
    for census in store.root.glob("normalized/*/*/*/census-*.json"):
        census.unlink()
    assert take_inventory(catalog, store) == first


def test_other_records_make_another_inventory_and_leave_the_rest_as_it_was(
    catalog: Catalog, sources: Path, store: Store
) -> None:
    first = take_inventory(catalog, store)
    (sources / CHAT / "data" / "chat_if.jsonl").write_bytes(CHAT_LINES[0])
    make_rows(CHAT_KEY, catalog, sources, store)
    second = take_inventory(catalog, store)
    assert report(second, store)[CHAT]["chat_if"]["records"] == 1
    assert report(second, store)[RENDERED] == report(first, store)[RENDERED]
    assert second.data_version != first.data_version


def test_the_size_of_a_file_is_told_only_while_it_is_the_one_that_was_read(
    catalog: Catalog, sources: Path, store: Store
) -> None:
    (sources / CHAT / "data" / "chat_if.jsonl").write_bytes(CHAT_LINES[0])
    fetch_split(catalog.split(CHAT_KEY), open_source(CHAT, sources), store)  # but not normalized yet
    (file,) = report(take_inventory(catalog, store), store)[CHAT]["chat_if"]["files"]
    assert (file["records"], file["bytes"]) == (8, None)


def test_a_split_without_a_record_has_no_column(catalog: Catalog, sources: Path, store: Store) -> None:
    (sources / CHAT / "data" / "chat_if.jsonl").write_bytes(b"")
    make_rows(CHAT_KEY, catalog, sources, store)
    split = report(take_inventory(catalog, store), store)[CHAT]["chat_if"]
    assert (split["records"], split["objects"], split["columns"]) == (0, 0, {})
    assert split["files"] == [{"path": "data/chat_if.jsonl", "records": 0, "bytes": 0}]


def test_counts_that_are_gone_or_broken_or_too_old_are_named(catalog: Catalog, store: Store) -> None:
    made = store.current(Stage.NORMALIZED, CHAT_KEY)
    (census,) = store.paths(made, "census")
    census.write_bytes(b"{}")
    with pytest.raises(UserError, match=r"census-00000.json: the census cannot be read .* Materialise normalized of"):
        take_inventory(catalog, store)
    census.unlink()
    with pytest.raises(UserError, match=r"census-00000.json: the census cannot be read .* Materialise normalized of"):
        take_inventory(catalog, store)
    parts = tuple(part for part in made.parts if part.table != "census")
    store.write_manifest(msgspec.structs.replace(made, parts=parts))
    with pytest.raises(UserError, match=r"chat_if: normalized holds no census; .* Materialise normalized of"):
        take_inventory(catalog, store)
    assert store.find(Stage.INVENTORY, "all") is None


def test_counts_that_do_not_add_up_make_nothing_current(catalog: Catalog, store: Store) -> None:
    made = store.current(Stage.NORMALIZED, CHAT_KEY)
    for records in (9, 4):
        store.write_manifest(msgspec.structs.replace(made, counters=made.counters | {"records": records}))
        with pytest.raises(ConservationError, match=f"{records} records were read, but 4 objects and 4 records that"):
            take_inventory(catalog, store)
    assert store.find(Stage.INVENTORY, "all") is None


def test_without_any_normalized_split_it_says_what_to_make(tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(UserError, match="Materialise normalized of at least one split first"):
        take_inventory(catalog, Store(tmp_path / "empty"))
