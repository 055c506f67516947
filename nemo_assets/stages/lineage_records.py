"""The table of records of the lineage index: what each is called, how it ended, where its row lies.

Small numbers stand for what many records share: a reason, a set of pools, a part of the data directory. File and row of
a record follow from its number. Digests are cut to eight bytes: who looks one up compares the rest in the row.

`base` is the row of a record among all normalized rows of the split, which signatures follow; a kept row has its place
among the kept ones too, which pools and scores follow; `joined` is its row in the correctness joined to rendered text.

Belongs here: the columns, their indexes, and filling them. Does not: words and sketches (`lineage_index`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nemo_assets.catalog import Split
from nemo_assets.disk import written_aside
from nemo_assets.errors import ConservationError
from nemo_assets.records.schema import LEDGER_SCHEMA
from nemo_assets.storage import Manifest, Store
from nemo_assets.storage.manifest import digest
from nemo_assets.storage.parquet import scan

STATES = ("kept", "rejected", "removed")

_AT_ONCE = 1 << 16  # records handed to SQLite

_TABLES = """
    CREATE TABLE split(dataset TEXT, split TEXT, records INTEGER);
    CREATE TABLE files(first INTEGER PRIMARY KEY, path TEXT, records INTEGER);
    CREATE TABLE reasons(reason INTEGER PRIMARY KEY, code TEXT, rule TEXT, threshold REAL);
    CREATE TABLE pool_sets(pool_set INTEGER PRIMARY KEY, pools TEXT);
    CREATE TABLE parts(part INTEGER PRIMARY KEY, stage TEXT, source TEXT, path TEXT, first INTEGER);
    CREATE TABLE names(name TEXT, record INTEGER, PRIMARY KEY (name, record)) WITHOUT ROWID;
    CREATE TABLE records(
        record INTEGER PRIMARY KEY, uid BLOB, id TEXT, uuid_chars INTEGER, problem_chars INTEGER, state INTEGER,
        reason INTEGER, value REAL, offset INTEGER, survivor BLOB, similarity REAL, content INTEGER, text INTEGER,
        part INTEGER, part_row INTEGER, pool_set INTEGER, base INTEGER, joined INTEGER
    );
"""
_INDEXES = """
    CREATE UNIQUE INDEX by_uid ON records(uid);
    CREATE INDEX by_id ON records(id) WHERE id IS NOT NULL;
    CREATE INDEX by_content ON records(content) WHERE content IS NOT NULL;
    CREATE INDEX by_text ON records(text) WHERE text IS NOT NULL;
    CREATE INDEX by_survivor ON records(survivor) WHERE survivor IS NOT NULL;
    CREATE INDEX by_value ON records(reason, value) WHERE reason IS NOT NULL;
