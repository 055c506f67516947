"""Materialize without the UI, as runs that the UI shows.

Belongs here: cutting the work into runs, telling the instance of recipes first. Does not: which assets to run (the
command line), progress (`nemo_assets.progress`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter

import dagster as dg

from nemo_assets.orchestration.external import recipe, tell
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


def _run_config(settings: Settings) -> dict[str, object]:
    """The settings as launchpad values, and Dagster's own log kept off the terminal; the UI has it."""
    return {
        "resources": {"settings": {"config": config_of(settings)}},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }
