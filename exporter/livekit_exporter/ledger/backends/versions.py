"""Creates the tables of a new ledger, upgrades an older one, and refuses any other database."""

from typing import Final

from sqlalchemy import Connection, insert, inspect, select

from livekit_exporter.ledger import schema
from livekit_exporter.ledger.backends.database import Database, LedgerError

OLDER: Final = frozenset({"2"})
"""Versions that a step in `ledger/migrations` upgrades."""

STEPS: Final = "livekit_exporter.ledger:migrations"


def prepare(database: Database) -> None:
    """Create or upgrade the tables of a ledger.

    Two processes may do this at once: one does it, the other finds it done.

    Args:
        database: Empty, or with a ledger in it.

    Raises:
        LedgerError: It has a version that this program does not know, belongs to another
            program, or cannot be used.  Nothing was changed.
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
            _upgrade(connection)


def make(database: Database) -> None:
    """Create the tables of an empty ledger; leave one of this version as it is.

    Raises:
        LedgerError: It has another version, belongs to another program, or cannot be used.
            Nothing was changed.
    """
    with database.transaction("open") as connection:
        if _found(database, connection) is not None:
            require(database, connection)
    prepare(database)


def require(database: Database, connection: Connection) -> None:
    """Refuse a database without a ledger of this version.

    Raises:
        LedgerError: It has another version, or none.
    """
    found = _found(database, connection)
    if found != schema.VERSION:
        said = "it is empty" if found is None else f"it has version {found}"
        raise LedgerError(
            f"cannot read ledger '{database.name}': {said}, this program reads version"
            f" {schema.VERSION}; let 'livekit-exporter serve' open it once"
        )


def _found(database: Database, connection: Connection) -> str | None:
    """Read the version of the ledger; `None` for an empty database.

    Raises:
        LedgerError: It is newer than this program, or no ledger.
    """
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    found = None
    if schema.version.name in tables:
        found = connection.execute(select(schema.version.c.version_num)).scalar()
    if found is None:
        raise LedgerError(
            f"cannot open ledger '{database.name}': it is another program's database;"
            f" {database.elsewhere}"
        )
    if found != schema.VERSION and found not in OLDER:
        raise LedgerError(
            f"cannot open ledger '{database.name}': it has version {found}, this program knows"
            f" version {schema.VERSION}; use the livekit-exporter that wrote it, or newer"
        )
    return str(found)


def _upgrade(connection: Connection) -> None:
    # Alembic takes half a second to import, which only the first start after an upgrade needs.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", STEPS)
    command.upgrade(config, "head")
