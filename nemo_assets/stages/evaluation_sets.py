"""The texts that no row may hold: those of all evaluation sets that the catalog declares, in one table.

Belongs here: getting the files of each set and writing the table. Does not: what is in a file (`evaluation_files`),
looking for the texts in rows (`dedup.contamination`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa

from nemo_assets.catalog import EVALUATION_SETS, EvaluationSet
from nemo_assets.dedup.contamination import index_of
from nemo_assets.disk import sha256_of
from nemo_assets.errors import UserError
from nemo_assets.hub.patterns import match
from nemo_assets.hub.sources import SourceFile, not_older, open_source
from nemo_assets.records.schema import STRING
from nemo_assets.settings import Settings
from nemo_assets.stages.evaluation_files import read_texts
from nemo_assets.stages.raw import fetch_files
from nemo_assets.storage import Basis, Manifest, Stage, Store, Unit
from nemo_assets.storage.parquet import write_part

PARTITION = "all"
EVALUATION_SETS_CODE = "evaluation sets 1"  # raise when the same files are read as other texts

_SHOWN = 8  # files that a sentence still bears

EVALUATION_SCHEMA = pa.schema([
    pa.field(name, STRING, nullable=False, metadata={"description": description})
    for name, description in {
        "evaluation_set": "Name of the evaluation set in the catalog",
        "evaluation_id": "Names the record: its id column, else its row, from 0 (path:row if there are several files)",
        "column": "Column of the record that the text is from",
        "text": "What is looked for in rows",
        "file": "Path of the file in the dataset, or as the catalog names it",
        "content_id": "sha256 of the file, or its git blob id",
        "revision": "Revision of the dataset; empty for a local file",
    }.items()
])  # fmt: skip


class _Held(NamedTuple):
    """The files of one set as they are now, not yet here if they come from the Hub; no revision: they are local."""

    declared: EvaluationSet
    revision: str
    files: tuple[SourceFile, ...]


def read_evaluation_sets(settings: Settings) -> Manifest:
    """Write the texts of all declared evaluation sets; nothing declared is an empty table, and asks nobody.

    A set of a Hub dataset is read at its `revision`, else at the head; a directory of sources holds but one revision.
    `details.sets` has a line a set, with the texts that are too short to be looked for.

    Raises:
        UserError: a file is missing or cannot be read, a column is not there, or no text of a set can be looked for;
            nothing is made current.
    """
    store = settings.store
    before = store.find(Stage.EVALUATION_SETS, PARTITION)
    known = {line["evaluation_set"]: line["revision"] for line in before.details["sets"]} if before else {}
    held = {
        name: _held(name, declared, settings, known.get(name))
        for name, declared in settings.catalog.evaluation_sets.items()
    }
    basis = _basis(held)
    current = store.find_current(Stage.EVALUATION_SETS, PARTITION, basis)
    if current is not None:
        return current
    tables = [_read(name, each, settings) for name, each in held.items()]
    table = pa.concat_tables([EVALUATION_SCHEMA.empty_table(), *(table for _, table in tables)])
    too_short = index_of(table, settings.catalog.evaluation_sets).not_searchable
    lines = [
        _line(name, held[name], records, texts.num_rows, too_short[name])
        for name, (records, texts) in zip(held, tables, strict=True)
    ]
    with store.staging(Stage.EVALUATION_SETS, PARTITION, basis) as staging:
        path = staging.target("rows", 0)
        staging.add(Unit(0, (staging.part("rows", path, write_part(path, table)),)))
        counters = {"rows": table.num_rows, "sets": len(held), "too_short": sum(too_short.values())}
        # What becomes of rows depends on thresholds and actions as much as on the texts.
        policy = {name: [each.declared.near, msgspec.to_builtins(each.declared.actions)] for name, each in held.items()}
        return staging.commit(counters=counters, details={"sets": lines}, content=policy)


def _basis(held: dict[str, _Held]) -> Basis:
    """The texts depend on what is declared and on the content of the files."""
    sets = {
        name: [msgspec.to_builtins(each.declared), [(file.path, file.content_id) for file in each.files]]
        for name, each in held.items()
    }
    return Basis({}, {"sets": msgspec.json.encode(sets, order="sorted").decode(), "code": EVALUATION_SETS_CODE})


def _held(name: str, declared: EvaluationSet, settings: Settings, known: str | None) -> _Held:
    if declared.path is not None:
        path = _local(declared, settings)
        if not path.is_file():
            raise UserError(f"{path}: evaluation set {name!r} names this file, which does not exist. Correct `path`.")
        return _Held(declared, "", (SourceFile(declared.path, path.stat().st_size, sha256_of(path), None),))
    source = open_source(str(declared.repo), settings.source_dir, settings.endpoint, settings.token)
    pinned = declared.revision if settings.source_dir is None else None
    revision = pinned or not_older(source, known).revision()
    listing = source.files(revision)
    paths = [file.path for file in listing]
    for glob in declared.files:
        if not match([glob], paths):
            raise UserError(
                f"evaluation set {name!r} names {glob}, {declared.repo} at {revision[:7]} has no such file. It has "
                f"{', '.join(match(['**'], paths)[:_SHOWN]) or 'none'}. Correct `files` in {EVALUATION_SETS}."
            )
    named = set(match(declared.files, paths))
    return _Held(declared, revision, tuple(file for file in listing if file.path in named))


def _read(name: str, held: _Held, settings: Settings) -> tuple[int, pa.Table]:
    """How many records a set has, and its texts."""
    read, rows = 0, []
    for file, path in zip(held.files, _paths(name, held, settings), strict=True):
        shown = f"{held.declared.repo}/{file.path}" if held.revision else str(path)
        records, texts = read_texts(path, shown, held.declared)
        read += records
        place = {"evaluation_set": name, "file": file.path, "content_id": file.content_id, "revision": held.revision}
        if held.declared.id is None and len(held.files) > 1:  # each file has a row 0
            texts = [text._replace(evaluation_id=f"{file.path}:{text.evaluation_id}") for text in texts]
        rows += [text._asdict() | place for text in texts]
    return read, pa.Table.from_pylist(rows, EVALUATION_SCHEMA)


def _paths(name: str, held: _Held, settings: Settings) -> list[Path]:
    """Where the files of a set lie; those of a dataset are brought here first."""
    if not held.revision:
        return [_local(held.declared, settings)]
    source = open_source(str(held.declared.repo), settings.source_dir, settings.endpoint, settings.token)
    store: Store = settings.store
    parts = fetch_files(f"evaluation set {name}", held.files, held.revision, source, store)
    return [store.path(part) for part in parts]


def _local(declared: EvaluationSet, settings: Settings) -> Path:
    return settings.catalog_dir / "policies" / str(declared.path)


def _line(name: str, held: _Held, records: int, texts: int, too_short: int) -> dict[str, Any]:
    """What is shown of a set. One of which nothing can be looked for is refused: it would protect nobody."""
    if texts == too_short:
        raise UserError(
            f"evaluation set {name!r}: none of its {texts} texts is long enough to be looked for. "
            f"Name other `columns` in {EVALUATION_SETS}, or remove the set."
        )
    return {
        "evaluation_set": name,
        "source": held.declared.repo or held.declared.path,
        "revision": held.revision,
        "files": len(held.files),
        "records": records,
        "texts": texts,
        "too_short": too_short,
    }
