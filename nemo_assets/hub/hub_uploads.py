"""Sending the bytes of a commit ahead of it: no reader sees them before.

Belongs here: which files go together, and an upload that fails. What the Hub has already is not sent again, so a
publication that was killed goes on where it stopped.
Does not: the commit (`hub_commits`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from httpx2 import HTTPError

from nemo_assets.disk import content_sha256
from nemo_assets.errors import UserError
from nemo_assets.hub.client import Hub
from nemo_assets.hub.hub_commits import location_of
from nemo_assets.progress import track

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi

_GROUP_FILES = 256  # that the Hub takes in one question; two questions a group
_SENT_AGAIN_BYTES = 64 << 10  # a copy as small as this is sent rather than asked for
_GROUP_BYTES = 2 << 30  # sent and retried together; small enough that a progress bar moves


def additions_of(contents: Mapping[str, Path | bytes]) -> list[CommitOperationAdd]:
    """The additions of a commit, sorted by path; each file is read for its digest once."""
    from huggingface_hub import CommitOperationAdd

    additions = []
    for path, content in sorted(contents.items()):
        addition = CommitOperationAdd(path, content)
        addition.upload_info.sha256 = bytes.fromhex(content_sha256(content))
        additions.append(addition)
    return additions


def upload(hub: Hub, repo_id: str, branch: str, additions: Sequence[CommitOperationAdd]) -> None:
    """Send what the Hub lacks, several files at a time.

    Raises:
        UserError: the Hub or its storage refuses a file.
        HTTPError: the Hub refuses, or cannot be reached for longer than patience lasts.
    """
    api = hub.api()
    total = sum(addition.upload_info.size for addition in additions)
    with track(f"upload to {location_of(repo_id)}", total, "B") as meter:
        for group in _groups(additions):
            hub.call(partial(_preupload, api, repo_id, branch, group))
            meter.advance(sum(addition.upload_info.size for addition in group))


def _preupload(api: HfApi, repo_id: str, branch: str, group: list[CommitOperationAdd]) -> None:
    """Upload one group. The client wraps what went wrong with a file, so it is taken out again to be judged.

    Xet storage has errors of its own, which no type of the client gathers; it repeats what can be repeated itself.
    """
    try:
        api.preupload_lfs_files(repo_id, group, repo_type="dataset", revision=branch, free_memory=False)
    except (HTTPError, json.JSONDecodeError):
        raise
    except (RuntimeError, OSError, ValueError) as error:
        if isinstance(error.__cause__, HTTPError):
            raise error.__cause__ from error
        told = " ".join(str(error).split())
        raise UserError(
            f"{location_of(repo_id)}: an upload failed ({told}). Run again: what was sent is not sent twice."
        ) from error


def _groups(additions: Sequence[CommitOperationAdd]) -> Iterator[list[CommitOperationAdd]]:
    """The additions, cut where a group has enough files or bytes; further copies of the same bytes come last.

    By then the Hub has the first: asked within one group, it would want each of them.
    """
    first = {addition.upload_info.sha256: addition for addition in reversed(additions)}
    copies = [
        addition
        for addition in additions
        if first[addition.upload_info.sha256] is not addition and addition.upload_info.size > _SENT_AGAIN_BYTES
    ]
    copied = {id(addition) for addition in copies}
    yield from _cut([addition for addition in additions if id(addition) not in copied])
    yield from _cut(copies)


def _cut(additions: Sequence[CommitOperationAdd]) -> Iterator[list[CommitOperationAdd]]:
    group: list[CommitOperationAdd] = []
    size = 0
    for addition in additions:
        if group and (len(group) == _GROUP_FILES or size + addition.upload_info.size > _GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append(addition)
        size += addition.upload_info.size
    if group:
        yield group
