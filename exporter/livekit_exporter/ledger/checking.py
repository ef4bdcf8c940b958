"""Checks a ledger: its files are whole, and its sums are those of its rows."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Select,
    Table,
    and_,
    case,
    cast,
    func,
    literal,
    select,
    union_all,
)

from livekit_exporter.ledger import schema
from livekit_exporter.ledger.backends import versions
from livekit_exporter.ledger.backends.database import Database
from livekit_exporter.ledger.backends.locate import locate
from livekit_exporter.ledger.expressions import COST_USD, UNPRICED_REQUESTS, same_call
from livekit_exporter.ledger.rows import ModelKey, ModelSums, UserKey, UserSums

Named: TypeAlias = Mapping[str, ColumnElement[Any]]

_TOLERANCE: Final = 1e-9
"""Relative: doubles that are added in another order differ in their last digits."""

_USAGE: Final = schema.usage.c


def findings(where: Path | str) -> Iterator[str]:
    """Check a ledger; yield a line for each fault.

    Args:
        where: The ledger's file, or the URL of a PostgreSQL database.

    Raises:
        LedgerError: There is none, it is of another version, or it cannot be read.
    """
    database = locate(where, read_only=True)
    try:
        with database.snapshot() as connection:
            versions.require(database, connection)
            yield from database.damage(connection)
            yield from _strays(connection)
            models, users = _of_models(database), _of_users(database)
            yield from _differences(connection, schema.daily, ModelKey, ModelSums, models)
            yield from _differences(connection, schema.daily_users, UserKey, UserSums, users)
    finally:
        database.close()


def _strays(connection: Connection) -> Iterator[str]:
    """Find rows of calls that do not exist."""
    calls = schema.sessions
    for table in (schema.usage, schema.turns, schema.failures, schema.missing, schema.deliveries):
        query = (
            select(table.c["session"], func.count())
            .select_from(table.outerjoin(calls, same_call(table)))
            .where(calls.c.session.is_(None))
            .group_by(table.c["session"])
        )
        for session, number in connection.execute(query):
            yield f"{table.name}: {number} rows of call '{session}', which is not there"


def _of_models(database: Database) -> list[Select[Any]]:
    """Select what every row adds to `daily`."""
    added = {name: _USAGE[name] for name in ModelSums._fields if name in _USAGE} | {
        "cancelled_requests": cast(_USAGE.cancelled, Integer),
        "unpriced_requests": UNPRICED_REQUESTS,
        "cost_usd": COST_USD,
    }
    key = _key(ModelKey._fields, schema.usage, day=database.day(_USAGE.at))
    return [_adding(schema.usage, key, ModelSums._fields, rows=added)]


def _of_users(database: Database) -> list[Select[Any]]:
    """Select what every row adds to `daily_users`."""
    calls, turns = schema.sessions, schema.turns
    lasted = calls.c.closed_at - calls.c.started_at
    call = {
        "sessions": literal(1),
        "session_seconds": case((and_(calls.c.ended.is_(True), lasted >= 0), lasted), else_=0.0),
    }
    spent = {
        "unpriced_requests": UNPRICED_REQUESTS,
        "cost_usd": COST_USD,
        "wasted_usd": _USAGE.wasted_usd,
    }
    answered = {"turns": cast(turns.c.answered, Integer)}
    return [
        _adding(source, _key(UserKey._fields, whose, day=database.day(at)), UserSums._fields, rows)
        for source, whose, at, rows in (
            (calls, calls, calls.c.started_at, call),
            (turns.join(calls, same_call(turns)), calls, turns.c.at, answered),
            (schema.usage, schema.usage, _USAGE.at, spent),
        )
    ]


def _key(fields: Sequence[str], table: Table, **given: ColumnElement[Any]) -> Named:
    """Name the columns that a rollup is grouped by; calls and turns are always reported."""
    known: Named = {"source": literal("reported"), **given, **dict(table.c.items())}
    return {name: known[name] for name in ("instance", *fields)}


def _adding(
    source: FromClause, key: Named, sums: Sequence[str], rows: Named, kept: Named | None = None
) -> Select[Any]:
    """Select two numbers for each sum: of the rows, and in the rollup."""
    nothing = literal(0.0)
    return select(
        *(column.label(name) for name, column in key.items()),
        *(rows.get(name, nothing).label(f"rows_{name}") for name in sums),
        *((kept or {}).get(name, nothing).label(f"kept_{name}") for name in sums),
    ).select_from(source)


def _differences(
    connection: Connection,
    rollup: Table,
    keys: type[ModelKey | UserKey],
    sums: type[ModelSums | UserSums],
    rows: Sequence[Select[Any]],
) -> Iterator[str]:
    """Compare a rollup with the sums of its rows.

    Of days from which calls have been deleted, the rows that are left come to less.
    """
    key = _key(keys._fields, rollup)
    kept = _adding(rollup, key, sums._fields, rows={}, kept=dict(rollup.c.items()))
    both = union_all(*rows, kept).subquery()
    names = [f"{side}_{name}" for side in ("rows", "kept") for name in sums._fields]
    divided = [both.c[name] for name in key]
    query = (
        select(*divided, *(func.sum(both.c[name]).label(name) for name in names))
        .group_by(*divided)
        .order_by(*divided)
    )
    whole = _kept_from(connection)
    for found in connection.execute(query, execution_options={"yield_per": 1000}).mappings():
        begins = datetime.fromisoformat(f"{found['day']}T00:00:00+00:00").timestamp()
        complete = begins >= whole.get(found["instance"], 0.0)
        for name in sums._fields:
            added, said = float(found[f"rows_{name}"]), float(found[f"kept_{name}"])
            more = added - said
            if abs(more) > _TOLERANCE * (1 + abs(said)) and (complete or more > 0):
                which = ", ".join(
                    f"{name} '{found[name]}'" for name in key if found[name] is not None
                )
                yield f"{rollup.name}: {name} is {said:g}, its rows add up to {added:g} ({which})"


def _kept_from(connection: Connection) -> Mapping[str, float]:
    """Read since when no row has been deleted, by instance."""
    columns = schema.instances.c
    found = connection.execute(select(columns.instance, columns.kept_from))
    return {row.instance: row.kept_from for row in found}
