"""A version in the making: parts written aside, renamed when whole, made current last.

A kill at any moment leaves the old version current. Each finished unit of work leaves a small record beside its parts,
so a rerun with the same inputs, code and settings (hence the same version directory) skips it. A version that another
one takes the place of keeps its manifest beside its parts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from nemo_assets.disk import sha256_of, write_durably
from nemo_assets.storage.layout import Stage, part_name
from nemo_assets.storage.manifest import Basis, Manifest, Part, content_version, encode, with_run

CURRENT = "manifest.json"
"""The manifest that is current, in the directory of a partition."""

FORMER = "version.json"
"""The manifest of a version that another one took the place of, in the version's own directory, with its old mtime."""


class Unit(msgspec.Struct, frozen=True):
    """The result of one unit of work: its parts and what it counted."""

    number: int
    parts: tuple[Part, ...]
    counters: dict[str, Any] = {}


@dataclass
class Staging:
    """Writes the parts of one version; `commit` is the only thing that makes it current."""

    root: Path
    stage: Stage
    partition: str
    version: str
    basis: Basis
    directory: Path
    units: dict[int, Unit] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """What a worker needs: it travels with every unit, so without the units already done."""
        return {**self.__dict__, "units": {}}

    def finished(self, number: int) -> Unit | None:
        """The result of a unit that an earlier, interrupted run of the same version finished."""
        path = self._record(number)
        if not path.exists():
            return None
        unit = msgspec.json.decode(path.read_bytes(), type=Unit)
        whole = all(
            (self.root / part.path).is_file() and (self.root / part.path).stat().st_size == part.bytes
            for part in unit.parts
        )
        return unit if whole else None

    def missing(self, numbers: Iterable[int]) -> list[int]:
        """The units still to do; those already done are taken over."""
        todo = []
        for number in numbers:
            unit = self.finished(number)
            if unit is None:
                todo.append(number)
            else:
                self.units[number] = unit
        return todo

    def target(self, table: str, number: int, suffix: str = "parquet") -> Path:
        """The path a part is to be written to; hand the file over with `part`."""
        return self.directory / part_name(table, number, suffix)

    def part(self, table: str, path: Path, rows: int) -> Part:
        """Describe a finished file of this version."""
        return Part(table, path.relative_to(self.root).as_posix(), rows, path.stat().st_size, sha256_of(path))

    def record(self, unit: Unit) -> None:
        """Write down, to outlive a kill, that a unit is done: the last act of whatever process did it."""
        write_durably(self._record(unit.number), msgspec.json.encode(unit, order="sorted"))

    def add(self, unit: Unit) -> None:
        """Take a finished unit over, recording it if the process that did it has not."""
        if self.finished(unit.number) != unit:
            self.record(unit)
        self.units[unit.number] = unit

    def commit(
        self,
        *,
        counters: Mapping[str, Any],
        details: Mapping[str, Any] | None = None,
        content: object = None,
    ) -> Manifest:
        """Make this version current. `content` is what, besides the parts, downstream must see change."""
        parts = tuple(part for number in sorted(self.units) for part in self.units[number].parts)
        manifest = Manifest(
            self.stage, self.partition, self.version, content_version(parts, content),
            dict(self.basis.inputs), dict(self.basis.settings), parts, dict(counters), dict(details or {}),
        )  # fmt: skip
        return make_current(self.directory.parent, manifest)

    def _record(self, number: int) -> Path:
        return self.directory / f"unit-{number:05d}.json"


def make_current(directory: Path, manifest: Manifest) -> Manifest:
    """Put a manifest in the directory of its partition, atomically; returns it with the run that made it.

    One of another version is kept beside its parts first, if it has a directory for them.
    """
    path = directory / CURRENT
    before = _find(path)
    if before is not None and before.version != manifest.version:
        if (directory / before.version).is_dir():
            _keep(path, directory / before.version / FORMER)
        before = _find(directory / manifest.version / FORMER)
    manifest = with_run(manifest, before)
    write_durably(path, encode(manifest))
    return manifest


def _find(path: Path) -> Manifest | None:
    """A manifest; None for what is not there, or is damaged and about to be replaced."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def _keep(path: Path, former: Path) -> None:
    became_current = path.stat().st_mtime_ns
    write_durably(former, path.read_bytes())
    os.utime(former, ns=(became_current, became_current))
