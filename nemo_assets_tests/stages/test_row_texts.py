"""Texts of single rows out of parts with row groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nemo_assets.errors import UserError
from nemo_assets.stages.row_texts import RowTexts

# Three parts, of which one is empty and one has several row groups.
PARTS = [["zero", "", "two é 好"], [], [f"row {number} " * number for number in range(3, 12)]]
TEXTS = [text for part in PARTS for text in part]


def said(text: str) -> str:
    return f"<|start|>user<|message|>Why?<|end|><|start|>assistant<|channel|>final<|message|>{text}<|return|>"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, int]]:
    return written(tmp_path_factory.mktemp("parts"), PARTS)


def written(directory: Path, contents: list[list[str]]) -> list[tuple[Path, int]]:
    parts = []
    for number, texts in enumerate(contents):
        path = directory / f"{number}.parquet"
        pq.write_table(pa.table({"text": pa.array(texts, pa.string()), "other": texts}), path, row_group_size=4)
        parts.append((path, len(texts)))
    return parts


@given(st.sets(st.integers(0, len(TEXTS) - 1)))
def test_any_rows_have_their_own_text(parts: list[tuple[Path, int]], rows: set[int]) -> None:
    assert RowTexts(parts, Path()).by_row(rows) == {row: TEXTS[row] for row in rows}


def test_no_row_group_is_read_that_is_not_asked_for(parts: list[tuple[Path, int]], tmp_path: Path) -> None:
    """The second row group of the last part is spoiled: a row of the first can still be read."""
    path, count = parts[2]
    spoiled = tmp_path / "spoiled.parquet"
    content = bytearray(path.read_bytes())
    column = pq.read_metadata(path).row_group(1).column(0)
    begin = column.dictionary_page_offset or column.data_page_offset
    content[begin : begin + column.total_compressed_size] = bytes(column.total_compressed_size)
    spoiled.write_bytes(content)
    texts = RowTexts([*parts[:2], (spoiled, count)], tmp_path)
    assert texts.by_row([3, 6, 11]) == {row: TEXTS[row] for row in (3, 6, 11)}
    with pytest.raises(OSError, match=r"."):
        texts.by_row([7])


# Five words in common of the assistant's, so the sets of shingles are small enough to count by hand.
COMPARED = [said(text) for text in ("a b c d e f", "a b c d e f g", "q r s t u v", "A  b\nc d e F")]


@pytest.mark.parametrize("threads", [1, 2])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=12))
def test_similarity_is_that_of_the_pair_in_any_order(
    tmp_path: Path, threads: int, pairs: list[tuple[int, int]]
) -> None:
    """Spoken: `a…f` has shingles abcde, bcdef; `a…g` one more."""
    spoken = {(0, 1): 2 / 3, (0, 2): 0.0, (0, 3): 1.0, (1, 2): 0.0, (1, 3): 2 / 3, (2, 3): 0.0}
    texts = RowTexts(written(tmp_path, [COMPARED[:1], COMPARED[1:]]), tmp_path, threads)
    first, second = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    measured = texts.measure(first, second)
    expected = [spoken.get((min(pair), max(pair)), 1.0) for pair in pairs]
    assert measured.spoken.tolist() == pytest.approx(expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.parquet", "1.parquet"]  # the copy is gone


@pytest.mark.parametrize("size", [500_000, 3_000])
def test_a_full_disk_is_told_in_a_line(tmp_path: Path, small_disk: Path, size: int) -> None:
    """Texts of 3 MB, a disk of one: a buffer of what could not be written is in the way when the file is closed."""
    parts = written(tmp_path, [[said(f"{number} {'x' * size}") for number in range(3_000_000 // size)]])
    rows = np.arange(parts[0][1])
    with pytest.raises(UserError, match=r"the disk is full\. Free space there or set NEMO_DATA_DIR"):
        RowTexts(parts, small_disk).measure(rows[::2], rows[1::2])
    assert list(small_disk.iterdir()) == []
