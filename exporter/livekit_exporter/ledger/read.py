"""Reads of a sidecar: the rows of its own instance, at the start and as it goes on."""

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    RowMapping,
    Table,
    and_,
    func,
    or_,
    select,
    true,
)

from livekit_exporter.calls.sizes import Sizes
from livekit_exporter.ledger import outbox, schema
from livekit_exporter.ledger.backends.database import Database
from livekit_exporter.ledger.expressions import UNPRICED_REQUESTS
from livekit_exporter.ledger.rows import (
    FAILURE_COLUMNS,
    SESSION_COLUMNS,
    TURN_COLUMNS,
    USAGE_COLUMNS,
    Backlog,
    CallRows,
    DeliveryRow,
    Due,
    FailureRow,
    Position,
    SeriesRow,
    SessionRow,
    SizesKey,
    TurnRow,
    UsageRow,
    usage_row,
)
from livekit_exporter.ledger.spending import (
    Spending,
    UserSpend,
    spent_by_agent,
    spent_by_call,
    spent_by_user,
)
from livekit_exporter.record import Source

SESSION: Final = tuple(schema.sessions.c[name] for name in SESSION_COLUMNS)
"""Columns of a `SessionRow`."""

TURN: Final = tuple(schema.turns.c[name] for name in TURN_COLUMNS)
"""Columns of a `TurnRow`."""

USAGE: Final = tuple(schema.usage.c[name] for name in USAGE_COLUMNS)
"""Columns that `rows.usage_row` reads, in its order."""

FAILURE: Final = tuple(schema.failures.c[name] for name in FAILURE_COLUMNS)
"""Columns of a `FailureRow`."""


def call_rows(connection: Connection, session: str, instance: str | None = None) -> CallRows:
    """Read the turns, usage and failures of a call, each in their order.

    Args:
        connection: To read with.
        session: Its id.
        instance: Its data directory; any when not given.
    """

    def of_call(table: Table) -> ColumnElement[bool]:
        own = true() if instance is None else table.c["instance"] == instance
        return and_(own, table.c["session"] == session)

    turns, usage, failures = schema.turns, schema.usage, schema.failures
    replies = select(*TURN).where(of_call(turns)).order_by(turns.c.at)
    used = select(*USAGE).where(of_call(usage)).order_by(usage.c.id)
    failed = select(*FAILURE).where(of_call(failures)).order_by(failures.c.id)
    return CallRows(
        [TurnRow(**row) for row in connection.execute(replies).mappings()],
        list(map(usage_row, connection.execute(used))),
        [FailureRow(**row) for row in connection.execute(failed).mappings()],
    )


