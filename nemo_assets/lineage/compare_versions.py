"""Two versions of the ledger of a split: which records end otherwise, and what the versions were made from.

Belongs here: the comparison as a value, over any number of records in bounded memory. Does not: keeping versions
(`storage`), what one record went through (`passport`), how it looks.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

import polars as pl

from nemo_assets.catalog import Split
from nemo_assets.errors import UserError
from nemo_assets.lineage.entries import Entry, ScannedLedger
from nemo_assets.lineage.version_inputs import Difference, differences
from nemo_assets.records.schema import LEDGER_SCHEMA
from nemo_assets.storage import Stage, Store, Version
from nemo_assets.storage.parquet import scan

SAMPLED = 5  # records of a cell

_PIECE_ROWS = 250_000  # of each ledger at a time
_PLACE = ("source_file", "source_row")
_ENDS = ("state", "code", "state_new", "code_new")

_Ends = tuple[str | None, ...]
"""Values of _ENDS."""


@dataclass(frozen=True)
class LedgerVersion:
    """A version of the ledger of a split; `since` is when it last became current, `is_whole` whether its files are
    there; run_id: the Dagster run that made it.
    """

    version: str
    since: datetime
    records: int
    kept: int
    is_current: bool
    is_whole: bool
    run_id: str | None


@dataclass(frozen=True)
class End:
    """How a record ended; `code` is None for a kept one."""

    state: str
    code: str | None


@dataclass(frozen=True)
class Moved:
    """A record of a cell as each version has it; `is_here`: the current ledger has it, so it has a passport."""

    record_uid: str
    old: Entry | None
    new: Entry | None
    is_here: bool

    @property
    def entry(self) -> Entry:
        """The newer one there is."""
        found = self.new or self.old
        assert found is not None  # it is drawn from one of the two
        return found


@dataclass(frozen=True)
class Cell:
    """The records that end as `old` in one version and as `new` in the other; None: that version does not have them.

    changed: those that end otherwise or stand behind another survivor; sample: drawn among these.
    """

    old: End | None
    new: End | None
    records: int
    changed: int
    sample: tuple[Moved, ...]


@dataclass(frozen=True)
class FileChange:
    """How many records of a file only one of the versions has: a file with other content has other records."""

    path: str
    vanished: int
    appeared: int


@dataclass(frozen=True)
class VersionComparison:
    """What changed from the version `old` to `new`: every record of either is in one cell.

    differences: what the versions, and what they were made from, were made from; notes: what is not known.
    """

    partition: str
    old: LedgerVersion
    new: LedgerVersion
    seed: int
    cells: tuple[Cell, ...]
    files: tuple[FileChange, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]

    @property
    def changed(self) -> int:
        """Records of both versions that end otherwise or stand behind another survivor."""
        return sum(cell.changed for cell in self.cells if cell.old and cell.new)

    @property
    def unchanged(self) -> int:
        return sum(cell.records - cell.changed for cell in self.cells)

    @property
    def appeared(self) -> int:
        return sum(cell.records for cell in self.cells if cell.old is None)

    @property
    def vanished(self) -> int:
        return sum(cell.records for cell in self.cells if cell.new is None)

    def as_json(self) -> dict[str, Any]:
        """Plain values that the standard `json` writes."""
        told = asdict(self)
        for side in ("old", "new"):
            told[side]["since"] = getattr(self, side).since.isoformat(timespec="seconds")
        counted = {name: getattr(self, name) for name in ("unchanged", "changed", "appeared", "vanished")}
        return told | {"counts": counted}


def ledger_versions(split: Split, store: Store) -> list[LedgerVersion]:
    """The versions of the ledger of a split there are, the one that is current now first."""
    return [_told(version, store) for version in reversed(store.versions(Stage.LEDGER, split.key))]


def _told(version: Version, store: Store) -> LedgerVersion:
    manifest = version.manifest
    counted = (manifest.counters["records"], manifest.counters["kept"])
    whole = store.is_whole(manifest)
    return LedgerVersion(manifest.version, version.since, *counted, version.is_current, whole, manifest.run_id)


def compare_versions(
    split: Split, old: str | None, new: str | None, store: Store, seed: int = 0, sampled: int = SAMPLED
) -> VersionComparison:
    """Compare two versions of the ledger of a split, each named by its name or the beginning of it.

    new: the current one if None; old: the one that was current before `new` if None. `sampled` records of each cell
    are drawn with `seed`: the same seed draws the same.

    Raises UserError for a version there is not, for a single one, and for files that are no longer there.
    """
    store.current(Stage.LEDGER, split.key)  # says what to materialise
    kept = store.versions(Stage.LEDGER, split.key)
    before, after = _chosen(split.key, kept, old, new)
    told = _told(before, store), _told(after, store)
    for version in told:
        if not version.is_whole:
            raise UserError(
                f"{split.key}: the files of version {version.version} of its ledger are no longer here. "
                f"Compare other versions: {_listed([v for v in kept if store.is_whole(v.manifest)])}."
            )
    frames = [scan(store.paths(version.manifest), LEDGER_SCHEMA) for version in (before, after)]
    counted = _count(frames[0], frames[1], sampled, seed)
    files = tuple(FileChange(*line) for line in counted.files.iter_rows())
    samples = _samples(split, (before, after), frames, counted.drawn, store)
    cells = tuple(_cell(line, samples) for line in counted.cells.iter_rows())
    differ, notes = differences(before.manifest, after.manifest, split, store)
    return VersionComparison(split.key, *told, seed, cells, files, differ, tuple(notes))


def _chosen(key: str, kept: list[Version], old: str | None, new: str | None) -> tuple[Version, Version]:
    if len(kept) < 2:
        raise UserError(
            f"{key}: its ledger has one version, so there is nothing to compare it with. "
            "A version that another one takes the place of is kept from then on."
        )
    after = _named(key, kept, new) if new else kept[-1]
    earlier = kept[: kept.index(after)]
    if not old and not earlier:
        raise UserError(
            f"{key}: no version of its ledger is older than {after.manifest.version}. There are {_listed(kept)}."
        )
    before = _named(key, kept, old) if old else earlier[-1]
    if before is after:
        raise UserError(f"{key}: {after.manifest.version} cannot be compared with itself. There are {_listed(kept)}.")
    return before, after


def _named(key: str, kept: list[Version], name: str) -> Version:
    found = [version for version in kept if version.manifest.version.startswith(name)]
    if len(found) != 1:
        told = "several versions" if found else "no version"
        raise UserError(f"{key}: {name} names {told} of its ledger. There are {_listed(kept)}.")
    return found[0]


def _listed(versions: list[Version]) -> str:
    told = (
        f"{version.manifest.version} (since {version.since:%Y-%m-%d %H:%M} UTC{', current' * version.is_current})"
        for version in reversed(versions)
    )
    return ", ".join(told) or "none"


class _Counted(NamedTuple):
    """Frames with a line for each cell (`records`, `changed`), for each record drawn (`record_uid`, `nearness`), and
    for each file with records of one version only (`vanished`, `appeared`).
    """

    cells: pl.DataFrame
    drawn: pl.DataFrame
    files: pl.DataFrame


def _count(old: pl.LazyFrame, new: pl.LazyFrame, sampled: int, seed: int) -> _Counted:
    """What there is to count in two ledgers, and a sample of what changed in each cell."""
    salt = random.Random(seed).getrandbits(64)
    columns = ("record_uid", "state", "code", "survivor_uid", *_PLACE)
    pieces = (
        _counted(_paired(before, after), sampled, salt)
        for before, after in _pieces(old.select(columns), new.select(columns))
    )
    cells, drawn, files = (pl.concat(frames) for frames in zip(*pieces, strict=True))
    ordered = pl.col("state", "state_new").replace("kept", "")  # before the others
    return _Counted(
        cells.group_by(_ENDS).sum().sort(ordered, "code", "code_new", nulls_last=True),
        _nearest(drawn, sampled),
        files.group_by("path").sum().sort("path"),
    )


def _pieces(old: pl.LazyFrame, new: pl.LazyFrame) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Both ledgers in pieces that end at the same place.

    Ledgers are in the order of their places, and a record_uid is a digest of the place: equal ones are in one piece.
    """
    readers = [frame.collect_batches(chunk_size=_PIECE_ROWS, maintain_order=True) for frame in (old, new)]
    rest = [next(reader, None) for reader in readers]
    nothing = pl.DataFrame(schema=old.collect_schema())
    while any(piece is not None for piece in rest):
        end = min(_last(piece) for piece in rest if piece is not None)
        sizes = [0 if piece is None else _until(piece, end) for piece in rest]
        before, after = (
            nothing if piece is None else piece.head(size) for piece, size in zip(rest, sizes, strict=True)
        )
        yield before, after
        for side, (piece, size) in enumerate(zip(rest, sizes, strict=True)):
            if piece is not None:
                rest[side] = piece.slice(size) if size < piece.height else next(readers[side], None)


