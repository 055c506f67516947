"""Progress of long work, told without knowing who listens.

Belongs here: the reporting side. The display (rich bars on a terminal) is installed by the command line; without one
nothing is shown, so stages behave the same in a daemon, a test and a shell.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Protocol


class Meter(Protocol):
    """Something that can be advanced by an amount of work."""

    def advance(self, amount: float) -> None: ...


class Display(Protocol):
    """Shows meters; `unit` is `B` for bytes or a plural noun such as `rows`."""

    def meter(self, label: str, total: float | None, unit: str) -> contextlib.AbstractContextManager[Meter]: ...


class _Silent:
    def advance(self, amount: float) -> None:
        """Nobody listens."""


_display: ContextVar[Display | None] = ContextVar("progress_display", default=None)


@contextlib.contextmanager
def shown_on(display: Display) -> Iterator[None]:
    """Send the progress of everything inside the block to `display`."""
    token = _display.set(display)
    try:
        yield
    finally:
        _display.reset(token)


def is_shown() -> bool:
    """Whether somebody listens."""
    return _display.get() is not None


@contextlib.contextmanager
def track(label: str, total: float | None, unit: str = "rows") -> Iterator[Meter]:
    """A meter for `total` units of work; `total` is None where it is not known."""
    display = _display.get()
    if display is None:
        yield _Silent()
        return
    with display.meter(label, total, unit) as meter:
        yield meter
