"""Progress bars on standard error, for commands that take a while."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Final, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    track,
)
from rich.progress_bar import ProgressBar

from livekit_exporter.ledger.queries import Snapshot

_DELAY_SECONDS: Final = 1.0
"""A command that is done sooner shows no bar."""

_Item = TypeVar("_Item")


@contextmanager
def copying() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar per table on a terminal; yield what takes a table, its rows so far and in all."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    begun = time.monotonic()
    tasks: dict[str, TaskID] = {}

    def show(table: str, done: int, total: int) -> None:
        if time.monotonic() - begun < _DELAY_SECONDS:
            return
        if table not in tasks:
            progress.start()
            tasks[table] = progress.add_task(table, total=total)
        progress.update(tasks[table], completed=done)

    try:
        yield show
    finally:
        if tasks:
            progress.stop()


class _Rows(BarColumn):
    """The share of rows that a snapshot has read, where it knows how many there are."""

    def __init__(self, ledger: Snapshot) -> None:
        super().__init__()
        self._ledger = ledger

    def render(self, task: Task) -> ProgressBar:
        task.total, task.completed = self._ledger.expected, self._ledger.read
        return super().render(task)


@contextmanager
def reading(ledger: Snapshot) -> Iterator[None]:
    """Show on a terminal how many rows have been read."""
    if not sys.stderr.isatty():
        yield
        return
    progress = Progress(
        TextColumn("reading the ledger"),
        _Rows(ledger),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    progress.add_task("", total=None)
    timer = Timer(_DELAY_SECONDS, progress.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        progress.stop()


def pricing(calls: list[_Item]) -> Iterable[_Item]:
    """Iterate over chunks of calls and show on a terminal how many are priced."""
    if not sys.stderr.isatty():
        return calls
    return track(calls, "pricing calls", console=Console(stderr=True), transient=True)
