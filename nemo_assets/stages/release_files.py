"""The Parquet files of a release of one split: rows, pools with text, and what tells of everything else.

Belongs here: which configs there are, what their tables hold, cutting them into shards. Does not: the record and the
card of a release (`release_record`, `release_card`), committing it (`published`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from nemo_assets.catalog import Split
from nemo_assets.records.schema import (
    COLUMNS,
    DICTIONARY_COLUMNS,
    LEDGER_SCHEMA,
    REJECTED_SCHEMA,
    ROW_SCHEMA,
    TOOLS_SCHEMA,
    Column,
    arrow_schema,
)
from nemo_assets.settings import Settings
from nemo_assets.stages.contamination import CODE_CONTAMINATED
from nemo_assets.stages.inventory import inventory_of_split
from nemo_assets.stages.metadata_coverage import MEASURES, coverage_of
from nemo_assets.stages.pools import JOINED_SCHEMA, with_correctness
from nemo_assets.stages.units import run_units
from nemo_assets.storage import Manifest, Part, Stage, Staging, Store, Unit
from nemo_assets.storage.parquet import PartWriter, read_batches, scan

SHARD_BYTES = 400 << 20  # of Parquet; the Hub's tools expect shards of at most about 500 MB
WITHDRAWN = "withdrawn"
"""State, in the published ledger, of a record whose row was taken out of the release."""

# The Hub's viewer and most readers show binary columns poorly: uids are published in hex.
_UID_COLUMNS = ("record_uid", "survivor_uid")
_WHY_REMOVED = ("code", "evidence", "survivor_uid", "similarity")
_WORDS = ("text", "meta_expected_answer", "meta_eval_json")  # columns that repeat what a record says


def published_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of a published table: uids in hex instead of 16 bytes."""
    for name in _UID_COLUMNS:
        if name in schema.names:
            field = schema.field(name)
            schema = schema.set(
                schema.get_field_index(name), pa.field(name, pa.string(), field.nullable, field.metadata)
            )
    return schema


def _schema_of_removed() -> pa.Schema:
    """Rows as they were, with the reason; text only where it may be told."""
    optional = ROW_SCHEMA.set(ROW_SCHEMA.get_field_index("text"), ROW_SCHEMA.field("text").with_nullable(True))
    for name in _WHY_REMOVED:
        optional = optional.append(LEDGER_SCHEMA.field(name))
    return published_schema(optional)


INVENTORY_COLUMNS = (
    Column("path", pa.string(), "Path of the field in the source record"),
    Column("null_rate", pa.float64(), "Share of the records in which it is null or missing", "share", True),
    Column("summary", pa.string(), "Types and counts", "JSON"),
)
COVERAGE_COLUMNS = (
    Column("measure", pa.string(), "What a row may have"),
    Column("meaning", pa.string(), "The condition for having it"),
    Column("rows", pa.int64(), "Normalized rows of the split", "rows"),
    Column("having", pa.int64(), "Rows that have it", "rows"),
)

SIDE_SCHEMAS: Mapping[str, pa.Schema] = {
    "tools": TOOLS_SCHEMA,
    "ledger": published_schema(LEDGER_SCHEMA),
    "rejected": published_schema(REJECTED_SCHEMA),
    "removed": _schema_of_removed(),
    "inventory": arrow_schema(INVENTORY_COLUMNS),
    "metadata_coverage": arrow_schema(COVERAGE_COLUMNS),
}
"""Configs besides `rows` and the pools, in the order of the card."""


