"""Noticing that a source or the recipe of a split changed.

Belongs here: the sensor. Does not: what follows from a change (`automation`), what a version is (`external`).
"""

import dagster as dg

from nemo_assets.catalog import Catalog
from nemo_assets.errors import UserError
from nemo_assets.orchestration.external import RECIPE, SOURCE, Glance, Report, recipe
from nemo_assets.orchestration.resources import SettingsResource

HOUR = 3600
FEW = 2  # splits that a sentence still names


@dg.sensor(
    name="source_updates",
    minimum_interval_seconds=HOUR,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Reports new versions of `source` (the files of a split) and `recipe`; runs and downloads nothing.",
)
def source_updates(context: dg.SensorEvaluationContext, settings: SettingsResource) -> dg.SensorResult:
    """Report every split whose files or recipe differ from what the instance last saw.

    A source that cannot be reached is named in the log and in what the tick says; the others are reported all the same,
    and it is looked at again on the next tick.
    """
    here = settings.load()
    catalog = here.catalog
    reports, unreachable = _sources(catalog, Glance(here))
    reports += [recipe(catalog, split) for split in catalog.splits.values()]
    for repo, reason in unreachable.items():
        context.log.warning(f"{repo}: {reason}")
    news = [report for report in reports if report.is_news(context.instance)]
    # A tick that starts no run counts as skipped, whatever it reported, and its reason is all that the UI shows of it.
    return dg.SensorResult(
        asset_events=[event for report in news for event in report.events],
        skip_reason=" ".join([_said(news, bool(unreachable)), *unreachable.values()]),
    )


def _sources(catalog: Catalog, glance: Glance) -> tuple[list[Report], dict[str, str]]:
    """What every reachable split of `source` is now, and the repos that could not be asked with the reason."""
    reports, unreachable = [], {}
    for split in catalog.splits.values():
        try:
            reports.append(glance.source(split))
        except UserError as error:
            unreachable[split.repo] = str(error)
    return reports, unreachable


def _said(news: list[Report], partial: bool) -> str:
    if not news:
        return "Nothing changed where it could be seen." if partial else "No source and no recipe changed."
    changed = {asset: [report.partition for report in news if report.asset == asset] for asset in (SOURCE, RECIPE)}
    told = [f"{asset} of {_splits(partitions)}" for asset, partitions in changed.items() if partitions]
    return f"Reported new versions: {', '.join(told)}."


def _splits(partitions: list[str]) -> str:
    return " and ".join(partitions) if len(partitions) <= FEW else f"{len(partitions)} splits"
