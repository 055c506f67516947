"""What the sample consists of before it is written: files of entries, some of them planted.

Belongs here: entries, files, their serialisation, TRUTH.json. Does not: content, or which defects there are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Record = dict[str, Any]

KEPT, REJECTED, REMOVED = "kept", "rejected", "removed"

TEXT_SCHEMA = pa.schema(
    [("text", pa.string())],
    metadata={"huggingface": json.dumps({"info": {"features": {"text": {"dtype": "string", "_type": "Value"}}}})},
)


@dataclass(frozen=True)
class Planted:
    """Why an entry is in TRUTH.json: its kind, the state and drop code it must end in, and the row it copies."""

    kind: str
    state: str = KEPT
    code: str | None = None
    of: Entry | None = None


@dataclass(eq=False)
class Entry:
    """One record: an object still to be serialised, the bytes of a line as they are, or the text of a Parquet row."""

    body: Record | bytes | str | None
    planted: Planted | None = None
    rendered_from: Entry | None = None

    @property
    def record(self) -> Record:
        """The object of a JSONL entry. Raises TypeError where the body is not one."""
        if not isinstance(self.body, dict):
            raise TypeError(f"{type(self.body).__name__} is not a record")
        return self.body

    @property
    def is_sound(self) -> bool:
        return self.planted is None


@dataclass(eq=False)
class SourceFile:
    """One data file of one split. `path` is relative to its repo."""

    dataset: str
    split: str
    path: str
    entries: list[Entry] = field(default_factory=list)
    compact: bool = False  # no blanks after `,` and `:`, as some of the real files have it
    ends_with_newline: bool = True

    @property
    def full_path(self) -> str:
        return f"{self.dataset}/{self.path}"

    def lines(self) -> bytes:
        """The file as JSON lines."""
        data = b"\n".join(self.line(entry) for entry in self.entries)
        return data + b"\n" if self.ends_with_newline else data

    def line(self, entry: Entry) -> bytes:
        """One line without its line end."""
        if isinstance(entry.body, bytes):
            return entry.body
        separators = (",", ":") if self.compact else (", ", ": ")
        return json.dumps(entry.record, ensure_ascii=False, separators=separators).encode()

    def table(self) -> pa.Table:
        """The file as a Parquet table of one column."""
        return pa.table({"text": pa.array([entry.body for entry in self.entries], pa.string())}, schema=TEXT_SCHEMA)

    def write(self, root: Path) -> None:
        target = root / self.full_path
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".parquet":
            pq.write_table(self.table(), target, compression="zstd", row_group_size=16)
        else:
            target.write_bytes(self.lines())


def truth(files: list[SourceFile], seed: int) -> Record:
    """What was planted where, as in TRUTH.json. Rows are 0-based; files are paths from the top of the tree."""
    where = {id(entry): (file, row) for file, row, entry in entries_of(files)}

    def place(entry: Entry | None) -> Record | None:
        if entry is None:
            return None
        file, row = where[id(entry)]
        return {"file": file.full_path, "row": row}

    planted = [
        {
            "dataset": file.dataset,
            "split": file.split,
            "file": file.full_path,
            "row": row,
            "kind": entry.planted.kind,
            "state": entry.planted.state,
            "code": entry.planted.code,
            "of": place(entry.planted.of),
        }
        for file, row, entry in entries_of(files)
        if entry.planted
    ]
    rendered = {
        file.full_path: [place(entry.rendered_from) for entry in file.entries]
        for file in files
        if file.path.endswith(".parquet")
    }
    counts = {file.full_path: len(file.entries) for file in files}
    return {"about": ABOUT, "seed": seed, "records": counts, "planted": planted, "rendered_from": rendered}


def entries_of(files: list[SourceFile]) -> Iterator[tuple[SourceFile, int, Entry]]:
    """Every entry with its file and its 0-based row."""
    for file in files:
        for row, entry in enumerate(file.entries):
            yield file, row, entry


ABOUT = {
    "row": "0-based physical line (separator byte 0x0A only) of a .jsonl file, 0-based row of a .parquet file",
    "state": "how the record must end: kept, rejected, removed",
    "code": "the drop code; null for a kept record, whose kind names what is odd about it",
    "of": "the row this one was made from; of a removed row and its `of` exactly one survives, whichever comes first",
    "records": "physical records per file",
    "rendered_from": "per Parquet file, for each row the Math-v2 row whose messages it renders, null where it renders "
    "none",
    "unlisted": "records that are not listed are sound and no duplicates of each other",
}
