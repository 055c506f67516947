"""The ledger of a split and its rows, answered from the index that `stages.lineage_index` makes.

Files of an index never change: they stay open between questions, and a version that was replaced goes on answering
those who hold it.

Belongs here: records by any of their names, their rows and texts, opening. Does not: search by words (`text_search`)
and by likeness (`similar`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
import numpy as np

from nemo_assets.errors import UserError
from nemo_assets.lineage.entries import Entry, evidence_of, is_hex, is_uid
from nemo_assets.lineage.stage_rows import row_at, values_at
from nemo_assets.stages.lineage_index import INDEX_FORMAT, RECORDS, SKETCHES, TEXT, searchable
from nemo_assets.stages.lineage_records import STATES, cut_digest
from nemo_assets.storage import Manifest, Stage, Store

_KEPT_OPEN = 256  # files
_MAPPED_BYTES = 1 << 30  # of each file at most, read without copying
_LAST = "\U0010ffff"  # behind every other character: ends the range of texts with one beginning

_ENTRY = "SELECT record, uid, id, state, reason, offset, survivor, similarity FROM records"
_NUMBER = "SELECT record FROM records"
_VALUE = "SELECT record, value FROM records INDEXED BY by_value WHERE reason = ?"
_FIRST = "ORDER BY record LIMIT ?"

LOOKUPS = {
    "uid": f"{_ENTRY} INDEXED BY by_uid WHERE uid = ?",
    "id": f"{_ENTRY} INDEXED BY by_id WHERE id = ? {_FIRST}",
    "number": f"{_ENTRY} WHERE record = ?",
    "id_begins": f"{_NUMBER} INDEXED BY by_id WHERE id >= ? AND id < ? {_FIRST}",
    "uid_begins": f"{_NUMBER} INDEXED BY by_uid WHERE uid BETWEEN ? AND ? {_FIRST}",
    "begun_by_name": (
        f"{_NUMBER} INDEXED BY by_id WHERE id >= ? AND id < ? AND ? IN (uuid_chars, problem_chars) {_FIRST}"
    ),
    "name": f"SELECT record FROM names WHERE name = ? {_FIRST}",
    "content": f"{_NUMBER} INDEXED BY by_content WHERE content = ? {_FIRST}",
    "text": f"{_NUMBER} INDEXED BY by_text WHERE text = ? {_FIRST}",
    "survivor": f"{_ENTRY} INDEXED BY by_survivor WHERE survivor = ? {_FIRST}",
    "survivors": "SELECT count(*) FROM records INDEXED BY by_survivor WHERE survivor = ?",
    "place": "SELECT part, part_row, pool_set, base, joined FROM records WHERE record = ?",
    "above": f"{_VALUE} AND value >= ? ORDER BY value, record LIMIT ?",
    "below": f"{_VALUE} AND value < ? ORDER BY value DESC, record LIMIT ?",
    "values": "SELECT value, count(*) FROM records INDEXED BY by_value WHERE reason = ? GROUP BY value",
    "nth": f"{_VALUE} ORDER BY value, record LIMIT 1 OFFSET ?",
}
"""Every question that is put to the table of records.

