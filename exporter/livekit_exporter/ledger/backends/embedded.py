"""SQLite: the ledger in a file of the data directory."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    Integer,
    Table,
    cast,
    create_engine,
    event,
    func,
)
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.engine import URL

from livekit_exporter import files
from livekit_exporter.ledger.backends.database import Database, LedgerError, Remedies

_BUSY_SECONDS: Final = 5.0
_SHRINK_PAGES: Final = 1000
"""Pages cut off at a time: 4 MB, some ten milliseconds."""

_BEGIN: Final = "ledger_begin"
"""Option of a connection: its statement to begin a transaction, `None` for autocommit."""

_REMEDIES: Final[Remedies] = {
    "SQLITE_BUSY": "end the program that holds it, or wait for it",
    "SQLITE_CANTOPEN": "its directory must exist and this user must be able to write there",
    "SQLITE_CORRUPT": "restore a backup, see docs/operations.md",
    "SQLITE_FULL": "free space on its disk",
    "SQLITE_IOERR": "look after its disk",
    "SQLITE_NOTADB": "move the file away or choose another data directory",
    "SQLITE_READONLY": "this user must be able to write the file and its directory",
}


class Embedded(Database):
    """A SQLite file.

    Args:
        path: The file.
        read_only: Never write, and do not create the file.

    Raises:
        LedgerError: It cannot be created, or `read_only` and it does not exist.
    """

    elsewhere = "move it away or choose another data directory"

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        if read_only and not path.is_file():
            raise LedgerError(
                f"cannot read ledger '{path}': there is none; choose the data directory that a"
                " sidecar serves"
            )
        if not read_only:
            _make(path)
        super().__init__(str(path), _engine(path, read_only=read_only))
        self._path = path

    def prepare(self) -> None:
        """Set the modes that the file keeps; `auto_vacuum` takes effect only while it is empty."""
        with self._said("open"), self._connect(None) as connection:
            connection.exec_driver_sql("PRAGMA auto_vacuum=INCREMENTAL")
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")

    def shrink(self) -> bool:
        """Cut some free pages off the file; `True` when there are more."""
        with self._said("write"), self._connect(None) as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)  # noqa: S101 - for the type
            try:
                # The one call of the driver's that goes on to the end: a page is cut off at
                # each step, and `execute` takes but one.
                driver.executescript(f"PRAGMA incremental_vacuum({_SHRINK_PAGES})")
            except sqlite3.Error as error:
                raise self.error("write", error) from error
            mode = connection.exec_driver_sql("PRAGMA auto_vacuum").scalar()
            left = connection.exec_driver_sql("PRAGMA freelist_count").scalar()
        return bool(mode and left)

    def damage(self, connection: Connection) -> list[str]:
        """Run SQLite's integrity check; return its findings."""
        found = connection.exec_driver_sql("PRAGMA integrity_check").scalars()
        return [str(said) for said in found if said != "ok"]

    def size_bytes(self) -> int:
        """Return the size on disk, write-ahead log included."""
        total = 0
        for suffix in ("", "-wal", "-shm"):
            try:
                total += self._path.with_name(self._path.name + suffix).stat().st_size
            except OSError:
                continue
        return total

    def insert(
        self,
        connection: Connection,
        table: Table,
        names: Sequence[str],
        rows: Sequence[Sequence[object]],
    ) -> None:
        """Insert rows with `executemany`."""
        columns = ", ".join(f'"{name}"' for name in names)
        marks = ", ".join("?" * len(names))
        statement = f'INSERT INTO "{table.name}" ({columns}) VALUES ({marks})'  # noqa: S608 - ours
        connection.exec_driver_sql(statement, [tuple(row) for row in rows])

    def upsert(self, table: Table) -> Insert:
        """Begin an insert of SQLite."""
        return Insert(table)

    def day(self, at: Column[float]) -> ColumnElement[str]:
        """Format the UTC day of whole seconds: SQLite rounds the end of a day to the next one."""
        return func.strftime("%Y-%m-%d", cast(at, Integer), "unixepoch")

    @contextmanager
    def _begin(self, *, alone: bool) -> Iterator[Connection]:
        begin = "BEGIN IMMEDIATE" if alone else "BEGIN"
        with self._connect(begin) as connection, connection.begin():
            yield connection

    @contextmanager
    def _begin_snapshot(self) -> Iterator[Connection]:
        # SQLite shows what it showed at the first look until the transaction ends.
        with self._connect("BEGIN") as connection, connection.begin():
            yield connection

    def _connect(self, begin: str | None) -> Connection:
        return self.engine.connect().execution_options(**{_BEGIN: begin})

    def _remedy(self, cause: BaseException) -> str | None:
        # An extended code, such as SQLITE_IOERR_WRITE, is a case of its first two words.
        code = "_".join(getattr(cause, "sqlite_errorname", "").split("_")[:2])
        return _REMEDIES.get(code)


def _make(path: Path) -> None:
    try:
        # Before SQLite opens it: the files that it makes beside it get the same mode.
        path.touch()
        path.chmod(files.file_mode(path.parent))
    except OSError as error:
        raise LedgerError(
            f"cannot open ledger '{path}': {error.strerror}; {_REMEDIES['SQLITE_CANTOPEN']}"
        ) from error


def _engine(path: Path, *, read_only: bool) -> Engine:
    url = URL.create("sqlite", database=str(path))
    if read_only:
        uri = path.absolute().as_uri()
        url = URL.create("sqlite", database=uri, query={"mode": "ro", "uri": "true"})
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS}, hide_parameters=True)

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
