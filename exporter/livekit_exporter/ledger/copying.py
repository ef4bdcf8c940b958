"""Copies a ledger into another database, in one transaction."""

from collections.abc import Callable
from contextlib import ExitStack
from math import isclose
from pathlib import Path
from typing import Final, TypeAlias

from sqlalchemy import Boolean, Connection, Float, Integer, Table, Text, func, select

from livekit_exporter.ledger import schema
from livekit_exporter.ledger.backends import versions
from livekit_exporter.ledger.backends.database import Database, LedgerError
from livekit_exporter.ledger.backends.locate import locate

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with a table, the number of its rows that are copied, and of all its rows."""

_ROWS_AT_A_TIME: Final = 5000
_TABLES: Final = tuple(
    table for table in schema.metadata.sorted_tables if table is not schema.version
)


def copy(source: Path | str, target: Path | str, progress: Progress) -> int:
    """Copy a ledger into an empty database, while no sidecar writes it.

    Args:
        source: The ledger's file, or the URL of a PostgreSQL database.
        target: Likewise; the file is made when it is missing.
        progress: Called now and then.

    Returns:
        Number of rows.

    Raises:
        LedgerError: The target is not empty, the source was written to meanwhile, or one of
            them cannot be used.  The target is as it was.
    """
    with ExitStack() as stack:
        old = locate(source, read_only=True)
        stack.callback(old.close)
        reading = stack.enter_context(old.snapshot())
        versions.require(old, reading)
        new = locate(target)
        stack.callback(new.close)
        versions.make(new)
        writing = stack.enter_context(new.transaction("write", alone=True))
        _refuse_rows(new, writing)
        rows = sum(_copy_table(table, reading, new, writing, progress) for table in _TABLES)
        new.renumber(writing)
        for table in _TABLES:
            _compare(table, new.name, reading, writing)
        with old.snapshot() as later:
            if _commits(later) != _commits(reading):
                raise LedgerError(
                    f"cannot copy ledger '{old.name}': it was written to meanwhile; stop its"
                    " sidecars first"
                )
        return rows


def _refuse_rows(database: Database, connection: Connection) -> None:
    for table in _TABLES:
        if connection.execute(select(1).select_from(table).limit(1)).first() is not None:
            raise LedgerError(
                f"cannot copy into ledger '{database.name}': it has rows in '{table.name}';"
                " choose an empty database or data directory"
            )


def _copy_table(
    table: Table, reading: Connection, new: Database, writing: Connection, progress: Progress
) -> int:
    total = reading.execute(select(func.count()).select_from(table)).scalar_one()
    done = 0
    progress(table.name, done, total)
    query = select(table).order_by(*table.primary_key)
    streamed = reading.execute(query, execution_options={"yield_per": _ROWS_AT_A_TIME})
    for rows in streamed.partitions():
        new.insert(writing, table, list(table.columns.keys()), rows)
        done += len(rows)
        progress(table.name, done, total)
    return done


def _compare(table: Table, name: str, reading: Connection, writing: Connection) -> None:
    """Compare the number of rows and the sum of every column in both databases.

    Raises:
        LedgerError: They differ.
    """
    numbers = [
        column
        for column in table.columns
        if isinstance(column.type, Float | Integer) and not isinstance(column.type, Boolean)
    ]
    texts = [column for column in table.columns if isinstance(column.type, Text)]
    query = select(
        func.count().label("rows"),
        *(func.sum(column).label(column.name) for column in numbers),
        *(func.sum(func.length(column)).label(column.name) for column in texts),
    ).select_from(table)
    there = reading.execute(query).mappings().one()
    here = writing.execute(query).mappings().one()
    for what, expected in there.items():
        if not isclose(float(expected or 0), float(here[what] or 0), rel_tol=1e-9):
            raise LedgerError(
                f"cannot copy into ledger '{name}': '{what}' of '{table.name}' adds up to"
                f" {here[what]} there and to {expected} here; nothing was kept"
            )


def _commits(connection: Connection) -> int:
    return int(connection.execute(select(func.sum(schema.instances.c.commits))).scalar() or 0)
