"""What the sources look like: columns, types, null rates and defects of every split that is here, in one report.

Belongs here: reading the raw files, keeping the census of each split, putting the report together. Does not: how values
are counted (`records.census`), what becomes of a record (`normalized`, `ledger`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from nemo_assets.catalog import Catalog
from nemo_assets.disk import write_durably
from nemo_assets.errors import ConservationError, Rejected, UserError
from nemo_assets.records import census as census_module
from nemo_assets.records import parsing as parsing_module
from nemo_assets.records.census import Census, mixed_paths
from nemo_assets.records.parsing import deep_recursion, parse_record
from nemo_assets.records.recipe import code_digest
from nemo_assets.stages.normalized import lines_of
from nemo_assets.stages.units import UNIT_BYTES, Extent, plan_extents, run_units
from nemo_assets.storage import Basis, Manifest, Stage, Store, Unit
from nemo_assets.storage.manifest import digest
from nemo_assets.storage.parquet import open_parquet

PARTITION = "all"
MIXED_SHOWN = 12  # paths of mixed type a split in the table of the manifest; the report has all

_INVALID = object()  # a Parquet string that is no UTF-8


@dataclass(frozen=True)
class Piece:
    """One extent of one file, to be counted by any process."""

    extent: Extent
    path: str
    blob: Path


@dataclass
class Counted:
    """Records of one or more extents: objects in `census`, others by reason or JSON type."""

    census: Census = field(default_factory=Census)
    unparseable: Counter[str] = field(default_factory=Counter)
    not_an_object: Counter[str] = field(default_factory=Counter)

    @property
    def records(self) -> int:
        return self.census.objects + self.unparseable.total() + self.not_an_object.total()

    def merge(self, other: Counted) -> None:
        self.census.merge(other.census)
        self.unparseable.update(other.unparseable)
        self.not_an_object.update(other.not_an_object)


def take_inventory(catalog: Catalog, store: Store, workers: int = 1) -> Manifest:
    """Write `inventory.json` over the raw files of the splits that exist: repo, then split, then what it holds.

    The census of a split is kept by content, so only splits with new raw data are read. Output bytes do not depend on
    `workers`.

    Raises:
        UserError: no split has raw files yet, or a file of one is gone or unreadable.
        ConservationError: records counted differ from records in the files; nothing is made current.
    """
    raws = {key: raw for key in catalog.splits if (raw := store.find(Stage.RAW, key))}
    if not raws:
        raise UserError("inventory: no split has raw files yet. Materialise raw of at least one split first.")
    basis = inventory_basis(catalog, raws)
    current = store.find_current(Stage.INVENTORY, PARTITION, basis)
    if current is not None:
        return current
    with store.staging(Stage.INVENTORY, PARTITION, basis) as staging:
        censuses = {key: _kept_census(raw, store, basis.settings["code"], workers) for key, raw in raws.items()}
        path = staging.directory / "inventory.json"
        report = msgspec.json.encode(_report(catalog, censuses), order="sorted")
        write_durably(path, msgspec.json.format(report, indent=1))
        staging.add(Unit(0, (staging.part("inventory", path, 0),)))
        table = [_summary(key, census) for key, census in censuses.items()]
        return staging.commit(counters=_counters(censuses), details={"splits": table})


def inventory_basis(catalog: Catalog, raws: Mapping[str, Manifest]) -> Basis:
    """The raw bytes of each split, the repos they are reported under, and the code that counts."""
    modules = (__file__, census_module.__file__, parsing_module.__file__)
    code = digest([code_digest(Path(module)) for module in modules])
    repos = digest([(key, catalog.splits[key].repo) for key in raws])
    return Basis({key: raw.data_version for key, raw in raws.items()}, {"code": code, "repos": repos})


def census_of_split(raw: Manifest, store: Store, workers: int = 1, unit_bytes: int = UNIT_BYTES) -> dict[str, Any]:
    """Records, objects, what is neither, files and columns of one split, in JSON types. Reads every file of it.

    Raises:
        UserError: a file is gone or cannot be read as what its name says.
        ConservationError: records counted differ from records in the files.
    """
    files = [(file["path"], store.root / file["blob"]) for file in raw.details["files"]]
    for path, blob in files:
        if not blob.is_file():
            raise UserError(f"{raw.partition}: {path} is gone from {blob}. Materialise raw of {raw.partition} again.")
    pieces = [Piece(extent, *files[extent.file]) for extent in plan_extents(files, unit_bytes)]
    total, records, label = Counted(), Counter({path: 0 for path, _ in files}), f"inventory {raw.partition}"
    counts = run_units(_count_piece, pieces, workers, label, lambda piece: piece.extent.records, "records")
    for piece, counted in zip(pieces, counts, strict=True):
        total.merge(counted)
        records[piece.path] += piece.extent.records
    if total.records != records.total():
        raise ConservationError(
            f"{raw.partition}: the files hold {records.total()} records, {total.records} were counted. "
            "This is a defect of nemo_assets; nothing was made current."
        )
    return {
        "records": total.records,
        "objects": total.census.objects,
        "unparseable": dict(sorted(total.unparseable.items())),
        "not_an_object": dict(sorted(total.not_an_object.items())),
        "files": [{"path": path, "records": records[path], "bytes": blob.stat().st_size} for path, blob in files],
        "columns": total.census.columns(),
    }


def _kept_census(raw: Manifest, store: Store, code: str, workers: int) -> dict[str, Any]:
    """The census of a split, taken now unless an earlier inventory has counted the same bytes with the same code."""
    path = store.root / Stage.INVENTORY / "census" / f"{raw.data_version}-{code}.json"
    if path.exists():
        kept: dict[str, Any] = msgspec.json.decode(path.read_bytes())
        return kept
    census = census_of_split(raw, store, workers)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, msgspec.json.encode(census, order="sorted"))
    return census


def _count_piece(piece: Piece) -> Counted:
    counted = Counted()
    records = _parquet_records if piece.path.endswith(".parquet") else _line_records
    with deep_recursion():
        for record in records(piece):
            if isinstance(record, dict):
                counted.census.add(record)
            elif record.code == "not_an_object":
                counted.not_an_object[record.evidence["type"]] += 1
            else:
                counted.unparseable[record.evidence["reason"]] += 1
    return counted


def _line_records(piece: Piece) -> Iterator[dict[str, Any] | Rejected]:
    for _, _, line in lines_of(piece.blob, piece.extent):
        try:
            record, _ = parse_record(line)
        except Rejected as rejection:
            yield rejection
        else:
            yield record


def _parquet_records(piece: Piece) -> Iterator[dict[str, Any] | Rejected]:
    with open_parquet(piece.blob) as file:
        for group in range(piece.extent.start, piece.extent.end):
            table = file.read_row_group(group)
            for values in zip(*map(_values, table.columns), strict=True):
                if any(value is _INVALID for value in values):
                    yield Rejected("unparseable", reason="invalid_utf8")
                else:
                    yield dict(zip(table.column_names, values, strict=True))


def _values(column: pa.ChunkedArray) -> Iterable[Any]:
    """The values of a column; strings that are no UTF-8 are one record's fault, so only then each is read by itself."""
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return map(_value, column)


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return _INVALID


def _report(catalog: Catalog, censuses: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    report: dict[str, dict[str, Any]] = {}
    for key, census in censuses.items():
        split = catalog.splits[key]
        report.setdefault(split.repo, {})[split.name] = census
    return report


def _counters(censuses: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    splits = {key: {"records": each["records"], "columns": len(each["columns"])} for key, each in censuses.items()}
    return {"records": sum(split["records"] for split in splits.values()), "splits": splits}


def _summary(key: str, census: dict[str, Any]) -> dict[str, Any]:
    """One line of the table in the manifest."""
    rates = {name: column["null_rate"] for name, column in census["columns"].items() if column["null_rate"] is not None}
    highest = max(rates.values(), default=0.0)
    mixed = mixed_paths(census["columns"])
    left_out = [f"… {len(mixed) - MIXED_SHOWN} more"] if len(mixed) > MIXED_SHOWN else []
    return {
        "split": key,
        "records": census["records"],
        "objects": census["objects"],
        "columns": len(census["columns"]),
        "mixed_types": mixed[:MIXED_SHOWN] + left_out,
        "null_rate_max": highest,
        "null_rate_max_column": min((name for name, rate in rates.items() if rate == highest > 0), default=None),
    }
