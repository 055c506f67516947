"""The two assets that nobody here makes: what a source holds, and what the project would do to it.

Belongs here: their specs, their data versions, telling the instance of a new one. Does not: looking at
the sources (`updates`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import dagster as dg

from nemo_assets.catalog import Catalog, Split
from nemo_assets.hub.sources import Source
from nemo_assets.orchestration.chain import OWNERS, TAGS
from nemo_assets.orchestration.partitions import Partitions
from nemo_assets.records.recipe import recipe_version
from nemo_assets.stages.split_files import SplitFiles
from nemo_assets.storage import Manifest

SOURCE, RECIPE = "source", "recipe"

_SOURCE_IS = """The files of a split on the Hub. Its data version changes exactly when a file of this split does, not
with every commit to the repo. Reported by the sensor `source_updates` or the schedule `source_updates_daily` without
a download, and by `raw` as it read it."""

_RECIPE_IS = """Everything declared or coded that the data of a split depend on: its catalog entry, adapter, template,
the code they share, pools and checkpoints. Reported by the sensor `source_updates`, the schedule
`source_updates_daily` and before `nemo-assets run`, so that an edit reaches the splits it affects."""


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


@dataclass(frozen=True)
class Report:
    """What `source` or `recipe` of one split is."""

    asset: str
    partition: str
    version: str
    metadata: Mapping[str, Any]

    @property
    def events(self) -> tuple[dg.AssetObservation, dg.AssetMaterialization]:
        """The two events that make the version known, in the order in which the instance must get them.

        Automation and provenance read materializations. Whether something is stale is read from the observations of an
        external asset that came after the materialization which the provenance points to: hence both, and this order.
        """
        said: dict[str, Any] = {
            "partition": self.partition,
            "tags": {"dagster/data_version": self.version},
            "metadata": self.metadata,
        }
        return dg.AssetObservation(self.asset, **said), dg.AssetMaterialization(self.asset, **said)

    def is_news(self, instance: dg.DagsterInstance) -> bool:
        """Whether the instance last saw another version of this partition, or none."""
        known = last_told(self.asset, self.partition, instance)
        return known is None or known.version != self.version

    def is_first(self, instance: dg.DagsterInstance) -> bool:
        """Whether the instance never saw a version of this partition."""
        return last_told(self.asset, self.partition, instance) is None


class Known(NamedTuple):
    """What the instance was last told of a partition; `revision` is the commit of the source where it was seen."""

    version: str
    revision: str | None


def last_told(asset: str, partition: str, instance: dg.DagsterInstance) -> Known | None:
    """What was last reported, by whomever: asking the instance keeps the sensor, the schedule and runs agreed."""
    asked = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[partition])
    last = instance.fetch_materializations(asked, limit=1).records
    event = last[0].asset_materialization if last else None
    version = (event.tags or {}).get("dagster/data_version") if event else None
    if event is None or version is None:
        return None
    revision = event.metadata.get("revision")
    return Known(version, str(revision.value) if revision else None)


def tell(report: Report, instance: dg.DagsterInstance) -> None:
    """Make the version known if it is news."""
    if report.is_news(instance):
        for event in report.events:
            instance.report_runless_asset_event(event)


def tell_what_was_read(report: Report, context: dg.AssetExecutionContext) -> None:
    """Make the version that this step has read known, in time for the provenance of what the step returns.

    Without it a split that nobody had reported would stand there with an input of no version, and no later change of it
    could be noticed. Dagster looks up the inputs of a step before the step begins; forgotten, they are looked up again.
    """
    tell(report, context.instance)
    context.get_step_execution_context().wipe_input_asset_version_info(dg.AssetKey(report.asset))


def source_seen(split: Split, found: SplitFiles, source: Source) -> Report:
    """What `source` of this split is, as a listing shows it."""
    first = source.url(found.files[0].path, found.revision)
    return _source(split.key, found.version, found.revision, [file.size for file in found.files], first)


def source_read(raw: Manifest) -> Report:
    """What `source` was when these files were taken over."""
    files = raw.details["files"]
    version, revision = raw.settings["files"], raw.details["revision"]
    return _source(raw.partition, version, revision, [file["size"] for file in files], files[0]["url"])


def _source(partition: str, version: str, revision: str, sizes: list[int], first: str) -> Report:
    first_file = dg.MetadataValue.url(first)
    metadata = {"revision": revision, "files": len(sizes), "bytes": sum(sizes), "first_file": first_file}
    return Report(SOURCE, partition, version, metadata)


def recipe(catalog: Catalog, split: Split) -> Report:
    """What `recipe` of this split is now."""
    source = split.source
    metadata = {name: getattr(source, name) for name in ("adapter", "template", "scope", "identity", "loss_mode")}
    return Report(RECIPE, split.key, recipe_version(catalog, split), metadata)
