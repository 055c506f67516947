"""Ledger entries: read from the Parquet ledgers with the predicate pushed down, never a whole ledger.

Belongs here: the entry as a value, reading entries that satisfy a condition. Does not: what a user's reference means
(`references`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl

from nemo_assets.catalog import Catalog
from nemo_assets.records.schema import LEDGER_SCHEMA
from nemo_assets.storage import Stage, Store
from nemo_assets.storage.parquet import scan


@dataclass(frozen=True)
class Entry:
    """How one record ended. Uids are hex; `source_row` counts from 0, `source_offset` is in bytes."""

    partition: str
    record_uid: str
    dataset: str
    split: str
    source_file: str
    source_row: int
    source_offset: int | None
    id: str | None
    state: str
    code: str | None
    evidence: dict[str, Any]
    survivor_uid: str | None
    similarity: float | None

    @property
    def place(self) -> str:
        """The reference that always names exactly this record: `<dataset>:<split>:<file>:<row>`."""
        return f"{self.dataset}:{self.split}:{self.source_file}:{self.source_row}"

    @property
    def uid(self) -> bytes:
        return bytes.fromhex(self.record_uid)


def ledgers(catalog: Catalog, store: Store, partitions: Iterable[str] | None = None) -> dict[str, pl.LazyFrame]:
    """The current ledger of every split that has one, by partition key, in precedence order."""
    keys = catalog.splits if partitions is None else partitions
    found = ((key, store.find(Stage.LEDGER, key)) for key in keys)
    return {key: scan(store.paths(manifest), LEDGER_SCHEMA) for key, manifest in found if manifest}


def entries_where(frames: dict[str, pl.LazyFrame], condition: pl.Expr, limit: int | None = None) -> list[Entry]:
    """Entries that satisfy `condition`, in precedence and row order; at most `limit` of each ledger."""
    chosen = [frame.filter(condition) for frame in frames.values()]
    if limit is not None:
        chosen = [frame.limit(limit) for frame in chosen]
    tables = zip(frames, pl.collect_all(chosen), strict=True)
    return [_entry(partition, values) for partition, table in tables for values in table.iter_rows(named=True)]


def count_where(frames: dict[str, pl.LazyFrame], condition: pl.Expr) -> int:
    """How many entries satisfy `condition`."""
    counts = [frame.filter(condition).select(pl.len()) for frame in frames.values()]
    return sum(table.item() for table in pl.collect_all(counts))


def has_uid(uid: bytes) -> pl.Expr:
    return pl.col("record_uid") == pl.lit(uid)


def _entry(partition: str, values: dict[str, Any]) -> Entry:
    survivor = values["survivor_uid"]
    written = {
        "record_uid": values["record_uid"].hex(),
        "survivor_uid": survivor.hex() if survivor else None,
        "evidence": json.loads(values["evidence"]) if values["evidence"] else {},
    }
    return Entry(partition=partition, **(values | written))
