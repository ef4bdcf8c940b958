"""What `ledger copy` does around the copying: holds the directories, shows how far it is."""

import time
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from livekit_exporter import files
from livekit_exporter.ledger import copying
from livekit_exporter.ledger.backends.locate import owner
from livekit_exporter.sidecar.lock import Lock

_PATIENCE_SECONDS: Final = 1.0


def copy(source: Path | str, target: Path | str) -> int:
    """Copy a ledger while nobody serves its directory; the number of rows.

    Raises:
        HeldError: A sidecar serves one of the directories.
        LedgerError: As `copying.copy`.
        OSError: A directory cannot be used.
    """
    with ExitStack() as stack:
        for place in (source, target):
            # A source that is not there is said by whoever opens it.
            if isinstance(place, Path) and (place is target or place.parent.is_dir()):
                stack.enter_context(closing(Lock(place.parent)))
        rows = copying.copy(source, target, stack.enter_context(_Bars()).told)
        if isinstance(source, Path):
            # The directory stays the same instance, although its ledger is elsewhere now.
            instance = owner(source)
            if instance is not None:
                files.write_instance(source.parent, instance)
        return rows


class _Bars:
    """A bar for each table on a terminal, once it takes longer than one waits for."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        console = Console(stderr=True)
        self._progress = Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal
        )
        self._begun = time.monotonic()
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._tasks:
            self._progress.stop()

    def told(self, table: str, done: int, total: int) -> None:
        """Show how far a table is."""
        if time.monotonic() - self._begun < _PATIENCE_SECONDS:
            return
        if table not in self._tasks:
            self._progress.start()
            self._tasks[table] = self._progress.add_task(table, total=total)
        self._progress.update(self._tasks[table], completed=done)
