"""Pairs of rows that deduplication compared and found too different, though one holds most of the other.

Of such pairs it keeps the share that is contained; how similar they are is measured again here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from nemo_assets.catalog import Catalog
from nemo_assets.dedup.compared import texts_of
from nemo_assets.dedup.verification import similarity
from nemo_assets.lineage.entries import Entry
from nemo_assets.lineage.index import LineageIndex
from nemo_assets.stages.relations import CONTAINED
from nemo_assets.storage import Stage, Store

MOST_PAIRS = 100  # measured again: two texts are read for each


class NearMiss(NamedTuple):
    """Two rows that both stay, and how similar they are."""

    entry: Entry
    value: float
    other: Entry


def near_misses(partitions: Sequence[str], catalog: Catalog, store: Store) -> tuple[list[NearMiss], list[str]]:
    """The pairs that have a row in these splits, most similar first, and what could not be looked at.

    Of many, those with the greatest share contained are measured.
    """
    indexes = {key: index for key in catalog.splits if (index := LineageIndex.open(store, key)) is not None}
    pairs = [pair for key in partitions for pair in _pairs(key, catalog, store)]
    notes = [f"Of {len(pairs):,} pairs that fell short, {MOST_PAIRS} were measured."] if len(pairs) > MOST_PAIRS else []
    missing = sorted({key for pair in pairs for key in (pair[2], pair[3])} - set(indexes))
    if missing:
        notes.append(f"Pairs that fell short are not shown for {', '.join(missing)}: without a current lineage_index.")
    usable = [pair for pair in sorted(pairs, reverse=True) if {pair[2], pair[3]} <= set(indexes)][:MOST_PAIRS]
    read = [(_read(indexes[key], uid), _read(indexes[other], other_uid)) for _, (uid, other_uid), key, other in usable]
    whole = [(first, second) for first, second in read if first is not None and second is not None]
    return sorted(_measured(whole), key=lambda miss: -miss.value), notes


_Pair = tuple[float, tuple[bytes, bytes], str, str]
"""Containment, both uids, and the splits of both."""


def _pairs(partition: str, catalog: Catalog, store: Store) -> list[_Pair]:
    manifest = store.find(Stage.DUPLICATES, catalog.split(partition).scope)
    decided = manifest.details["splits"].get(partition) if manifest else None
    path = store.root / decided["relations_part"] if decided else None
    if path is None or not path.is_file():
        return []
    table = pl.scan_parquet(path).filter(kind=CONTAINED).sort("value", descending=True).head(MOST_PAIRS).collect()
    rows = table.select("value", "record_uid", "other_uid", "other_partition").iter_rows()
    return [(value, (uid, other), partition, other_partition) for value, uid, other, other_partition in rows]


def _read(index: LineageIndex, uid: bytes) -> tuple[Entry, str] | None:
    entry = index.by_uid(uid)
    text = index.texts([index.number_of(entry)])[0] if entry else None
    return (entry, text) if entry is not None and text is not None else None


def _measured(pairs: Sequence[tuple[tuple[Entry, str], tuple[Entry, str]]]) -> list[NearMiss]:
    if not pairs:
        return []
    texts = texts_of(pa.array([text for pair in pairs for _, text in pair], pa.large_string()))
    measured = similarity(texts, np.arange(0, 2 * len(pairs), 2), np.arange(1, 2 * len(pairs), 2))
    values = np.minimum(measured.jaccard, measured.spoken).tolist()
    return [NearMiss(first[0], value, second[0]) for (first, second), value in zip(pairs, values, strict=True)]
