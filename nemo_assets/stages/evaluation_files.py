"""The records of one file of an evaluation set: JSONL, JSON, CSV or Parquet.

Belongs here: reading a file, and naming what is wrong with it. Does not: getting the file (`evaluation_sets`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from nemo_assets.catalog import EvaluationSet
from nemo_assets.errors import Rejected, UserError
from nemo_assets.records.parsing import deep_recursion, parse_json_text, parse_record
from nemo_assets.storage.parquet import parquet_errors

Record = dict[str, Any]

_SHOWN = 12  # columns that a sentence still bears


class EvaluationText(NamedTuple):
    """A text to look for: the record it is of, its column."""

    evaluation_id: str
    column: str
    text: str


def read_texts(path: Path, name: str, declared: EvaluationSet) -> tuple[int, list[EvaluationText]]:
    """How many records a file has, and their texts that are not empty. `name` says which file it is, and of what kind.

    A list is its elements line by line. A record without an `id` column is named by its row, counted from 0.

    Raises:
        UserError: the file cannot be read, holds no record, lacks a column or has something else than text in one.
    """
    reader = _READERS.get(PurePosixPath(name).suffix.lower())
    if reader is None:
        raise UserError(f"{name}: an evaluation file must be {', '.join(_READERS)}. Correct `files` or `path`.")
    try:
        with deep_recursion():
            records = list(reader(path, name))
    except OSError as error:
        raise UserError(f"{name}: cannot be read ({error.strerror}). Correct evaluation_sets.yaml.") from None
    if not records:
        raise UserError(f"{name}: holds no record, so that nothing would be looked for.")
    for column in (*declared.columns, *filter(None, [declared.id])):
        _require_column(column, records, name)
    texts = []
    for row, record in enumerate(records):
        where = f"{name}, record {row}"
        key = str(row) if declared.id is None else _text(record.get(declared.id), f"{where}: `{declared.id}`")
        if not key:
            raise UserError(f"{where}: `{declared.id}` is empty, so that it names no record.")
        for column in declared.columns:
            text = _text(record.get(column), f"{where}: `{column}`")
            if text.strip():
                texts.append(EvaluationText(key, column, text))
    return len(records), texts


def _require_column(column: str, records: Iterable[Record], name: str) -> None:
    known: dict[str, None] = {}
    for record in records:
        if column in record:
            return
        known.update(dict.fromkeys(record))
    has = ", ".join(islice(known, _SHOWN)) + (", …" if len(known) > _SHOWN else "")
    raise UserError(f"{name}: there is no column {column!r}. It has {has or 'none'}. Correct evaluation_sets.yaml.")


def _text(value: Any, where: str) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return "\n".join(_text(each, where) for each in value)
    if not isinstance(value, str | int | float):
        raise UserError(f"{where} holds {type(value).__name__} and no text. Name a column of text.")
    return str(value)


def _jsonl(path: Path, name: str) -> Iterator[Record]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield parse_record(line)[0]
            except Rejected as rejected:
                reason = rejected.evidence.get("reason", rejected.code)
                raise UserError(f"{name}, line {number}: no JSON object ({reason}). Repair the file.") from None


def _json(path: Path, name: str) -> Iterator[Record]:
    try:
        loaded = parse_json_text(path.read_bytes().decode("utf-8-sig"))
    except ValueError as error:
        raise UserError(f"{name}: no JSON ({error}). Repair the file.") from None
    if not isinstance(loaded, list) or not all(isinstance(record, dict) for record in loaded):
        raise UserError(f"{name}: must be an array of objects, one a record.")
    yield from loaded


def _csv(path: Path, name: str) -> Iterator[Record]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        lines = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        for record in lines:
            if None in record or None in record.values():
                raise UserError(f"{name}, line {lines.line_num}: has not as many fields as the first line names.")
            yield record
    except (ValueError, csv.Error) as error:
        raise UserError(f"{name}: no CSV in UTF-8 ({error}). Repair the file.") from None


def _parquet(path: Path, name: str) -> Iterator[Record]:
    with parquet_errors(name):
        yield from pq.read_table(path).to_pylist()


_READERS: dict[str, Callable[[Path, str], Iterator[Record]]] = {
    ".jsonl": _jsonl, ".ndjson": _jsonl, ".json": _json, ".csv": _csv, ".parquet": _parquet,
}  # fmt: skip
