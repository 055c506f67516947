"""Cutting files into units of work."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.stages.normalized import blocks_of
from nemo_assets.stages.units import plan_extents

LINES = st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"\r")), max_size=30)


@settings(deadline=None)
@given(lines=LINES, ends_with_newline=st.booleans(), unit_bytes=st.integers(1, 60), block_bytes=st.integers(1, 40))
def test_extents_tile_a_file_of_lines_and_count_what_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[bytes],
    ends_with_newline: bool,
    unit_bytes: int,
    block_bytes: int,
) -> None:
    """Carriage returns and empty lines included: only \\n ends a line, and a last line may lack it."""
    content = b"\n".join(lines) + (b"\n" if ends_with_newline else b"")
    expected = content.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    path = tmp_path_factory.getbasetemp() / "lines.jsonl"
    path.write_bytes(content)
    extents = plan_extents([("lines.jsonl", path)], unit_bytes)
    assert [extent.start for extent in extents] == [0, *(extent.end for extent in extents)][: len(extents)]
    assert (extents[-1].end if extents else 0) == len(content)
    assert all(extent.start == 0 or content[extent.start - 1 : extent.start] == b"\n" for extent in extents)
    read = []
    for extent in extents:
        own = [
            (block.number + line, block.offset + int(start), block.content[start:stop].tobytes())
            for block in blocks_of(path, extent, block_bytes)
            for line, (start, stop) in enumerate(zip(block.starts, block.stops, strict=True))
        ]
        assert len(own) == extent.records
        assert own[0][0] == extent.first_row
        read += own
    assert [line for _, _, line in read] == expected
    assert [number for number, _, _ in read] == list(range(len(expected)))
    assert all(
        content[offset : offset + len(line)] == line and content[offset - 1 : offset] in (b"", b"\n")
        for _, offset, line in read
    )


@settings(deadline=None)
@given(group_rows=st.lists(st.integers(1, 5), min_size=1, max_size=6), unit_bytes=st.integers(1, 400))
def test_extents_tile_the_row_groups_of_a_parquet_file(
    tmp_path_factory: pytest.TempPathFactory, group_rows: list[int], unit_bytes: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "rows.parquet"
    with pq.ParquetWriter(path, pa.schema({"n": pa.int64()})) as writer:
        for rows in group_rows:
            writer.write_table(pa.table({"n": list(range(rows))}))
    extents = plan_extents([("rows.parquet", path)], unit_bytes)
    assert [(extent.start, extent.first_row) for extent in extents] == [
        (first, sum(group_rows[:first])) for first in [0, *(extent.end for extent in extents)][: len(extents)]
    ]
    assert extents[-1].end == len(group_rows)
    assert [extent.records for extent in extents] == [sum(group_rows[extent.start : extent.end]) for extent in extents]


@settings(deadline=None)
@given(content=st.binary(max_size=200).map(lambda data: data.replace(b"\1", b"\n")), unit_bytes=st.integers(1, 40))
def test_lines_are_cut_next_behind_every_multiple_whatever_the_number_of_threads(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, unit_bytes: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.jsonl"
    path.write_bytes(content)
    starts = [0, *(place + 1 for place, byte in enumerate(content) if byte == 10), len(content)]
    multiples = range(0, len(content), unit_bytes)
    expected = sorted({next(start for start in starts if start >= multiple) for multiple in multiples})
    extents = [plan_extents([("bytes.jsonl", path)], unit_bytes, workers) for workers in (1, 3)]
    assert [extent.start for extent in extents[0]] == [start for start in expected if start < len(content)]
    assert extents[0] == extents[1]


def test_a_line_longer_than_what_is_read_at_once_is_one_unit(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b"a\n" + b"b" * 3_000_000 + b"\n" + b"c\n" * 100)
    extents = plan_extents([("lines.jsonl", path)], unit_bytes=100_000)
    assert [(extent.start, extent.first_row, extent.records) for extent in extents] == [(0, 0, 2), (3_000_003, 2, 100)]
