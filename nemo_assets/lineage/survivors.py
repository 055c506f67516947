"""Why one of two equal rows stayed: the first criterion of the declared order in which they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nemo_assets.catalog import Catalog
from nemo_assets.dedup.survivor import SURVIVOR_ORDER
from nemo_assets.lineage.index import LineageIndex
from nemo_assets.lineage.stage_rows import row_named
from nemo_assets.storage import Stage, Store

_TOLD = {
    "row_verified": "its completion was judged correct",
    "correctness_lcb": "its problem was solved more reliably",
    "answer_complete": "its answer is complete",
    "split_position": "its split comes first in the catalog",
    "char_len": "its text is longer",
    "content_sha1": "its content digest sorts first",
    "source_file": "its file sorts first",
    "source_row": "its row comes first in the file",
}

_COMPARED = [column for column, _ in SURVIVOR_ORDER if column != "split_position"]


@dataclass(frozen=True)
class Criterion:
    """`column` of dedup.SURVIVOR_ORDER decided: the survivor has `survivor_value`, the removed row `value`."""

    column: str
    survivor_value: Any
    value: Any
    wins: str

    @property
    def told(self) -> str:
        return _TOLD.get(self.column, f"its {self.column} is better")


def deciding_criterion(
    removed: tuple[str, bytes], survivor: tuple[str, bytes], catalog: Catalog, store: Store
) -> Criterion | None:
    """What made `survivor` win over `removed`, each given as (partition, uid).

    None where a signature is no longer there.
    """
    theirs, ours = _signature(*survivor, catalog, store), _signature(*removed, catalog, store)
    if theirs is None or ours is None:
        return None
    for column, descending in SURVIVOR_ORDER:
        if theirs[column] != ours[column]:
            return Criterion(column, theirs[column], ours[column], "larger" if descending else "smaller")
    return None


def _signature(partition: str, uid: bytes, catalog: Catalog, store: Store) -> dict[str, Any] | None:
    manifest = store.find(Stage.SIGNATURES, partition)
    if manifest is None or partition not in catalog.splits:
        return None
    index = LineageIndex.open(store, partition)
    place = index.place_of(uid) if index else None
    row = row_named(store, manifest, "rows", ("record_uid", uid), place.base if place else None, _COMPARED)
    return row | {"split_position": catalog.splits[partition].position} if row else None