None may read all of it, as SQLite likes to when a few in order are asked for: it is told which index to use.
"""


class Dictionaries(NamedTuple):
    """What the numbers in the table of records stand for."""

    dataset: str
    split: str
    files: list[tuple[int, str, int]]
    reasons: list[tuple[str, str | None, float | None]]
    pool_sets: list[list[str]]
    parts: list[tuple[str, str, str, int]]


class Located(NamedTuple):
    """Where the row of a record lies: `source` is the table of the stage; pools are None until they are made.

    pools_version: data version of the pools that `pools` and `joined` are of, None without pools;
    base: its row among all normalized ones, as of its signature; kept: among the kept ones, as of its pools and scores;
    joined: in the correctness that was joined to rendered text. None where it is not among them.
    """

    stage: str
    source: str
    path: Path
    row: int
    pools: tuple[str, ...] | None
    pools_version: str | None
    base: int | None
    kept: int | None
    joined: int | None


class IndexFile(NamedTuple):
    """A file of an index as it was found: another inode or time of change is another file, which lies there now."""

    path: Path
    inode: int
    modified: int


@dataclass(frozen=True)
class LineageIndex:
    """The index of one split: of `manifest`, over the ledger of `ledger`. Records are numbered in ledger order.

    found: the files of the index, by table.
    """

    partition: str
    manifest: Manifest
    ledger: Manifest
    store: Store
    found: dict[str, list[IndexFile]]

    @classmethod
    def open(cls, store: Store, partition: str) -> LineageIndex | None:
        """The index of a split; None where there is none that can be used: `why_unusable` gives the reason."""
        return _opened(store, partition)[0]

    @property
    def records(self) -> int:
        return int(self.manifest.counters["records"])

    def by_uid(self, uid: bytes) -> Entry | None:
        return next(iter(self._entries(self._ask("uid", uid))), None)

    def by_id(self, text: str, limit: int) -> list[Entry]:
        return self._entries(self._ask("id", text, limit))

    def by_id_prefix(self, text: str, limit: int) -> list[Entry]:
        return self.entries(self._numbers("id_begins", text, text + _LAST, limit))

    def by_content(self, content_sha1: str, limit: int) -> list[Entry]:
        """Entries of rows with this content."""
        return self._with_digest("content", "content_sha1", content_sha1, limit)

    def by_text_sha1(self, text_sha1: str, limit: int) -> list[Entry]:
        """Entries of rows with this rendered text."""
        return self._with_digest("text", "text_sha1", text_sha1, limit)

    def named(self, text: str, limit: int) -> list[Entry]:
        found = {entry.record_uid: entry for entry in self.by_id(text, limit)}
        if is_uid(text) and (entry := self.by_uid(bytes.fromhex(text))) is not None:
            found[entry.record_uid] = entry
        return self._in_order(list(found.values()))[:limit]

    def of_source_name(self, text: str, limit: int) -> list[Entry]:
        numbers = self._numbers("begun_by_name", text, text + _LAST, len(text), limit)
        return self.entries(sorted({*numbers, *self._numbers("name", text, limit)})[:limit])

    def beginning(self, text: str, limit: int) -> list[Entry]:
        numbers = set(self._numbers("id_begins", text, text + _LAST, limit))
        if is_hex(text) and len(text) <= 32:
            ends = (bytes.fromhex(text.ljust(32, digit)) for digit in "0f")
            numbers.update(self._numbers("uid_begins", *ends, limit))
        return self.entries(sorted(numbers)[:limit])

    def removed_for(self, uid: bytes, limit: int) -> list[Entry]:
        return self._entries(self._ask("survivor", uid, limit))

    def count_removed_for(self, uid: bytes) -> int:
        return int(self._ask("survivors", uid)[0][0])

    def members(self, uid: bytes, limit: int) -> list[Entry]:
        """The row with this uid if it is of this split, then what was removed in its favour."""
        own = self.by_uid(uid)
        return [*([own] if own else []), *self.removed_for(uid, limit)]

    def files(self) -> dict[str, int]:
        return {path: records for _, path, records in self.dictionaries.files}

    def at(self, file: str, row: int) -> Entry | None:
        for first, path, records in self.dictionaries.files:
            if path == file and 0 <= row < records:
                return self.entries([first + row])[0]
        return None

    def number_of(self, entry: Entry) -> int:
        """The number of one of this split's records."""
        first = next(first for first, path, _ in self.dictionaries.files if path == entry.source_file)
        return first + entry.source_row

    def entries(self, numbers: Sequence[int]) -> list[Entry]:
        """The entries of these records, in the order given."""
        return self._entries([row for number in numbers for row in self._ask("number", number)])

    def located(self, number: int) -> Located:
        """Where the row of a record, or what it was rejected with, lies."""
        part, row, pool_set, base, joined = self._ask("place", number)[0]
        stage, source, path, first = self.dictionaries.parts[part]
        pools = None if pool_set is None else tuple(self.dictionaries.pool_sets[pool_set])
        kept = first + row if stage == Stage.DEDUPED else None
        return Located(
            stage, source, self.store.root / path, row, pools, self.manifest.inputs.get("pools"), base, kept, joined
        )  # fmt: skip

    def place_of(self, uid: bytes) -> Located | None:
        """Where the row of the record with this uid lies; None for a uid of no record of this split."""
        found = self._ask("uid", uid)
        return self.located(found[0][0]) if found else None

    def row(self, number: int) -> dict[str, Any] | None:
        """The canonical row of a record; None for one that was rejected before it became one."""
        place = self.located(number)
        return None if place.source == "rejected" else row_at(place.path, place.row)

    def texts(self, numbers: Sequence[int]) -> list[str | None]:
        """The text of each record as it is searched; None where it has none or its file is no longer there."""
        return [_text_at(self.located(number)) for number in numbers]

    @property
    def dictionaries(self) -> Dictionaries:
        with self.damage_told():
            return _dictionaries(self.record_file)

    @property
    def text_files(self) -> list[IndexFile]:
        return self.found[TEXT]

    @property
    def sketch_file(self) -> IndexFile:
        return self.found[SKETCHES][0]

    @property
    def record_file(self) -> IndexFile:
        return self.found[RECORDS][0]

    def ask(self, question: str, *values: Any) -> list[Any]:
        """The answer to one of LOOKUPS."""
        return self._ask(question, *values)

    @contextmanager
    def damage_told(self) -> Iterator[None]:
        """Turn an error of a file of the index into one line that says what to do."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"{self.record_file.path.parent}: the index is damaged ({error}). Delete it and materialise "
                f"lineage_index of {self.partition} again."
            ) from None

    def _ask(self, question: str, *values: Any) -> list[Any]:
        try:
            with self.damage_told():
                return connection(self.record_file).execute(LOOKUPS[question], values).fetchall()
        except UnicodeEncodeError:
            return []  # no text that is stored holds a lone surrogate

    def _numbers(self, question: str, *values: Any) -> list[int]:
        return [number for (number,) in self._ask(question, *values)]

    def _with_digest(self, question: str, column: str, digest: str, limit: int) -> list[Entry]:
        if len(digest) != 40 or not is_hex(digest):
            return []
        numbers = self._numbers(question, cut_digest(digest), limit)
        rows = ((number, self.located(number)) for number in numbers)
        read = ((number, values_at(place.path, [place.row], column)[0]) for number, place in rows)
        return self.entries([number for number, value in read if value == digest.lower()])

    def _in_order(self, entries: list[Entry]) -> list[Entry]:
        return sorted(entries, key=self.number_of)

    def _entries(self, rows: Sequence[Any]) -> list[Entry]:
        told = self._evidence([row[0] for row in rows if row[4] is not None])
        return [self._entry(row, told.get(row[0])) for row in rows]

    def _entry(self, row: Any, evidence: str | None) -> Entry:
        number, uid, name, state, reason, offset, survivor, similarity = row
        known = self.dictionaries
        first, file, _ = next(each for each in reversed(known.files) if each[0] <= number)
        code = known.reasons[reason][0] if reason is not None else None
        return Entry(
            self.partition, uid.hex(), known.dataset, known.split, file, number - first, offset, name, STATES[state],
            code, evidence_of(evidence), survivor.hex() if survivor else None, similarity,
        )  # fmt: skip

    def _evidence(self, numbers: Sequence[int]) -> dict[int, str | None]:
        """What the ledger says of these records: evidence is too long for the index and rarely read."""
        paths = self.store.paths(self.ledger)
        return dict(zip(numbers, values_at(paths[0], numbers, "evidence"), strict=True)) if numbers else {}


def why_unusable(store: Store, partition: str) -> str | None:
    """Why a split that has a ledger has no index that can be used; None where it has one."""
    return _opened(store, partition)[1]


def _opened(store: Store, partition: str) -> tuple[LineageIndex | None, str | None]:
    manifest, ledger = (store.find(stage, partition) for stage in (Stage.LINEAGE_INDEX, Stage.LEDGER))
    if manifest is None or ledger is None:
        return None, "never made"
    if manifest.inputs["ledger"] != ledger.data_version:
        return None, "made before the ledger"
    if manifest.details.get("format") != INDEX_FORMAT:
        return None, "written by another version of the program"
    files: dict[str, list[IndexFile]] = {}
    for part in (*manifest.parts, *ledger.parts):
        path = store.path(part)
        found = path.stat() if path.is_file() else None
        if found is None:
            return None, f"its file {part.path} is missing"
        if found.st_size != part.bytes:
            return None, f"its file {part.path} has {found.st_size:,} of {part.bytes:,} bytes"
        if part in manifest.parts:
            file = IndexFile(path, found.st_ino, found.st_mtime_ns)
            files.setdefault(part.table, []).append(file)
            if (error := _unreadable(file)) is not None:
                return None, f"its file {part.path} cannot be read: {error}"
    return LineageIndex(partition, manifest, ledger, store, files), None


@lru_cache(_KEPT_OPEN)
def _unreadable(file: IndexFile) -> str | None:
    """What is wrong with a file of an index, as far as its beginning tells."""
    try:
        if file.path.suffix == ".npy":
            np.load(file.path, mmap_mode="r")
        else:
            with closing(_opened_file(file.path)) as opened:
                opened.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.Error as error:
        return str(error)
    except (ValueError, EOFError):  # numpy would advise to load it as a pickle
        return "file is not an array"
    return None


@lru_cache(_KEPT_OPEN)
def connection(file: IndexFile) -> sqlite3.Connection:
    """A file of an index, open for reading, for all threads."""
    return _opened_file(file.path)


def _opened_file(path: Path) -> sqlite3.Connection:
    name = f"file:{quote(str(path))}?mode=ro&immutable=1"
    opened = sqlite3.connect(name, uri=True, check_same_thread=False, isolation_level=None)
    opened.execute(f"PRAGMA mmap_size={_MAPPED_BYTES}")
    return opened


@lru_cache(_KEPT_OPEN)
def _dictionaries(file: IndexFile) -> Dictionaries:
    def table(name: str, columns: str) -> list[Any]:
        return connection(file).execute(f"SELECT {columns} FROM {name} ORDER BY rowid").fetchall()

    dataset, split = table("split", "dataset, split")[0]
    pool_sets = [msgspec.json.decode(text, type=list[str]) for (text,) in table("pool_sets", "pools")]
    reasons, parts = table("reasons", "code, rule, threshold"), table("parts", "stage, source, path, first")
    return Dictionaries(dataset, split, table("files", "first, path, records"), reasons, pool_sets, parts)


def _text_at(place: Located) -> str | None:
    """Read one at a time: polars takes ten times as long for several at once."""
    column = "raw" if place.source == "rejected" else "text"
    found = row_at(place.path, place.row, [column])
    value = found[column] if found else None
    return searchable(value) if isinstance(value, bytes) else value
