"""What publishing a split would do: files, bytes, commits, time, and which limits are near. Nothing is sent.

Belongs here: comparing what would be published with what is there. Does not: making the files (`release_files`), which
are kept, so that publishing does not make them again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from nemo_assets.catalog import Split
from nemo_assets.hub.hub_target import COMMIT_FILES
from nemo_assets.hub.targets import FOLDER_ENTRIES
from nemo_assets.settings import Settings
from nemo_assets.stages.landing import target_of
from nemo_assets.stages.published import publish_basis, release_inputs, withdrawn_of
from nemo_assets.stages.release_files import SHARD_BYTES, Withheld, build_release_files
from nemo_assets.stages.release_record import paths_of, records_at
from nemo_assets.storage import Part, Stage

_NEAR = 0.8  # of a limit


@dataclass(frozen=True)
class ReleasePlan:
    """Paths by what would happen to them, bytes, commits; `seconds` is None as long as no upload was measured."""

    split: str
    repo: str
    uploaded: dict[str, int]
    unchanged: dict[str, int]
    deleted: tuple[str, ...]
    commits: int
    bytes_per_second: float | None
    near: tuple[str, ...] = field(default=())

    @property
    def upload_bytes(self) -> int:
        return sum(self.uploaded.values())

    @property
    def seconds(self) -> float | None:
        return None if self.bytes_per_second is None else self.upload_bytes / self.bytes_per_second


def plan_release(split: Split, settings: Settings) -> ReleasePlan:
    """Make the files of the release of a split, and say what sending them would take."""
    target, repo, store = target_of(settings), settings.release_repo(split), settings.store
    inputs = release_inputs(split, store)
    with store.staging(Stage.PUBLISHED, split.key, publish_basis(split, settings, inputs)) as staging:
        withdrawn = withdrawn_of(split, settings, inputs)
        withheld = Withheld(frozenset(withdrawn["record_uid"].to_list()), split.source.dropped_text)
        units = build_release_files(split, settings, inputs, withheld, staging)
    parts = {f"{part.table}/{Path(part.path).name}": part for unit in units for part in unit.parts}
    head = target.head(repo)
    there = target.paths(repo, head) if head else {}
    before = paths_of(records_at(target, repo, head).get(split.name))
    uploaded = {path: part.bytes for path, part in parts.items() if there.get(path) != part.sha256}
    gone = tuple(sorted((before - set(parts)) & set(there)))
    commits = 1 if len(uploaded) <= COMMIT_FILES else math.ceil(len(uploaded) / COMMIT_FILES) + 1
    return ReleasePlan(
        split.key, repo, uploaded, {path: part.bytes for path, part in parts.items() if path not in uploaded},
        gone, commits if uploaded or gone else 0, _measured_rate(settings),
        tuple(_near(there, parts)),
    )  # fmt: skip


def _measured_rate(settings: Settings) -> float | None:
    """Bytes a second of the uploads so far to this destination, the largest one counting."""
    uploads = [
        manifest.details["upload"]
        for manifest in settings.store.manifests(Stage.PUBLISHED)
        if "upload" in manifest.details and manifest.settings["target"].startswith(_prefix(settings))
    ]
    largest = max(uploads, key=lambda upload: upload["bytes"], default=None)
    return None if largest is None else largest["bytes"] / largest["seconds"]


def _prefix(settings: Settings) -> str:
    return settings.destination.removeprefix(str(settings.data_dir))


def _near(there: dict[str, str], parts: dict[str, Part]) -> list[str]:
    """Limits of the Hub that the repo would come near."""
    near = [
        f"{path} has {part.bytes / 1e6:.0f} MB of {SHARD_BYTES / 1e6:.0f}"
        for path, part in parts.items()
        if part.bytes > SHARD_BYTES
    ]
    folders = sorted(path.rpartition("/")[0] for path in {*there, *parts})
    for folder, paths in groupby(folders):
        count = len(list(paths))
        if count > _NEAR * FOLDER_ENTRIES:
            near.append(f"{folder or 'the top folder'} has {count:,} entries of {FOLDER_ENTRIES:,}")
    return near