class InstanceReader:
    """Reads the rows of one instance.

    Every method raises `LedgerError` where the ledger cannot be read.

    Args:
        database: To read from.
        instance: Id of the data directory that the rows came through.
    """

    def __init__(self, database: Database, instance: str) -> None:
        self._database = database
        self.instance = instance

    def open_sessions(self) -> list[SessionRow]:
        """Read the calls whose journal has not been read to its end."""
        query = select(*SESSION).where(
            self._own(schema.sessions), schema.sessions.c.ended.is_(False)
        )
        return [SessionRow(**row) for row in self._read(query)]

    def session(self, session: str) -> SessionRow | None:
        """Read one call, ended or not."""
        calls = schema.sessions
        found = self._read(select(*SESSION).where(self._own(calls), calls.c.session == session))
        return SessionRow(**found[0]) if found else None

    def turn(self, session: str, speech: str) -> TurnRow | None:
        """Read one reply of a call."""
        found = self._turns(session, schema.turns.c.speech == speech)
        return found[0] if found else None

    def turns(self, session: str) -> list[TurnRow]:
        """Read the replies of a call, in their order."""
        return self._turns(session, true())

    def unfinished(self, session: str) -> list[TurnRow]:
        """Read the replies without a message, and those cut off that answer nobody."""
        columns = schema.turns.c
        cut = and_(columns.interrupted.is_(True), columns.answered.is_(False))
        return self._turns(session, or_(columns.spoken.is_(False), cut))

    def usage_of(self, session: str, speech: str) -> list[UsageRow]:
        """Read the usage rows of one reply."""
        columns = schema.usage.c
        query = select(*USAGE).where(
            self._own(schema.usage), columns.session == session, columns.speech == speech
        )
        with self._database.transaction("read") as connection:
            return list(map(usage_row, connection.execute(query)))

    def rows_of(self, session: str) -> CallRows:
        """Read the turns, usage and failures of a call, each in their order."""
        with self._database.snapshot() as connection:
            return call_rows(connection, session, self.instance)

    def to_export(self, limit: int) -> list[SessionRow]:
        """Read calls that ended and have no export of their newest state, oldest first."""
        columns = schema.sessions.c
        query = select(*SESSION).where(
            self._own(schema.sessions), columns.ended.is_(True), columns.exported_at.is_(None)
        )
        found = self._read(query.order_by(columns.last_at).limit(limit))
        return [SessionRow(**row) for row in found]

    def due(self, now: float, limit: int) -> Due:
        """Read up to `limit` deliveries that are due."""
        with self._database.snapshot() as connection:
            return outbox.due(connection, self.instance, now, limit)

    def backlog(self) -> Backlog:
        """Count the deliveries that wait, due or not."""
        with self._database.transaction("read") as connection:
            return outbox.backlog(connection, self.instance)

    def to_deliver(self, row: DeliveryRow) -> tuple[SessionRow, CallRows] | None:
        """Read a call in the state to deliver; `None` when that was delivered or has changed."""
        calls = schema.sessions
        query = select(*SESSION).where(self._own(calls), calls.c.session == row.session)
        with self._database.snapshot() as connection:
            if outbox.find(connection, row) != row:
                return None
            call = connection.execute(query).mappings().first()
            if call is None:
                return None
            return SessionRow(**call), call_rows(connection, row.session, self.instance)

    def unknown(self, tried: Sequence[DeliveryRow]) -> list[DeliveryRow]:
        """Pick the deliveries whose last attempt the ledger does not have yet."""
        if not tried:
            return []
        with self._database.transaction("read") as connection:
            return [row for row in tried if not outbox.is_known(connection, row)]

    def series(self) -> list[SeriesRow]:
        """Read the values of all series."""
        return [
            SeriesRow(
                family=row["family"],
                labels=row["labels"],
                value=row["value"],
                counts=None if row["counts"] is None else tuple(json.loads(row["counts"])),
                touched_at=row["touched_at"],
            )
            for row in self._read(select(schema.series).where(self._own(schema.series)))
        ]

    def positions(self) -> dict[str, Position]:
        """Read how far each journal is in the ledger."""
        return {
            row["journal"]: Position(row["committed"], row["discarding"], row["finished_at"])
            for row in self._read(select(schema.positions).where(self._own(schema.positions)))
        }

    def sizes(self) -> dict[SizesKey, Sizes]:
        """Read the sizes of finished requests by model, of all instances in this database."""
        columns = schema.sizes.c
        key = [columns[name] for name in SizesKey._fields]
        names = [each.name for each in fields(Sizes)]
        query = select(*key, *(func.sum(columns[name]).label(name) for name in names))
        return {
            SizesKey(row["stage"], row["provider"], row["model"]): Sizes.read(
                {name: float(row[name]) for name in names}
            )
            for row in self._read(query.group_by(*key))
        }

    def spend(self, since: float) -> dict[tuple[str, Source], float]:
        """Sum up the cost in US dollars by agent and source since a Unix time."""
        found = self._read(spent_by_agent(since, self.instance))
        return {(row["agent"], row["source"]): row["usd"] for row in found}

    def spending(self, since: float) -> Spending:
        """Sum up the spend of all instances since a Unix time, by user."""
        rows = self._read(spent_by_user(since))
        spent = [UserSpend(*(row[name] for name in UserSpend._fields)) for row in rows]
        return Spending(spent, max((row["last_row"] for row in rows), default=0))

    def spending_of(self, session: str, since: float, last_row: int) -> list[UserSpend]:
        """Sum up the spend of one call, in no newer rows than `last_row`."""
        return [UserSpend(**row) for row in self._read(spent_by_call(session, since, last_row))]

    def models(
        self, since: float, *, session: str | None = None
    ) -> list[tuple[str, str, str, int, int, float]]:
        """Sum up reported usage by model.

        Args:
            since: Unix seconds.
            session: Only of this call.

        Returns:
            Stage, provider, model, requests, unpriced requests, US dollars.
        """
        rows = schema.usage.c
        key = rows.stage, rows.provider, rows.model
        query = (
            select(
                *key,
                func.sum(rows.requests).label("requests"),
                func.sum(UNPRICED_REQUESTS).label("unpriced"),
                func.coalesce(func.sum(rows.cost_usd), 0.0).label("usd"),
            )
            .where(
                self._own(schema.usage),
                rows.source == "reported",
                rows.at >= since,
                rows.session == session if session else true(),
            )
            .group_by(*key)
        )
        return [
            (
                row["stage"],
                row["provider"],
                row["model"],
                int(row["requests"]),
                int(row["unpriced"]),
                row["usd"],
            )
            for row in self._read(query)
        ]

    def estimated_usd(self, session: str) -> float:
        """Sum up the cost of a call that vendors bill and no event reports, in US dollars."""
        rows = schema.usage.c
        query = select(func.coalesce(func.sum(rows.cost_usd), 0.0).label("usd")).where(
            self._own(schema.usage), rows.source == "estimated", rows.session == session
        )
        usd: float = self._read(query)[0]["usd"]
        return usd

    def last_record_at(self) -> float | None:
        """Read the time of the newest record, Unix seconds; `None` where there is none."""
        query = select(func.max(schema.sessions.c.last_at).label("at"))
        at: float | None = self._read(query.where(self._own(schema.sessions)))[0]["at"]
        return at

    def size_bytes(self) -> int:
        """Measure the size on disk."""
        return self._database.size_bytes()

    def _own(self, table: Table) -> ColumnElement[bool]:
        return table.c["instance"] == self.instance

    def _turns(self, session: str, condition: ColumnElement[bool]) -> list[TurnRow]:
        columns = schema.turns.c
        query = select(*TURN).where(self._own(schema.turns), columns.session == session, condition)
        return [TurnRow(**row) for row in self._read(query.order_by(columns.at))]

    def _read(self, query: Executable) -> Sequence[RowMapping]:
        with self._database.transaction("read") as connection:
            return connection.execute(query).mappings().all()
