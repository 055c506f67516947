"""One lookup a split: every record by its names, every text by its words, every row by its sketch.

A record is known here by its place in the ledger, counted from 0, which follows from its file and row alone: the words
and sketches of a split outlive new decisions about it and are taken over as they are.

Belongs here: what is written, and making it. Does not: the table of records (`lineage_records`), reading any of it
(`lineage.index`).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from nemo_assets.catalog import Catalog, Split
from nemo_assets.dedup.compared import Texts, texts_of
from nemo_assets.dedup.minhash import SLOTS
from nemo_assets.dedup.signing import sign
from nemo_assets.disk import written_aside
from nemo_assets.errors import UserError
from nemo_assets.records.recipe import package_digest
from nemo_assets.stages.lineage_records import RECORDS_FORMAT, RecordTables, database, records_at, write_records
from nemo_assets.stages.search_words import FREQUENCY_SLOTS, words_of
from nemo_assets.stages.units import run_units
from nemo_assets.storage import Basis, Manifest, Part, Stage, Staging, Store, Unit
from nemo_assets.storage.manifest import digest
from nemo_assets.storage.parquet import read_batches

RECORDS, TEXT, SKETCHES = "records", "text", "sketches"
SKETCH_SLOTS = 64  # bytes a record: the lowest byte of as many MinHash values

_SHARD_PARTS = 16  # of normalized rows, about a gigabyte of text: one file of words, one unit of work
_HASH_BYTES = 128 << 20  # of words kept in memory before they are written as one segment: few segments, fast lookups

_SEARCH_CODE = package_digest(
    "stages/lineage_index",
    "stages/search_words",
    "dedup/signing",
    "dedup/minhash",
    "dedup/shingles",
    "dedup/tokens",
    "dedup/compared",
)
INDEX_CODE = digest([_SEARCH_CODE, package_digest("stages/lineage_records")])


@dataclass(frozen=True)
class Piece:
    """One part of the index. `rows` and `rejected` are the parts of normalized that it is made from.

    firsts: number of the first record of each file; signatures: None where they are of other rows than these.
    """

    number: int
    table: str
    rows: tuple[Path, ...]
    rejected: tuple[Path, ...]
    firsts: dict[str, int]
    records: int
    signatures: tuple[Path, ...] | None
    staging: Staging
    tables: RecordTables


def build_lineage_index(split: Split, catalog: Catalog, store: Store, workers: int = 1) -> Manifest:
    """Write the index of the records that the current ledger of the split knows.

    Tables: `records` (SQLite), `text` (SQLite FTS5, a file for about a gigabyte of text), `sketches` (numpy). Pools are
    in it where they are of the same kept rows. Readers of the version before are not disturbed.

    Raises:
        UserError: the ledger was made from another version of normalized or deduped than the current one.
        ConservationError: the rows do not lie where the ledger says; nothing is made current.
    """
    ledger, pools = store.current(Stage.LEDGER, split.key), store.find(Stage.POOLS, split.key)
    normalized, deduped = (store.current(stage, split.key) for stage in (Stage.NORMALIZED, Stage.DEDUPED))
    for manifest in (normalized, deduped):
        if ledger.inputs[manifest.stage] != manifest.data_version:
            raise UserError(
                f"{split.key}: the ledger is older than {manifest.stage}. Materialise ledger of {split.key} first."
            )
    basis = index_basis(ledger, pools)
    current = store.find_current(Stage.LINEAGE_INDEX, split.key, basis)
    if current is not None:
        return current
    before = store.find(Stage.LINEAGE_INDEX, split.key)
    of_text = digest([normalized.data_version, _SEARCH_CODE])
    tables = RecordTables.of(split, store, ledger, normalized, deduped, pools if _is_in_step(pools, ledger) else None)
    with store.staging(Stage.LINEAGE_INDEX, split.key, basis) as staging:
        pieces = list(_pieces(split, store, normalized, tables, staging))
        wanted = set(staging.missing(piece.number for piece in pieces))
        if before is not None and before.details.get("of_text") == of_text:
            wanted -= set(_taken_over(before, store, staging, sorted(wanted - {0})))
        units = [piece for piece in pieces if piece.number in wanted]
        for unit in run_units(_write_unit, units, workers, f"lineage_index {split.key}", _size, "records"):
            staging.add(unit)
        counted = [unit.counters for unit in staging.units.values()]
        texts, characters = (sum(each.get(name, 0) for each in counted) for name in ("texts", "text_bytes"))
        counters = {name: ledger.counters[name] for name in ("records", "kept", "rejected", "removed")}
        return staging.commit(
            counters=counters | {"texts": texts, "text_bytes": characters},
            details={
                "built": datetime.now(UTC).isoformat(timespec="seconds"),
                "of_text": of_text,
                "format": INDEX_FORMAT,
            },
        )


def index_basis(ledger: Manifest, pools: Manifest | None) -> Basis:
    """The index depends on the ledger, on the rows it was made from, and on the pools of these rows."""
    inputs = {"ledger": ledger.data_version, **ledger.inputs}
    if pools is not None and _is_in_step(pools, ledger):
        inputs["pools"] = pools.data_version
    return Basis(inputs, {"code": INDEX_CODE})


def _is_in_step(pools: Manifest | None, ledger: Manifest) -> bool:
    return pools is not None and pools.inputs["deduped"] == ledger.inputs["deduped"]


def _pieces(
    split: Split, store: Store, normalized: Manifest, tables: RecordTables, staging: Staging
) -> Iterator[Piece]:
    rows, rejected = (tuple(store.paths(normalized, table)) for table in ("rows", "rejected"))
    signed = store.find(Stage.SIGNATURES, split.key)
    is_signed = signed is not None and signed.details.get("normalized") == normalized.data_version
    signatures = tuple(store.paths(signed)) if signed is not None and is_signed else None
    shared = (tables.firsts, tables.records, signatures, staging, tables)
    yield Piece(0, RECORDS, rows, rejected, *shared)
    yield Piece(1, SKETCHES, rows, (), *shared)
    for number, begin in enumerate(range(0, max(len(rows), 1), _SHARD_PARTS), 2):
        shard = slice(begin, begin + _SHARD_PARTS)
        yield Piece(number, TEXT, rows[shard], rejected[shard], *shared)


def _size(piece: Piece) -> int:
    return piece.records if piece.table == RECORDS else 0


def _taken_over(before: Manifest, store: Store, staging: Staging, numbers: Iterable[int]) -> Iterator[int]:
    """Take the words and sketches of an earlier version of the index of the same texts as they are."""
    folder = store.path(before.parts[0]).parent
    for number in numbers:
        record = folder / f"unit-{number:05d}.json"
        if not record.is_file():
            continue
        unit = msgspec.json.decode(record.read_bytes(), type=Unit)
        moved = [msgspec.structs.replace(part, path=_moved(part, staging)) for part in unit.parts]
        if not all(store.path(part).is_file() for part in unit.parts):
            continue
        for part, new in zip(unit.parts, moved, strict=True):
            store.path(new).unlink(missing_ok=True)
            os.link(store.path(part), store.path(new))
        staging.add(Unit(number, tuple(moved), unit.counters))
        yield number


def _moved(part: Part, staging: Staging) -> str:
    return (staging.directory / Path(part.path).name).relative_to(staging.root).as_posix()


def _write_unit(piece: Piece) -> Unit:
    """Write one part of the index."""
    counters: dict[str, Any] = {}
    match piece.table:
        case "records":
            path = piece.staging.target(RECORDS, 0, "sqlite")
            write_records(path, piece.tables)
            rows = piece.records
        case "sketches":
            path = piece.staging.target(SKETCHES, 0, "npy")
            rows = _write_sketches(path, piece)
        case _:
            path = piece.staging.target(TEXT, piece.number - 2, "sqlite")
            counters = _write_text(path, piece)
            rows = counters["texts"]
    unit = Unit(piece.number, (piece.staging.part(piece.table, path, rows),), counters)
    piece.staging.record(unit)
    return unit


def _write_sketches(path: Path, piece: Piece) -> int:
    """An array of a sketch a record; 255 all over for a record that became no row, as for a text without shingles."""
    sketches = np.full((piece.records, SKETCH_SLOTS), 0xFF, np.uint8)
    rows = 0
    signatures = itertools.repeat(None) if piece.signatures is None else piece.signatures
    for source, signed in zip(piece.rows, signatures, strict=piece.signatures is not None):
        places = ["source_file", "source_row"]
        where = pl.read_parquet(source, columns=places)
        numbers = records_at(where, piece.firsts)
        sketches[numbers] = _low_bytes(source) if signed is None else _low_bytes_signed(signed)
        rows += where.height
    with written_aside(path) as file:
        np.save(file, sketches)
    return rows


def _low_bytes_signed(path: Path) -> NDArray[np.uint8]:
    column = pl.read_parquet(path, columns=["minhash"])["minhash"].to_arrow().cast(pa.large_binary())
    values = np.frombuffer(column.buffers()[2] or b"", np.uint8)
    return values.reshape(len(column), SLOTS, 4)[:, :SKETCH_SLOTS, 0]


def _low_bytes(path: Path) -> NDArray[np.uint8]:
    signed = [sketches_of(texts_of(table["text"])) for table in read_batches([path], ["text"])]
    return np.concatenate([np.empty((0, SKETCH_SLOTS), np.uint8), *signed])


def sketches_of(texts: Texts) -> NDArray[np.uint8]:
    """The sketch of each Harmony text."""
    return sign(texts).minhash[:, :SKETCH_SLOTS].astype(np.uint8)


_TEXT_TABLES = """
    CREATE VIRTUAL TABLE words USING fts5(text, content='', columnsize=0, detail=full, tokenize='ascii');
    CREATE TABLE frequencies(counts BLOB);
