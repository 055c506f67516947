"""Places outside of this data directory: a row of a release, the source of a split.

Belongs here: reading the address of a published row and finding the record it names. Does not: references
(`references`), pages.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
from pyarrow import ArrowInvalid

from nemo_assets.catalog import Split
from nemo_assets.errors import UserError
from nemo_assets.hub.client import Retry
from nemo_assets.hub.sources import Source, open_source, require_repo_id
from nemo_assets.settings import Settings
from nemo_assets.stages.landing import target_of

_HURRIED = Retry(attempts=2, download_attempts=2, first_wait=0.5, longest_told_wait=2.0)
_PUBLISHED = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[\w./-]+):(?P<file>.+\.parquet):(?P<row>\d+)")


def reference_at(text: str, settings: Settings) -> str | None:
    """The record_uid of the row that `<repo>@<revision>:<file>:<row>` names; None for other text.

    Raises UserError where it is such an address, and nothing lies there.
    """
    found = _PUBLISHED.fullmatch(text.strip())
    if found is None:
        return None
    return published_uid(found["repo"], found["revision"], found["file"], int(found["row"]), settings)


def source_of(settings: Settings) -> Callable[[Split], Source]:
    """Where the records of a split lie, as the settings say; asked without much patience, for somebody waits."""
    return lambda split: open_source(split.repo, settings.source_dir, settings.endpoint, settings.token, _HURRIED)


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
