"""How many commits the Hub is sent within an hour.

Belongs here: counting the commits of all processes that share a data directory, and waiting when too many were made.
The Hub limits commits by the hour, tells nobody how many are left, and refuses every further one until the hour is
over, whoever sends it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nemo_assets.disk import locked, make_directory, write_durably
from nemo_assets.hub.transfers import pause

PER_HOUR = 100  # refusals have been seen from 128 commits an hour on

_HOUR = 3600.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CommitBudget:
    """At most `per_hour` commits within an hour, over all processes that name the same `path`.

    The file at `path` holds the times of the last commits, in seconds since 1970 by `clock`.
    """

    path: Path
    per_hour: int = PER_HOUR
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        if self.per_hour < 1:
            raise ValueError(f"a budget of {self.per_hour} commits an hour lets nothing through")

    def take(self, sleep: Callable[[float], None] = pause) -> None:
        """Count one commit, which may be sent when this returns; wait for that as long as it takes.

        Raises UserError where the disk is in the way.
        """
        make_directory(self.path.parent)
        while seconds := self._taken():
            told = "%d commits were sent to the Hub within an hour, which is the limit; the next one waits %.0f s."
            _log.warning(told, self.per_hour, seconds)
            sleep(seconds)

    def _taken(self) -> float:
        """Zero when a commit was counted, else the seconds until one can be."""
        with locked(self.path.with_name(f".{self.path.name}.lock")):
            now = self.clock()
            # A time to come was written before the clock was set back: nobody knows how long ago that is.
            recent = sorted(min(time, now) for time in self._times() if time > now - _HOUR)
            if len(recent) >= self.per_hour:
                return max(1.0, recent[-self.per_hour] + _HOUR - now)
            write_durably(self.path, json.dumps([*recent, now]).encode())
            return 0.0

    def _times(self) -> list[float]:
        """The times in the file; none where somebody else wrote it."""
        if not self.path.exists():
            return []
        try:
            times = json.loads(self.path.read_bytes())
        except ValueError:
            return []
        return [float(time) for time in times if isinstance(time, int | float)] if isinstance(times, list) else []