def _last(piece: pl.DataFrame) -> tuple[str, int]:
    file, row = piece.select(_PLACE).row(-1)
    return file, row


def _until(piece: pl.DataFrame, end: tuple[str, int]) -> int:
    """How many rows of a piece do not lie behind a place."""
    if _last(piece) == end:
        return piece.height
    file, row = (pl.col(name) for name in _PLACE)
    return int(piece.select(((file < end[0]) | ((file == end[0]) & (row <= end[1]))).sum()).item())


def _paired(old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """One line a record of either; the columns of `new` end in `_new`, those of a side that lacks it are null."""
    if old.height == new.height and (old["record_uid"] == new["record_uid"]).all():
        return old.hstack(new.drop("record_uid").rename(lambda name: f"{name}_new"))
    return old.join(new, on="record_uid", how="full", coalesce=True, suffix="_new")


def _counted(pairs: pl.DataFrame, sampled: int, salt: int) -> _Counted:
    """The counts of one piece. Drawn are the uids nearest to the salt, which are any: a uid is a digest."""
    of_both = (("state", "state_new"), ("code", "code_new"), ("survivor_uid", "survivor_uid_new"))
    changed = pl.any_horizontal(pl.col(a).ne_missing(pl.col(b)) for a, b in of_both)
    digest = pl.col("record_uid").bin.slice(0, 8).bin.reinterpret(dtype=pl.UInt64)
    vanished, appeared = pl.col("state_new").is_null(), pl.col("state").is_null()
    path = pl.coalesce("source_file", "source_file_new")
    pairs = pairs.with_columns(changed=changed)
    drawn = pairs.filter("changed").select(*_ENDS, "record_uid", nearness=digest ^ pl.lit(salt, pl.UInt64))
    return _Counted(
        pairs.group_by(_ENDS).agg(pl.len().cast(pl.Int64).alias("records"), pl.col("changed").sum().cast(pl.Int64)),
        _nearest(drawn, sampled),
        pairs.filter(vanished | appeared).group_by(path=path).agg(vanished=vanished.sum(), appeared=appeared.sum()),
    )


def _nearest(drawn: pl.DataFrame, sampled: int) -> pl.DataFrame:
    return drawn.sort("nearness", "record_uid").group_by(_ENDS, maintain_order=True).head(sampled)


def _samples(
    split: Split, versions: tuple[Version, Version], frames: list[pl.LazyFrame], drawn: pl.DataFrame, store: Store
) -> dict[_Ends, list[Moved]]:
    """The records drawn, by cell, as both versions have them."""
    uids = drawn["record_uid"].to_list()
    old, new = (_entries(split.key, frame, uids) for frame in frames)
    if versions[1].is_current:
        here = new
    elif versions[0].is_current:
        here = old
    else:
        current = store.current(Stage.LEDGER, split.key)
        here = _entries(split.key, scan(store.paths(current), LEDGER_SCHEMA), uids)
    samples: dict[_Ends, list[Moved]] = {}
    for *ends, uid in drawn.select(*_ENDS, "record_uid").iter_rows():
        samples.setdefault(tuple(ends), []).append(Moved(uid.hex(), old.get(uid), new.get(uid), uid in here))
    return samples


def _entries(key: str, frame: pl.LazyFrame, uids: Collection[bytes]) -> dict[bytes, Entry]:
    return {entry.uid: entry for entry in ScannedLedger(key, frame, ()).of_uids(uids)}


def _cell(line: tuple[Any, ...], samples: dict[_Ends, list[Moved]]) -> Cell:
    *ends, records, changed = line
    old, new = (End(state, code) if state else None for state, code in (ends[:2], ends[2:]))
    return Cell(old, new, records, changed, tuple(samples.get(tuple(ends), ())))