"""


INDEX_FORMAT = digest([RECORDS_FORMAT, _TEXT_TABLES, FREQUENCY_SLOTS, SKETCH_SLOTS])
"""Changes when the files of an index can no longer be read as those made before."""


def _write_text(path: Path, piece: Piece) -> dict[str, int]:
    """The words of the rows and rejections of this shard; how many texts, and how long they are in bytes."""
    frequencies = np.zeros(FREQUENCY_SLOTS, np.uint32)
    counted = {"texts": 0, "text_bytes": 0}
    with database(path) as connection:
        connection.executescript(_TEXT_TABLES)
        connection.execute("INSERT INTO words(words, rank) VALUES ('hashsize', ?)", (_HASH_BYTES,))
        connection.execute("INSERT INTO words(words, rank) VALUES ('automerge', 0)")
        connection.execute("BEGIN")
        for numbers, texts in _texts(piece):
            words = words_of(texts, frequencies)
            connection.executemany("INSERT INTO words(rowid, text) VALUES (?, ?)", zip(numbers, words, strict=True))
            counted["texts"] += len(words)
            counted["text_bytes"] += int(texts.offsets[-1] - texts.offsets[0])
        connection.execute("INSERT INTO frequencies VALUES (?)", (frequencies.tobytes(),))
        connection.execute("COMMIT")
    return counted


def _texts(piece: Piece) -> Iterator[tuple[list[int], Texts]]:
    """Numbers of records and their texts, a batch at a time: of rows, then of what was rejected before it was one."""
    place = ["source_file", "source_row"]
    for rows in read_batches(piece.rows, [*place, "text"]):
        where = pl.DataFrame(pl.from_arrow(rows.select(place)))
        yield records_at(where, piece.firsts).tolist(), texts_of(rows["text"])
    for rejected in read_batches(piece.rejected, [*place, "raw"]):
        where = pl.DataFrame(pl.from_arrow(rejected.select(place)))
        raws = zip(records_at(where, piece.firsts).tolist(), rejected["raw"].to_pylist(), strict=True)
        found = [(number, searchable(raw)) for number, raw in raws if raw is not None]
        yield [number for number, _ in found], texts_of(pa.array([text for _, text in found], pa.string()))


def searchable(raw: bytes) -> str:
    """A rejected record as it is searched: the strings in it if it is JSON, else its bytes as text."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return raw.decode(errors="replace")
    return "\n".join(_strings(value))


def _strings(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            waiting += reversed(each.values())
        elif isinstance(each, list):
            waiting += reversed(each)
