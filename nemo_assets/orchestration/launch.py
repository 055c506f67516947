"""Materialize without the UI, as runs that the UI shows.

Belongs here: cutting the work into runs, telling the instance of recipes first. Does not: which assets to run (the
command line), progress (`nemo_assets.progress`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

import dagster as dg

from nemo_assets.orchestration.external import RECIPE, recipe, tell
from nemo_assets.orchestration.resources import config_of
from nemo_assets.settings import Settings

Key = tuple[str, str | None]
"""Name of an asset and its partition, None for an asset without partitions."""


def materialize(
    keys: Sequence[Key], settings: Settings, instance: dg.DagsterInstance, definitions: dg.Definitions
) -> None:
    """Make these assets of `definitions`, in order; neighbours of the same partition share a run.

    Raises:
        UserError, ConservationError: what a stage raised, unchanged. Later keys are not run.
    """
    report_recipes(keys, settings, instance)
    job = definitions.resolve_implicit_global_asset_job_def()
    for partition, names in runs(keys):
        try:
            job.execute_in_process(
                run_config=_run_config(settings),
                instance=instance,
                partition_key=partition,
                asset_selection=[dg.AssetKey(name) for name in names],
            )
        except dg.Failure as failure:
            original = failure.__cause__ or failure
            raise original from original.__cause__


def runs(keys: Sequence[Key]) -> Iterator[tuple[str | None, list[str]]]:
    """Partition and assets of each run. An asset named twice in a row begins a new one."""
    for partition, group in groupby(keys, key=itemgetter(1)):
        yield partition, list(dict.fromkeys(name for name, _ in group))


def report_recipes(keys: Sequence[Key], settings: Settings, instance: dg.DagsterInstance) -> None:
    """Tell the instance what `recipe` of these splits is, so that what runs now is not shown as stale.

    `source` is reported by `raw`, as it read it.
    """
    catalog = settings.catalog
    for key in dict.fromkeys(partition for _, partition in keys if partition in catalog.splits):
        tell(recipe(catalog, catalog.split(str(key))), instance)


def made_before_the_recipe(partitions: Iterable[str], instance: dg.DagsterInstance) -> list[Key]:
    """Assets of these splits that were last made before `recipe` of the split changed.

    They may well be current: an edit of a pool leaves `normalized` as it is. The UI marks them unsynced all the same
    until they are made again, which then takes no work.
    """
    keys: list[Key] = []
    for key in partitions:
        told = _last_made(RECIPE, key, instance)
        for name in ("normalized", "pools"):
            made = _last_made(name, key, instance)
            if told is not None and made is not None and made < told:
                keys.append((name, key))
    return keys


def _last_made(name: str, partition: str, instance: dg.DagsterInstance) -> int | None:
    """Place in the event log of the last materialization of a partition, None if there is none."""
    known = dg.AssetRecordsFilter(dg.AssetKey(name), asset_partitions=[partition])
    records = instance.fetch_materializations(known, limit=1).records
    return records[0].storage_id if records else None


def _run_config(settings: Settings) -> dict[str, object]:
    """The settings as launchpad values, and Dagster's own log kept off the terminal; the UI has it."""
    return {
        "resources": {"settings": {"config": config_of(settings)}},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }
