"""The files of a release that hold training subsets: the rows of a split with their text and why they were chosen.

Belongs here: which configs there are of a split, putting their rows together. Does not: choosing rows (`subsets`), the
form of released files (`release_files`), committing them (`results`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from nemo_assets.catalog import Split, policy_digest
from nemo_assets.errors import UserError
from nemo_assets.settings import Settings
from nemo_assets.stages.release_files import (
    CONTROL,
    STRATA,
    SUBSET,
    SUBSET_COLUMNS,
    config_schema,
    published_rows,
    recorded,
    shard_groups,
    write_shard,
)
from nemo_assets.stages.units import run_units
from nemo_assets.storage import Manifest, Stage, Staging, Store, Unit
from nemo_assets.storage.parquet import read_batches


@dataclass(frozen=True)
class SubsetPiece:
    """Consecutive parts of kept rows and the chosen ones among them, to become at most one shard of a config."""

    number: int
    shard: int
    config: str
    split: str
    first_row: int
    rows: int
    sources: tuple[Path, ...]
    chosen: Path
    joined: Path | None
    withdrawn: tuple[bytes, ...]
    staging: Staging


def current_subsets(split: Split, scored: Manifest, settings: Settings) -> dict[str, Manifest]:
    """The subsets of the catalog that were cut from these scores of the split, by name; none where no subset was made.

    Raises UserError naming a subset that was cut from other scores of the split, or by another policy than the others.
    """
    made = {name: settings.store.find(Stage.SUBSETS, name) for name in settings.catalog.subset_policy.subsets}
    subsets = {name: manifest for name, manifest in made.items() if manifest is not None}
    policies = Counter(manifest.settings["policy"] for manifest in subsets.values())
    if len(policies) > 1:
        now = policy_digest(settings.catalog.subset_policy)
        older = sorted(name for name, manifest in subsets.items() if manifest.settings["policy"] != now)
        raise UserError(f"Subsets {', '.join(older)} were cut by another policy. Materialise subsets of them first.")
    for name, manifest in subsets.items():
        told = manifest.details["splits"].get(split.key)
        if told is None or told["scored"] != scored.data_version:
            raise UserError(
                f"{split.key}: subset {name} was cut from other scores of it. Materialise subsets of {name} first."
            )
    return subsets


def build_subset_files(
    split: Split, settings: Settings, subsets: dict[str, Manifest], withdrawn: Sequence[bytes], staging: Staging,
    number: int,
) -> list[Unit]:  # fmt: skip
    """Write config `subset_<name>` and `subset_random_control_<name>` of each subset, base row order, and `strata`, in
    units from `number` on that outlive a kill. A config without a row of this split has no file.
    """
    if not subsets:
        return []
    pieces = list(_pieces(split, settings.store, subsets, withdrawn, staging, number + 1))
    todo = set(staging.missing(piece.number for piece in pieces))
    wanted = [piece for piece in pieces if piece.number in todo]
    for unit in run_units(_unit, wanted, settings.workers, f"subsets {split.key}", lambda p: p.rows, "rows"):
        staging.add(unit)
    strata = settings.store.root / next(iter(subsets.values())).details["splits"][split.key]["strata_part"]
    placing = recorded(staging, number, write_shard(staging, STRATA, split.name, 0, read_batches([strata])))
    return [placing, *(staging.units[piece.number] for piece in pieces)]


def told_of(split: Split, subsets: dict[str, Manifest]) -> dict[str, Any]:
    """What the release says of the subsets of a split: their rules, and figures of this split to draw."""
    told = {}
    for name, manifest in subsets.items():
        here, figures = manifest.details["splits"][split.key], manifest.details["plots"]
        told[name] = {
            **{key: manifest.details["subset"][key] for key in ("purpose", "rule", "trusted", "unavailable")},
            "policy": manifest.settings["policy"],
            "rows": here["rows"],
            "control_rows": here["control"],
            "nll": figures["nll"]["split"].get(split.key, {"all": {}, "chosen": {}}),
            "points": [point[:3] for point in figures["points"] if point[3] == split.key],
        }
    return told


def _pieces(
    split: Split, store: Store, subsets: dict[str, Manifest], withdrawn: Sequence[bytes], staging: Staging, number: int
) -> Iterator[SubsetPiece]:
    deduped, pools = store.current(Stage.DEDUPED, split.key), store.current(Stage.POOLS, split.key)
    joined = store.paths(pools, "joined")
    for name, manifest in subsets.items():
        told = manifest.details["splits"][split.key]
        for config, table in ((f"{SUBSET}{name}", "rows"), (f"{SUBSET}{CONTROL}{name}", "control")):
            if not told[table]:
                continue
            first = 0
            for shard, group in enumerate(shard_groups(deduped.table("rows"))):
                rows = sum(part.rows for part in group)
                yield SubsetPiece(
                    number, shard, config, split.name, first, rows, tuple(store.path(part) for part in group),
                    store.root / told[f"{table}_part"], joined[0] if joined else None, tuple(withdrawn), staging,
                )  # fmt: skip
                number, first = number + 1, first + rows


def _unit(piece: SubsetPiece) -> Unit:
    return recorded(piece.staging, piece.number, write_shard(
        piece.staging, piece.config, piece.split, piece.shard, _rows(piece)
    ))  # fmt: skip


def _rows(piece: SubsetPiece) -> Iterator[pa.Table]:
    """The chosen rows as they are published."""
    schema, gone = config_schema(piece.config), pl.Series(piece.withdrawn, dtype=pl.Binary).implode()
    here = pl.col("row").is_between(piece.first_row, piece.first_row + piece.rows, "left")
    chosen = pl.scan_parquet(piece.chosen).filter(here).select("row", *(c.name for c in SUBSET_COLUMNS)).collect()
    first, taken = piece.first_row, 0
    for table in read_batches(piece.sources):
        end = int(chosen["row"].search_sorted(first + table.num_rows))
        told = chosen[taken:end]
        rows = pl.DataFrame(pl.from_arrow(table))[(told["row"] - first).cast(pl.UInt32)]
        stays = rows.hstack(told.drop("row")).filter(~pl.col("record_uid").is_in(gone))
        first, taken = first + table.num_rows, end
        if stays.height:
            yield published_rows(stays.to_arrow(), schema, piece.joined)
