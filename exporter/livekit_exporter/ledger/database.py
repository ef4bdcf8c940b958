"""Where a ledger is kept, how it is reached, and what is said when it cannot be."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from livekit_exporter import data_directory

_BUSY_SECONDS: Final = 5.0
_BEGIN: Final = "ledger_begin"
"""Option of a connection: how it begins a transaction, `None` for not at all."""

_REMEDIES: Final = {
    "SQLITE_BUSY": "end the program that holds it, or wait for it",
    "SQLITE_CANTOPEN": "its directory must exist and this user must be able to write there",
    "SQLITE_CORRUPT": "restore a backup, see docs/operations.md",
    "SQLITE_FULL": "free space on its disk",
    "SQLITE_IOERR": "look after its disk",
    "SQLITE_NOTADB": "move the file away or choose another data directory",
    "SQLITE_READONLY": "this user must be able to write the file and its directory",
}


class LedgerError(Exception):
    """The ledger cannot be opened, read or written; the message says which and what to do."""


class Database:
    """The database of one ledger.

    Args:
        path: The file of an embedded ledger.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)
        self.engine = _embedded(path)

    def make(self) -> None:
        """Make the file when it is missing, and see to its mode.

        Raises:
            LedgerError: It cannot be made.
        """
        try:
            # Before SQLite opens it: the files that it makes beside it get the same mode.
            self.path.touch()
            self.path.chmod(data_directory.file_mode(self.path.parent))
        except OSError as error:
            raise self.error("open", error) from error

    @contextmanager
    def transaction(self, doing: str, *, alone: bool = False) -> Iterator[Connection]:
        """A transaction that is committed at the end of the block, or undone.

        Args:
            doing: What is being done to the ledger, for the message: `open`, `read`, `write`.
            alone: Whoever else begins such a transaction waits for the end of this one.

        Raises:
            LedgerError: The database refused something.
        """
        try:
            with (
                self._connect("BEGIN IMMEDIATE" if alone else "BEGIN") as connection,
                connection.begin(),
            ):
                yield connection
        except SQLAlchemyError as error:
            raise self.error(doing, error) from error

    def execute_outside(self, doing: str, statement: str) -> None:
        """Execute what a database does outside of transactions only.

        Raises:
            LedgerError: The database refused.
        """
        try:
            with self._connect(None) as connection:
                connection.exec_driver_sql(statement)
        except SQLAlchemyError as error:
            raise self.error(doing, error) from error

    def error(self, doing: str, error: Exception) -> LedgerError:
        """What to say of an error: what could not be done, why, and what helps."""
        return LedgerError(f"cannot {doing} ledger '{self.name}': {_reason(error)}")

    def size_bytes(self) -> int:
        """Size on disk, write-ahead log included."""
        total = 0
        for suffix in ("", "-wal", "-shm"):
            try:
                total += self.path.with_name(self.path.name + suffix).stat().st_size
            except OSError:
                continue
        return total

    def close(self) -> None:
        """Let go of it."""
        self.engine.dispose()

    def _connect(self, begin: str | None) -> Connection:
        return self.engine.connect().execution_options(**{_BEGIN: begin})


def _embedded(path: Path) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": _BUSY_SECONDS},
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        # The driver would begin transactions by itself, and not before CREATE TABLE: a first
        # start that is killed must leave all tables or none.
        connection.isolation_level = None
        # FULL: journals are deleted after the commit, so the commit must survive a power cut.
        connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        statement = connection.get_execution_options().get(_BEGIN)
        if statement is not None:
            connection.exec_driver_sql(statement)

    return engine


def _reason(error: Exception) -> str:
    """The database's own words in one line, without SQL and parameters, and the remedy."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    said = " ".join(str(cause).split())
    # An extended code, such as SQLITE_IOERR_WRITE, is a case of its first two words.
    code = "_".join(getattr(cause, "sqlite_errorname", "").split("_")[:2])
    return f"{said}; {_REMEDIES[code]}" if code in _REMEDIES else said