SUBSET = "subset_"
"""How the configs of training subsets begin."""
CONTROL = "random_control_"
"""What follows in those of their random controls."""
SUBSET_COLUMNS = (
    Column("stratum", pa.string(), "What the rows have in common that it was compared with", "", True),
    Column(
        "percentile",
        pa.float64(),
        "100 x (mean rank - 1/2) / rows of the stratum, ranked by log NLL of the student less what its length explains",
        "percent",
        True,
    ),
    Column("nll_mean", pa.float64(), "NLL of the student, mean over the scored tokens", "nats per token", True),
    Column("tokens", pa.int64(), "Prompt and completion, by the student's tokenizer", "tokens", True),
    Column(
        "subset_reason", pa.string(), "Rule that chose the row, its stratum, every value the rule looked at", "JSON"
    ),
)
"""What a row of a subset has besides the columns of a row."""

STRATA = "strata"
STRATA_SCHEMA = arrow_schema(
    (
        Column("stratum", pa.string(), "Label of the stratum; null for what holds everywhere", "", True),
        Column(
            "kind",
            pa.string(),
            "length_cut: limit of a length decile; size: rows of the stratum; knot: median of nll_mean at a length; "
            "cut_point: share of the stratum below a value; quantile: a threshold of the policy",
        ),
        Column("column", pa.string(), "Column that it is of"),
        Column("value", pa.float64(), "The value; of a knot completion tokens", "", True),
        Column("below", pa.float64(), "Of a cut-point: percent of rows below it; of a knot: nll_mean", "", True),
        Column("above", pa.float64(), "Of a cut-point: percent of rows not above it; of a knot: nll_mean", "", True),
    )
)
"""What places a later row among those that subsets were cut from; the percentile of a cut-point is in the middle."""


def config_schema(config: str) -> pa.Schema:
    """The columns of a config; pools have those of `rows`, subsets some more."""
    if config == STRATA:
        return STRATA_SCHEMA
    if config.startswith(SUBSET):
        return published_schema(arrow_schema((*COLUMNS, *SUBSET_COLUMNS)))
    return SIDE_SCHEMAS.get(config, published_schema(ROW_SCHEMA))


def shard_path(directory: Path, config: str, split: str, number: int) -> Path:
    """`<config>/<split>-<number>.parquet`: the same below the staging directory and in the repo."""
    return directory / config / f"{split}-{number:05d}.parquet"


def published_paths(units: Iterable[Unit], store: Store) -> dict[str, Path]:
    """Path in the repo → the file here, of everything that these units wrote."""
    parts = (part for unit in units for part in unit.parts)
    return {f"{part.table}/{part.path.rpartition('/')[2]}": store.path(part) for part in parts}


class Withheld(NamedTuple):
    """What a release leaves out: `uids` of withdrawn records, and whether the text of dropped records may be told."""

    uids: frozenset[bytes]
    dropped_text: bool

    def is_withdrawn(self, table: pa.Table) -> pa.ChunkedArray:
        """(rows,): whether a row of a table with `record_uid` is withdrawn."""
        return pc.is_in(table["record_uid"], pa.array(sorted(self.uids), pa.binary(16)))


@dataclass(frozen=True)
class KeptPiece:
    """Some consecutive parts of kept rows, to become at most one shard of `rows` and of each pool."""

    number: int
    shard: int
    split: str
    first_row: int
    rows: int
    sources: tuple[Path, ...]
    memberships: Path
    joined: Path | None
    pools: tuple[str, ...]
    withheld: Withheld
    staging: Staging


@dataclass(frozen=True)
class RemovedPiece:
    """Parts of normalized rows with the entries of those that were removed, to become a shard of `removed`."""

    number: int
    shard: int
    split: str
    rows: int
    sources: tuple[Path, ...]
    entries: tuple[Path, ...]
    withheld: Withheld
    staging: Staging


