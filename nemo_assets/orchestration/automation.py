"""When an asset runs by itself: one policy for the whole chain, its exceptions, and the sensor that applies it.

Belongs here: automation conditions and who has to opt in. Does not: noticing that a source changed (`sensors`).

The policy compares data versions, not timestamps, so a change that leaves the content equal stops there. It fires once
a change: `since_last_handled` is reset by a run that happened, was requested, or was made by hand. Nothing is requested
while a dependency is about to run, which keeps a diamond from reading half of a change.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster import AutomationCondition as AC  # noqa: N817  (every example in Dagster's documentation calls it so)

from nemo_assets.errors import UserError

TICK_SECONDS = 30


@dataclass(frozen=True)
class OptIn:
    """What may cost money or show data to others, and therefore never runs by itself unless somebody said so."""

    publish: bool = False
    score: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> OptIn:
        """NEMO_AUTO_PUBLISH and NEMO_AUTO_SCORE, 1 or 0; read when the definitions are loaded."""
        env = os.environ if environment is None else environment
        return cls(publish=_flag(env, "NEMO_AUTO_PUBLISH"), score=_flag(env, "NEMO_AUTO_SCORE"))


def on_data_change(
    *, first_fill: bool = True, untriggered_by: Iterable[str] = (), optional: Iterable[str] = ()
) -> dg.AutomationCondition[Any]:
    """Run when a dependency's data version or the asset's code changed, once every dependency is there and at rest.

    A failed run is asked for once more, then left alone until something changes.

    Args:
        first_fill: also run partitions that become missing. Off where the first run is a large download.
        untriggered_by: dependencies whose change alone is no reason to run, because another dependency brings it.
        optional: dependencies that may be missing: several splits are read, and those that exist are enough.
    """
    news = _without(AC.any_deps_match(AC.data_version_changed()), untriggered_by)
    changed: dg.AutomationCondition[Any] = news | AC.code_version_changed() | AC.execution_failed().newly_true()
    complete = ~_without(AC.any_deps_missing(), optional)
    settled = complete & ~AC.any_deps_in_progress() & ~AC.any_deps_match(AC.will_be_requested()) & ~AC.in_progress()
    if first_fill:
        changed = changed | AC.newly_missing()
    else:
        settled = settled & ~AC.missing()
    return (changed.since_last_handled() & settled).with_label("on_data_change")


def automation_sensor() -> dg.AutomationConditionSensorDefinition:
    """The one sensor that applies the policy; off until somebody switches it on.

    One run per partition instead of a backfill: a backfill in progress holds everything downstream of it.
    """
    return dg.AutomationConditionSensorDefinition(
        "automation",
        target=dg.AssetSelection.all(),
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        emit_backfills=False,
    )


def _without(condition: dg.AutomationCondition[Any], names: Iterable[str]) -> dg.AutomationCondition[Any]:
    """A condition on dependencies that leaves some of them out."""
    names = tuple(names)
    if not names:
        return condition
    ignored: dg.AutomationCondition[Any] = condition.ignore(dg.AssetSelection.assets(*names))  # type: ignore[attr-defined]
    return ignored


def _flag(env: Mapping[str, str], name: str) -> bool:
    value = env.get(name, "")
    if value not in ("", "0", "1"):
        raise UserError(f"{name}={value}: set it to 1 or 0.")
    return value == "1"
