"""Which training subsets hold a row, and why each took it.

Belongs here: finding a row in the tables of `subsets`. Does not: choosing rows (`selection`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from nemo_assets.lineage.decisions import Decision
from nemo_assets.lineage.entries import Entry, has_uid
from nemo_assets.storage import Stage, Store


@dataclass(frozen=True)
class SubsetMembership:
    """A row in a subset, or in its random control. `reason` is what it is published with; `is_current` says whether the
    subset was cut from the scores that the split has now; run_id: the run that cut it.
    """

    subset: str
    is_control: bool
    reason: dict[str, Any]
    is_current: bool
    run_id: str | None


def subsets_of(entry: Entry, store: Store, position: int | None) -> tuple[SubsetMembership, ...]:
    """The subsets and controls that a kept row is in, by name; `position` among the kept rows makes it quick."""
    scored = store.find(Stage.SCORED, entry.partition)
    found = []
    for manifest in store.manifests(Stage.SUBSETS):
        told = manifest.details["splits"].get(entry.partition)
        for table in ("rows", "control") if told else ():
            reason = _reason(store.root / told[f"{table}_part"], entry, position)
            if reason is not None:
                is_current = scored is not None and told["scored"] == scored.data_version
                found.append(
                    SubsetMembership(manifest.partition, table == "control", reason, is_current, manifest.run_id)
                )
    return tuple(found)


def _reason(path: Path, entry: Entry, position: int | None) -> dict[str, Any] | None:
    """Why a row is in the table of a subset; None where it is not."""
    if not path.is_file():
        return None
    rows = pl.scan_parquet(path).filter(has_uid(entry.uid))
    if position is not None:  # rows are in order of their positions: row groups of others are skipped unread
        rows = rows.filter(pl.col("row") == position)
    found = rows.select("subset_reason").collect()
    return dict(json.loads(found.item())) if found.height else None


def subset_decisions(memberships: Sequence[SubsetMembership]) -> Iterator[Decision]:
    """One decision a subset that took the row."""
    for each in memberships:
        rule = f"policy {each.reason['policy']}, stratum {each.reason['stratum']}"
        outcome = f"random control of {each.subset}" if each.is_control else f"in {each.subset}"
        evidence = {name: value for name, value in each.reason.items() if name not in ("rule", "policy", "stratum")}
        yield Decision(Stage.SUBSETS, outcome, rule, evidence=evidence, run_id=each.run_id)