def build_release_files(
    split: Split, settings: Settings, inputs: Mapping[str, Manifest], withheld: Withheld, staging: Staging
) -> list[Unit]:
    """Write the files of every config, in units that outlive a kill; `counters.configs` of a unit counts its rows."""
    store, pools = settings.store, tuple(settings.catalog.pools)
    kept = _kept_pieces(split, pools, store, inputs, withheld, staging)
    removed = _removed_pieces(split, store, inputs, withheld, staging, len(kept))
    for label, work, pieces in (("published", _kept_unit, kept), ("removed", _removed_unit, removed)):
        todo = set(staging.missing(piece.number for piece in pieces))
        wanted = [piece for piece in pieces if piece.number in todo]
        for unit in run_units(work, wanted, settings.workers, f"{label} {split.key}", lambda p: p.rows, "rows"):  # type: ignore[arg-type]
            staging.add(unit)
    number = len(kept) + len(removed)
    if staging.missing([number]):
        staging.add(_side_unit(number, split, store, inputs, withheld, staging))
    return [unit for _, unit in sorted(staging.units.items())]


def _kept_pieces(
    split: Split, pools: tuple[str, ...], store: Store, inputs: Mapping[str, Manifest], withheld: Withheld,
    staging: Staging,
) -> list[KeptPiece]:  # fmt: skip
    joined = store.paths(inputs[Stage.POOLS], "joined")
    pieces, first = [], 0
    for number, group in enumerate(shard_groups(inputs[Stage.DEDUPED].table("rows"))):
        rows = sum(part.rows for part in group)
        pieces.append(KeptPiece(
            number, number, split.name, first, rows, tuple(store.path(part) for part in group),
            store.paths(inputs[Stage.POOLS])[0], joined[0] if joined else None, pools, withheld, staging,
        ))  # fmt: skip
        first += rows
    return pieces


