"""Do units of work on several processes.

Belongs here: starting processes, handing them units, noticing that one died. Does not: what a unit is (`units`).

A worker is a fresh interpreter: threads of pyarrow and polars do not survive a fork. It is started here and not by
`multiprocessing`, whose new processes first import the main module of the old one again: the command line or the
whole orchestrator, seconds and tens of megabytes for each worker that needs neither.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, TypeVar

from nemo_assets.errors import UserError

Work = TypeVar("Work")
Result = TypeVar("Result")

_WORKER = (
    "import sys; sys.path[:] = sys.argv[2:]; from nemo_assets.stages.workers import serve; serve(int(sys.argv[1]))"
)

# There is a worker for each core; libraries that start a thread for each core as well would only get in their way.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}


class Worker:
    """A process that does one unit after another until the connection to it is closed."""

    def __init__(self) -> None:
        self.connection, theirs = Pipe()
        with theirs, _interrupts_blocked():
            self._process = subprocess.Popen(
                [sys.executable, "-c", _WORKER, str(theirs.fileno()), *sys.path],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=_ONE_THREAD | os.environ,
            )

    def give(self, work: Callable[[Work], Any], unit: Work) -> None:
        """Let it do this unit. That it died shows in `result`."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send((work, unit))

    def result(self) -> Any:
        """What came of the unit; raises what the unit raised, or WorkerDied."""
        try:
            result, error = self.connection.recv()
        except (EOFError, OSError):
            raise WorkerDied(self._process.wait()) from None
        if error is not None:
            raise error
        return result

    def end(self) -> None:
        """At once: nothing that is not finished counts."""
        self._process.kill()
        self._process.wait()
        self.connection.close()


class WorkerDied(Exception):  # noqa: N818  (what happened, told to the user in other words)
    """A worker process ended by itself; `code` as subprocess has it, negative for a signal."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def results_of(work: Callable[[Work], Result], units: Sequence[Work], count: int) -> Iterator[Result]:
    """Results of `work`, in the order of `units`, from `count` processes that each hold one unit at a time.

    However this ends, no worker outlives it, and none outlives this process should it be killed.

    Raises:
        UserError: a worker process died.
        Exception: what a unit raised, with its traceback as a note unless it is a UserError.
    """
    todo = iter(range(len(units)))
    busy: dict[Any, tuple[Worker, int]] = {}  # by connection
    done: dict[int, Result] = {}

    def occupy(worker: Worker) -> None:
        number = next(todo, None)
        if number is not None:
            worker.give(work, units[number])
            busy[worker.connection] = worker, number

    with contextlib.ExitStack() as running:
        for _ in range(count):
            worker = Worker()
            running.callback(worker.end)
            occupy(worker)
        for number in range(len(units)):
            while number not in done:
                for connection in wait(list(busy)):
                    worker, finished = busy.pop(connection)
                    try:
                        done[finished] = worker.result()
                    except WorkerDied as death:
                        raise UserError(_how_it_ended(death.code, count)) from None
                    occupy(worker)
            yield done.pop(number)


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """A process started in this block never sees Ctrl-C: its parent does, and ends it without a word."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _how_it_ended(code: int, count: int) -> str:
    if code == -signal.SIGKILL:
        return (
            f"A worker process was killed, most likely for want of memory. Run again with fewer than {count} workers "
            "(NEMO_WORKERS); finished units are kept."
        )
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return f"A worker process ended {how}; what it said stands above. Run again; finished units are kept."


def serve(descriptor: int) -> None:
    """The life of a worker: units come, and results go, over the connection with this file descriptor."""
    sys.meta_path.insert(0, _WithoutPandas())
    connection = Connection(descriptor)
    units: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, units), daemon=True).start()
    while True:
        connection.send_bytes(_outcome(units.get()))


class _WithoutPandas(MetaPathFinder):
    """No stage uses pandas, yet pyarrow imports it where it is installed: a quarter of a second and 50 MB a process."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError(f"{fullname} is not used in worker processes", name=fullname)


def _receive(connection: Connection, units: queue.SimpleQueue[bytes]) -> None:
    """Take units in, and end this process when its parent is gone, even in the middle of a unit."""
    while True:
        try:
            units.put(connection.recv_bytes())
        except (EOFError, OSError):
            os._exit(1)


def _outcome(unit: bytes) -> bytes:
    """Do the pickled (work, unit); the pickled (result, error).

    A traceback does not travel, so an error that does not say all there is to say carries it as a note.
    """
    try:
        work, argument = pickle.loads(unit)
        return pickle.dumps((work(argument), None))
    except Exception as error:  # noqa: BLE001  (raised by the parent)
        if not isinstance(error, UserError):
            error.add_note(traceback.format_exc())
        try:
            return pickle.dumps((None, error))
        except (pickle.PicklingError, TypeError, AttributeError):
            return pickle.dumps((None, RuntimeError("".join(traceback.format_exception(error)))))
