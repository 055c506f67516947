"""What became of the records of a split, in figures small enough for a summary.

Belongs here: one place for every code, counts by file. Does not: deciding a fate (`normalized`, `deduped`), recording
it (`ledger`).
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from nemo_assets.records.schema import LEDGER_SCHEMA, REJECTED_SCHEMA
from nemo_assets.storage import Manifest, Stage, Store
from nemo_assets.storage.parquet import scan

STATES = ("kept", "rejected", "removed")


class FileFates(NamedTuple):
    """How the records of one file ended: `counts` by state, adding up to `records`."""

    path: str
    records: int
    counts: dict[str, int]


def first_places(manifest: Manifest, store: Store) -> dict[str, str]:
    """`file:row` of the first record of every code in a manifest of `normalized` or `ledger`."""
    entries = _coded(manifest, store).filter(pl.col("code").is_not_null())
    file, row = pl.col("source_file"), pl.col("source_row")
    first = entries.group_by("code").agg(file.min(), row.filter(file == file.min()).min()).collect(engine="streaming")
    return {code: f"{path}:{number}" for code, path, number in first.sort("code").iter_rows()}


def _coded(manifest: Manifest, store: Store) -> pl.LazyFrame:
    if manifest.stage == Stage.NORMALIZED:
        entries = scan(store.paths(manifest, "rejected"), REJECTED_SCHEMA)
    else:
        entries = scan(store.paths(manifest), LEDGER_SCHEMA)
    return entries.select("code", "source_file", "source_row")


def fates_by_file(manifest: Manifest, store: Store) -> list[FileFates]:
    """Every file of a manifest of `normalized` (its rows are not yet kept or removed) or `ledger`, by path.

    A file without a record stands in that of `normalized` alone.
    """
    if manifest.stage == Stage.NORMALIZED:
        return [
            FileFates(path, file["records"], {"rows": file["rows"], "rejected": file["rejected"]})
            for path, file in sorted(manifest.counters["files"].items())
        ]
    entries = scan(store.paths(manifest), LEDGER_SCHEMA)
    counted = entries.group_by("source_file", "state").len().collect(engine="streaming")
    files: dict[str, dict[str, int]] = {}
    for path, state, count in counted.sort("source_file").iter_rows():
        files.setdefault(path, dict.fromkeys(STATES, 0))[state] = count
    return [FileFates(path, sum(counts.values()), counts) for path, counts in files.items()]
