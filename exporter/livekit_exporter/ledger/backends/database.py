"""What a database has to do for a ledger, whichever it is."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

from sqlalchemy import Column, ColumnElement, Connection, Engine, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

Upsert: TypeAlias = postgresql.Insert | sqlite.Insert
"""An insert that knows what to do where the row exists."""

Remedies: TypeAlias = Mapping[str, str]
"""What helps, by the driver's own code of an error."""


class LedgerError(Exception):
    """The ledger cannot be opened, read or written; the message says which and what to do."""


class RepricedError(LedgerError):
    """Nothing was written: calls have other costs than those that were read; read them again."""


class Database(ABC):
    """The database of a ledger.

    Args:
        name: What messages call it; no password.
        engine: How it is reached.
    """

    elsewhere: str
    """What to do where it turns out to be another program's."""

    def __init__(self, name: str, engine: Engine) -> None:
        self.name = name
        self.engine = engine

    @contextmanager
    def transaction(self, doing: str, *, alone: bool = False) -> Iterator[Connection]:
        """A transaction that is committed at the end of the block, or undone.

        Args:
            doing: What is being done to the ledger, for the message: `open`, `read`, `write`.
            alone: Whoever else begins such a transaction waits for the end of this one.

        Raises:
            LedgerError: The database refused something.
        """
        with self._said(doing), self._begin(alone=alone) as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """One state of the ledger for the whole block, whatever is written meanwhile.

        Raises:
            LedgerError: The database refused something.
        """
        with self._said("read"), self._begin_snapshot() as connection:
            yield connection

    def error(self, doing: str, error: Exception) -> LedgerError:
        """What to say of an error: what could not be done, why, and what helps."""
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        said = " ".join(self._redacted(str(cause)).split())
        remedy = self._remedy(cause)
        return LedgerError(
            f"cannot {doing} ledger '{self.name}': {said}{f'; {remedy}' if remedy else ''}"
        )

    def close(self) -> None:
        """Let go of it."""
        self.engine.dispose()

    def prepare(self) -> None:
        """Do what has to be done before the first table is made.

        Raises:
            LedgerError: It cannot be done.
        """
        return

    def measure(self, connection: Connection) -> None:
        """Take the size while connected, where that cannot be had at any time."""
        del connection

    def shrink(self) -> bool:
        """Give some of the space of deleted rows back; whether there is more.

        Raises:
            LedgerError: It cannot be done.
        """
        return False

    def damage(self, connection: Connection) -> list[str]:
        """What the database itself finds wrong with its files."""
        del connection
        return []

    def renumber(self, connection: Connection) -> None:
        """Count on behind the rows that came with their ids."""
        del connection

    @abstractmethod
    def size_bytes(self) -> int:
        """Size on disk."""

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
        """An insert into a table, in this database's own words."""

    @abstractmethod
    def day(self, at: Column[float]) -> ColumnElement[str]:
        """UTC day of a time, as `rows.utc_day` has it."""

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
