"""Parquet as this project writes it."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.errors import UserError
from nemo_assets.storage import parquet
from nemo_assets.storage.parquet import PartWriter, open_parquet, read_batches, row_groups, scan, write_part


@given(
    lengths=st.lists(st.integers(0, 300), max_size=40), limit_bytes=st.integers(64, 600), limit_rows=st.integers(1, 20)
)
@settings(deadline=None)
def test_row_groups_keep_every_row_in_order_within_both_limits(
    lengths: list[int], limit_bytes: int, limit_rows: int
) -> None:
    table = pa.table({"text": pa.array(["x" * length for length in lengths], pa.string())})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "ROW_GROUP_BYTES", limit_bytes)
        patch.setattr(parquet, "ROW_GROUP_ROWS", limit_rows)
        groups = list(row_groups(table))
    assert all(
        group.num_rows == 1 or (group.num_rows <= limit_rows and group.nbytes <= limit_bytes) for group in groups
    )
    assert [text for group in groups for text in group["text"].to_pylist()] == table["text"].to_pylist()


def test_a_table_is_cut_into_as_few_row_groups_as_rows_allow(tmp_path: Path) -> None:
    write_part(tmp_path / "part.parquet", pa.table({"n": range(9_000)}))
    metadata = pq.read_metadata(tmp_path / "part.parquet")
    assert metadata.num_row_groups == math.ceil(9_000 / parquet.ROW_GROUP_ROWS)
    assert metadata.row_group(0).column(0).compression == "ZSTD"
    assert metadata.row_group(0).column(0).has_offset_index


def test_a_part_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    with pytest.raises(KeyError):
        write_and_fail(path)
    assert not list(tmp_path.iterdir())


def write_and_fail(path: Path) -> None:
    with PartWriter(path, pa.schema({"n": pa.int64()})) as writer:
        writer.write(pa.table({"n": [1]}))
        assert not path.exists()
        raise KeyError


def test_an_empty_table_keeps_its_columns(tmp_path: Path) -> None:
    schema = pa.schema({"n": pa.int64(), "s": pa.string()})
    write_part(tmp_path / "part.parquet", schema.empty_table())
    assert open_parquet(tmp_path / "part.parquet").schema_arrow == schema
    assert scan([], schema).collect().schema == {"n": pl.Int64, "s": pl.String}
    assert scan([tmp_path / "part.parquet"], schema).collect().height == 0


def test_batches_run_through_files_in_order(tmp_path: Path) -> None:
    paths = [tmp_path / "b", tmp_path / "a"]
    for number, path in enumerate(paths):
        write_part(path, pa.table({"n": [10 * number, 10 * number + 1, 10 * number + 2], "m": [0, 0, 0]}))
    assert [table.to_pydict() for table in read_batches(paths, ["n"], rows=2)] == [
        {"n": [0, 1]},
        {"n": [2]},
        {"n": [10, 11]},
        {"n": [12]},
    ]


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<html>not found</html>")
    with pytest.raises(
        UserError, match=r"page\.html: cannot be read as Parquet .* Fetch it again or repair it at the source"
    ):
        open_parquet(tmp_path / "page.html")
