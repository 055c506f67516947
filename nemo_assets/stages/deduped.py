"""The rows of one split that stay, and those removed with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from nemo_assets.catalog import Split
from nemo_assets.errors import ConservationError, UserError
from nemo_assets.harmony import canonical_json
from nemo_assets.records.schema import DICTIONARY_COLUMNS, LEDGER_SCHEMA, ROW_SCHEMA
from nemo_assets.stages.contamination import (
    CODE_CONTAMINATED,
    ENTRY_COLUMNS,
    contamination_of,
    rejected_entries,
    with_contamination_tags,
)
from nemo_assets.stages.units import run_units
from nemo_assets.storage import Basis, Manifest, Stage, Staging, Store, Unit
from nemo_assets.storage.parquet import PartWriter, read_batches, write_part

DEDUPED_CODE = "deduped 2"  # raise when what is written of the same decisions changes

_EVIDENCE = [
    "rule", "similarity", "spoken_similarity", "containment", "shared_bands", "threshold", "survivor_id",
    "survivor_partition",
]  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """One part of normalized rows, to become one part of kept rows."""

    number: int
    rows: int
    source: Path
    removed: Path
    renamed: Path
    contaminated: Path
    staging: Staging


def dedupe(split: Split, store: Store, workers: int = 1) -> Manifest:
    """Write the rows of `split` that `duplicates` keeps, and a ledger-shaped entry for each other one.

    Rows in which records of evaluation sets were found are tagged, or rejected, as the catalog says.

    Raises:
        UserError: `duplicates` looked at another version of the split than the current one.
        ConservationError: rows read differ from kept plus removed; nothing is made current.
    """
    duplicates = store.current(Stage.DUPLICATES, split.scope)
    normalized = store.current(Stage.NORMALIZED, split.key)
    decision = duplicates.details["splits"].get(split.key)
    if decision is None or decision["normalized"] != normalized.data_version:
        raise UserError(
            f"{split.key}: duplicates of scope {split.scope} looked at another version of this split. "
            f"Materialise signatures of {split.key} and duplicates of {split.scope} first."
        )
    basis = dedupe_basis(normalized, decision["decisions"])
    current = store.find_current(Stage.DEDUPED, split.key, basis)
    if current is not None:
        return current
    parts = normalized.table("rows")
    removed_path, renamed_path = store.root / decision["removed_part"], store.root / decision["renamed_part"]
    contaminated = [store.root / path for path in decision["contamination_parts"]]
    with store.staging(Stage.DEDUPED, split.key, basis) as staging:
        pieces = [
            Piece(n, parts[n].rows, store.path(parts[n]), removed_path, renamed_path, contaminated[n], staging)
            for n in staging.missing(range(len(parts)))
        ]
        for unit in run_units(_dedupe_unit, pieces, workers, f"deduped {split.key}", lambda piece: piece.rows, "rows"):
            staging.add(unit)
        units = [staging.units[n] for n in range(len(parts))]
        kept, removed, rejected = (
            sum(unit.counters[name] for unit in units) for name in ("kept", "removed", "rejected")
        )
        decided = (decision["removed"], decision["rejected"])
        if normalized.rows() != kept + removed + rejected or (removed, rejected) != decided:
            raise ConservationError(
                f"{split.key}: {normalized.rows()} rows became {kept} kept, {removed} removed and {rejected} rejected; "
                "nothing was made current."
            )
        return staging.commit(
            counters={
                "rows": kept,
                "rejected": {CODE_CONTAMINATED: rejected} if rejected else {},
                "removed": decision["codes"],
            },
            details={"scope": split.scope},
        )


def dedupe_basis(normalized: Manifest, decisions: str) -> Basis:
    """Kept rows depend on the rows, on what was decided about them, and on the rules named in the evidence."""
    return Basis({"normalized": normalized.data_version, "duplicates": decisions}, {"code": DEDUPED_CODE})


def _dedupe_unit(piece: Piece) -> Unit:
    removed = pl.scan_parquet(piece.removed).filter(pl.col("part") == piece.number).collect()
    renamed = pl.read_parquet(piece.renamed)
    found = contamination_of([piece.contaminated])
    rejected = found.filter("rejects")
    gone = pa.array([*removed["record_uid"].to_list(), *rejected["record_uid"].to_list()], pa.binary(16))
    target = piece.staging.target
    rows_path, removed_path = target("rows", piece.number), target("removed", piece.number)
    entries: list[pl.DataFrame] = []
    with PartWriter(rows_path, ROW_SCHEMA, DICTIONARY_COLUMNS) as writer:
        for table in read_batches([piece.source]):
            is_gone = pc.is_in(table["record_uid"], gone)
            kept = table.filter(pc.invert(is_gone)).cast(ROW_SCHEMA)
            writer.write(with_contamination_tags(_with_unique_ids(kept, renamed), found))
            entries += [_removed_entries(table.filter(is_gone), removed), rejected_entries(table, rejected)]
    ledger = pl.concat(entries).to_arrow().cast(LEDGER_SCHEMA) if entries else LEDGER_SCHEMA.empty_table()
    count = write_part(removed_path, ledger)
    parts = (piece.staging.part("rows", rows_path, writer.rows), piece.staging.part("removed", removed_path, count))
    refused = sum(entry.height for entry in entries[1::2])
    unit = Unit(piece.number, parts, {"kept": writer.rows, "removed": count - refused, "rejected": refused})
    piece.staging.record(unit)
    return unit


def _with_unique_ids(table: pa.Table, renamed: pl.DataFrame) -> pa.Table:
    """Give the few rows whose uuid was not their own the ids that `duplicates` chose."""
    if renamed.height == 0 or table.num_rows == 0:
        return table
    new = dict(zip(renamed["record_uid"].to_list(), renamed["unique_id"].to_list(), strict=True))
    ids = [new.get(uid, old) for uid, old in zip(table["record_uid"].to_pylist(), table["id"].to_pylist(), strict=True)]
    return table.set_column(table.schema.get_field_index("id"), ROW_SCHEMA.field("id"), pa.array(ids, pa.string()))


def _removed_entries(table: pa.Table, removed: pl.DataFrame) -> pl.DataFrame:
    """Ledger entries of removed rows."""
    rows = pl.DataFrame(pl.from_arrow(table.select(ENTRY_COLUMNS)))
    joined = rows.join(removed.drop("id"), on="record_uid", how="inner", maintain_order="left")
    evidence = [canonical_json(measured) for measured in joined.select(_EVIDENCE).iter_rows(named=True)]
    return joined.select(
        *ENTRY_COLUMNS,
        state=pl.lit("removed"),
        code="code",
        evidence=pl.Series(evidence, dtype=pl.String),
        survivor_uid="survivor_uid",
        similarity="similarity",
    )
