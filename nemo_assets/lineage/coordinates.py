"""Places outside of this data directory that name a record: a row of the Hub's viewer, a row of a release.

Belongs here: reading such an address and finding the record it names. Does not: references (`references`), pages.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pyarrow.parquet as pq
from pyarrow import ArrowInvalid

from nemo_assets.catalog import Catalog
from nemo_assets.errors import UserError
from nemo_assets.hub.sources import require_repo_id
from nemo_assets.settings import Settings
from nemo_assets.stages.landing import target_of
from nemo_assets.storage import Stage, Store

_PUBLISHED = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[\w./-]+):(?P<file>.+\.parquet):(?P<row>\d+)")
_VIEWER = re.compile(r"/datasets/(?P<repo>[^/]+/[^/]+)/viewer/(?P<subset>[^/]+)/(?P<split>[^/]+)/?")


def reference_at(text: str, settings: Settings) -> str | None:
    """The reference that an address of the viewer or `<repo>@<revision>:<file>:<row>` leads to; None for other text.

    Raises UserError where it is such an address, and nothing lies there.
    """
    published = _PUBLISHED.fullmatch(text.strip())
    if published:
        return published_uid(
            published["repo"], published["revision"], published["file"], int(published["row"]), settings
        )
    return viewer_place(text.strip(), settings.catalog, settings.store)


def viewer_place(url: str, catalog: Catalog, store: Store) -> str | None:
    """The place of a row that the Hub's viewer shows, or None if `url` is no such address.

    The viewer numbers rows through all files of a split, in the order of their paths.

    Raises UserError for a split the catalog does not name, one that is not normalized yet, and a row beyond its end.
    """
    address = urlsplit(url)
    found = _VIEWER.fullmatch(unquote(address.path)) if address.scheme in ("http", "https") else None
    if found is None:
        return None
    number = parse_qs(address.query).get("row", ["0"])[0]
    if not (number.isascii() and number.isdecimal()):
        raise UserError(f"{url}: row={number} is no row number.")
    slug, _ = catalog.source(found["repo"])
    split = catalog.split(f"{slug}/{found['split']}")
    files: dict[str, dict[str, int]] = store.current(Stage.NORMALIZED, split.key).counters["files"]
    row = int(number)
    for path, file in sorted(files.items()):
        if row < file["records"]:
            return f"{found['repo']}:{found['split']}:{path}:{row}"
        row -= file["records"]
    total = sum(file["records"] for file in files.values())
    raise UserError(f"{url}: {split.key} has {total:,} records here, rows 0 to {total - 1}.")


def published_uid(repo: str, revision: str, file: str, row: int, settings: Settings) -> str:
    """The record_uid (hex) of row `row`, counted from 0, of a published Parquet file at a revision or tag.

    Only the row group of the row is read, and of it one column.

    Raises UserError where there is no such revision, file or row, or the file tells of no records.
    """
    require_repo_id(repo)
    target = target_of(settings)
    refs = target.refs(repo)
    commit = refs.tags.get(revision) or refs.branches.get(revision) or revision
    place = f"{target.location(repo)}@{revision}: {file}"
    try:
        with target.open(repo, file, commit) as stream, pq.ParquetFile(stream) as published:
            return _uid_of(published, row, place)
    except ArrowInvalid as error:
        raise UserError(f"{place} is no Parquet file ({error}).") from None


def _uid_of(published: Any, row: int, place: str) -> str:
    metadata = published.metadata
    if "record_uid" not in published.schema_arrow.names:
        raise UserError(f"{place} has no column record_uid: its rows are no records.")
    left = row
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        if left < rows:
            uid = published.read_row_group(group, ["record_uid"])["record_uid"][left].as_py()
            return uid.hex() if isinstance(uid, bytes) else str(uid)
        left -= rows
    raise UserError(f"{place} has no row {row}. Its rows are 0 to {metadata.num_rows - 1}.")
