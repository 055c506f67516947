"""Several transfers at a time: one meter counts the bytes of all, and the first failure stops the others.

Belongs here: running them and stopping them, also while they wait. Does not: what one of them does (`download`).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import ContextVar, copy_context
from typing import TypeVar

from nemo_assets.progress import Meter, shown_on, track

Result = TypeVar("Result")

_AT_ONCE = 4  # fills a fast line from storage that serves one connection slowly, and stays polite
_stopping: ContextVar[threading.Event | None] = ContextVar("transfers_stopping", default=None)


class Stopped(Exception):  # noqa: N818  (nothing is wrong with the transfer that gets it)
    """Another transfer of the same work has failed, or its user has interrupted it."""


def pause(seconds: float) -> None:
    """Sleep; raises Stopped as soon as the work this thread belongs to is given up."""
    stopping = _stopping.get()
    if stopping is None:
        time.sleep(seconds)
    elif stopping.wait(seconds):
        raise Stopped


def together(transfers: Sequence[Callable[[], Result]], label: str, total_bytes: int) -> list[Result]:
    """The results of all transfers, in their order.

    The first that fails is raised once the others have stopped; what they have received so far stays on the disk. A
    transfer reports its progress by `progress.track` and waits by `pause`.
    """
    if len(transfers) == 1:
        return [transfers[0]()]
    stopping = threading.Event()
    with track(label, total_bytes, "B") as meter, ThreadPoolExecutor(_AT_ONCE) as pool:
        shared = _SharedMeter(meter, stopping)
        running = [pool.submit(copy_context().run, _run, transfer, shared, stopping) for transfer in transfers]
        try:
            for done in as_completed(running):
                done.result()
        finally:
            stopping.set()
            pool.shutdown(cancel_futures=True)
    return [done.result() for done in running]


def _run(transfer: Callable[[], Result], shared: _SharedMeter, stopping: threading.Event) -> Result:
    _stopping.set(stopping)
    with shown_on(shared):
        return transfer()


class _SharedMeter:
    """Shows every meter as one; advancing it is also where a transfer notices that it is to stop."""

    def __init__(self, meter: Meter, stopping: threading.Event) -> None:
        self._meter, self._stopping, self._lock = meter, stopping, threading.Lock()

    @contextlib.contextmanager
    def meter(self, label: str, total: float | None, unit: str) -> Iterator[Meter]:
        yield self

    def advance(self, amount: float) -> None:
        if self._stopping.is_set():
            raise Stopped
        with self._lock:
            self._meter.advance(amount)
