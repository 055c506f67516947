"""Whether lineage is complete: every record ended once, every survivor stays, every row leads back to its record.

Belongs here: looking for gaps in what the stages wrote down. Does not: one record (`passport`), what the UI says of
gaps (`orchestration.checks`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import polars as pl

from nemo_assets.catalog import Catalog, Split
from nemo_assets.errors import Rejected
from nemo_assets.lineage.entries import Entry
from nemo_assets.lineage.originals import find_blob, read_original
from nemo_assets.lineage.references import ledgers
from nemo_assets.records.adapters import load_adapter
from nemo_assets.records.parsing import parse_record
from nemo_assets.records.rows import SourceFileRef, row_of
from nemo_assets.records.schema import LEDGER_SCHEMA, ROW_SCHEMA
from nemo_assets.storage import Manifest, Stage, Store
from nemo_assets.storage.parquet import scan

TRACED_ROWS = 50  # each is read and rendered again

_STATES = ("kept", "rejected", "removed")


@dataclass(frozen=True)
class Gaps:
    """What does not add up in a split, as record_uids in hex; `traced` rows were rendered again from their record.

    ended_otherwise: records with several entries, or in no known state; lost_survivors: survivors that no ledger of the
    scope has as kept; unseen: splits of the scope without a ledger, where survivors may be; untraced: rows whose record
    is gone or no longer gives their text.
    """

    records: int
    ended_otherwise: tuple[str, ...]
    lost_survivors: tuple[str, ...]
    unseen: tuple[str, ...]
    traced: int
    untraced: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        return not (self.ended_otherwise or self.untraced or (self.lost_survivors and not self.unseen))


def find_gaps(split: Split, catalog: Catalog, store: Store, rows: int = TRACED_ROWS, seed: int = 0) -> Gaps:
    """Look through the ledger of a split, and trace `rows` kept rows drawn at random back to their bytes."""
    entries = scan(store.paths(store.current(Stage.LEDGER, split.key)), LEDGER_SCHEMA)
    ended = entries.select("record_uid", "state").collect()
    otherwise = ended.filter(pl.col("record_uid").is_duplicated() | ~pl.col("state").is_in(_STATES))
    scope = catalog.scopes[split.scope]
    found = {key: store.find(Stage.LEDGER, key) for key in scope}
    there = [manifest for manifest in found.values() if manifest is not None]
    traced = _drawn(store, store.current(Stage.DEDUPED, split.key), rows, seed)
    leads_nowhere = [uid for uid, text in traced.iter_rows() if not _leads_back(uid, text, split, catalog, store)]
    return Gaps(
        ended.height,
        _hex(otherwise["record_uid"].unique().sort()),
        _hex(_lost(entries, there, store)),
        tuple(key for key, manifest in found.items() if manifest is None),
        traced.height,
        tuple(uid.hex() for uid in leads_nowhere),
    )


def _lost(entries: pl.LazyFrame, there: list[Manifest], store: Store) -> pl.Series:
    """Survivors of removed records that are not kept in any of the ledgers."""
    survivors = entries.select(record_uid="survivor_uid").drop_nulls().unique()
    kept = pl.concat(
        scan(store.paths(manifest), LEDGER_SCHEMA).filter(pl.col("state") == "kept").select("record_uid")
        for manifest in there
    )
    return survivors.join(kept, on="record_uid", how="anti").collect(engine="streaming")["record_uid"].sort()


def _drawn(store: Store, deduped: Manifest, rows: int, seed: int) -> pl.DataFrame:
    wanted = random.Random(seed).sample(range(deduped.rows()), min(rows, deduped.rows()))
    frame = scan(store.paths(deduped), ROW_SCHEMA).select("record_uid", "text")
    return pl.concat([frame.limit(0).collect(), *pl.collect_all([frame.slice(row, 1) for row in sorted(wanted)])])


def _leads_back(uid: bytes, text: str, split: Split, catalog: Catalog, store: Store) -> bool:
    """Whether the record that the ledger names for a row gives the text of the row again."""
    entry = ledgers(catalog, store, [split.key])[split.key].by_uid(uid)
    return entry is not None and _rendered(entry, split, store) == text


def _rendered(entry: Entry, split: Split, store: Store) -> str | None:
    """The text that the bytes of a record give now; None where they are gone or give none."""
    blob = find_blob(entry, split, store)
    original = read_original(entry, blob, store)
    if original is None or blob.content_id is None:
        return None
    file = SourceFileRef(split, entry.source_file, blob.content_id, blob.revision or "")
    try:
        record, tags = parse_record(original.data)
        made = row_of(record, tags, file, load_adapter(split), entry.source_row, entry.source_offset)
    except Rejected:
        return None
    return made.text.decode()


def _hex(uids: pl.Series) -> tuple[str, ...]:
    return tuple(uid.hex() for uid in uids)
