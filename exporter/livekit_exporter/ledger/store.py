"""The ledger: opened, read at the start, and written one transaction a batch."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from sqlalchemy import (
    Connection,
    Engine,
    Executable,
    RowMapping,
    Table,
    and_,
    case,
    create_engine,
    delete,
    event,
    func,
    insert,
    inspect,
    literal,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.engine import URL
from sqlalchemy.exc import DatabaseError, SQLAlchemyError

from livekit_exporter import data_directory
from livekit_exporter.ledger import schema
from livekit_exporter.ledger.rows import Batch, Position, SeriesRow, SessionRow, TurnRow

_BUSY_SECONDS: Final = 5.0
_NO_LABELS: Final = "{}"
_DAY_SECONDS: Final = 86400
_KEEP_POSITIONS_SECONDS: Final = 7 * 86400.0

DAILY_SUMS: Final = (
    "requests",
    "unpriced_requests",
    "input_tokens",
    "output_tokens",
    "characters",
    "audio_seconds",
    "connection_seconds",
    "cost_usd",
)
"""What the daily rollup adds up, in the order of a batch's numbers."""


class LedgerError(Exception):
    """The ledger cannot be opened, read or written; the message says which and what to do."""


class Ledger:
    """The embedded ledger of one data directory.

    Args:
        path: The database file; made when it is missing.

    Raises:
        LedgerError: It cannot be opened, is no ledger, or is a newer version's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = _engine(path)
        try:
            # Before SQLite opens it: the files that it makes beside it get the same mode.
            path.touch()
            path.chmod(data_directory.file_mode(path.parent))
            with self._engine.begin() as connection:
                _check_version(connection, path)
        except (SQLAlchemyError, OSError) as error:
            self._engine.dispose()
            raise LedgerError(f"cannot open ledger '{path}': {_reason(error)}") from error
        except LedgerError:
            self._engine.dispose()
            raise

    def close(self) -> None:
        """Release the file."""
        self._engine.dispose()

    def open_sessions(self) -> list[SessionRow]:
        """Calls whose journal has not been read to its end.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        query = select(schema.sessions).where(schema.sessions.c.ended.is_(False))
        return [SessionRow(**row) for row in self._read(query)]

    def turn(self, session: str, speech: str) -> TurnRow | None:
        """One turn of a call.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        columns = schema.turns.c
        query = select(schema.turns).where(columns.session == session, columns.speech == speech)
        found = self._read(query)
        return TurnRow(**found[0]) if found else None

    def unspoken(self, session: str) -> list[TurnRow]:
        """Replies of a call that cost something and of which no message came.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        columns = schema.turns.c
        query = select(schema.turns).where(
            columns.session == session, columns.spoken.is_(False), columns.cost_usd > 0
        )
        return [TurnRow(**row) for row in self._read(query)]

    def usage_of(self, session: str, speech: str) -> list[dict[str, object]]:
        """Usage rows of one reply.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        columns = schema.usage.c
        query = select(schema.usage).where(columns.session == session, columns.speech == speech)
        return [dict(row) for row in self._read(query)]

    def session(self, session: str) -> SessionRow | None:
        """One call, ended or not.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        found = self._read(select(schema.sessions).where(schema.sessions.c.session == session))
        return SessionRow(**found[0]) if found else None

    def series(self) -> list[SeriesRow]:
        """Values of all series.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        return [
            SeriesRow(
                family=row["family"],
                labels=row["labels"],
                value=row["value"],
                counts=None if row["counts"] is None else tuple(json.loads(row["counts"])),
                touched_at=row["touched_at"],
            )
            for row in self._read(select(schema.series))
        ]

    def positions(self) -> dict[str, Position]:
        """How far each journal is in the ledger.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        return {
            row["journal"]: Position(row["committed"], row["discarding"], row["finished_at"])
            for row in self._read(select(schema.positions))
        }

    def spend(self, since: float) -> dict[str, float]:
        """Cost in US dollars by agent, of usage at or after `since` (Unix seconds).

        Whole UTC days come from the rollup, the rest of the first day from its rows.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        first = datetime.fromtimestamp(since, UTC)
        midnight = first.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
        whole_from = midnight if since <= midnight else midnight + 86400.0
        rows, days = schema.usage.c, schema.daily.c
        query = union_all(
            select(days.agent, days.cost_usd).where(days.day >= utc_day(whole_from)),
            select(rows.agent, func.coalesce(rows.cost_usd, literal(0.0))).where(
                rows.at >= since, rows.at < whole_from
            ),
        ).subquery()
        summed = select(query.c.agent, func.sum(query.c.cost_usd).label("usd")).group_by(
            query.c.agent
        )
        return {row["agent"]: row["usd"] for row in self._read(summed)}

    def turns(self, session: str) -> list[TurnRow]:
        """Replies of a call, in their order.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        columns = schema.turns.c
        query = select(schema.turns).where(columns.session == session).order_by(columns.at)
        return [TurnRow(**row) for row in self._read(query)]

    def models(
        self, since: float, *, session: str | None = None
    ) -> list[tuple[str, str, str, int, int, float]]:
        """Stage, provider, model, requests, unpriced requests and cost, of usage since then.

        Args:
            since: Unix seconds.
            session: Only of this call.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        rows = schema.usage.c
        counted = case((rows.requests > 0, rows.requests), else_=1)
        unpriced = case((rows.status == "unpriced", counted), else_=0)
        query = (
            select(
                rows.stage,
                rows.provider,
                rows.model,
                func.sum(rows.requests).label("requests"),
                func.sum(unpriced).label("unpriced"),
                func.coalesce(func.sum(rows.cost_usd), 0.0).label("usd"),
            )
            .where(rows.at >= since, rows.session == session if session else true())
            .group_by(rows.stage, rows.provider, rows.model)
        )
        return [
            (
                row["stage"],
                row["provider"],
                row["model"],
                row["requests"],
                row["unpriced"],
                row["usd"],
            )
            for row in self._read(query)
        ]

    def last_record_at(self) -> float | None:
        """When the newest record was made, Unix seconds.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        found = self._read(select(func.max(schema.sessions.c.last_at).label("at")))
        at: float | None = found[0]["at"]
        return at

    def commit(self, batch: Batch) -> None:
        """Write a batch: all of it or nothing.

        Raises:
            LedgerError: Nothing was written.
        """
        try:
            with self._engine.begin() as connection:
                _write(connection, batch)
        except SQLAlchemyError as error:
            raise LedgerError(f"cannot write ledger '{self.path}': {_reason(error)}") from error

    def move_series(self, outdated: list[SeriesRow], kept: list[SeriesRow]) -> None:
        """Put series under other labels: the operator changed which there are.

        Raises:
            LedgerError: Nothing was changed.
        """
        columns = schema.series.c
        try:
            with self._engine.begin() as connection:
                for row in outdated:
                    connection.execute(
                        delete(schema.series).where(
                            columns.family == row.family, columns.labels == row.labels
                        )
                    )
                _write(connection, Batch(series=kept))
        except SQLAlchemyError as error:
            raise LedgerError(f"cannot write ledger '{self.path}': {_reason(error)}") from error

    def forget(self, *, series_before: float, now: float) -> list[SeriesRow]:
        """Delete series untouched since `series_before` and old positions; return the series.

        Series without labels stay: there is one of each, and it must not begin anew.

        Raises:
            LedgerError: Nothing was deleted.
        """
        columns = schema.series.c
        stale = and_(columns.touched_at < series_before, columns.labels != _NO_LABELS)
        gone = [
            row
            for row in self.series()
            if row.touched_at < series_before and row.labels != _NO_LABELS
        ]
        try:
            with self._engine.begin() as connection:
                connection.execute(delete(schema.series).where(stale))
                # A finished journal's position outlives the file: a file system that lost
                # power may bring the file back.
                connection.execute(
                    delete(schema.positions).where(
                        schema.positions.c.finished_at < now - _KEEP_POSITIONS_SECONDS
                    )
                )
        except SQLAlchemyError as error:
            raise LedgerError(f"cannot write ledger '{self.path}': {_reason(error)}") from error
        return gone

    def size_bytes(self) -> int:
        """Size on disk, write-ahead log included."""
        total = 0
        for suffix in ("", "-wal", "-shm"):
            try:
                total += self.path.with_name(self.path.name + suffix).stat().st_size
            except OSError:
                continue
        return total

    def _read(self, query: Executable) -> Sequence[RowMapping]:
        try:
            with self._engine.connect() as connection:
                return connection.execute(query).mappings().all()
        except SQLAlchemyError as error:
            raise LedgerError(f"cannot read ledger '{self.path}': {_reason(error)}") from error


def utc_day(at: float) -> str:
    """Day of a time in UTC, `YYYY-MM-DD`."""
    return _day(int(at // _DAY_SECONDS))


@lru_cache(maxsize=64)
def _day(number: int) -> str:
    """Day of a count of days since 1970; written out once a day rather than once a record."""
    return datetime.fromtimestamp(number * _DAY_SECONDS, UTC).strftime("%Y-%m-%d")


def _engine(path: Path) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)), connect_args={"timeout": _BUSY_SECONDS}
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        # The driver would begin transactions by itself, and not before CREATE TABLE: a first
        # start that is killed must leave all tables or none.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        # FULL: journals are deleted after the commit, so the commit must survive a power cut.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def _check_version(connection: Connection, path: Path) -> None:
    """Make the tables of a new ledger; refuse a newer one.

    Raises:
        LedgerError: The ledger is of a version that this program does not know.
    """
    found = None
    if inspect(connection).has_table(schema.meta.name):
        query = select(schema.meta.c.value).where(schema.meta.c.key == "version")
        found = connection.execute(query).scalar()
    if found is None and inspect(connection).get_table_names():
        raise LedgerError(
            f"cannot open ledger '{path}': it is another program's database; move it away or"
            " choose another data directory"
        )
    if found is None:
        schema.metadata.create_all(connection)
        connection.execute(insert(schema.meta).values(key="version", value=str(schema.VERSION)))
    elif found != str(schema.VERSION):
        raise LedgerError(
            f"cannot open ledger '{path}': it has version {found}, this program knows"
            f" version {schema.VERSION}; use the livekit-exporter that wrote it, or newer"
        )


def _reason(error: Exception) -> str:
    """The database's own words, without SQL and parameters."""
    cause = error.orig if isinstance(error, DatabaseError) and error.orig else error
    return str(cause)


def _write(connection: Connection, batch: Batch) -> None:
    if batch.usage:
        connection.execute(insert(schema.usage), batch.usage)
    if batch.failures:
        connection.execute(insert(schema.failures), batch.failures)
    _replace(connection, schema.sessions, [vars(row) for row in batch.sessions.values()])
    _replace(connection, schema.turns, [vars(row) for row in batch.turns.values()])
    _replace(
        connection,
        schema.series,
        [
            {
                "family": row.family,
                "labels": row.labels,
                "value": row.value,
                "counts": None if row.counts is None else json.dumps(row.counts),
                "touched_at": row.touched_at,
            }
            for row in batch.series
        ],
    )
    _replace(
        connection,
        schema.positions,
        [{"journal": journal, **asdict(position)} for journal, position in batch.positions.items()],
    )
    _add_daily(connection, batch)


def _replace(connection: Connection, table: Table, rows: Sequence[dict[str, object]]) -> None:
    """Insert rows, or overwrite those that exist."""
    if not rows:
        return
    statement = upsert(table)
    changed = {
        column.name: statement.excluded[column.name]
        for column in table.columns
        if not column.primary_key
    }
    connection.execute(
        statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed),
        rows,
    )


def _add_daily(connection: Connection, batch: Batch) -> None:
    if not batch.daily:
        return
    statement = upsert(schema.daily)
    added = {name: schema.daily.c[name] + statement.excluded[name] for name in DAILY_SUMS}
    connection.execute(
        statement.on_conflict_do_update(index_elements=list(schema.daily.primary_key), set_=added),
        [
            {
                "day": day,
                "agent": agent,
                "stage": stage,
                "provider": provider,
                "model": model,
                **dict(zip(DAILY_SUMS, sums, strict=True)),
            }
            for (day, agent, stage, provider, model), sums in batch.daily.items()
        ],
    )
