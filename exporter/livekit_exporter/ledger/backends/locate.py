"""Opens the database of a ledger by its file or URL."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, select

from livekit_exporter.ledger import schema
from livekit_exporter.ledger.backends import versions
from livekit_exporter.ledger.backends.database import Database
from livekit_exporter.ledger.backends.embedded import Embedded
from livekit_exporter.ledger.backends.server import Server


def locate(where: Path | str, *, read_only: bool = False) -> Database:
    """Open the database of a ledger.

    Args:
        where: The ledger's file, or the URL of a PostgreSQL database.
        read_only: Write nothing, and do not create a missing file.

    Raises:
        LedgerError: It is missing and cannot be created, or the URL is invalid.
    """
    if isinstance(where, Path):
        return Embedded(where, read_only=read_only)
    return Server(where, read_only=read_only)


@contextmanager
def reading(where: Path | str) -> Iterator[Connection]:
    """Open a ledger in one read-only transaction, which blocks no writer.

    Args:
        where: The ledger's file, or the URL of a PostgreSQL database.

    Raises:
        LedgerError: It is missing, has another version, or cannot be read.
    """
    with (
        closing(locate(where, read_only=True)) as database,
        database.snapshot() as connection,
    ):
        versions.require(database, connection)
        yield connection


def owner(path: Path) -> str | None:
    """Read the id of the only instance with rows in an embedded ledger.

    Returns:
        `None` where there are several.

    Raises:
        LedgerError: As `reading`.
    """
    with reading(path) as connection:
        return sole_instance(connection)


def sole_instance(connection: Connection) -> str | None:
    """Read the id of the only instance in a ledger; `None` where there are none or several."""
    found = connection.execute(select(schema.instances.c.instance).limit(2)).scalars().all()
    return found[0] if len(found) == 1 else None
