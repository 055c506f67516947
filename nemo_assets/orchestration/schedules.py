"""Looking for updates once a day, for those who prefer a schedule to a sensor that is always on.

Belongs here: the job and its schedule. Does not: what it looks at (`updates`).
"""

import dagster as dg

from nemo_assets.orchestration.resources import SettingsResource
from nemo_assets.orchestration.updates import look


@dg.op(description="Reports what the sensor `source_updates` would report.")
def report_updates(context: dg.OpExecutionContext, settings: SettingsResource) -> None:
    """One look at every source and recipe, without a memory of earlier ones."""
    found = look(settings.load(), context.instance)
    for event in found.events:
        context.instance.report_runless_asset_event(event)
    for reason in found.unreachable.values():
        context.log.warning(reason)
    context.log.info(found.said)


@dg.job(
    name="source_updates_once",
    description="Looks for new versions of sources and recipes now; runs and downloads nothing. Launch it at any time.",
)
def source_updates_once() -> None:
    """What the schedule runs."""
    report_updates()


source_updates_daily = dg.ScheduleDefinition(
    name="source_updates_daily",
    job=source_updates_once,
    cron_schedule="0 4 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Looks for updates of the sources once a day, at 4:00 UTC, instead of the sensor `source_updates`.",
)
