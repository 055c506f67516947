"""The terminal: progress bars and tables.

Belongs here: how things look in a shell. Does not: what is shown (`cli`) or measured (`stages`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

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
        bar, elapsed = BarColumn(bar_width=30), TimeElapsedColumn()
        self._counts = Progress(
            TextColumn("{task.description}"),
            bar,
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            elapsed,
            console=err,
            transient=True,
        )
        self._bytes = Progress(
            TextColumn("{task.description}"), bar, DownloadColumn(), elapsed, console=err, transient=True
        )

    @contextmanager
    def meter(self, label: str, total: float | None, unit: str) -> Iterator[Meter]:
        """A bar for `total` units; shown only while the block runs and only on a terminal."""
        progress = self._bytes if unit == "B" else self._counts
        task = progress.add_task(label, total=total, unit=unit)
        if err.is_terminal:
            progress.start()
        try:
            yield _Bar(progress, task)
        finally:
            progress.remove_task(task)
            if err.is_terminal and not progress.tasks:
                progress.stop()  # elsewhere it would leave an empty line


def grouped_table(
    columns: Sequence[str], groups: Iterable[tuple[str, Iterable[Sequence[object]]]], right: Sequence[str]
) -> Table:
    """A table of rows under headings, with one rule a group; made for terminals of about 100 columns."""
    shown = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for number, column in enumerate(columns):
        shown.add_column(column, justify="right" if column in right else "left", no_wrap=number == 0 or column in right)
    for heading, rows in groups:
        shown.add_row(f"[bold]{heading}[/bold]")
        for first, *cells in rows:
            shown.add_row(f"  {first}", *("" if cell is None else str(cell) for cell in cells))
        shown.add_section()
    return shown


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str] = ()) -> Table:
    """A table; columns named in `right` hold numbers."""
    shown = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        shown.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        shown.add_row(*("" if cell is None else str(cell) for cell in row))
    return shown
