"""What became of every record of one split."""

from __future__ import annotations

import polars as pl

from nemo_assets.catalog import Split
from nemo_assets.errors import ConservationError, UserError
from nemo_assets.records.schema import LEDGER_SCHEMA, REJECTED_SCHEMA, ROW_SCHEMA
from nemo_assets.storage import Basis, Manifest, Stage, Store, Unit
from nemo_assets.storage.parquet import scan, write_part

LEDGER_CODE = "ledger 1"  # raise when an entry changes its meaning


def write_ledger(split: Split, store: Store) -> Manifest:
    """One entry for every record there is, in file and row order.

    Raises:
        UserError: deduped was made from another version of normalized, so that their entries would not belong together.
        ConservationError: a file's records differ from kept + rejected + removed, or a record has two fates.
    """
    deduped = store.current(Stage.DEDUPED, split.key)
    normalized = store.current(Stage.NORMALIZED, split.key)
    require_in_step(split, deduped, normalized)
    basis = ledger_basis(deduped)
    current = store.find_current(Stage.LEDGER, split.key, basis)
    if current is not None:
        return current
    with store.staging(Stage.LEDGER, split.key, basis) as staging:
        entries = _entries(store, normalized, deduped)
        _require_conservation(split, entries, normalized)
        path = staging.target("rows", 0)
        rows = write_part(path, entries.to_arrow().cast(LEDGER_SCHEMA))
        staging.add(Unit(0, (staging.part("rows", path, rows),)))
        return staging.commit(counters=_counters(entries))


def require_in_step(split: Split, deduped: Manifest, normalized: Manifest) -> None:
    """Refuse to put kept rows together with the rejections and tools of another version of the split."""
    if deduped.inputs["normalized"] != normalized.data_version:
        raise UserError(f"{split.key}: deduped is older than normalized. Materialise deduped of {split.key} first.")


def ledger_basis(deduped: Manifest) -> Basis:
    """The ledger depends on what stayed and on the rows and rejections it came from."""
    return Basis({"deduped": deduped.data_version, "normalized": deduped.inputs["normalized"]}, {"code": LEDGER_CODE})


def _entries(store: Store, normalized: Manifest, deduped: Manifest) -> pl.DataFrame:
    names = LEDGER_SCHEMA.names
    kept = scan(store.paths(deduped), ROW_SCHEMA).select(
        *names[:7],
        state=pl.lit("kept"),
        code=pl.lit(None, pl.String),
        evidence=pl.lit(None, pl.String),
        survivor_uid=pl.lit(None, pl.Binary),
        similarity=pl.lit(None, pl.Float64),
    )
    rejected = scan(store.paths(normalized, "rejected"), REJECTED_SCHEMA).select(
        *names[:6],
        id=pl.lit(None, pl.String),
        state=pl.lit("rejected"),
        code="code",
        evidence="evidence",
        survivor_uid=pl.lit(None, pl.Binary),
        similarity=pl.lit(None, pl.Float64),
    )
    removed = scan(store.paths(deduped, "removed"), LEDGER_SCHEMA).select(names)
    return pl.concat([kept, rejected, removed]).collect(engine="streaming").sort("source_file", "source_row")


def _require_conservation(split: Split, entries: pl.DataFrame, normalized: Manifest) -> None:
    """The gate: per file, exactly one entry for every record that was counted before anything was parsed."""
    found = dict(
        entries.group_by("source_file")
        .agg(pl.len(), rows=pl.col("source_row").n_unique())
        .select("source_file", pl.struct("len", "rows"))
        .iter_rows()
    )
    for path, file in normalized.counters["files"].items():
        counts = found.get(path, {"len": 0, "rows": 0})
        if not counts["len"] == counts["rows"] == file["records"]:
            raise ConservationError(
                f"{split.key}: {path} holds {file['records']} records, the ledger {counts['len']} entries "
                f"for {counts['rows']} of them. Nothing was made current."
            )


def _counters(entries: pl.DataFrame) -> dict[str, object]:
    by_code = entries.group_by("state", "code").len().sort("state", "code")
    codes: dict[str, dict[str, int]] = {"rejected": {}, "removed": {}}
    kept = 0
    for state, code, count in by_code.iter_rows():
        if state == "kept":
            kept = count
        else:
            codes[state][code] = count
    return {"records": entries.height, "kept": kept, **codes}
