"""Read two releases of a repo and compare them, split by split.

Of a release only what is compared is read: no text, and no file that the other release has with equal bytes.

Belongs here: which releases, which files, which columns. Does not: what a difference is and why (`release_comparison`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pyarrow as pa

from nemo_assets.catalog import Split
from nemo_assets.errors import UserError
from nemo_assets.hub.targets import Target
from nemo_assets.progress import track
from nemo_assets.stages.release_comparison import LEDGER_KEYS, ROW_KEYS, Release, ReleaseDiff, Table, compare
from nemo_assets.stages.release_files import SIDE_SCHEMAS, config_schema
from nemo_assets.stages.release_record import Record, records_at, results_at
from nemo_assets.storage.parquet import PartWriter, open_parquet, parquet_errors, scan

_HEAVY = frozenset({"text", "source_meta_json", "meta_eval_json"})  # what they hold shows in digests and other columns
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SCRATCH = "nemo-release-diff-"
_READ_ROWS = 1 << 16  # at a time; other columns than text are small


def release_diff(target: Target, repo: str, before: str, after: str) -> list[ReleaseDiff]:
    """How two releases of `repo`, tags or commit ids, differ: one comparison for every split that either has.

    Raises UserError if the repo has no such release.
    """
    revisions = [_revision(target, repo, name) for name in (before, after)]
    records = [_records(target, repo, revision) for revision in revisions]
    for name, found in zip((before, after), records, strict=True):
        if not found:
            raise UserError(_no_release(target, repo, name))
    diffs = []
    for split in sorted(set().union(*records)):
        sides = [
            _Side(name, found.get(split, {}), _Opener(target, repo, revision))
            for name, found, revision in zip((before, after), records, revisions, strict=True)
        ]
        diffs.append(_compare(*sides))
    return diffs


def since_release(
    target: Target, repo: str, revision: str, split: Split, record: Record, files: Mapping[str, Path]
) -> ReleaseDiff:
    """How a release of `split` that is about to be made differs from the one at `revision`.

    `files`: where each file that `record` names lies on this machine.
    """
    before = records_at(target, repo, revision).get(split.name, {})
    return _compare(_Side(revision, before, _Opener(target, repo, revision)), _Side("now", record, None, files))


@dataclass(frozen=True)
class _Opener:
    """Opens the files of a repo at one revision."""

    target: Target
    repo: str
    revision: str

    def batches(self, path: str, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Those of the columns that a file has, in the order of the rows; first of all a table without rows."""
        name = f"{self.target.location(self.repo)}/{path}"
        with self.target.open(self.repo, path, self.revision) as stream, open_parquet(stream, name) as file:
            present = [each for each in columns if each in file.schema_arrow.names]
            yield file.schema_arrow.empty_table().select(present)
            with parquet_errors(name):
                for batch in file.iter_batches(_READ_ROWS, columns=present):
                    yield pa.Table.from_batches([batch]).select(present)


@dataclass(frozen=True)
class _Side:
    """One release of a split: its record and its files, in a repo or (`files`, by path in the repo) on this machine."""

    name: str
    record: Mapping[str, Any]
    opener: _Opener | None
    files: Mapping[str, Path] | None = None

    @property
    def configs(self) -> Mapping[str, Mapping[str, Any]]:
        configs: Mapping[str, Mapping[str, Any]] = self.record.get("configs", {})
        return configs

    def read(self, columns: Sequence[str], without: Mapping[str, frozenset[str]], scratch: Path) -> Release:
        """The release with these columns of its rows, less the files of each config whose sha256 is in `without`."""

        def table(config: str, columns: Sequence[str], left_out: frozenset[str] = frozenset()) -> Table:
            entry = self.configs.get(config, {"paths": [], "sha256": []})
            found = zip(entry["paths"], entry["sha256"], strict=True)
            return self._table(config, [path for path, sha256 in found if sha256 not in left_out], columns, scratch)

        pools = [name for name in self.configs if name != "rows" and name not in SIDE_SCHEMAS]
        return Release(
            name=self.name,
            record=self.record,
            rows=table("rows", columns, without.get("rows", frozenset())),
            pools={name: table(name, ["id"], without.get(name, frozenset())) for name in pools},
            ledger=table("ledger", LEDGER_KEYS),
        )

    def _table(self, config: str, paths: list[str], columns: Sequence[str], scratch: Path) -> Table:
        if not paths:
            schema = config_schema(config)
            return scan([], pa.schema([schema.field(name) for name in columns]))
        if self.files is not None:
            return _select(scan([self.files[path] for path in paths], config_schema(config)), columns)
        assert self.opener is not None
        return _Fetched(self.opener, tuple(paths), tuple(columns), scratch / f"{config}.parquet")


@dataclass(frozen=True)
class _Fetched:
    """Columns of published files, copied here when they are first asked for."""

    opener: _Opener
    paths: tuple[str, ...]
    columns: tuple[str, ...]
    copy: Path

    def lazy(self) -> pl.LazyFrame:
        if not self.copy.exists():
            self._fetch()
        return pl.scan_parquet(self.copy)

    def _fetch(self) -> None:
        tables = self._tables()
        first = next(tables)
        with PartWriter(self.copy, first.schema, passing=True) as writer:
            for table in tables:
                writer.write(table.cast(first.schema))

    def _tables(self) -> Iterator[pa.Table]:
        with track(f"read {self.opener.repo} {self.copy.stem}", len(self.paths), "files") as meter:
            for path in self.paths:
                yield from self.opener.batches(path, self.columns)
                meter.advance(1)


def _select(frame: pl.LazyFrame, columns: Sequence[str]) -> pl.LazyFrame:
    present = set(frame.collect_schema().names())
    return frame.select(name for name in columns if name in present)


def _compare(before: _Side, after: _Side) -> ReleaseDiff:
    shared = {
        config: frozenset(before.configs[config]["sha256"]) & frozenset(after.configs[config]["sha256"])
        for config in before.configs
        if config in after.configs
    }
    light = [name for name in config_schema("rows").names if name not in _HEAVY]
    columns = light if before.record and after.record else ROW_KEYS
    with TemporaryDirectory(prefix=_SCRATCH) as directory:
        releases = []
        for side, name in ((before, "before"), (after, "after")):
            scratch = Path(directory) / name
            scratch.mkdir()
            releases.append(side.read(columns, shared, scratch))
        return compare(*releases)


def _records(target: Target, repo: str, revision: str) -> dict[str, Record]:
    """The records of all splits; their configs are joined by those made from scores."""
    records, results = records_at(target, repo, revision), results_at(target, repo, revision)
    return {
        split: {**record, "configs": results.get(split, {}).get("configs", {}) | record["configs"]}
        for split, record in records.items()
    }


def _revision(target: Target, repo: str, name: str) -> str:
    tags = target.refs(repo).tags
    if name in tags:
        return tags[name]
    if _COMMIT.fullmatch(name):
        try:
            target.paths(repo, name)
        except UserError as error:
            raise UserError(f"{_no_release(target, repo, name)} ({error})") from None
        return name
    raise UserError(_no_release(target, repo, name))


def _no_release(target: Target, repo: str, name: str) -> str:
    known = ", ".join(target.refs(repo).tags) or "none yet"
    return f"{target.location(repo)} has no release {name}. Name one by its tag or its commit. It has {known}."
