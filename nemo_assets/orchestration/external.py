"""The two assets that nobody here makes: what a source holds, and what the project would do to it.

Belongs here: their specs, their data versions, telling the instance of a new one. Does not: when to look (`sensors`,
`launch`).
"""

from __future__ import annotations

from typing import Any

import dagster as dg

from nemo_assets.catalog import Catalog, Split
from nemo_assets.hub.sources import Source, SourceFile, open_source
from nemo_assets.orchestration.chain import OWNERS, TAGS
from nemo_assets.orchestration.partitions import Partitions
from nemo_assets.records.recipe import recipe_version
from nemo_assets.settings import Settings
from nemo_assets.stages.raw import split_files

SOURCE, RECIPE = "source", "recipe"

_SOURCE_IS = """The files of a split on the Hub. Its data version changes exactly when a file of this split does, not
with every commit to the repo. Reported by the sensor `source_updates` and before `nemo-assets run`, without a
download."""

_RECIPE_IS = """Everything declared or coded that the data of a split depend on: its catalog entry, adapter, template,
the code they share, pools and checkpoints. Reported together with `source`, so that an edit reaches the splits it
affects."""


def external_assets(partitions: Partitions) -> list[dg.AssetSpec]:
    """`source` and `recipe`, partitioned by split."""
    return [
        _spec(SOURCE, _SOURCE_IS, {"huggingface"}, partitions),
        _spec(RECIPE, _RECIPE_IS, {"yaml", "python"}, partitions),
    ]


def _spec(name: str, description: str, kinds: set[str], partitions: Partitions) -> dg.AssetSpec:
    return dg.AssetSpec(
        name,
        description=description,
        group_name="sources",
        partitions_def=partitions.splits,
        kinds=kinds,
        owners=OWNERS,
        tags=TAGS,
    )


class Glance:
    """The sources as they are at one moment: head and listing of each repo are asked for once, whatever its splits."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sources: dict[str, Source] = {}

    def source_event(self, split: Split) -> dg.AssetMaterialization:
        """What `source` of this split is now. Raises UserError if the source cannot be reached or lacks a file."""
        settings = self._settings
        if split.repo not in self._sources:
            source = open_source(split.repo, settings.source_dir, settings.endpoint, settings.token)
            self._sources[split.repo] = _AskedOnce(source)
        source = self._sources[split.repo]
        found = split_files(split, source)
        metadata: dict[str, Any] = {
            "revision": found.revision,
            "files": len(found.files),
            "bytes": sum(file.size for file in found.files),
            "first_file": dg.MetadataValue.url(source.url(found.files[0].path, found.revision)),
        }
        return _event(SOURCE, split, found.version, metadata)


class _AskedOnce:
    """A source whose head and listing are remembered."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._revision: str | None = None
        self._files: dict[str, tuple[SourceFile, ...]] = {}
        self.repo_id, self.fetch, self.open, self.url = source.repo_id, source.fetch, source.open, source.url

    def revision(self) -> str:
        if self._revision is None:
            self._revision = self._source.revision()
        return self._revision

    def files(self, revision: str) -> tuple[SourceFile, ...]:
        if revision not in self._files:
            self._files[revision] = self._source.files(revision)
        return self._files[revision]


def recipe_event(catalog: Catalog, split: Split) -> dg.AssetMaterialization:
    """What `recipe` of this split is now."""
    source = split.source
    metadata = {name: getattr(source, name) for name in ("adapter", "template", "scope", "identity", "loss_mode")}
    return _event(RECIPE, split, recipe_version(catalog, split), metadata)


def is_news(event: dg.AssetMaterialization, instance: dg.DagsterInstance) -> bool:
    """Whether the instance last saw another version of this partition, or none.

    Asking the instance, not a cursor, keeps the sensor and runs from the command line agreed on what is known.
    """
    if event.partition is None:
        raise ValueError(f"{event.asset_key} is reported per split")
    known = dg.AssetRecordsFilter(event.asset_key, asset_partitions=[event.partition])
    last = instance.fetch_materializations(known, limit=1).records
    seen = last[0].asset_materialization.tags if last and last[0].asset_materialization else None
    return (seen or {}).get("dagster/data_version") != (event.tags or {})["dagster/data_version"]


def _event(name: str, split: Split, version: str, metadata: dict[str, Any]) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(name, partition=split.key, tags={"dagster/data_version": version}, metadata=metadata)