def _removed_pieces(
    split: Split, store: Store, inputs: Mapping[str, Manifest], withheld: Withheld, staging: Staging, number: int
) -> list[RemovedPiece]:
    """Parts of `removed` are of the same rows as those of `normalized`, by position."""
    entries = inputs[Stage.DEDUPED].table("removed")
    rows = inputs[Stage.NORMALIZED].table("rows")
    sized = [
        msgspec.structs.replace(of, bytes=of.bytes * entry.rows // max(1, of.rows))
        for of, entry in zip(rows, entries, strict=True)
    ]
    entry_of = {of.path: store.path(entry) for of, entry in zip(rows, entries, strict=True)}
    return [
        RemovedPiece(
            number + shard, shard, split.name, sum(part.rows for part in group),
            tuple(store.path(part) for part in group), tuple(entry_of[part.path] for part in group), withheld, staging,
        )
        for shard, group in enumerate(shard_groups(sized))
    ]  # fmt: skip


def shard_groups(parts: Sequence[Part]) -> list[list[Part]]:
    """Consecutive parts of about SHARD_BYTES together."""
    groups: list[list[Part]] = []
    for part in parts:
        if not groups or sum(p.bytes for p in groups[-1]) + part.bytes > SHARD_BYTES:
            groups.append([])
        groups[-1].append(part)
    return groups


def _kept_unit(piece: KeptPiece) -> Unit:
    """One shard of `rows` and of every pool that has a row here."""
    pools = pl.scan_parquet(piece.memberships).select("pools").slice(piece.first_row, piece.rows).collect()["pools"]
    shards: list[tuple[Part, int]] = []
    for config in ("rows", *piece.pools):
        member = pools.list.contains(config) if config != "rows" else pl.repeat(True, piece.rows, eager=True)
        if member.any():
            shards += write_shard(piece.staging, config, piece.split, piece.shard, _members(piece, member))
    return recorded(piece.staging, piece.number, shards)


def _members(piece: KeptPiece, member: pl.Series) -> Iterator[pa.Table]:
    """The rows of a pool as they are published."""
    schema, seen = published_schema(ROW_SCHEMA), 0
    for table in read_batches(piece.sources):
        chosen = member.slice(seen, table.num_rows).to_arrow()
        seen += table.num_rows
        rows = table.filter(pc.and_(chosen, pc.invert(piece.withheld.is_withdrawn(table))))
        yield published_rows(rows, schema, piece.joined)


def _removed_unit(piece: RemovedPiece) -> Unit:
    """One shard of removed rows; none if no row here was removed."""
    shards = write_shard(piece.staging, "removed", piece.split, piece.shard, _removed_rows(piece))
    return recorded(piece.staging, piece.number, shards)


def _removed_rows(piece: RemovedPiece) -> Iterator[pa.Table]:
    schema = SIDE_SCHEMAS["removed"]
    for source, path in zip(piece.sources, piece.entries, strict=True):
        entries = pl.read_parquet(path).filter(pl.col("state") == "removed").select("record_uid", *_WHY_REMOVED)
        gone = entries["record_uid"].to_arrow().cast(pa.binary(16))
        for table in read_batches([source]):
            frame = pl.DataFrame(pl.from_arrow(table.filter(pc.is_in(table["record_uid"], gone))))
            told = _without_words(frame, piece.withheld).with_columns(quality_is_duplicate=pl.lit(True))
            reasons = told.join(entries, on="record_uid", how="left", maintain_order="left")
            yield published_rows(reasons.to_arrow(), schema)


def _without_words(removed: pl.DataFrame, withheld: Withheld) -> pl.DataFrame:
    """Removed rows, without what their records say where that may not be told."""
    withdrawn = pl.col("record_uid").is_in(pl.Series(sorted(withheld.uids), dtype=pl.Binary).implode())
    hidden = withdrawn if withheld.dropped_text else pl.lit(True)
    silent: dict[str, str | None] = {**dict.fromkeys(_WORDS), "source_meta_json": "{}"}
    return removed.with_columns(
        pl.when(hidden).then(pl.lit(instead, pl.String)).otherwise(pl.col(name)).alias(name)
        for name, instead in silent.items()
    )


def _side_unit(
    number: int, split: Split, store: Store, inputs: Mapping[str, Manifest], withheld: Withheld, staging: Staging
) -> Unit:
    """Tools, ledger, rejected records, inventory and coverage; a table without rows is left out."""
    normalized, joined = inputs[Stage.NORMALIZED], store.paths(inputs[Stage.POOLS], "joined")
    listed = scan(store.paths(normalized, "tools"), TOOLS_SCHEMA).unique("source_tools_id").sort("source_tools_id")
    tools = listed.filter(~pl.col("source_tools_id").is_in(_tools_of_withdrawn(store.paths(normalized), withheld)))
    ledger = _published_ledger(pl.read_parquet(store.paths(inputs[Stage.LEDGER])), withheld)
    coverage = coverage_of(store.paths(normalized), joined)
    fields = inventory_of_split(normalized, store)["columns"]
    tables: dict[str, Iterable[pa.Table]] = {
        "tools": [tools.collect().to_arrow()],
        "ledger": [ledger.to_arrow()],
        "rejected": _rejected_rows(normalized, ledger, store, withheld),
        "inventory": [pa.Table.from_pylist([
            {"path": path, "null_rate": field["null_rate"], "summary": _json(_without_examples(field))}
            for path, field in sorted(fields.items())
        ], SIDE_SCHEMAS["inventory"])],
        "metadata_coverage": [pa.Table.from_pylist([
            {"measure": name, "meaning": measure.meaning, "rows": coverage["rows"], "having": coverage[name]}
            for name, measure in MEASURES.items()
            if coverage["rows"]
        ], SIDE_SCHEMAS["metadata_coverage"])],
    }  # fmt: skip
    shards: list[tuple[Part, int]] = []
    for config, found in tables.items():
        told = (published_rows(table, SIDE_SCHEMAS[config]) for table in found)
        shards += write_shard(staging, config, split.name, 0, told)
    return Unit(number, tuple(part for part, _ in shards), counted(shards))


def _tools_of_withdrawn(rows: Sequence[Path], withheld: Withheld) -> list[str]:
    """The tool lists that only withdrawn rows offer."""
    if not withheld.uids:
        return []
    offered = scan(rows, ROW_SCHEMA).filter(pl.col("source_tools_id").is_not_null()).group_by("source_tools_id")
    withdrawn = pl.col("record_uid").is_in(pl.Series(sorted(withheld.uids), dtype=pl.Binary).implode())
    return offered.agg(withdrawn.all()).filter("record_uid").collect()["source_tools_id"].to_list()


def _without_examples(field: Any) -> Any:
    """What is known of a field of the records, without values of single records: any of them may be withdrawn."""
    if isinstance(field, dict):
        return {name: _without_examples(value) for name, value in field.items() if name != "examples"}
    return field


def _json(value: object) -> str:
    return msgspec.json.encode(value, order="sorted").decode()


def _published_ledger(ledger: pl.DataFrame, withheld: Withheld) -> pl.DataFrame:
    """The ledger, in which kept records that are withdrawn say so; evidence may quote a record."""
    taken = pl.col("record_uid").is_in(pl.Series(sorted(withheld.uids), dtype=pl.Binary).implode())
    withdrawn = taken & (pl.col("state") == "kept")
    return ledger.with_columns(
        state=pl.when(withdrawn).then(pl.lit(WITHDRAWN)).otherwise("state"),
        evidence=pl.when(taken).then(None).otherwise("evidence"),
    )


def _rejected_rows(normalized: Manifest, ledger: pl.DataFrame, store: Store, withheld: Withheld) -> Iterator[pa.Table]:
    """Rejected records with their bytes where these may be told; of contaminated ones they are not."""
    for table in read_batches(store.paths(normalized, "rejected")):
        hidden = withheld.is_withdrawn(table) if withheld.dropped_text else True
        raw = pc.if_else(hidden, pa.scalar(None, pa.binary()), table["raw"])
        yield table.set_column(table.schema.get_field_index("raw"), "raw", raw)
    names = REJECTED_SCHEMA.names
    later = ledger.filter(code=CODE_CONTAMINATED)  # whose rows were made before they were rejected
    yield later.with_columns(raw=pl.lit(None, pl.Binary)).select(names).to_arrow()


def published_rows(table: pa.Table, schema: pa.Schema, joined: Path | None = None) -> pa.Table:
    frame = pl.DataFrame(pl.from_arrow(table)).lazy()
    if joined is not None:
        frame = with_correctness(frame, scan([joined], JOINED_SCHEMA))
    binary = [
        name
        for name in _UID_COLUMNS
        if name in table.column_names and not pa.types.is_string(table.schema.field(name).type)
    ]
    hexed = [pl.col(name).bin.encode("hex") for name in binary]
    return frame.with_columns(hexed).select(schema.names).collect().to_arrow().cast(schema)


def write_shard(
    staging: Staging, config: str, split: str, number: int, tables: Iterable[pa.Table]
) -> list[tuple[Part, int]]:
    """One file of a config, and the bytes of its rows in memory; none without rows, which `datasets` cannot load."""
    path, memory, schema = shard_path(staging.directory, config, split, number), 0, config_schema(config)
    path.parent.mkdir(exist_ok=True)
    dictionary = [name for name in DICTIONARY_COLUMNS if name.partition(".")[0] in schema.names] or True
    with PartWriter(path, schema, dictionary) as writer:
        for table in tables:
            memory += table.nbytes
            writer.write(table)
    if writer.rows == 0:
        path.unlink()
        return []
    path.chmod(0o444)  # a directory target links files that nobody may write to, and copies others
    return [(staging.part(config, path, writer.rows), memory)]


def recorded(staging: Staging, number: int, shards: Sequence[tuple[Part, int]]) -> Unit:
    unit = Unit(number, tuple(part for part, _ in shards), counted(shards))
    staging.record(unit)
    return unit


def counted(shards: Sequence[tuple[Part, int]]) -> dict[str, dict[str, dict[str, int]]]:
    return {"configs": {part.table: {"rows": part.rows, "memory": memory} for part, memory in shards}}
