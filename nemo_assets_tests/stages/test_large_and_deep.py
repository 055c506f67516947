"""Normalising long, deep and empty records: what it holds of them meanwhile, and what it leaves behind."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nemo_assets.catalog.entries import SplitEntry
from nemo_assets.errors import Rejected, UserError
from nemo_assets.harmony import Turn
from nemo_assets.hub.sources import open_source
from nemo_assets.records.row_groups import GROUP_BYTES
from nemo_assets.records.rows import Row
from nemo_assets.stages.normalized import BATCH_BYTES, _batches, normalize
from nemo_assets.stages.raw import fetch_split
from nemo_assets.stages.units import Extent
from nemo_assets.storage import Manifest, Store
from nemo_assets_tests.building import CHAT_IF, assistant, chat, tool, tool_call, user, with_source
from nemo_assets_tests.stages.making import rows_of

SLUG = CHAT_IF.partition("/")[0]


def normalized(root: Path, lines: Sequence[bytes], template: str = "harmony-1") -> tuple[Manifest, Store]:
    catalog = with_source(SLUG, splits={"chat_if": SplitEntry(files=("data/lines.jsonl",))}, template=template)
    split, store = catalog.split(CHAT_IF), Store(root / "data")
    file = root / "sources" / split.repo / "data" / "lines.jsonl"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"\n".join(lines))
    fetch_split(split, open_source(split.repo, root / "sources"), store)
    return normalize(split, store), store


def line(name: str, **fields: Any) -> bytes:
    return json.dumps(chat(uuid=name) | fields).encode()


def deep(levels: int, **fields: Any) -> bytes:
    """A record in which the string DEEP is so many lists in one another, and SCHEMA so many schemas."""
    record = line("deep", **fields).replace(b'"DEEP"', b"[" * levels + b"]" * levels)
    return record.replace(b'"SCHEMA"', b'{"items":' * (levels - 1) + b"{}" + b"}" * (levels - 1))


DEEP = {
    "a field": deep(999, more="DEEP"),
    "content": deep(997, messages=[user(), assistant("DEEP")]),
    "arguments": deep(993, messages=[user(), assistant("", tool_calls=[tool_call("f", {"a": "DEEP"})])]),
    "a schema": deep(996, tools=[tool("f", "SCHEMA")]),
}


@pytest.mark.parametrize("where", DEEP)
def test_a_record_of_a_thousand_levels_is_kept_and_its_neighbours_are_as_without_it(tmp_path: Path, where: str) -> None:
    around = [line("before"), line("behind")]
    manifest, store = normalized(tmp_path / "deep", [around[0], DEEP[where], around[1]])
    rows = rows_of(manifest, store).to_pylist()
    assert [row["source_uuid"] for row in rows] == ["before", "deep", "behind"]
    assert manifest.counters["rejected"] == {}
    plain, other = normalized(tmp_path / "plain", [around[0], line("plain"), around[1]])
    places = ("source_offset", "source_revision", "record_uid")
    for row, same in zip(rows[::2], rows_of(plain, other).to_pylist()[::2], strict=True):
        assert {k: v for k, v in row.items() if k not in places} == {k: v for k, v in same.items() if k not in places}


def test_rows_of_a_megabyte_are_written_in_groups_of_few(tmp_path: Path) -> None:
    answers = [f"{number} " + "".join(f"word{n} " for n in range(number, 105_000 + number)) for number in range(60)]
    manifest, store = normalized(
        tmp_path, [line(str(n), messages=[user(), assistant(answer)]) for n, answer in enumerate(answers)]
    )
    sizes: list[int] = []
    for path in store.paths(manifest, "rows"):
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                texts = file.read_row_group(group, ["text"])["text"].to_pylist()
                sizes.append(sum(len(text.encode()) for text in texts))
                assert all(answers.pop(0) in text for text in texts)
    assert answers == []
    assert max(sizes) <= GROUP_BYTES
    assert len(sizes) < 8  # 60 MB: groups are filled


def found_settings() -> tuple[int, int, bool]:
    return sys.getrecursionlimit(), sys.get_int_max_str_digits(), gc.isenabled()


@pytest.fixture(params=[True, False], ids=["gc on", "gc off"])
def before(request: pytest.FixtureRequest) -> Iterator[tuple[int, int, bool]]:
    """Settings of the interpreter that are not those of another test."""
    depth, digits, collects = found_settings()
    sys.setrecursionlimit(1_000)
    sys.set_int_max_str_digits(4_300)
    (gc.enable if request.param else gc.disable)()
    yield 1_000, 4_300, request.param
    sys.setrecursionlimit(depth)
    sys.set_int_max_str_digits(digits)
    (gc.enable if collects else gc.disable)()


def test_the_interpreter_is_left_as_it_was_found_however_it_ends(tmp_path: Path, before: tuple[int, int, bool]) -> None:
    big = line("big", more="BIG").replace(b'"BIG"', b"9" * 5_000)
    lines = [DEEP["a field"], deep(1_000, more="DEEP"), b"{", big]
    manifest, _ = normalized(tmp_path / "well", lines)
    assert manifest.counters["rows"] == 2
    assert found_settings() == before
    with pytest.raises(UserError, match="no template 'none'"):
        normalized(tmp_path / "badly", lines, template="none")
    assert found_settings() == before


def test_nothing_of_a_record_waits_for_the_cycle_search_that_is_off_meanwhile(tmp_path: Path) -> None:
    """Rejections above all: an exception that its own frames hold keeps the whole record."""
    lines = [
        DEEP["a field"],
        b"{",
        b"[]",
        line("no messages", messages=[]),
        line("no answer", messages=[user()]),
        line("empty answer", messages=[user(), assistant(" ... ", None)]),
        line("token", messages=[user(), assistant("<|end|>")]),
        line("role", messages=[{"role": "nobody"}]),
        line("no json", messages=[user(), assistant("", tool_calls=[tool_call("f", "{")])]),
        line("no header", messages=[user(), assistant("", tool_calls=[tool_call("a b", {})])]),
        line("structure", messages=[user(), assistant("", tool_calls=[{"function": 5}])]),
        line("last"),
    ]
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        manifest, _ = normalized(tmp_path, lines)
        gc.collect()
        kept = [each for each in gc.garbage if isinstance(each, Rejected | Row | Turn)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert sum(manifest.counters["rejected"].values()) == 10
    assert kept == []


def test_a_large_row_group_is_read_a_little_at_a_time_and_whole(tmp_path: Path) -> None:
    table = pa.table({"text": [f"{number} " * 250_000 for number in range(60)]})  # about 40 MB of UTF-8
    pq.write_table(table, tmp_path / "one.parquet", row_group_size=60)
    with pq.ParquetFile(tmp_path / "one.parquet") as file:
        assert file.num_row_groups == 1
        batches = list(_batches(file, Extent(0, 0, 1, 0, 60), "one.parquet"))
    assert max(batch.nbytes for batch in batches) < 2 * BATCH_BYTES
    assert pa.Table.from_batches(batches) == table
