"""A version in the making: parts written aside, renamed when whole, made current last.

A kill at any moment leaves the old version current. Each finished unit of work leaves a small record beside its parts,
so a rerun with the same inputs, code and settings (hence the same version directory) skips it.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from nemo_assets.errors import UserError
from nemo_assets.storage.layout import Stage, part_name
from nemo_assets.storage.manifest import Basis, Manifest, Part, content_version

_CHUNK = 1 << 20


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

    def add(self, unit: Unit) -> None:
        """Record a unit as done."""
        write_durably(self._record(unit.number), msgspec.json.encode(unit, order="sorted"))
        self.units[unit.number] = unit

    def commit(
        self, *, counters: Mapping[str, Any], details: Mapping[str, Any] | None = None, content: object = None
    ) -> Manifest:
        """Make this version current. `content` is what, besides the parts, downstream must see change."""
        parts = tuple(part for number in sorted(self.units) for part in self.units[number].parts)
        manifest = Manifest(
            self.stage, self.partition, self.version, content_version(parts, content),
            dict(self.basis.inputs), dict(self.basis.settings), parts, dict(counters), dict(details or {}),
        )  # fmt: skip
        data = msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1)
        write_durably(self.directory.parent / "manifest.json", data)
        return manifest

    def _record(self, number: int) -> Path:
        return self.directory / f"unit-{number:05d}.json"


def write_durably(path: Path, data: bytes) -> None:
    """Replace a file by new content so that a kill leaves either the old or the new one."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with disk_told(path):
            with aside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def make_directory(path: Path) -> None:
    """Make a directory and those above it; raises UserError where a disk or a setting is in the way."""
    with disk_told(path):
        path.mkdir(parents=True, exist_ok=True)


@contextmanager
def disk_told(path: Path) -> Iterator[None]:
    """Turn what the user can mend about the disk below `path` into a UserError; every other error passes."""
    try:
        yield
    except OSError as error:
        told = explained(error, path)
        if told is None:
            raise
        raise told from error


_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


def explained(error: OSError, path: Path) -> UserError | None:
    """One line for a full disk, a file beyond a limit, or a place that cannot be used; None for any other error."""
    if error.errno in _FULL:
        return UserError(
            f"{path}: the disk is full. Free space there or set NEMO_DATA_DIR to a larger disk. "
            "Finished parts are kept."
        )
    if error.errno == errno.EFBIG:
        return UserError(
            f"{path}: the file became larger than its disk or `ulimit -f` allows. "
            "Raise the limit or set NEMO_DATA_DIR to another disk; finished parts are kept."
        )
    if error.errno in _NOT_WRITABLE:
        return UserError(
            f"{path}: cannot be used ({os.strerror(error.errno)}). "
            "Set NEMO_DATA_DIR, or the folder you named, to a directory you own."
        )
    return None


def sha256_of(path: Path) -> str:
    """sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