"""
RECORDS_FORMAT = digest([_TABLES, _INDEXES])

_COLUMNS = (
    "record", "record_uid", "id", "uuid_chars", "problem_chars", "state", "reason", "value", "source_offset",
    "survivor_uid", "similarity", "content", "text", "part", "part_row", "pool_set", "base", "joined",
)  # fmt: skip


@dataclass(frozen=True)
class RecordTables:
    """The tables that the records of a split are told by, as paths. `firsts`: number of the first record of a file."""

    partition: str
    dataset: str
    split: str
    root: Path
    records: int
    firsts: dict[str, int]
    ledger: tuple[Path, ...]
    rows: tuple[Path, ...]
    rejected: tuple[Path, ...]
    kept: tuple[Path, ...]
    pools: tuple[Path, ...]
    joined: tuple[Path, ...]

    @classmethod
    def of(
        cls, split: Split, store: Store, ledger: Manifest, normalized: Manifest, deduped: Manifest,
        pools: Manifest | None,
    ) -> RecordTables:  # fmt: skip
        """The tables of manifests that belong together."""
        firsts, number = {}, 0
        for path, file in sorted(normalized.counters["files"].items()):
            firsts[path] = number
            number += file["records"]

        def paths(manifest: Manifest, table: str = "rows") -> tuple[Path, ...]:
            return tuple(store.paths(manifest, table))

        return cls(
            split.key, split.repo, split.name, store.root, number, firsts, paths(ledger), paths(normalized),
            paths(normalized, "rejected"), paths(deduped), paths(pools) if pools else (),
            paths(pools, "joined") if pools else (),
        )  # fmt: skip


@contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    """A new SQLite file, durably in the place of `path` when the block ends without an error."""
    with written_aside(path) as file:
        # Nobody else sees the file yet, and a kill leaves nothing of it: neither locks nor a journal are needed.
        name = f"file:{quote(str(file.name))}?nolock=1"
        with closing(sqlite3.connect(name, uri=True, isolation_level=None)) as connection:
            for setting in ("page_size=8192", "journal_mode=OFF", "synchronous=OFF", "cache_size=-262144"):
                connection.execute(f"PRAGMA {setting}")
            yield connection


def write_records(path: Path, tables: RecordTables) -> None:
    """Write every record of the ledger, its names, and the dictionaries that the numbers refer to."""
    entries = scan(list(tables.ledger), LEDGER_SCHEMA).collect().with_row_index("record")
    _require_places(entries, tables)
    entries, reasons = with_reasons(entries.with_columns(pl.col("record").cast(pl.Int64)))
    parts = list(_parts(tables))
    located = _Located.of(tables, parts)
    pool_of_kept, pool_sets = _pool_sets(tables)
    rows, joined = _rows(tables), _joined(entries, tables)
    columns = entries.with_columns(
        state=pl.col("state").replace_strict(dict(zip(STATES, range(3), strict=True)), return_dtype=pl.Int64),
        **_of_rows(entries, rows),
        part=_or_null(located.part),
        part_row=_or_null(located.row),
        pool_set=_or_null(_scattered(located.kept, pool_of_kept, tables.records)),
        base=_or_null(located.base),
        joined=_or_null(_scattered(joined, np.arange(len(joined)), tables.records)),
    ).select(_COLUMNS)
    with database(path) as connection:
        connection.executescript(_TABLES)
        connection.execute("BEGIN")
        _fill(connection, "split", [(tables.dataset, tables.split, tables.records)])
        _fill(connection, "files", _files(tables))
        _fill(connection, "reasons", [(n, *reason) for n, reason in enumerate(reasons)])
        _fill(connection, "pool_sets", [(n, *pools) for n, pools in enumerate(pool_sets)])
        _fill(connection, "parts", _numbered(parts, tables.root))
        for some in columns.iter_slices(_AT_ONCE):
            _fill(connection, "records", some.rows())
        _fill(connection, "names", _other_names(entries, rows))
        connection.execute("COMMIT")
        connection.executescript(_INDEXES)


def _fill(connection: sqlite3.Connection, table: str, rows: list[tuple[Any, ...]]) -> None:
    if rows:
        connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)


def _files(tables: RecordTables) -> list[tuple[int, str, int]]:
    """First record, path and records of each file that has some; the others have no place among the numbers."""
    ends = [*list(tables.firsts.values())[1:], tables.records]
    files = zip(tables.firsts.items(), ends, strict=True)
    return [(first, path, end - first) for (path, first), end in files if end > first]


def _numbered(parts: list[_Part], root: Path) -> list[tuple[int, str, str, str, int]]:
    return [(n, p.stage, p.table, p.path.relative_to(root).as_posix(), p.first) for n, p in enumerate(parts)]


def _require_places(entries: pl.DataFrame, tables: RecordTables) -> None:
    """The number of a record must say its file and row: the ledger holds each record of each file once, in order."""
    expected = entries["source_file"].replace_strict(tables.firsts, return_dtype=pl.Int64) + entries["source_row"]
    if entries.height != tables.records or not (expected == entries["record"].cast(pl.Int64)).all():
        raise ConservationError(
            f"{tables.partition}: the ledger does not hold each of {tables.records} records once and in order. "
            "The index was not made."
        )


def with_reasons(entries: pl.DataFrame) -> tuple[pl.DataFrame, list[tuple[str, str | None, float | None]]]:
    """Ledger entries with `reason`, a number for code, rule and threshold, and `value`, what was held against it."""
    evidence = pl.col("evidence")
    removed = entries.filter(state="removed").select(
        "record",
        "code",
        rule=evidence.str.json_path_match("$.rule"),
        threshold=evidence.str.json_path_match("$.threshold").cast(pl.Float64),
        value="similarity",
    )
    rejected = entries.filter(state="rejected").select("record", "code", "evidence")
    told = [msgspec.json.decode(text) if text else {} for text in rejected["evidence"].to_list()]
    measured = [measured_of(each) for each in told]
    kinds = {"rule": pl.String, "threshold": pl.Float64, "value": pl.Float64}
    values = pl.DataFrame(
        {name: [each[n] for each in measured] for n, name in enumerate(kinds)}, schema=kinds, strict=False
    )
    coded = pl.concat([removed, rejected.select("record", "code").hstack(values)])
    key = ["code", "rule", "threshold"]
    reasons = coded.select(key).unique().sort(key, nulls_last=True).with_row_index("reason")
    numbered = coded.join(reasons, on=key, nulls_equal=True).select("record", "value", pl.col("reason").cast(pl.Int64))
    joined = entries.join(numbered, on="record", how="left", maintain_order="left")
    return joined, reasons.select(key).rows()


def measured_of(evidence: dict[str, Any]) -> tuple[str | None, float | None, float | None]:
    """Rule, threshold and measured value of a rejection; None for those that it does not have."""
    rule, limit = evidence.get("rule"), evidence.get("limit")
    if limit is None:
        share = evidence.get("share")
        return rule, None, float(share) if isinstance(share, int | float) else None
    numbers = (value for name, value in evidence.items() if name != "limit" and isinstance(value, int | float))
    value = next(numbers, None)
    return rule, float(limit), None if value is None else float(value)


class _Part(NamedTuple):
    """A part of a table that holds rows or rejections; `first`: rows of the table before it."""

    stage: str
    table: str
    path: Path
    first: int


def _parts(tables: RecordTables) -> Iterator[_Part]:
    for stage, table, paths in (
        ("normalized", "rows", tables.rows),
        ("normalized", "rejected", tables.rejected),
        ("deduped", "rows", tables.kept),
    ):
        first = 0
        for path in paths:
            yield _Part(stage, table, path, first)
            first += pq.read_metadata(path).num_rows


class _Located(NamedTuple):
    """Of each record the part, the row in it and the row among all normalized ones, -1 for none; and the records of the
    kept rows in their order.
    """

    part: NDArray[np.int64]
    row: NDArray[np.int64]
    base: NDArray[np.int64]
    kept: NDArray[np.int64]

    @classmethod
    def of(cls, tables: RecordTables, parts: list[_Part]) -> _Located:
        part, row, base = (np.full(tables.records, -1, np.int64) for _ in range(3))
        kept = [np.empty(0, np.int64)]
        for number, (stage, table, path, first) in enumerate(parts):  # kept rows come last: they lie in deduped
            numbers = records_at(pl.read_parquet(path, columns=["source_file", "source_row"]), tables.firsts)
            part[numbers], row[numbers] = number, np.arange(len(numbers))
            if stage == "deduped":
                kept.append(numbers)
            elif table == "rows":
                base[numbers] = first + row[numbers]
        return cls(part, row, base, np.concatenate(kept))


def records_at(places: pl.DataFrame, firsts: dict[str, int]) -> NDArray[np.int64]:
    """The numbers of the records at these places (`source_file`, `source_row`)."""
    first = places["source_file"].replace_strict(firsts, return_dtype=pl.Int64)
    return (first + places["source_row"]).to_numpy()


def _pool_sets(tables: RecordTables) -> tuple[NDArray[np.int64], list[tuple[str]]]:
    """The number of the set of pools of each kept row in their order, and the sets as JSON; empty without pools."""
    if not tables.pools:
        return np.empty(0, np.int64), []
    named = pl.read_parquet(list(tables.pools), columns=["pools"])["pools"].list.join("\n")
    sets = named.unique().sort()
    numbers = named.replace_strict(sets, pl.int_range(len(sets), eager=True), return_dtype=pl.Int64)
    return numbers.to_numpy(), [(msgspec.json.encode(text.split("\n") if text else []).decode(),) for text in sets]


def _joined(entries: pl.DataFrame, tables: RecordTables) -> NDArray[np.int64]:
    """The records whose correctness was joined to them, in the order of the table that keeps it."""
    if not tables.joined:
        return np.empty(0, np.int64)
    uids = pl.read_parquet(list(tables.joined), columns=["record_uid"])
    records = entries.select("record_uid", pl.col("record").cast(pl.Int64))
    return uids.join(records, on="record_uid", how="left", maintain_order="left")["record"].to_numpy()


def _scattered(places: NDArray[np.int64], values: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """An array of -1 with `values` at `places`, or of -1 alone where there are no values."""
    spread = np.full(size, -1, np.int64)
    if len(values):
        spread[places] = values
    return spread


def _or_null(values: NDArray[np.int64]) -> pl.Series:
    series = pl.Series(values)
    return series.set(series < 0, None)


def _rows(tables: RecordTables) -> pl.DataFrame:
    """Digests and source names of all normalized rows, with the number of their record."""
    wanted = ["source_file", "source_row", "content_sha1", "text_sha1", "source_uuid", "meta_problem_id"]
    frames = [pl.read_parquet(path, columns=wanted) for path in tables.rows]
    if not frames:
        return pl.DataFrame(schema={"record": pl.Int64} | dict.fromkeys(wanted[2:], pl.String))
    rows = pl.concat(frames)
    return rows.select(pl.Series("record", records_at(rows, tables.firsts)), *wanted[2:])


def _of_rows(entries: pl.DataFrame, rows: pl.DataFrame) -> dict[str, pl.Series]:
    """Columns that a record has from its row: cut digests, and how much of its id is a name of the source."""
    joined = entries.select("record", "id").join(rows, on="record", how="left", maintain_order="left")
    chars = {
        name: pl.when(pl.col("id").str.starts_with(pl.col(column))).then(pl.col(column).str.len_chars())
        for name, column in (("uuid_chars", "source_uuid"), ("problem_chars", "meta_problem_id"))
    }
    found = joined.select(**chars)
    return {
        **{name: found[name] for name in chars},
        "content": _cut(joined["content_sha1"]),
        "text": _cut(joined["text_sha1"]),
    }


def cut_digest(digest: str) -> int:
    """The first eight bytes of a digest in hex, as a signed number."""
    return int.from_bytes(bytes.fromhex(digest[:16]), "big", signed=True)


def _cut(digests: pl.Series) -> pl.Series:
    data = digests.fill_null("0" * 16).str.slice(0, 16).str.decode("hex")
    numbers = pl.Series(np.frombuffer(b"".join(data.to_list()), ">i8").astype(np.int64))
    return numbers.set(digests.is_null(), None)


def _other_names(entries: pl.DataFrame, rows: pl.DataFrame) -> list[tuple[str, int]]:
    """Names of the source that the id of the record does not begin with."""
    joined = rows.join(entries.select("record", "id"), on="record", how="left")
    begins = {name: pl.col("id").str.starts_with(pl.col(name)).fill_null(False) for name in rows.columns[3:]}
    names = [
        joined.filter(pl.col(name).is_not_null() & ~is_begun).select(name=name, record="record")
        for name, is_begun in begins.items()
    ]
    return pl.concat(names).unique().sort("name", "record").rows()
