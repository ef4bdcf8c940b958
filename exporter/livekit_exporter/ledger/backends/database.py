"""Interface between the ledger and its database, and the error that both raise."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

from sqlalchemy import Column, ColumnElement, Connection, Engine, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

Upsert: TypeAlias = postgresql.Insert | sqlite.Insert
"""An insert that can update a row which exists."""

Remedies: TypeAlias = Mapping[str, str]
"""Advice for the user, by the driver's code of an error."""


class LedgerError(Exception):
    """The ledger cannot be opened, read or written; the message says why and what to do."""


class RepricedError(LedgerError):
    """Nothing was written, because calls were repriced since they were read: read them again."""


class Database(ABC):
    """The database of a ledger.

    Args:
        name: Its name in messages, without a password.
        engine: SQLAlchemy's connections to it.
    """

    elsewhere: str
    """Advice where the database belongs to another program."""

    def __init__(self, name: str, engine: Engine) -> None:
        self.name = name
        self.engine = engine

    @contextmanager
    def transaction(self, doing: str, *, alone: bool = False) -> Iterator[Connection]:
        """Open a transaction: committed at the end of the block, rolled back on an error.

        Args:
            doing: Verb for the error message: `open`, `read` or `write`.
            alone: Exclude all other transactions of this kind until it ends.

        Raises:
            LedgerError: The database refused something.
        """
        with self._said(doing), self._begin(alone=alone) as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Open a read-only transaction that sees one state of the ledger.

        Raises:
            LedgerError: The database refused something.
        """
        with self._said("read"), self._begin_snapshot() as connection:
            yield connection

    def error(self, doing: str, error: Exception) -> LedgerError:
        """Turn an error of the driver into a message: what failed, why, and what to do."""
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        said = " ".join(self._redacted(str(cause)).split())
        remedy = self._remedy(cause)
        return LedgerError(
            f"cannot {doing} ledger '{self.name}': {said}{f'; {remedy}' if remedy else ''}"
        )

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def prepare(self) -> None:
        """Prepare the database before its first table is created.

        Raises:
            LedgerError: It cannot be done.
        """
        return

    def measure(self, connection: Connection) -> None:
        """Measure the size over this connection, for databases that need one."""
        del connection

    def shrink(self) -> bool:
        """Return some space of deleted rows to the system; `True` when there is more.

        Raises:
            LedgerError: It cannot be done.
        """
        return False

    def damage(self, connection: Connection) -> list[str]:
        """Run the database's own check of its files; return its findings."""
        del connection
        return []

    def renumber(self, connection: Connection) -> None:
        """Set id sequences behind the rows that were copied with their ids."""
        del connection

    @abstractmethod
    def size_bytes(self) -> int:
        """Return the size on disk."""

    @abstractmethod
    def insert(
        self,
        connection: Connection,
        table: Table,
        names: Sequence[str],
        rows: Sequence[Sequence[object]],
    ) -> None:
        """Insert rows the fastest way that the driver has.

        SQLAlchemy would convert each of forty values of each row.

        Args:
            connection: In a transaction that writes.
            table: Where to.
            names: Columns.
            rows: A value for each of them.

        Raises:
            LedgerError: The database refused them.
        """

    @abstractmethod
    def upsert(self, table: Table) -> Upsert:
        """Begin an insert in this database's dialect."""

    @abstractmethod
    def day(self, at: Column[float]) -> ColumnElement[str]:
        """Format the UTC day of a time like `rows.utc_day`."""

    @abstractmethod
    def _begin(self, *, alone: bool) -> AbstractContextManager[Connection]: ...

    @abstractmethod
    def _begin_snapshot(self) -> AbstractContextManager[Connection]: ...

    @abstractmethod
    def _remedy(self, cause: BaseException) -> str | None: ...

    def _redacted(self, said: str) -> str:
        return said

    @contextmanager
    def _said(self, doing: str) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise self.error(doing, error) from error
