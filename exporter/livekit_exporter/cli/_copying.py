"""The copying of a ledger while its directories are locked, with progress bars."""

from contextlib import ExitStack, closing
from pathlib import Path

from livekit_exporter import files
from livekit_exporter.cli import _progress
from livekit_exporter.ledger import copying
from livekit_exporter.ledger.backends.locate import owner
from livekit_exporter.sidecar.lock import Lock


def copy(source: Path | str, target: Path | str) -> int:
    """Lock the directories, copy the ledger and return the number of rows.

    Raises:
        HeldError: A sidecar serves one of the directories.
        LedgerError: As `copying.copy`.
        OSError: A directory cannot be used.
    """
    with ExitStack() as stack:
        for place in (source, target):
            # copying.copy reports a source that does not exist.
            if isinstance(place, Path) and (place is target or place.parent.is_dir()):
                stack.enter_context(closing(Lock(place.parent)))
        rows = copying.copy(source, target, stack.enter_context(_progress.copying()))
        if isinstance(source, Path):
            # The directory stays the same instance, although its ledger is elsewhere now.
            instance = owner(source)
            if instance is not None:
                files.write_instance(source.parent, instance)
        return rows
