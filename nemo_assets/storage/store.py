"""The data directory: find what is current, start a new version."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from nemo_assets.disk import locked, make_directory, remove_abandoned
from nemo_assets.errors import UserError
from nemo_assets.storage.layout import Stage
from nemo_assets.storage.manifest import Basis, Manifest, Part
from nemo_assets.storage.staging import CURRENT, FORMER, Staging, make_current

_own = threading.local()  # which partition this thread holds


class Version(NamedTuple):
    """A version of a partition that is or was current, last since `since`."""

    manifest: Manifest
    since: datetime
    is_current: bool


class Store:
    """`<root>/<stage>/<partition>/<version>/…` and one `manifest.json` a partition, naming the current version."""

    def __init__(self, root: Path) -> None:
        if "://" in str(root) or str(root).startswith(("s3:", "hf:")):
            raise UserError(f"{root}: the data directory must be a local path; object stores are not supported.")
        self.root = root

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    def directory(self, stage: Stage, partition: str) -> Path:
        return self.root / stage / partition

    def path(self, part: Part) -> Path:
        return self.root / part.path

    def paths(self, manifest: Manifest, table: str = "rows") -> list[Path]:
        """The files of one table of a manifest."""
        return [self.path(part) for part in manifest.table(table)]

    def find(self, stage: Stage, partition: str) -> Manifest | None:
        """The current manifest of a partition, or None if it was never made."""
        path = self.directory(stage, partition) / CURRENT
        return self._read(path) if path.exists() else None

    def _read(self, path: Path) -> Manifest:
        try:
            return msgspec.json.decode(path.read_bytes(), type=Manifest)
        except msgspec.MsgspecError as error:
            stage, _, partition = path.parent.relative_to(self.root).as_posix().partition("/")
            cure = f" and materialise {stage} of {partition} again" if path.name == CURRENT else ""
            raise UserError(f"{path}: not a manifest ({error}). Delete it{cure}.") from None

    def versions(self, stage: Stage, partition: str) -> list[Version]:
        """Every version that is or was current, in the order in which they last became so; parts may have been deleted.

        Only what is made by `staging` has versions that were.
        """
        directory = self.directory(stage, partition)
        former = [self._version(path, False) for path in directory.glob(f"*/{FORMER}")]
        current = [self._version(path, True) for path in [directory / CURRENT] if path.exists()]
        now = {version.manifest.version for version in current}
        others = (version for version in former if version.manifest.version not in now)
        return [*sorted(others, key=lambda version: (version.since, version.manifest.version)), *current]

    def _version(self, path: Path, is_current: bool) -> Version:
        return Version(self._read(path), datetime.fromtimestamp(path.stat().st_mtime, UTC), is_current)

    def is_whole(self, manifest: Manifest) -> bool:
        """Whether the files of a manifest are there, in their sizes."""
        return all(self._has(part) for part in manifest.parts)

    def current(self, stage: Stage, partition: str) -> Manifest:
        """The current manifest; raises UserError saying what to materialise if there is none."""
        manifest = self.find(stage, partition)
        if manifest is None:
            raise UserError(f"{partition}: {stage} does not exist yet. Materialise {stage} of {partition} first.")
        return manifest

    def find_current(self, stage: Stage, partition: str, basis: Basis) -> Manifest | None:
        """The manifest of a partition if it was made from exactly this basis and its files are there, else None."""
        manifest = self.find(stage, partition)
        if manifest is None or manifest.version != basis.version(stage, partition):
            return None
        return manifest if self.is_whole(manifest) else None

    def _has(self, part: Part) -> bool:
        path = self.path(part)
        return path.is_file() and path.stat().st_size == part.bytes

    @contextmanager
    def sole(self, stage: Stage, partition: str) -> Iterator[None]:
        """Hold one partition of a stage alone; another process or thread that wants it waits, saying for whom.

        What killed processes left half written there is removed. A thread holds one partition at a time, so that no
        two can wait for each other.
        """
        wanted = f"{stage} of {partition}"
        held = getattr(_own, "partition", None)
        if held is not None:
            raise RuntimeError(f"{wanted} cannot be held together with {held}: two processes could wait for each other")
        directory = self.directory(stage, partition)
        make_directory(directory)
        with locked(directory / ".lock"):
            remove_abandoned(directory)
            _own.partition = wanted
            try:
                yield
            finally:
                _own.partition = None
            remove_abandoned(directory)  # of a killed process's workers too, which may have outlived it for a moment

    @contextmanager
    def staging(self, stage: Stage, partition: str, basis: Basis) -> Iterator[Staging]:
        """A new version in the making, held by this process alone.

        Only `Staging.commit` makes it current; an error inside leaves the old one. Who had to wait for another process
        finds the units that it finished.
        """
        version = basis.version(stage, partition)
        directory = self.directory(stage, partition) / version
        with self.sole(stage, partition):
            make_directory(directory)
            yield Staging(self.root, stage, partition, version, basis, directory)

    def write_manifest(self, manifest: Manifest) -> Manifest:
        """Make a manifest current, atomically; as it then is, with the run that made it."""
        directory = self.root / manifest.stage / manifest.partition
        make_directory(directory)
        return make_current(directory, manifest)

    def manifests(self, stage: Stage | None = None) -> Iterator[Manifest]:
        """Every current manifest, stages in chain order, partitions sorted."""
        for each in [stage] if stage else list(Stage):
            for path in sorted((self.root / each).glob(f"**/{CURRENT}")):
                yield self._read(path)
