"""Rows to tables: what fits, in which form, and that one table never shows through in another."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.records import row_groups
from nemo_assets.records.adapters import load_adapter
from nemo_assets.records.parsing import parse_record
from nemo_assets.records.row_groups import RowGroup
from nemo_assets.records.rows import Row, SourceFileRef, row_of
from nemo_assets.records.schema import ROW_SCHEMA
from nemo_assets.storage.parquet import PartWriter
from nemo_assets_tests.building import CATALOG, CONTENT_ID, MATH, REVISION, assistant, data_file, math_v2, user

SPLIT = CATALOG.split(MATH)
FILE = SourceFileRef(SPLIT, data_file(SPLIT), CONTENT_ID, REVISION)
STEPS = " ".join(f"step {n} gives {n * n}," for n in range(200))


def row(answer: str, number: int = 0) -> Row:
    line = json.dumps(math_v2(messages=[user(), assistant(answer, None)]), ensure_ascii=False).encode()
    record, tags = parse_record(line)
    return row_of(record, tags, FILE, load_adapter(SPLIT), number, None)


def alone(one: Row) -> dict[str, Any]:
    group = RowGroup(FILE)
    group.add(one)
    (columns,) = group.drain().to_pylist()
    return dict(columns)


@contextmanager
def limits(size: int, rows: int = row_groups.GROUP_ROWS) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_groups, "GROUP_BYTES", size)
        patch.setattr(row_groups, "GROUP_ROWS", rows)
        yield


def test_there_is_room_up_to_the_last_byte_and_the_last_row() -> None:
    one = row("é" * 40)
    for size, rows, fit in ((3 * len(one.text), 9, 3), (3 * len(one.text) - 1, 9, 2), (9 * len(one.text), 2, 2)):
        with limits(size, rows):
            group = RowGroup(FILE)
            for count in range(fit):
                assert group.has_room(one), (size, rows, count)
                group.add(one)
            assert not group.has_room(one)
            assert group.drain().num_rows == fit
            assert group.has_room(one)


def test_a_row_larger_than_a_group_goes_alone_and_leaves_the_group_as_it_was() -> None:
    small, large = "a" * 40, STEPS * 3
    with limits(2 * len(row(small).text)):
        group = RowGroup(FILE)
        for answers in ((large,), (small, small), (large,), (small,)):
            for answer in answers:
                assert group.has_room(row(answer))
                group.add(row(answer))
            assert not group.has_room(row(large))
            assert group.drain().to_pylist() == [alone(row(answer)) for answer in answers]


def test_a_table_has_the_columns_of_the_schema_in_order_with_nothing_null_that_may_not_be() -> None:
    group = RowGroup(FILE)
    assert group.drain().equals(ROW_SCHEMA.empty_table(), check_metadata=True)
    group.add(row("a"))
    table = group.drain()
    table.validate(full=True)
    assert table.schema.equals(ROW_SCHEMA, check_metadata=True)
    assert [name for name in table.column_names if table[name].null_count and not ROW_SCHEMA.field(name).nullable] == []
    assert group.drain().equals(ROW_SCHEMA.empty_table(), check_metadata=True)


def test_a_repetitive_row_is_tagged_behind_its_other_tags_and_no_other_is() -> None:
    group = RowGroup(FILE)
    for one in (row("a"), row(STEPS), row("\0" + STEPS * 3), row(STEPS)):
        group.add(one)
    table = group.drain()
    assert table["quality_tags"].to_pylist() == [["too_short"], [], ["nul", "repetitive"], []]
    assert table["stats_repeat_ratio"].to_pylist() == [0, 0, pytest.approx(2 / 3, abs=0.03), 0]


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(lambda text: "<|" not in text)
written_answers = st.builds(lambda word, times: f"a{word}" * times, words, st.integers(1, 60))


@settings(max_examples=30, deadline=None)
@given(st.lists(written_answers, max_size=12), st.integers(500, 3_000), st.integers(1, 4))
def test_what_is_written_is_every_row_as_it_is_alone(texts: list[str], size: int, rows_of_a_group: int) -> None:
    rows = [row(text, number) for number, text in enumerate(texts)]
    with limits(size, rows_of_a_group), tempfile.TemporaryDirectory() as directory:
        path, group = Path(directory) / "rows.parquet", RowGroup(FILE)
        with PartWriter(path, ROW_SCHEMA, passing=True) as writer:
            for one in rows:
                if not group.has_room(one):
                    writer.write(group.drain())
                group.add(one)
            writer.write(group.drain())
        assert pq.read_table(path).to_pylist() == [alone(row(text, number)) for number, text in enumerate(texts)]
