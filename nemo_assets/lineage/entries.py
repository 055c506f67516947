"""Ledger entries, read from the Parquet ledger of a split with the predicate pushed down, never the whole of it.

Belongs here: the entry as a value, what can be asked of the ledger of a split, and answering it without an index. Does
not: answering it from an index (`index`), what a user's reference means (`references`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from nemo_assets.records.schema import LEDGER_SCHEMA, ROW_SCHEMA
from nemo_assets.storage import Stage, Store
from nemo_assets.storage.parquet import scan

_HEX = re.compile(r"[0-9a-fA-F]+")


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


class Ledger(Protocol):
    """The current ledger of one split. Lists of entries are in row order and at most `limit` long."""

    @property
    def partition(self) -> str: ...

    def by_uid(self, uid: bytes) -> Entry | None: ...

    def named(self, text: str, limit: int) -> list[Entry]:
        """Entries whose id, or whose uid in hex, is `text`."""
        ...

    def of_source_name(self, text: str, limit: int) -> list[Entry]:
        """Entries of rows whose uuid or problem in the source is `text`."""
        ...

    def beginning(self, text: str, limit: int) -> list[Entry]:
        """Entries whose id, or whose uid in hex, begins with `text`."""
        ...

    def removed_for(self, uid: bytes, limit: int) -> list[Entry]:
        """Entries removed in favour of the row with this uid."""
        ...

    def count_removed_for(self, uid: bytes) -> int: ...

    def files(self) -> dict[str, int]:
        """Records of each file, by path."""
        ...

    def at(self, file: str, row: int) -> Entry | None: ...


@dataclass(frozen=True)
class ScannedLedger:
    """A ledger that is looked through anew for every question."""

    partition: str
    frame: pl.LazyFrame
    normalized: tuple[Path, ...]

    @classmethod
    def find(cls, partition: str, store: Store) -> ScannedLedger | None:
        manifest, normalized = store.find(Stage.LEDGER, partition), store.find(Stage.NORMALIZED, partition)
        if manifest is None:
            return None
        rows = tuple(store.paths(normalized)) if normalized else ()
        return cls(partition, scan(store.paths(manifest), LEDGER_SCHEMA), rows)

    def by_uid(self, uid: bytes) -> Entry | None:
        return next(iter(self._where(has_uid(uid), 1)), None)

    def named(self, text: str, limit: int) -> list[Entry]:
        condition = pl.col("id") == text
        if is_uid(text):
            condition = condition | has_uid(bytes.fromhex(text))
        return self._where(condition, limit)

    def of_source_name(self, text: str, limit: int) -> list[Entry]:
        """The ledger itself does not hold these names: they stand in the rows."""
        wanted = (pl.col("source_uuid") == text) | (pl.col("meta_problem_id") == text)
        rows = scan(self.normalized, ROW_SCHEMA).filter(wanted).select("record_uid").limit(limit).collect()
        uids = pl.Series(rows["record_uid"].to_list(), dtype=pl.Binary)
        return self._where(pl.col("record_uid").is_in(uids.implode()), limit) if uids.len() else []

    def beginning(self, text: str, limit: int) -> list[Entry]:
        begins = pl.col("id").str.starts_with(text)
        if is_hex(text):
            begins = begins | pl.col("record_uid").bin.encode("hex").str.starts_with(text.lower())
        return self._where(begins.fill_null(False), limit)

    def removed_for(self, uid: bytes, limit: int) -> list[Entry]:
        return self._where(pl.col("survivor_uid") == pl.lit(uid), limit)

    def count_removed_for(self, uid: bytes) -> int:
        return int(self.frame.filter(pl.col("survivor_uid") == pl.lit(uid)).select(pl.len()).collect().item())

    def files(self) -> dict[str, int]:
        return dict(self.frame.group_by("source_file").len().sort("source_file").collect().iter_rows())

    def of_uids(self, uids: Collection[bytes]) -> list[Entry]:
        """The entries there are of these records, in row order."""
        wanted = pl.Series(list(uids), dtype=pl.Binary)
        return self._where(pl.col("record_uid").is_in(wanted.implode()), len(uids))

    def at(self, file: str, row: int) -> Entry | None:
        found = self._where((pl.col("source_file") == file) & (pl.col("source_row") == row), 1)
        return next(iter(found), None)

    def _where(self, condition: pl.Expr, limit: int) -> list[Entry]:
        table = self.frame.filter(condition).limit(limit).collect()
        return [_entry(self.partition, values) for values in table.iter_rows(named=True)]


def has_uid(uid: bytes) -> pl.Expr:
    return pl.col("record_uid") == pl.lit(uid)


def is_hex(text: str) -> bool:
    return bool(_HEX.fullmatch(text))


def is_uid(text: str) -> bool:
    return len(text) == 32 and is_hex(text)


def _entry(partition: str, values: dict[str, Any]) -> Entry:
    survivor = values["survivor_uid"]
    written = {
        "record_uid": values["record_uid"].hex(),
        "survivor_uid": survivor.hex() if survivor else None,
        "evidence": evidence_of(values["evidence"]),
    }
    return Entry(partition=partition, **(values | written))


def evidence_of(text: str | None) -> dict[str, Any]:
    """Evidence as the ledger holds it, read."""
    found: dict[str, Any] = json.loads(text) if text else {}
    return found
