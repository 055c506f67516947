"""Materialize without the UI, as runs that the UI shows.

Belongs here: cutting the work into runs, telling the instance of sources first. Does not: which assets to run (the
command line), progress (`nemo_assets.progress`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter

import dagster as dg

from nemo_assets.orchestration.external import Glance, is_news, recipe_event
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
    report_external(keys, settings, instance)
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


def report_external(keys: Sequence[Key], settings: Settings, instance: dg.DagsterInstance) -> None:
    """Tell the instance what `source` and `recipe` of these splits are, so that what runs now is not shown as stale.

    Raises UserError if a source that `raw` would read cannot be reached.
    """
    catalog, glance = settings.catalog, Glance(settings)
    partitions = dict.fromkeys(partition for _, partition in keys if partition in catalog.splits)
    fetched = {partition for name, partition in keys if name == "raw"}
    for key in partitions:
        split = catalog.split(str(key))
        events = [recipe_event(catalog, split)]
        if key in fetched:
            events.append(glance.source_event(split))
        for event in events:
            if is_news(event, instance):
                instance.report_runless_asset_event(event)


def _run_config(settings: Settings) -> dict[str, object]:
    """The settings as launchpad values, and Dagster's own log kept off the terminal; the UI has it."""
    return {
        "resources": {"settings": {"config": config_of(settings)}},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }
