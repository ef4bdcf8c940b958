"""The ledger of a sidecar: read at the start, then written one transaction per batch."""

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, bindparam, delete, func, select, update

from livekit_exporter.ledger import retention, schema
from livekit_exporter.ledger.backends import versions
from livekit_exporter.ledger.backends.database import LedgerError, RepricedError
from livekit_exporter.ledger.backends.locate import locate, sole_instance
from livekit_exporter.ledger.read import InstanceReader
from livekit_exporter.ledger.rows import Batch, SeriesRow, digest
from livekit_exporter.ledger.write import BatchWriter

__all__ = ["Ledger", "LedgerError", "RepricedError"]


class Ledger(InstanceReader):
    """The ledger of one data directory, whatever other instances keep in the same database.

    Args:
        where: Its file, created when it is missing, or the URL of a PostgreSQL database.
        instance: Id of the data directory; `None` for the one that the file belongs to, or
            a new one.

    Raises:
        LedgerError: It cannot be opened, is no ledger, or has a newer version.
    """

    def __init__(self, where: Path | str, instance: str | None = None) -> None:
        database = locate(where)
        try:
            versions.prepare(database)
            if not instance and isinstance(where, Path):
                with database.transaction("read") as connection:
                    instance = sole_instance(connection)
            super().__init__(database, instance or secrets.token_hex(8))
            self.commits = self._repriced = 0  # transactions of this instance, and repricings
            self.claim()
        except LedgerError:
            database.close()
            raise

    def close(self) -> None:
        """Release the database."""
        self._database.close()

    def claim(self) -> None:
        """Bump the commit counter, an optimistic lock on the rows of this instance.

        Every transaction that writes names the commit that it follows.  One of ours that is
        still in flight on the server, its connection lost, has either committed before this or
        can no longer commit, so what is read next holds.

        Raises:
            LedgerError: The ledger cannot be written.
        """
        columns = schema.instances.c
        last = select(func.coalesce(func.max(schema.repricings.c.repricing), 0))
        with self._database.transaction("write") as connection:
            connection.execute(
                self._database.upsert(schema.instances)
                .values(
                    instance=self.instance,
                    commits=1,
                    committed_at=time.time(),
                    kept_from=0.0,
                    repriced=last.scalar_subquery(),
                )
                .on_conflict_do_update(
                    index_elements=[columns.instance],
                    set_={"commits": columns.commits + 1, "committed_at": time.time()},
                )
            )
            query = select(columns.commits, columns.repriced)
            query = query.where(columns.instance == self.instance)
            self.commits, self._repriced = connection.execute(query).one()
            self._database.measure(connection)

    def was_repriced(self) -> bool:
        """Return `True` when calls were repriced since the last `claim`.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        query = select(schema.instances.c.repriced).where(self._own(schema.instances))
        return any(row["repriced"] != self._repriced for row in self._read(query))

    def commit(self, batch: Batch) -> None:
        """Write a batch: all of it or nothing.

        Raises:
            LedgerError: Nothing was written, or the outcome is unknown; `claim` tells.
        """
        with self._writing() as connection:
            BatchWriter(self._database, connection, self.instance).write(batch)
            self._database.measure(connection)

    def exported(self, calls: Mapping[str, float]) -> None:
        """Note that exports were written, with the Unix time of each by session.

        Raises:
            LedgerError: As `commit`.
        """
        columns = schema.sessions.c
        with self._writing() as connection:
            connection.execute(
                update(schema.sessions)
                .where(self._own(schema.sessions), columns.session == bindparam("of"))
                .values(exported_at=bindparam("at")),
                [{"of": session, "at": at} for session, at in calls.items()],
            )

    def move_series(self, outdated: list[SeriesRow], kept: list[SeriesRow]) -> None:
        """Replace series by others: the operator changed which labels there are.

        Raises:
            LedgerError: As `commit`.
        """
        columns = schema.series.c
        with self._writing() as connection:
            for row in outdated:
                same = columns.key == digest(row.family, row.labels)
                connection.execute(delete(schema.series).where(self._own(schema.series), same))
            BatchWriter(self._database, connection, self.instance).series(kept)

    def forget(self, *, series_before: float, now: float) -> list[SeriesRow]:
        """Delete series untouched since `series_before` (Unix seconds) and old positions.

        See `retention.forget_series`.

        Returns:
            The series of this instance that went.

        Raises:
            LedgerError: As `commit`.
        """
        gone = [
            row
            for row in self.series()
            if row.touched_at < series_before and row.labels != retention.NO_LABELS
        ]
        with self._writing() as connection:
            retention.forget_series(connection, self.instance, series_before, now)
        return gone

    def forget_calls(self, before: float, limit: int, *, deliver: bool = False) -> int:
        """Delete calls that were over before a time, oldest first, with all their rows.

        See `retention.forget_calls`.

        Args:
            before: Unix seconds.
            limit: Most calls to delete.
            deliver: Keep calls that this instance still has to deliver.

        Returns:
            Number of calls deleted.

        Raises:
            LedgerError: None were deleted.
        """
        silenced = None if deliver else self.instance
        with self._database.transaction("write") as connection:
            return retention.forget_calls(connection, before, limit, silenced)

    def shrink(self) -> bool:
        """Return some space of deleted rows to the system; `True` when there is more.

        Raises:
            LedgerError: It cannot be done now.
        """
        return self._database.shrink()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """Open a transaction that follows the last one of this instance.

        Raises:
            RepricedError: Calls were repriced since they were read.
            LedgerError: Another transaction has come between, or the database refused something.
        """
        columns = schema.instances.c
        own = self._own(schema.instances)
        with self._database.transaction("write") as connection:
            followed = connection.execute(
                update(schema.instances)
                .where(own, columns.commits == self.commits, columns.repriced == self._repriced)
                .values(commits=self.commits + 1, committed_at=time.time())
            )
            if followed.rowcount != 1:
                repriced = connection.execute(select(columns.repriced).where(own)).scalar()
                if repriced != self._repriced:
                    raise RepricedError(f"ledger '{self._database.name}' was repriced")
                raise LedgerError(
                    f"cannot write ledger '{self._database.name}': something else has written as"
                    f" instance '{self.instance}'; where a data directory was copied, remove the"
                    " file 'instance' from the copy"
                )
            yield connection
        self.commits += 1
