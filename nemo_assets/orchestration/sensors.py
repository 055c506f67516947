"""Noticing that a source or the recipe of a split changed.

Belongs here: the sensor. Does not: what follows from a change (`automation`), what a version is (`external`).
"""

import dagster as dg

from nemo_assets.catalog import Catalog
from nemo_assets.errors import UserError
from nemo_assets.orchestration.external import Glance, is_news, recipe_event
from nemo_assets.orchestration.resources import SettingsResource

HOUR = 3600


@dg.sensor(
    name="source_updates",
    minimum_interval_seconds=HOUR,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Reports new versions of `source` (the files of a split) and `recipe`; runs and downloads nothing.",
)
def source_updates(context: dg.SensorEvaluationContext, settings: SettingsResource) -> dg.SensorResult:
    """Report every split whose files or recipe differ from what the instance last saw.

    A source that cannot be reached is named in the log and the skip reason; the others are reported all the same, and
    it is looked at again on the next tick.
    """
    here = settings.load()
    catalog = here.catalog
    events, unreachable = _source_events(catalog, Glance(here))
    events += [recipe_event(catalog, split) for split in catalog.splits.values()]
    for repo, reason in unreachable.items():
        context.log.warning(f"{repo}: {reason}")
    news = [event for event in events if is_news(event, context.instance)]
    return dg.SensorResult(asset_events=news, skip_reason=None if news else _skip_reason(unreachable))


def _source_events(catalog: Catalog, glance: Glance) -> tuple[list[dg.AssetMaterialization], dict[str, str]]:
    """What every reachable split of `source` is now, and the repos that could not be asked with the reason."""
    events, unreachable = [], {}
    for split in catalog.splits.values():
        try:
            events.append(glance.source_event(split))
        except UserError as error:
            unreachable[split.repo] = str(error)
    return events, unreachable


def _skip_reason(unreachable: dict[str, str]) -> str:
    if not unreachable:
        return "No source and no recipe changed."
    return f"Nothing changed where it could be seen. {' '.join(unreachable.values())}"
