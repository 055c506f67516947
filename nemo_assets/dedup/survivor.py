"""Which of equal rows stays: one declared order for the whole project."""

from __future__ import annotations

import polars as pl

# (column, descending); earlier wins. Nulls come last: a row nobody judged is not better than one judged correct.
SURVIVOR_ORDER: tuple[tuple[str, bool], ...] = (
    ("row_verified", True),
    ("correctness_lcb", True),
    ("answer_complete", True),
    ("split_position", False),
    ("char_len", True),
    ("content_sha1", False),
    ("source_file", False),
    ("source_row", False),
)


def in_survivor_order(signatures: pl.DataFrame) -> pl.DataFrame:
    """Rows of all splits of a scope, best first. Total: no two rows share split, file and row."""
    columns = [column for column, _ in SURVIVOR_ORDER]
    return signatures.sort(columns, descending=[d for _, d in SURVIVOR_ORDER], nulls_last=True, maintain_order=False)
