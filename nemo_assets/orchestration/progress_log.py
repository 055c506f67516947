"""Progress in the log of a run, for whoever follows it in the UI.

Belongs here: how often something is said, and in which words. Does not: what is measured (`stages`), bars on a terminal
(`terminal`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from nemo_assets.progress import Meter, is_shown, shown_on

EVERY_SECONDS = 30.0


@dataclass
class _LoggedMeter:
    label: str
    total: float | None
    unit: str
    say: Callable[[str], None]
    clock: Callable[[], float]
    done: float = 0.0
    began: float = field(init=False)
    said: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.said = self.clock()

    def advance(self, amount: float) -> None:
        self.done += amount
        now = self.clock()
        if now - self.said >= EVERY_SECONDS:
            self.said = now
            self.say(self._line(now - self.began))

    def _line(self, seconds: float) -> str:
        scale, unit = (1e6, "MB") if self.unit == "B" else (1.0, self.unit)
        done, rate = self.done / scale, self.done / seconds
        line = f"{self.label}: {done:,.0f} {unit}, {rate / scale:,.1f} a second"
        if not self.total:
            return line
        left = max(self.total - self.done, 0) / rate if rate else 0.0
        share = f"{done:,.0f} of {self.total / scale:,.0f} {unit} ({self.done / self.total:.0%})"
        return f"{self.label}: {share}, {rate / scale:,.1f} a second, about {left / 60:,.0f} min left"


@dataclass(frozen=True)
class LoggedProgress:
    """A display whose meters say every half minute how far they are."""

    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic

    @contextlib.contextmanager
    def meter(self, label: str, total: float | None, unit: str) -> Iterator[Meter]:
        yield _LoggedMeter(label, total, unit, self.say, self.clock)


@contextlib.contextmanager
def progress_logged(say: Callable[[str], None]) -> Iterator[None]:
    """Log the progress of everything inside the block, unless it is shown elsewhere already, as on a terminal."""
    with contextlib.nullcontext() if is_shown() else shown_on(LoggedProgress(say)):
        yield
