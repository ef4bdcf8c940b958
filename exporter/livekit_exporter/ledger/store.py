"""The ledger as a sidecar uses it: read at the start, written one transaction a batch."""

import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    RowMapping,
    Table,
    and_,
    bindparam,
    case,
    delete,
    func,
    literal,
    not_,
    or_,
    select,
    true,
    union_all,
    update,
)

from livekit_exporter.calls.sizes import Sizes
from livekit_exporter.ledger import deliveries, schema, versions
from livekit_exporter.ledger.database import LedgerError, RepricedError
from livekit_exporter.ledger.locate import locate
from livekit_exporter.ledger.rollups import rolled_up
from livekit_exporter.ledger.rows import (
    FAILURE_COLUMNS,
    NEW_USAGE_COLUMNS,
    USAGE_COLUMNS,
    Backlog,
    Batch,
    CallRows,
    DeliveryRow,
    Due,
    FailureRow,
    ModelSums,
    Position,
    SeriesRow,
    SessionRow,
    SizesKey,
    TurnRow,
    UsageRow,
    UserSums,
    digest,
    failure_values,
    usage_row,
    usage_values,
    utc_day,
)
from livekit_exporter.ledger.spending import Spending, Spent, spent_by_call, spent_since
from livekit_exporter.record import Source

__all__ = ["Ledger", "LedgerError", "RepricedError"]

_NO_LABELS: Final = "{}"
_DAY_SECONDS: Final = 86400.0
_KEEP_POSITIONS_SECONDS: Final = 7 * _DAY_SECONDS

# What a row is to the sidecar that it belongs to.
_SESSION: Final = tuple(column for column in schema.sessions.c if column.name != "instance")
_TURN: Final = tuple(column for column in schema.turns.c if column.name != "instance")
_USAGE: Final = tuple(schema.usage.c[name] for name in USAGE_COLUMNS)
_FAILURE: Final = tuple(schema.failures.c[name] for name in FAILURE_COLUMNS)


