"""Noticing that a source or the recipe of a split changed.

Belongs here: the sensor. Does not: what it looks at (`updates`), looking once a day instead (`schedules`), what follows
from a change (`automation`).
"""

import dagster as dg
import msgspec

from nemo_assets.errors import UserError
from nemo_assets.hub.watch import Memory
from nemo_assets.orchestration.resources import SettingsResource
from nemo_assets.orchestration.updates import look

HOUR = 3600
TICK_SECONDS = 45.0  # Dagster gives up on a tick after 60


@dg.sensor(
    name="source_updates",
    minimum_interval_seconds=HOUR,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=(
        "Reports new versions of `source` (the files of a split) and `recipe`, and splits that came or went upstream; "
        "runs and downloads nothing."
    ),
)
def source_updates(context: dg.SensorEvaluationContext, settings: SettingsResource) -> dg.SensorResult:
    """Report every split whose files or recipe differ from what the instance last saw.

    A source that cannot be reached is named in the log and in what the tick says; the others are reported all the same,
    and it is looked at again on the next tick.
    """
    found = look(settings.load(), context.instance, _remembered(context.cursor), TICK_SECONDS)
    for reason in found.unreachable.values():
        context.log.warning(reason)
    # A tick that starts no run counts as skipped, whatever it reported, and its reason is all that the UI shows of it.
    return dg.SensorResult(
        asset_events=found.events, skip_reason=found.said, cursor=msgspec.json.encode(found.memories).decode()
    )


def _remembered(cursor: str | None) -> dict[str, Memory]:
    """What the last tick left, by dataset slug."""
    try:
        return msgspec.json.decode(cursor or "{}", type=dict[str, Memory])
    except msgspec.MsgspecError as error:
        raise UserError(f"The cursor of source_updates cannot be read ({error}). Clear it in the UI.") from error
