"""Bring the files of one split here, pinned and verified.

Belongs here: which files a split has, taking them over unchanged ones. Does not: how a file is transferred (`hub`).
"""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from nemo_assets.catalog import Split
from nemo_assets.disk import disk_told, make_directory, sha256_of
from nemo_assets.errors import UserError
from nemo_assets.hub.sources import Source, SourceFile
from nemo_assets.storage import Basis, Manifest, Part, Stage, Store
from nemo_assets.storage.manifest import digest
from nemo_assets.storage.parquet import open_parquet, parquet_errors


class SplitFiles(NamedTuple):
    """The files of a split at a revision of its source; `version` changes exactly when a file of the split does."""

    revision: str
    files: tuple[SourceFile, ...]

    @property
    def version(self) -> str:
        return digest([(file.path, file.content_id) for file in self.files])


def split_files(split: Split, source: Source) -> SplitFiles:
    """What the source holds for this split now. Raises UserError if a pattern of the catalog matches no file."""
    revision = source.revision()
    listing = source.files(revision)
    paths = {file.path for file in listing}
    wanted: set[str] = set()
    for pattern in split.entry.files:
        found = {path for path in paths if fnmatch.fnmatchcase(path, pattern)}
        if not found:
            raise UserError(_no_such_file(split, pattern, revision, paths))
        wanted |= found
    return SplitFiles(revision, tuple(file for file in listing if file.path in wanted))


def fetch_split(split: Split, source: Source, store: Store, max_records: int | None = None) -> Manifest:
    """Bring every file of the split into `raw/blobs`, named by content; what is there already is not fetched again.

    With `max_records` only the head of the split is read: a sample of its first records, rows numbered as in the whole.
    `details.files` lists path, blob, content id and the revision where this content of the file first appeared.
    """
    found = split_files(split, source)
    basis = raw_basis(found, max_records)
    current = store.find_current(Stage.RAW, split.key, basis)
    if current is not None:
        return current
    since = _first_revisions(store.find(Stage.RAW, split.key))
    if max_records is None:
        parts = [_fetch(file, found.revision, source, store) for file in found.files]
    else:
        parts = list(_fetch_heads(found, source, store, max_records))
    files = [
        {
            "path": file.path,
            "blob": part.path,
            "content_id": file.content_id,
            "size": file.size,
            "revision": since.get((file.path, file.content_id), found.revision),
            "url": source.url(file.path, found.revision),
        }
        for file, part in zip(found.files, parts, strict=False)
    ]
    version = basis.version(Stage.RAW, split.key)
    counters = {"files": len(parts), "bytes": sum(part.bytes for part in parts)}
    details = {"files": files, "repo": split.repo, "revision": found.revision}
    return store.write_manifest(
        Manifest(
            Stage.RAW,
            split.key,
            version,
            digest(basis.settings),
            {},
            dict(basis.settings),
            tuple(parts),
            counters,
            details,
        )
    )


def raw_basis(found: SplitFiles, max_records: int | None) -> Basis:
    """The raw files depend on what the source holds and on how much of it is wanted."""
    return Basis({}, {"files": found.version, "max_records": str(max_records or "all")})


def _no_such_file(split: Split, pattern: str, revision: str, paths: Iterable[str]) -> str:
    suffix = Path(pattern).suffix
    candidates = sorted(path for path in paths if path.endswith(suffix)) or sorted(paths)
    has = ", ".join(candidates[:8]) + (", …" if len(candidates) > 8 else "") or "no file at all"
    return (
        f"{split.key}: the catalog names {pattern}, the source {split.repo} at {revision[:7]} has no such file. "
        f"It has {has}. Correct `files` in nemo_assets/catalog/{split.slug}.yaml."
    )


def _first_revisions(previous: Manifest | None) -> dict[tuple[str, str], str]:
    files = previous.details["files"] if previous else []
    return {(file["path"], file["content_id"]): file["revision"] for file in files}


def _fetch(file: SourceFile, revision: str, source: Source, store: Store) -> Part:
    blob = store.root / Stage.RAW / "blobs" / file.content_id
    known = blob.is_file() and blob.stat().st_size == file.size
    sha256 = file.sha256 if known and file.sha256 else sha256_of(blob) if known else source.fetch(file, revision, blob)
    return Part("files", blob.relative_to(store.root).as_posix(), 0, file.size, sha256)


def _fetch_heads(found: SplitFiles, source: Source, store: Store, records: int) -> Iterable[Part]:
    """Samples of the files, in order, until `records` records are here."""
    for file in found.files:
        if records <= 0:
            return
        blob = store.root / Stage.RAW / "blobs" / f"{file.content_id}-head-{records}{Path(file.path).suffix}"
        make_directory(blob.parent)
        with source.open(file, found.revision) as stream:
            if file.path.endswith(".parquet"):
                taken = _copy_parquet_head(stream, blob, records, f"{source.repo_id}/{file.path}")
            else:
                taken = _copy_lines_head(stream, blob, records)
        records -= taken
        yield Part("files", blob.relative_to(store.root).as_posix(), 0, blob.stat().st_size, sha256_of(blob))


def _copy_lines_head(stream: Iterable[bytes], blob: Path, records: int) -> int:
    lines = list(itertools.islice(stream, records))
    with disk_told(blob):
        blob.write_bytes(b"".join(lines))
    return len(lines)


def _copy_parquet_head(stream: BinaryIO, blob: Path, records: int, name: str) -> int:
    with open_parquet(stream, name) as file, parquet_errors(name):
        batches = file.iter_batches(batch_size=records)
        first = list(itertools.islice(batches, 1))
        table = pa.Table.from_batches(first, schema=file.schema_arrow).slice(0, records)
    with disk_told(blob):
        pq.write_table(table, blob)
    return int(table.num_rows)