class Ledger:
    """The ledger of one data directory: its own rows, whoever else keeps some in the same database.

    Args:
        where: Its file, made when it is missing, or the URL of a PostgreSQL database.
        instance: Which data directory this is; `None` for the one that the file belongs to,
            or a new one.

    Raises:
        LedgerError: It cannot be opened, is no ledger, or is a newer version's.
    """

    def __init__(self, where: Path | str, instance: str | None = None) -> None:
        self._database = locate(where)
        try:
            fresh = secrets.token_hex(8)
            versions.prepare(self._database, instance or fresh)
            owner = self._owner() if isinstance(where, Path) else None
            self.instance = instance or owner or fresh
            self._commits = self._repriced = 0
            self.claim()
        except LedgerError:
            self._database.close()
            raise

    def close(self) -> None:
        """Release the database."""
        self._database.close()

    def claim(self) -> None:
        """Make sure that nobody else writes rows of this instance.

        Every transaction that writes says which one it follows.  After this, one of ours that
        is still under way on the server, its connection lost, has either come to its end or
        can no longer be committed: what is read next is what holds.

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
            self._commits, self._repriced = connection.execute(query).one()
            self._database.measure(connection)

    def was_repriced(self) -> bool:
        """Whether calls were given other costs since the last `claim`.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        columns = schema.instances.c
        query = select(columns.repriced).where(self._own(schema.instances))
        return any(row["repriced"] != self._repriced for row in self._read(query))

    def open_sessions(self) -> list[SessionRow]:
        """Calls whose journal has not been read to its end.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        columns = schema.sessions.c
        query = select(*_SESSION).where(self._own(schema.sessions), columns.ended.is_(False))
        return [SessionRow(**row) for row in self._read(query)]

    def turn(self, session: str, speech: str) -> TurnRow | None:
        """One turn of a call.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        found = self._turns(session, schema.turns.c.speech == speech)
        return found[0] if found else None

    def turns(self, session: str) -> list[TurnRow]:
        """Replies of a call, in their order.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        return self._turns(session, true())

    def unfinished(self, session: str) -> list[TurnRow]:
        """Replies of a call of which no message came, or which were cut off and answer nobody.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        columns = schema.turns.c
        cut = and_(columns.interrupted.is_(True), columns.answered.is_(False))
        return self._turns(session, or_(columns.spoken.is_(False), cut))

    def usage_of(self, session: str, speech: str) -> list[UsageRow]:
        """Usage rows of one reply.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        columns = schema.usage.c
        query = select(*_USAGE).where(
            self._own(schema.usage), columns.session == session, columns.speech == speech
        )
        with self._database.transaction("read") as connection:
            return list(map(usage_row, connection.execute(query)))

    def to_export(self, limit: int) -> list[SessionRow]:
        """Calls that ended and have no export yet, oldest first.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        columns = schema.sessions.c
        query = select(*_SESSION).where(
            self._own(schema.sessions), columns.ended.is_(True), columns.exported_at.is_(None)
        )
        return [
            SessionRow(**row) for row in self._read(query.order_by(columns.last_at).limit(limit))
        ]

    def rows_of(self, session: str) -> CallRows:
        """Everything that belongs to a call, in its order.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        with self._database.snapshot() as connection:
            return self._rows_of(connection, session)

    def due(self, now: float, limit: int) -> Due:
        """Up to `limit` deliveries that are due.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        with self._database.snapshot() as connection:
            return deliveries.due(connection, self.instance, now, limit)

    def backlog(self) -> Backlog:
        """What is to be delivered, now or later.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        with self._database.transaction("read") as connection:
            return deliveries.backlog(connection, self.instance)

    def to_deliver(self, row: DeliveryRow) -> tuple[SessionRow, CallRows] | None:
        """A call in the state that is to be delivered; `None` when that is done, or changed.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        calls = schema.sessions
        query = select(*_SESSION).where(self._own(calls), calls.c.session == row.session)
        with self._database.snapshot() as connection:
            if deliveries.find(connection, row) != row:
                return None
            call = connection.execute(query).mappings().first()
            if call is None:
                return None
            return SessionRow(**call), self._rows_of(connection, row.session)

    def unknown(self, tried: Sequence[DeliveryRow]) -> list[DeliveryRow]:
        """Those deliveries of which the ledger does not know yet that they were tried.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        if not tried:
            return []
        with self._database.transaction("read") as connection:
            return [row for row in tried if not deliveries.is_known(connection, row)]

    def exported(self, calls: Mapping[str, float]) -> None:
        """Note that exports were written, with the Unix time of each.

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

    def session(self, session: str) -> SessionRow | None:
        """One call, ended or not.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        query = select(*_SESSION).where(
            self._own(schema.sessions), schema.sessions.c.session == session
        )
        found = self._read(query)
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
            for row in self._read(select(schema.series).where(self._own(schema.series)))
        ]

    def positions(self) -> dict[str, Position]:
        """How far each journal is in the ledger.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        return {
            row["journal"]: Position(row["committed"], row["discarding"], row["finished_at"])
            for row in self._read(select(schema.positions).where(self._own(schema.positions)))
        }

    def sizes(self) -> dict[SizesKey, Sizes]:
        """What finished requests of each model say, of all that share this database.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        columns = schema.sizes.c
        key = [columns[name] for name in SizesKey._fields]
        query = select(
            *key, *(func.sum(columns[spec.name]).label(spec.name) for spec in fields(Sizes))
        ).group_by(*key)
        return {
            SizesKey(row["stage"], row["provider"], row["model"]): Sizes.read(
                {spec.name: float(row[spec.name]) for spec in fields(Sizes)}
            )
            for row in self._read(query)
        }

    def spend(self, since: float) -> dict[tuple[str, Source], float]:
        """Cost in US dollars by agent and source, of usage at or after `since` (Unix seconds).

        Whole UTC days come from the rollup, the rest of the first day from its rows.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        first = datetime.fromtimestamp(since, UTC)
        midnight = first.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
        whole_from = midnight if since <= midnight else midnight + _DAY_SECONDS
        rows, days = schema.usage.c, schema.daily.c
        query = union_all(
            select(days.agent, days.source, days.cost_usd).where(
                self._own(schema.daily), days.day >= utc_day(whole_from)
            ),
            select(rows.agent, rows.source, func.coalesce(rows.cost_usd, literal(0.0))).where(
                self._own(schema.usage), rows.at >= since, rows.at < whole_from
            ),
        ).subquery()
        key = query.c.agent, query.c.source
        summed = select(*key, func.sum(query.c.cost_usd).label("usd")).group_by(*key)
        return {(row["agent"], row["source"]): row["usd"] for row in self._read(summed)}

    def spending(self, since: float) -> Spending:
        """Spend since a Unix time by agent, user, labels and source, of all instances.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        rows = self._read(spent_since(since))
        names = Spent._fields
        spent = [Spent(**{name: row[name] for name in names}) for row in rows]
        return Spending(spent, max((row["last_row"] for row in rows), default=0))

    def spending_of(self, session: str, since: float, last_row: int) -> list[Spent]:
        """The same of one call, in no newer rows than `last_row`.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        query = spent_by_call(session, since, last_row)
        return [Spent(**row) for row in self._read(query)]

    def models(
        self, since: float, *, session: str | None = None
    ) -> list[tuple[str, str, str, int, int, float]]:
        """Stage, provider, model, requests, unpriced requests and reported cost since then.

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
            .where(
                self._own(schema.usage),
                rows.source == "reported",
                rows.at >= since,
                rows.session == session if session else true(),
            )
            .group_by(rows.stage, rows.provider, rows.model)
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
        """What vendors bill for a call and no event reports, in US dollars.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        rows = schema.usage.c
        query = select(func.coalesce(func.sum(rows.cost_usd), 0.0).label("usd")).where(
            self._own(schema.usage), rows.source == "estimated", rows.session == session
        )
        usd: float = self._read(query)[0]["usd"]
        return usd

    def last_record_at(self) -> float | None:
        """When the newest record was made, Unix seconds.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        query = select(func.max(schema.sessions.c.last_at).label("at"))
        at: float | None = self._read(query.where(self._own(schema.sessions)))[0]["at"]
        return at

    def commit(self, batch: Batch) -> None:
        """Write a batch: all of it or nothing.

        Raises:
            LedgerError: Nothing was written, or what was written can be read after a `claim`.
        """
        with self._writing() as connection:
            self._write(connection, batch)
            self._database.measure(connection)

    def move_series(self, outdated: list[SeriesRow], kept: list[SeriesRow]) -> None:
        """Put series under other labels: the operator changed which there are.

        Raises:
            LedgerError: As `commit`.
        """
        columns = schema.series.c
        with self._writing() as connection:
            for row in outdated:
                connection.execute(
                    delete(schema.series).where(
                        self._own(schema.series), columns.key == digest(row.family, row.labels)
                    )
                )
            self._write(connection, Batch(series=kept))

    def forget(self, *, series_before: float, now: float) -> list[SeriesRow]:
        """Delete series untouched since `series_before` and old positions; return the series.

        Series without labels stay: there is one of each, and it must not begin anew.  Those of
        an instance that has not been heard of since, such as a pod that is gone, go as well.

        Raises:
            LedgerError: As `commit`.
        """
        columns = schema.series.c
        stale = and_(columns.touched_at < series_before, columns.labels != _NO_LABELS)
        gone = [
            row
            for row in self.series()
            if row.touched_at < series_before and row.labels != _NO_LABELS
        ]
        with self._writing() as connection:
            connection.execute(delete(schema.series).where(self._own(schema.series), stale))
            # A finished journal's position outlives the file: a file system that lost
            # power may bring the file back.
            positions = schema.positions.c
            old = positions.finished_at < now - _KEEP_POSITIONS_SECONDS
            connection.execute(delete(schema.positions).where(self._own(schema.positions), old))
            others = schema.instances.c
            silent = select(others.instance).where(
                others.committed_at < series_before, others.instance != self.instance
            )
            connection.execute(delete(schema.series).where(columns.instance.in_(silent)))
            connection.execute(
                delete(schema.positions).where(
                    positions.instance.in_(silent), positions.finished_at < series_before
                )
            )
        return gone

    def forget_calls(self, before: float, limit: int, *, deliver: bool = False) -> int:
        """Delete calls that were over before a time, the oldest first, with all their rows.

        Rollups keep their sums.  Calls of other instances are deleted, too: theirs may be gone.
        What another is still to deliver stays as long as that one lives.

        Args:
            before: Unix seconds.
            limit: Calls to delete at most.
            deliver: What this instance is still to deliver stays, too.

        Returns:
            Number of calls deleted.

        Raises:
            LedgerError: None were deleted.
        """
        calls = schema.sessions.c
        oldest = (
            select(calls.session, calls.instance)
            .where(
                calls.ended.is_(True),
                calls.started_at < before,
                calls.last_at < before,
                not_(deliveries.awaited(before, None if deliver else self.instance)),
            )
            .order_by(calls.started_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        with self._database.transaction("write") as connection:
            gone = [
                {"call": session, "whose": instance}
                for session, instance in connection.execute(oldest)
            ]
            if not gone:
                return 0
            for table in (
                schema.usage,
                schema.turns,
                schema.failures,
                schema.deliveries,
                schema.sessions,
            ):
                connection.execute(
                    delete(table).where(
                        table.c["session"] == bindparam("call"),
                        table.c["instance"] == bindparam("whose"),
                    ),
                    gone,
                )
            rows = schema.instances.c
            connection.execute(
                update(schema.instances)
                .where(rows.instance.in_({call["whose"] for call in gone}), rows.kept_from < before)
                .values(kept_from=before)
            )
        return len(gone)

    def shrink(self) -> bool:
        """Give some of the space of deleted rows back; whether there is more.

        Raises:
            LedgerError: It cannot be done now.
        """
        return self._database.shrink()

    def size_bytes(self) -> int:
        """Size on disk."""
        return self._database.size_bytes()

    def _owner(self) -> str | None:
        """The one instance that an embedded ledger has, if it has one."""
        found = self._read(select(schema.instances.c.instance))
        return str(found[0]["instance"]) if len(found) == 1 else None

    def _own(self, table: Table) -> ColumnElement[bool]:
        return table.c["instance"] == self.instance

    def _turns(self, session: str, which: ColumnElement[bool]) -> list[TurnRow]:
        return [TurnRow(**row) for row in self._read(self._select_turns(session, which))]

    def _select_turns(self, session: str, which: ColumnElement[bool]) -> Executable:
        columns = schema.turns.c
        query = select(*_TURN).where(self._own(schema.turns), columns.session == session, which)
        return query.order_by(columns.at)

    def _rows_of(self, connection: Connection, session: str) -> CallRows:
        used, failed = schema.usage, schema.failures
        usage = select(*_USAGE).where(self._own(used), used.c.session == session)
        failures = select(*_FAILURE).where(self._own(failed), failed.c.session == session)
        turns = connection.execute(self._select_turns(session, true())).mappings()
        return CallRows(
            [TurnRow(**row) for row in turns],
            list(map(usage_row, connection.execute(usage.order_by(used.c.id)))),
            [
                FailureRow(**row)
                for row in connection.execute(failures.order_by(failed.c.id)).mappings()
            ],
        )

    def _read(self, query: Executable) -> Sequence[RowMapping]:
        with self._database.transaction("read") as connection:
            return connection.execute(query).mappings().all()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A transaction that follows the last one of this instance.

        Raises:
            RepricedError: Calls were given other costs since they were read.
            LedgerError: Another has come between, or the database refused something.
        """
        columns = schema.instances.c
        own = self._own(schema.instances)
        with self._database.transaction("write") as connection:
            followed = connection.execute(
                update(schema.instances)
                .where(own, columns.commits == self._commits, columns.repriced == self._repriced)
                .values(commits=self._commits + 1, committed_at=time.time())
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
        self._commits += 1

    def _write(self, connection: Connection, batch: Batch) -> None:
        if batch.answers:
            columns = schema.usage.c
            connection.execute(
                update(schema.usage)
                .where(
                    self._own(schema.usage),
                    columns.session == bindparam("of"),
                    columns.turn.is_(None),
                )
                .values(turn=bindparam("answer")),
                [{"of": session, "answer": speech} for session, speech in batch.answers.items()],
            )
        self._insert(
            connection, schema.usage, NEW_USAGE_COLUMNS, list(map(usage_values, batch.usage))
        )
        if batch.wasted:
            connection.execute(
                update(schema.usage)
                .where(schema.usage.c.id == bindparam("row"))
                .values(wasted_usd=bindparam("usd"), waste_reason=bindparam("reason")),
                [
                    {"row": row, "usd": usd, "reason": reason}
                    for row, (usd, reason) in batch.wasted.items()
                ],
            )
        self._insert(
            connection, schema.failures, FAILURE_COLUMNS, list(map(failure_values, batch.failures))
        )
        self._replace(connection, schema.sessions, [vars(row) for row in batch.sessions.values()])
        deliveries.note(connection, batch.deliveries)
        ended = [(row.session, self.instance) for row in batch.sessions.values() if row.ended]
        if batch.deliver:
            deliveries.add(connection, self._database.upsert(schema.deliveries), ended)
        else:
            deliveries.change(connection, ended)
        self._replace(connection, schema.turns, [vars(row) for row in batch.turns.values()])
        self._replace(connection, schema.series, [_series(row) for row in batch.series])
        self._replace(
            connection,
            schema.positions,
            [
                {"journal": journal, **asdict(position)}
                for journal, position in batch.positions.items()
            ],
        )
        self._add(
            connection,
            schema.sizes,
            [{**key._asdict(), **asdict(added)} for key, added in batch.sizes.items()],
            tuple(spec.name for spec in fields(Sizes)),
        )
        models, users = rolled_up(batch)
        self._add(
            connection,
            schema.daily,
            [{**key._asdict(), **sums._asdict()} for key, sums in models.items()],
            ModelSums._fields,
        )
        self._add(
            connection,
            schema.daily_users,
            [
                {"key": digest(*key[1:]), **key._asdict(), **sums._asdict()}
                for key, sums in users.items()
            ],
            UserSums._fields,
        )

    def _insert(
        self,
        connection: Connection,
        table: Table,
        names: Sequence[str],
        rows: Sequence[tuple[object, ...]],
    ) -> None:
        if rows:
            own = [(self.instance, *row) for row in rows]
            self._database.insert(connection, table, ("instance", *names), own)

    def _replace(self, connection: Connection, table: Table, rows: list[dict[str, object]]) -> None:
        """Insert rows, or overwrite those that exist."""
        if not rows:
            return
        statement = self._database.upsert(table).values(instance=self.instance)
        changed = {
            column.name: statement.excluded[column.name]
            for column in table.columns
            if not column.primary_key
        }
        connection.execute(
            statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed),
            rows,
        )

    def _add(
        self,
        connection: Connection,
        table: Table,
        rows: list[dict[str, object]],
        sums: tuple[str, ...],
    ) -> None:
        """Insert rows, or add their sums to those that exist."""
        if not rows:
            return
        statement = self._database.upsert(table).values(instance=self.instance)
        added = {name: table.c[name] + statement.excluded[name] for name in sums}
        connection.execute(
            statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=added),
            rows,
        )


def _series(row: SeriesRow) -> dict[str, object]:
    return {
        "key": digest(row.family, row.labels),
        "family": row.family,
        "labels": row.labels,
        "value": row.value,
        "counts": None if row.counts is None else json.dumps(row.counts),
        "touched_at": row.touched_at,
    }
