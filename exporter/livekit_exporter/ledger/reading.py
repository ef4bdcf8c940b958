"""The ledger as reports see it: one state of it, beside a sidecar that goes on writing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, select

from livekit_exporter.ledger import schema, versions
from livekit_exporter.ledger.locate import locate


@contextmanager
def reading(where: Path | str) -> Iterator[Connection]:
    """One read-only transaction for a whole report; nobody waits for it.

    Args:
        where: The ledger's file, or the URL of a PostgreSQL database.

    Raises:
        LedgerError: There is none, it is of another version, or it cannot be read.
    """
    database = locate(where, read_only=True)
    try:
        with database.snapshot() as connection:
            versions.require(database, connection)
            yield connection
    finally:
        database.close()


def owner(path: Path) -> str | None:
    """The one instance whose rows are in an embedded ledger; `None` where there are several.

    Raises:
        LedgerError: As `reading`.
    """
    with reading(path) as connection:
        found = connection.execute(select(schema.instances.c.instance)).scalars().all()
    return str(found[0]) if len(found) == 1 else None
