"""Bring the files of one split here, pinned and verified.

Belongs here: taking files over, each content once. Does not: which files a split has (`split_files`), samples of them
(`heads`), how a file is transferred (`hub`).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from nemo_assets.catalog import Split
from nemo_assets.disk import make_directory, write_durably
from nemo_assets.errors import UserError
from nemo_assets.hub.download import partial_path
from nemo_assets.hub.local_files import sha256_at
from nemo_assets.hub.sources import Source, SourceFile, not_older
from nemo_assets.hub.transfers import together
from nemo_assets.stages.heads import fetch_heads
from nemo_assets.stages.split_files import SplitFiles, split_files
from nemo_assets.storage import Basis, Manifest, Part, Stage, Store
from nemo_assets.storage.manifest import digest


def fetch_split(
    split: Split, source: Source, store: Store, max_records: int | None = None, reported: str | None = None
) -> Manifest:
    """Bring every file of the split into `raw/blobs`, named by content; what is there already is not fetched again.

    With `max_records` only the head of the split is read: a sample of its first records, rows numbered as in the whole.
    A head older than the `reported` revision, else than the one that is current here, is taken for a lagging cache.
    `details.files` lists path, blob, content id and the revision where this content of the file first appeared;
    `details.left_out` the files that say the same records again, with the reason.

    Raises:
        UserError: the source cannot be reached or is not as the catalog says, or the disk cannot hold the files;
            nothing is made current.
    """
    before = store.find(Stage.RAW, split.key)
    source = not_older(source, reported or (before.details["revision"] if before else None))
    found = split_files(split, source)
    basis = raw_basis(found, max_records)
    current = store.find_current(Stage.RAW, split.key, basis)
    if current is not None:
        return current
    with store.sole(Stage.RAW, split.key):  # who had to wait for another process finds what it fetched
        return store.find_current(Stage.RAW, split.key, basis) or _bring(split, found, source, store, max_records)


def _bring(split: Split, found: SplitFiles, source: Source, store: Store, max_records: int | None) -> Manifest:
    basis = raw_basis(found, max_records)
    since = _first_revisions(store.find(Stage.RAW, split.key))
    if max_records is None:
        parts = fetch_files(split.key, found.files, found.revision, source, store)
        contents = [part.sha256 for part in parts]
    else:
        heads = list(fetch_heads(found, source, store, max_records))
        parts, contents = [head.part for head in heads], [head.content_id for head in heads]
    files = [
        {
            "path": file.path,
            "blob": part.path,
            "content_id": content,
            "held_as": file.content_id,
            "size": file.size,
            "revision": since.get((file.path, file.content_id), found.revision),
            "url": source.url(file.path, found.revision),
        }
        for file, part, content in zip(found.files, parts, contents, strict=False)
    ]
    version = basis.version(Stage.RAW, split.key)
    counters = {"files": len(parts), "bytes": sum(part.bytes for part in parts)}
    left_out = [{"path": path, "reason": reason} for path, reason in found.left_out]
    details = {
        "files": files,
        "repo": split.repo,
        "revision": found.revision,
        **({"left_out": left_out} if left_out else {}),
    }
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


def _first_revisions(previous: Manifest | None) -> dict[tuple[str, str], str]:
    files = previous.details["files"] if previous else []
    # Manifests of earlier versions know a file by what it is held as alone.
    return {(file["path"], file.get("held_as", file["content_id"])): file["revision"] for file in files}


def fetch_files(label: str, files: Sequence[SourceFile], revision: str, source: Source, store: Store) -> list[Part]:
    """Bring files of a source into `raw/blobs`; `label` says for whom. What is there already is not fetched again."""
    blobs = store.root / Stage.RAW / "blobs"
    make_directory(blobs)
    _require_space(label, files, blobs)
    transfers = [partial(_fetch, file, revision, source, store) for file in files]
    return together(transfers, label, sum(file.size for file in files))


def _require_space(label: str, files: Sequence[SourceFile], blobs: Path) -> None:
    """Refuse to begin what the disk cannot hold."""
    wanted = {file.content_id: file.size for file in files}
    here = {name: max(_size(blobs / name), _size(partial_path(blobs, name))) for name in wanted}
    missing = sum(max(0, size - here[name]) for name, size in wanted.items())
    free = shutil.disk_usage(blobs).free
    if missing > free:
        raise UserError(
            f"{blobs}: the disk is full for {label}: {missing:,} bytes are needed, {free:,} are free. "
            "Free space there or set NEMO_DATA_DIR to a larger disk. What was fetched before is kept."
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _fetch(file: SourceFile, revision: str, source: Source, store: Store) -> Part:
    """The file by its content: one that is here already is verified by its digest instead of fetched again.

    What git itself holds is known by git's digest until it is here; the sha256 names it wherever it came from.
    """
    blobs = store.root / Stage.RAW / "blobs"
    held = blobs / file.content_id
    sha256 = source.fetch(file, revision, held)
    blob = blobs / sha256
    if blob != held and not (blob.is_file() and sha256_at(blob) == sha256):
        write_durably(blob, held.read_bytes())
    return Part("files", blob.relative_to(store.root).as_posix(), 0, file.size, sha256)
