"""What a partition of a stage currently is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import msgspec

from nemo_assets.storage.layout import DESCRIPTIONS

_run: ContextVar[str | None] = ContextVar("run", default=None)


class Part(msgspec.Struct, frozen=True):
    """One immutable file. `path` is relative to the data directory; `rows` is 0 for files that hold no rows."""

    table: str
    path: str
    rows: int
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """One version of one partition: its files, what they were made from, and what was counted on the way.

    version: digest of inputs, code and settings; names the directory. data_version: digest of the content; what
    downstream compares. Neither depends on time, machine or worker count. run_id: the Dagster run that made it, None
    outside Dagster; no part of either version.
    """

    stage: str
    partition: str
    version: str
    data_version: str
    inputs: dict[str, str]
    settings: dict[str, str]
    parts: tuple[Part, ...] = ()
    counters: dict[str, Any] = {}
    details: dict[str, Any] = {}
    run_id: str | None = None

    def table(self, name: str) -> tuple[Part, ...]:
        """The parts of one table, in order."""
        return tuple(part for part in self.parts if part.table == name)

    def rows(self, name: str = "rows") -> int:
        return sum(part.rows for part in self.table(name))


@contextmanager
def made_by(run_id: str) -> Iterator[None]:
    """Manifests that become current inside the block name this run as the one that made them."""
    token = _run.set(run_id)
    try:
        yield
    finally:
        _run.reset(token)


def with_run(manifest: Manifest, earlier: Manifest | None) -> Manifest:
    """The manifest with the run that made it: that of `earlier` where this is the same again, else the present one."""
    if earlier is not None:
        again = msgspec.structs.replace(manifest, run_id=earlier.run_id)
        if encode(again) == encode(earlier):
            return again
    return manifest if manifest.run_id else msgspec.structs.replace(manifest, run_id=_run.get())


def encode(manifest: Manifest) -> bytes:
    """A manifest as it lies on the disk: readable, keys sorted."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1)


class Basis(NamedTuple):
    """What a version is made from: data versions of its inputs by name, and the settings and code it depends on."""

    inputs: Mapping[str, str]
    settings: Mapping[str, str]

    def version(self, stage: str, partition: str) -> str:
        """The version that this basis leads to; it names the version's directory."""
        return digest([stage, partition, dict(self.inputs), dict(self.settings)])


def digest(value: object) -> str:
    """16 hex digits of sha256 over the canonical JSON of `value` (keys sorted)."""
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:16]


def content_version(parts: tuple[Part, ...], extra: object = None) -> str:
    """The data version of these parts: tables, names and bytes, not the directory they lie in.

    Tables that describe the content rather than being it do not count: downstream need not see them change.
    """
    content = [part for part in parts if part.table not in DESCRIPTIONS]
    return digest([[(part.table, part.path.rpartition("/")[2], part.sha256) for part in content], extra])
