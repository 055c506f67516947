"""What the sources look like: columns, types, null rates, examples and defects of every split, in one report.

Belongs here: putting together what `normalized` counted while it read the records, and the report. Does not: reading
sources, how values are counted (`records.census`), what becomes of a record (`normalized`, `ledger`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from nemo_assets.catalog import Catalog
from nemo_assets.disk import write_durably
from nemo_assets.errors import ConservationError, UserError
from nemo_assets.progress import track
from nemo_assets.records import census as census_module
from nemo_assets.records.census import Census, load_census, mixed_paths
from nemo_assets.records.recipe import code_digest
from nemo_assets.records.schema import REJECTED_SCHEMA
from nemo_assets.storage import CENSUS, Basis, Manifest, Stage, Store, Unit
from nemo_assets.storage.manifest import content_version, digest
from nemo_assets.storage.parquet import scan

PARTITION = "all"
MIXED_SHOWN = 12  # paths of mixed type a split in the table of the manifest; the report has all

# Rejected before there was an object to count, and what of the evidence tells such rejections apart.
_NO_OBJECT = {"unparseable": "reason", "not_an_object": "type"}


def take_inventory(catalog: Catalog, store: Store) -> Manifest:
    """Write `inventory.json` over the splits that are normalized: repo, then split, then what it holds.

    Nothing of the sources is read again: `normalized` has counted every record on its way.

    Raises:
        UserError: no split is normalized yet, or its counts are gone.
        ConservationError: the records of a split are not those counted; nothing is made current.
    """
    splits = {key: made for key in catalog.splits if (made := store.find(Stage.NORMALIZED, key))}
    if not splits:
        raise UserError("inventory: no split is normalized yet. Materialise normalized of at least one split first.")
    basis = inventory_basis(catalog, store, splits)
    current = store.find_current(Stage.INVENTORY, PARTITION, basis)
    if current is not None:
        return current
    with store.staging(Stage.INVENTORY, PARTITION, basis) as staging:
        with track("inventory", len(splits), "splits") as meter:
            found = {}
            for key, normalized in splits.items():
                found[key] = inventory_of_split(normalized, store)
                meter.advance(1)
        path = staging.directory / "inventory.json"
        report = msgspec.json.encode(_report(catalog, found), order="sorted")
        write_durably(path, msgspec.json.format(report, indent=1))
        staging.add(Unit(0, (staging.part("inventory", path, 0),)))
        table = [_summary(key, split) for key, split in found.items()]
        return staging.commit(counters=_counters(found), details={"splits": table})


def inventory_basis(catalog: Catalog, store: Store, splits: Mapping[str, Manifest]) -> Basis:
    """What was counted of each split, the repos they are reported under, and the code that tells it."""
    code = digest([code_digest(Path(module)) for module in (__file__, census_module.__file__)])
    repos = digest([(key, catalog.splits[key].repo) for key in splits])
    return Basis(
        {key: _counted(normalized, store) for key, normalized in splits.items()}, {"code": code, "repos": repos}
    )


def inventory_of_split(normalized: Manifest, store: Store) -> dict[str, Any]:
    """Records, objects, rejections, files and columns of one split, in JSON types.

    Raises:
        UserError: the counts are gone or were made by an earlier version.
        ConservationError: objects and records that are none do not add up to the records read.
    """
    counters = normalized.counters
    census = _census(normalized, store)
    told = {code: _told_apart(normalized, store, code, name) for code, name in _NO_OBJECT.items()}
    _require_conservation(normalized, census, told)
    sizes = _sizes(normalized, store)
    return {
        "records": counters["records"],
        "objects": census.objects,
        "rejected": counters["rejected"],
        **told,
        "files": [
            {"path": path, "records": file["records"], "bytes": sizes.get(path)}
            for path, file in counters["files"].items()
        ],
        "columns": census.columns(),
    }


def _census(normalized: Manifest, store: Store) -> Census:
    """The counts of all units, in file order."""
    again = f"Materialise normalized of {normalized.partition} again."
    parts = normalized.table(CENSUS)
    if not parts and normalized.counters["records"]:
        raise UserError(f"{normalized.partition}: normalized holds no census; an earlier version made it. {again}")
    census = Census()
    for part in parts:
        path = store.path(part)
        try:
            census.merge(load_census(path.read_bytes()))
        except (FileNotFoundError, ValueError) as error:
            raise UserError(f"{path}: the census cannot be read ({error}). {again}") from None
    return census


def _told_apart(normalized: Manifest, store: Store, code: str, name: str) -> dict[str, int]:
    """Rejections of a code by what their evidence names."""
    if not normalized.counters["rejected"].get(code):
        return {}
    rejected = scan(store.paths(normalized, "rejected"), REJECTED_SCHEMA).filter(pl.col("code") == code)
    named = rejected.select(pl.col("evidence").str.json_path_match(f"$.{name}").alias("name"))
    counts = named.group_by("name").len().sort("name").collect(engine="streaming")
    return {str(each): int(count) for each, count in counts.iter_rows()}


def _require_conservation(normalized: Manifest, census: Census, told: Mapping[str, Mapping[str, int]]) -> None:
    """The gate: every record is counted as an object or rejected as none.

    An object is rejected as unparseable too where one of its fields is, or its structure is unknown to its adapter.
    """
    records = normalized.counters["records"]
    unparseable, no_objects = (sum(told[code].values()) for code in ("unparseable", "not_an_object"))
    if not records - no_objects - unparseable <= census.objects <= records - no_objects:
        raise ConservationError(
            f"{normalized.partition}: {records} records were read, but {census.objects} objects and "
            f"{no_objects + unparseable} records that may be none were counted. This is a defect of nemo_assets; "
            "nothing was made current."
        )


def _counted(normalized: Manifest, store: Store) -> str:
    """Changes when the counts of a split do."""
    parts = (*normalized.table(CENSUS), *normalized.table("rejected"))
    return content_version(parts, [normalized.counters, _sizes(normalized, store)])


def _sizes(normalized: Manifest, store: Store) -> dict[str, int]:
    """Bytes read, by path in the source; empty if the raw files are no longer those that were normalized."""
    raw = store.find(Stage.RAW, normalized.partition)
    if raw is None or raw.data_version != normalized.inputs["raw"]:
        return {}
    here = {part.path: part.bytes for part in raw.parts}
    return {file["path"]: here[file["blob"]] for file in raw.details["files"]}


def _report(catalog: Catalog, found: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    report: dict[str, dict[str, Any]] = {}
    for key, entry in found.items():
        split = catalog.splits[key]
        report.setdefault(split.repo, {})[split.name] = {**entry, "mixed_types": mixed_paths(entry["columns"])}
    return report


def _counters(found: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    splits = {key: {"records": each["records"], "columns": len(each["columns"])} for key, each in found.items()}
    return {"records": sum(split["records"] for split in splits.values()), "splits": splits}


def _summary(key: str, split: dict[str, Any]) -> dict[str, Any]:
    """One line of the table in the manifest."""
    rates = {name: column["null_rate"] for name, column in split["columns"].items() if column["null_rate"] is not None}
    highest = max(rates.values(), default=0.0)
    mixed = mixed_paths(split["columns"])
    left_out = [f"… {len(mixed) - MIXED_SHOWN} more"] if len(mixed) > MIXED_SHOWN else []
    return {
        "split": key,
        "records": split["records"],
        "objects": split["objects"],
        "rejected": sum(split["rejected"].values()),
        "columns": len(split["columns"]),
        "mixed_types": mixed[:MIXED_SHOWN] + left_out,
        "null_rate_max": highest,
        "null_rate_max_column": min((name for name, rate in rates.items() if rate == highest > 0), default=None),
    }
