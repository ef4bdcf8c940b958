"""Which version a ledger has: made when it is new, upgraded when it is old, else refused."""

from typing import Final

from sqlalchemy import Connection, insert, inspect, select

from livekit_exporter.ledger import schema
from livekit_exporter.ledger.database import Database, LedgerError

_FIRST: Final = "1"
_FIRST_TABLES: Final = frozenset(("meta", "positions", "series", "sessions", "usage"))
"""Tables of a ledger from before it had a table for its version."""


def prepare(database: Database, instance: str) -> None:
    """See to it that a database holds the ledger that this program knows.

    Two processes may do this at once: one does it, the other finds it done.

    Args:
        database: Where the ledger is, or is to be.
        instance: Whose the rows of a ledger are that did not say so.

    Raises:
        LedgerError: It is of a version that this program does not know, another program's,
            or cannot be used; then nothing was changed.
    """
    with database.transaction("open") as connection:
        if _found(database, connection) == schema.VERSION:
            return
    database.prepare()
    with database.transaction("open", alone=True) as connection:
        found = _found(database, connection)
        if found is None:
            schema.metadata.create_all(connection)
            connection.execute(insert(schema.version).values(version_num=schema.VERSION))
        elif found != schema.VERSION:
            _upgrade(connection, instance)


def make(database: Database) -> None:
    """See to it that a database holds an empty ledger, or one that this program knows.

    Raises:
        LedgerError: It is of another version, another program's, or cannot be used; then
            nothing was changed.
    """
    with database.transaction("open") as connection:
        if _found(database, connection) is not None:
            require(database, connection)
    prepare(database, "")


def require(database: Database, connection: Connection) -> None:
    """Refuse to read anything but the ledger that this program knows.

    Raises:
        LedgerError: It is of another version, or no ledger.
    """
    found = _found(database, connection)
    if found != schema.VERSION:
        said = "it is empty" if found is None else f"it has version {found}"
        raise LedgerError(
            f"cannot read ledger '{database.name}': {said}, this program reads version"
            f" {schema.VERSION}; let 'livekit-exporter serve' open it once"
        )


def _found(database: Database, connection: Connection) -> str | None:
    """Version of the ledger in a database, `None` when there is nothing in it.

    Raises:
        LedgerError: It is a newer one, or no ledger.
    """
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return None
    found = None
    if schema.version.name in tables:
        found = connection.execute(select(schema.version.c.version_num)).scalar()
    elif tables >= _FIRST_TABLES:
        found = _FIRST
    if found is None:
        raise LedgerError(
            f"cannot open ledger '{database.name}': it is another program's database;"
            f" {database.elsewhere}"
        )
    if found not in (_FIRST, schema.VERSION):
        raise LedgerError(
            f"cannot open ledger '{database.name}': it has version {found}, this program knows"
            f" version {schema.VERSION}; use the livekit-exporter that wrote it, or newer"
        )
    return str(found)


def _upgrade(connection: Connection, instance: str) -> None:
    # Half a second that only the first start after an upgrade needs.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config(attributes={"connection": connection, "instance": instance})
    config.set_main_option("script_location", "livekit_exporter.ledger:migrations")
    command.upgrade(config, "head")
