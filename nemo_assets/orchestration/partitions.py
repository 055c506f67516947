"""Partitions of the chain, and how those of one asset map to those of the next.

Belongs here: partition definitions and mappings, made from the catalog. Does not: which asset depends on which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import dagster as dg

from nemo_assets.catalog import Catalog

Per = Literal["split", "scope", "subset", "project"]
"""What one materialization of an asset covers: a split, a dedup scope, a training subset, or everything."""


@dataclass(frozen=True)
class Partitions:
    """Partition definitions of the project. Splits stand in dedup precedence order, and the UI lists them so.

    origins: normalized split of an evaluated source → the split of the same name that its correctness is joined to.
    """

    splits: dg.StaticPartitionsDefinition
    scopes: dg.StaticPartitionsDefinition
    subsets: dg.StaticPartitionsDefinition
    splits_to_scope: dg.StaticPartitionMapping
    scope_to_splits: dg.StaticPartitionMapping
    origins: dg.StaticPartitionMapping

    @classmethod
    def of(cls, catalog: Catalog) -> Partitions:
        """The partitions that the catalog declares."""
        return cls(
            splits=dg.StaticPartitionsDefinition(list(catalog.splits)),
            scopes=dg.StaticPartitionsDefinition(list(catalog.scopes)),
            subsets=dg.StaticPartitionsDefinition(list(catalog.subset_policy.subsets)),
            splits_to_scope=dg.StaticPartitionMapping({key: split.scope for key, split in catalog.splits.items()}),
            scope_to_splits=dg.StaticPartitionMapping({scope: list(keys) for scope, keys in catalog.scopes.items()}),
            origins=dg.StaticPartitionMapping(_origins(catalog)),
        )

    def definition(self, per: Per) -> dg.StaticPartitionsDefinition | None:
        """The partitions of an asset; None for one that covers the whole project."""
        return {"split": self.splits, "scope": self.scopes, "subset": self.subsets, "project": None}[per]

    def mapping(self, upstream: Per, downstream: Per) -> dg.PartitionMapping | None:
        """How an asset reads its dependency; None where both have the same partitions."""
        if upstream == downstream:
            return None
        if downstream == "project" or "subset" in (upstream, downstream):  # a subset is cut from all splits
            return dg.AllPartitionMapping()
        return self.splits_to_scope if downstream == "scope" else self.scope_to_splits


def _origins(catalog: Catalog) -> dict[str, list[str]]:
    joined: dict[str, list[str]] = {}
    for key, split in catalog.splits.items():
        origin = f"{split.source.correctness_from}/{split.name}"
        if origin in catalog.splits:
            joined.setdefault(origin, []).append(key)
    return joined
