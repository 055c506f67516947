"""The terminal: progress bars and tables.

Belongs here: how things look in a shell. Does not: what is shown (`cli`) or measured (`stages`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from nemo_assets.progress import Meter

# Tables and answers go to stdout, so that they can be piped; progress and errors go to stderr. A pipe has no width of
# its own: tables are then as wide as they need to be read by a person.
PIPE_WIDTH = 150
out = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
err = Console(stderr=True, highlight=False)


class _Bar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, amount: float) -> None:
        self._progress.advance(self._task, amount)


class Bars:
    """One bar for each piece of work under way; it leaves the screen when the work is done."""

    def __init__(self) -> None:
        # Dagster sends what a step writes to stderr to the run's log; bars belong on the terminal: they keep their own.
        self._terminal = os.fdopen(os.dup(sys.stderr.fileno()), "w") if sys.stderr.isatty() else None
        console = Console(file=self._terminal, highlight=False) if self._terminal else err
        label, bar, elapsed = TextColumn("{task.description}"), BarColumn(bar_width=30), TimeElapsedColumn()
        counts = (label, bar, MofNCompleteColumn(), TextColumn("{task.fields[unit]}"), elapsed)
        self._counts = Progress(*counts, console=console, transient=True)
        self._bytes = Progress(label, bar, DownloadColumn(), elapsed, console=console, transient=True)

    @contextmanager
    def meter(self, label: str, total: float | None, unit: str) -> Iterator[Meter]:
        """A bar for `total` units; shown only while the block runs and only on a terminal."""
        progress = self._bytes if unit == "B" else self._counts
        task = progress.add_task(label, total=total, unit=unit)
        if self._terminal:
            progress.start()
        try:
            yield _Bar(progress, task)
        finally:
            progress.remove_task(task)
            if self._terminal and not progress.tasks:
                progress.stop()  # elsewhere it would leave an empty line


def grouped_table(
    columns: Sequence[tuple[str, int]], groups: Iterable[tuple[str, Iterable[Sequence[object]]]], right: Sequence[str]
) -> Group:
    """Rows under headings; columns are (name, width), so that they stand below each other across the headings."""
    head = _of_widths(columns, right)
    head.add_row(*(f"[bold]{name}[/bold]" for name, _ in columns))
    shown: list[RenderableType] = [head]
    for heading, rows in groups:
        block = _of_widths(columns, right)
        for row in rows:
            block.add_row(*("" if cell is None else str(cell) for cell in row))
        shown += [Text(heading, style="bold cyan"), block]
    return Group(*shown)


def _of_widths(columns: Sequence[tuple[str, int]], right: Sequence[str]) -> Table:
    block = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, width in columns:
        block.add_column(width=width, justify="right" if name in right else "left", overflow="fold")
    return block


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str] = ()) -> Table:
    """A table; columns named in `right` hold numbers."""
    shown = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        shown.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        shown.add_row(*("" if cell is None else str(cell) for cell in row))
    return shown
