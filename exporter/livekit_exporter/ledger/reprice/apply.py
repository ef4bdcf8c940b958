"""Reads calls to reprice, and applies all changes in one transaction."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Float,
    RowMapping,
    Select,
    Table,
    Update,
    bindparam,
    case,
    func,
    insert,
    select,
    update,
)

from livekit_exporter.ledger import outbox, schema
from livekit_exporter.ledger.backends.database import Database, LedgerError
from livekit_exporter.ledger.backends.locate import locate
from livekit_exporter.ledger.expressions import Span, same_call, within
from livekit_exporter.ledger.read import SESSION, TURN, USAGE
from livekit_exporter.ledger.reprice.call import StoredCall
from livekit_exporter.ledger.reprice.changes import (
    CHUNK,
    UNPRICED,
    Changes,
    Gain,
    ModelChange,
    ModelName,
)
from livekit_exporter.ledger.rows import DUST_USD, SessionRow, TurnRow, UsageRow, digest, usage_row


class Repricing(NamedTuple):
    """A line of the history."""

    repricing: int
    at: float
    since: float
    until: float
    prices_version: str
    name: ModelName
    change: ModelChange


def over(connection: Connection, span: Span) -> list[tuple[str, str]]:
    """List calls that are over and have usage in a span, as (session, instance)."""
    query = _calls(span, ended=True)
    return sorted((row.session, row.instance) for row in connection.execute(query))


def going_on(connection: Connection, span: Span) -> int:
    """Count calls that have usage in a span and are not over."""
    query = select(func.count()).select_from(_calls(span, ended=False).subquery())
    return connection.execute(query).scalar() or 0


def kept_from(connection: Connection) -> float:
    """Read since when all calls are kept (Unix seconds); of older ones only rollups may be left."""
    query = select(func.max(schema.instances.c.kept_from))
    return connection.execute(query).scalar() or 0.0


def read(connection: Connection, calls: Sequence[tuple[str, str]]) -> list[StoredCall]:
    """Read calls with their replies and usage.

    Args:
        connection: To read with.
        calls: Some of `over`; all of them are in memory at once.
    """
    usage: dict[tuple[str, str], list[UsageRow]] = {each: [] for each in calls}
    turns: dict[tuple[str, str], list[TurnRow]] = {each: [] for each in calls}
    # Sessions are asked for by id alone, so rows of another instance's call may be among them.
    for instance, *values in connection.execute(
        _of(schema.usage, USAGE, calls).order_by(schema.usage.c.id)
    ):
        used = usage_row(values)
        if (used.session, instance) in usage:
            usage[used.session, instance].append(used)
    for whose, row in _mappings(connection, _of(schema.turns, TURN, calls)):
        if whose in turns:
            turns[whose].append(TurnRow(**row))
    return [
        StoredCall(SessionRow(**row), whose[1], turns[whose], usage[whose])
        for whose, row in _mappings(connection, _of(schema.sessions, SESSION, calls))
        if whose in usage
    ]


def apply(where: Path | str, changes: Changes, span: Span, version: str) -> int:
    """Apply all changes in one transaction; sidecars that go on writing take notice.

    Args:
        where: The ledger's file, or the URL of a PostgreSQL database.
        changes: To apply.
        span: Usage that was repriced, for the history.
        version: Of the prices, for the history.

    Returns:
        Number of this repricing.

    Raises:
        LedgerError: Nothing was changed: the ledger cannot be written, or a call to change
            has changed since it was read.
    """
    database = locate(where)
    with closing(database), database.transaction("write", alone=True) as connection:
        for statement, spool in (
            (_CHANGE_USAGE, changes.usage),
            (_CHANGE_CALL, changes.calls),
            (_CHANGE_TURN, changes.turns),
        ):
            for rows in spool.chunks():
                _execute(database, connection, statement, rows)
        for rows in changes.calls.chunks():
            outbox.change(connection, [(row["of_session"], row["of_instance"]) for row in rows])
        _roll_up(database, connection, changes)
        return _note(connection, changes, span, version)


def history(connection: Connection) -> list[Repricing]:
    """Read the changes of earlier repricings, the last one first."""
    columns = schema.repricings.c
    query = select(schema.repricings).order_by(
        columns.repricing.desc(), columns.stage, columns.provider, columns.model
    )
    return [
        Repricing(
            **{name: row[name] for name in Repricing._fields[:-2]},
            name=ModelName(*(row[name] for name in ModelName._fields)),
            change=ModelChange(*(row[name] for name in ModelChange._fields)),
        )
        for row in connection.execute(query).mappings()
    ]


_usage, _sessions, _turns = schema.usage.c, schema.sessions.c, schema.turns.c

_CHANGE_USAGE: Final = (
    update(schema.usage)
    .where(
        _usage.id == bindparam("of_id"),
        func.coalesce(_usage.cost_usd, UNPRICED) == bindparam("was_usd", type_=Float),
    )
    .values(
        status=bindparam("new_status"),
        cost_usd=bindparam("new_usd"),
        output_usd=bindparam("new_output"),
        price=bindparam("new_price"),
        prices_version=bindparam("new_version"),
        waste_reason=bindparam("new_reason"),
        wasted_usd=bindparam("new_wasted"),
    )
)
_CHANGE_CALL: Final = (
    update(schema.sessions)
    .where(
        _sessions.session == bindparam("of_session"),
        _sessions.instance == bindparam("of_instance"),
        _sessions.ended.is_(True),
        _sessions.cost_usd == bindparam("was_usd"),
        _sessions.wasted_usd == bindparam("was_wasted"),
        _sessions.unpriced_requests == bindparam("was_unpriced"),
    )
    .values(
        cost_usd=bindparam("new_usd"),
        wasted_usd=bindparam("new_wasted"),
        unpriced_requests=bindparam("new_unpriced"),
        unassigned_usd=bindparam("new_unassigned"),
        exported_at=None,  # its export states the cost, so it is written again
    )
)
_CHANGE_TURN: Final = (
    update(schema.turns)
    .where(
        _turns.session == bindparam("of_session"),
        _turns.instance == bindparam("of_instance"),
        _turns.speech == bindparam("of_speech"),
    )
    .values(cost_usd=bindparam("new_usd"), wasted_usd=bindparam("new_wasted"))
)


def _gaining(table: Table, *key: str) -> Update:
    """Build the statement that adds to a line of a rollup."""

    def added(name: str) -> ColumnElement[float]:
        # A difference of doubles that should be 0 may leave dust.
        total = table.c[name] + bindparam(f"more_{name}", type_=Float)
        return case((func.abs(total) < DUST_USD, 0.0), else_=total)

    columns = table.c
    return (
        update(table)
        .where(*(columns[name] == bindparam(f"of_{name}") for name in ("instance", "day", *key)))
        .values(
            unpriced_requests=columns["unpriced_requests"] + bindparam("more_unpriced_requests"),
            cost_usd=added("cost_usd"),
            wasted_usd=added("wasted_usd"),
        )
    )


_GAIN_MODEL: Final = _gaining(schema.daily, "agent", "stage", "provider", "model", "source")
_GAIN_USER: Final = _gaining(schema.daily_users, "key")


def _roll_up(database: Database, connection: Connection, changes: Changes) -> None:
    def line(instance: str, gain: Gain, **key: object) -> dict[str, object]:
        more = {f"more_{name}": amount for name, amount in gain._asdict().items()}
        return {"of_instance": instance, **more, **{f"of_{name}": key[name] for name in key}}

    models = [
        line(instance, gain, **key._asdict()) for (instance, key), gain in changes.by_model.items()
    ]
    users = [
        line(instance, gain, day=key.day, key=digest(*key[1:]))
        for (instance, key), gain in changes.by_user.items()
    ]
    for statement, lines in ((_GAIN_MODEL, models), (_GAIN_USER, users)):
        for begin in range(0, len(lines), CHUNK):
            _execute(database, connection, statement, lines[begin : begin + CHUNK])


def _execute(
    database: Database,
    connection: Connection,
    statement: Update,
    rows: Sequence[Mapping[str, object]],
) -> None:
    """Change rows, every one of which must be as it was read."""
    if connection.execute(statement, rows).rowcount != len(rows):
        raise LedgerError(
            f"cannot write ledger '{database.name}': a call changed while it was repriced; nothing"
            " was changed, run it again"
        )


def _note(connection: Connection, changes: Changes, span: Span, version: str) -> int:
    columns = schema.repricings.c
    last = connection.execute(select(func.max(columns.repricing))).scalar() or 0
    number = int(last) + 1
    connection.execute(
        insert(schema.repricings),
        [
            {
                "repricing": number,
                "at": time.time(),
                "since": span.since,
                "until": span.until,
                "prices_version": version,
                **name._asdict(),
                **change._asdict(),
            }
            for name, change in changes.models.items()
        ],
    )
    connection.execute(update(schema.instances).values(repriced=number))
    return number


def _calls(span: Span, *, ended: bool) -> Select[tuple[str, str]]:
    usage = schema.usage.c
    return (
        select(usage.session, usage.instance)
        .join_from(schema.usage, schema.sessions, same_call(schema.usage))
        .where(within(schema.usage, span), schema.sessions.c.ended.is_(ended))
        .distinct()
    )


def _of(
    table: Table, columns: Sequence[Column[Any]], calls: Sequence[tuple[str, str]]
) -> Select[Any]:
    """Select columns after the instance, of the rows of these sessions whatever their instance."""
    sessions = {session for session, _ in calls}
    return select(table.c["instance"], *columns).where(table.c["session"].in_(sessions))


def _mappings(
    connection: Connection, query: Select[Any]
) -> list[tuple[tuple[str, str], Mapping[str, Any]]]:
    def split(row: RowMapping) -> tuple[tuple[str, str], Mapping[str, Any]]:
        held = dict(row)
        instance = held.pop("instance")
        return (held["session"], instance), held

    return list(map(split, connection.execute(query).mappings()))
