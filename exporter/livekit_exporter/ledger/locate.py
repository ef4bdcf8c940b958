"""From where a ledger is to what it is kept in."""

from pathlib import Path

from livekit_exporter.ledger.database import Database
from livekit_exporter.ledger.embedded import Embedded
from livekit_exporter.ledger.server import Server


def locate(where: Path | str, *, read_only: bool = False) -> Database:
    """The database of a ledger.

    Args:
        where: Its file, or the URL of a PostgreSQL database.
        read_only: Only look at it.

    Raises:
        LedgerError: There is none and it cannot be made, or the URL is none.
    """
    if isinstance(where, Path):
        return Embedded(where, read_only=read_only)
    return Server(where, read_only=read_only)
