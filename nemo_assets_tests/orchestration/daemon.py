"""Dagster's automation as it runs in life: real ticks, real runs between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from nemo_assets_tests.orchestration.world import Key, World


@dataclass
class Daemon:
    """Evaluates the automation sensor and runs what it asks for."""

    world: World
    cursor: Any = None
    failing: set[str] = field(default_factory=set)

    def tick(self) -> set[Key]:
        """Runs outlast the next tick, as they do in life: a request is forgotten only then."""
        requested = self._requested()
        if requested:
            assert self._requested() == {}
        for partition, names in requested.items():
            self.world.run(partition, *names, fails=bool(self.failing & set(names)))
        return {(name, partition) for partition, names in requested.items() for name in names}

    def _requested(self) -> dict[str | None, list[str]]:
        result = dg.evaluate_automation_conditions(self.world.defs, self.world.instance, cursor=self.cursor)
        self.cursor = result.cursor
        requested: dict[str | None, list[str]] = {}
        for evaluation in result.results:
            for partition in result.get_requested_partitions(evaluation.key):
                requested.setdefault(partition, []).append(evaluation.key.to_user_string())
        return requested

    def until_quiet(self) -> list[set[Key]]:
        """What each tick asked for; quiet is two ticks without a request."""
        asked: list[set[Key]] = []
        while len(asked) < 2 or asked[-1] or asked[-2]:
            asked.append(self.tick())
            assert len(asked) < 25, asked
        return [requested for requested in asked if requested]


def asked_for(asked: list[set[Key]]) -> list[Key]:
    return sorted((key for requested in asked for key in requested), key=str)
