"""The outbox: calls to deliver to the webhook, and the attempts so far.

A call has one row, about its newest state.  The transaction that ends the call creates the
row, so neither exists without the other.  A transaction that changes a call which has ended
makes a new revision of it, which is delivered again.
"""

import time
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    update,
)

from livekit_exporter.ledger import schema
from livekit_exporter.ledger.backends import versions
from livekit_exporter.ledger.backends.database import Upsert
from livekit_exporter.ledger.backends.locate import locate, reading
from livekit_exporter.ledger.rows import Backlog, DeliveryRow, DeliveryState, Due

LONGEST_PAUSE_SECONDS: Final = 3600.0
"""Longest wait for the next attempt, unless the clock was set back."""

SETTLE_SECONDS: Final = 5.0
"""Time that a call which changed after its end has to stay the same before it is delivered."""

_rows: Final = schema.deliveries.c
_this: Final = and_(_rows.session == bindparam("of"), _rows.instance == bindparam("whose"))
_FRESH: Final[dict[str, object]] = {
    "state": "pending",
    "attempts": 0,
    "refusals": 0,
    "first_attempt_at": None,
    "last_attempt_at": None,
    "status": None,
    "error": "",
    "delivered_at": None,
}
"""Columns of a delivery without attempts."""


def add(connection: Connection, into: Upsert, ended: Sequence[tuple[str, str]]) -> None:
    """Queue calls that ended, by session and instance; a call that was queued before changed."""
    if not ended:
        return
    now = time.time()
    statement = into.values(revision=1, made_at=now, next_attempt_at=now, **_FRESH)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[_rows.session, _rows.instance], set_=_next(now)
        ),
        [{"session": session, "instance": instance} for session, instance in ended],
    )


def change(connection: Connection, changed: Sequence[tuple[str, str]]) -> None:
    """Queue calls again whose queued or delivered state has changed."""
    if changed:
        connection.execute(
            update(schema.deliveries).where(_this).values(**_next(time.time())),
            [{"of": session, "whose": instance} for session, instance in changed],
        )


def note(connection: Connection, tried: Sequence[DeliveryRow]) -> None:
    """Note the outcome of attempts, except of calls that have changed since."""
    if not tried:
        return
    known = {"session", "instance", "revision", "made_at"}
    changed = [name for name in DeliveryRow.__dataclass_fields__ if name not in known]
    connection.execute(
        update(schema.deliveries)
        .where(_this, _rows.revision == bindparam("which"), schema.undelivered)
        .values({name: bindparam(f"new_{name}") for name in changed}),
        [
            {
                "of": row.session,
                "whose": row.instance,
                "which": row.revision,
                **{f"new_{name}": value for name, value in asdict(row).items() if name in changed},
            }
            for row in tried
        ],
    )


def find(connection: Connection, row: DeliveryRow) -> DeliveryRow | None:
    """Read the current delivery of the same call."""
    found = connection.execute(
        select(schema.deliveries).where(_this), {"of": row.session, "whose": row.instance}
    )
    held = found.mappings().first()
    return None if held is None else _row(held)


def is_known(connection: Connection, tried: DeliveryRow) -> bool:
    """Return `True` for an attempt that is noted: its commit may have lost only the answer."""
    held = find(connection, tried)
    return (
        held is not None
        and held.revision == tried.revision
        and (held.state != "pending" or held.attempts >= tried.attempts)
    )


def due(connection: Connection, instance: str, now: float, limit: int) -> Due:
    """Read up to `limit` deliveries of an instance that are due."""
    pending = and_(_rows.instance == instance, schema.undelivered)
    at = _rows.next_attempt_at
    # A clock that was set back must not put everything off.
    come = or_(at <= now, at > now + 2 * LONGEST_PAUSE_SECONDS)
    first = select(schema.deliveries).where(pending, come).order_by(at).limit(limit)
    later = select(func.min(at)).where(pending, at > now)
    return Due(
        [_row(row) for row in connection.execute(first).mappings()],
        connection.execute(later).scalar(),
    )


def backlog(connection: Connection, instance: str) -> Backlog:
    """Count the pending deliveries of an instance."""
    sums = select(func.count(), func.min(_rows.made_at))
    pending = and_(_rows.instance == instance, schema.undelivered)
    return Backlog(*connection.execute(sums.where(pending)).one())


def awaited(silent_before: float, but: str | None) -> ColumnElement[bool]:
    """Select calls of `sessions` with a pending delivery of a live instance.

    Args:
        silent_before: Instances that have written nothing since this Unix time are gone.
        but: An instance that delivers nothing.
    """
    instances, calls = schema.instances.c, schema.sessions.c
    gone = select(instances.instance).where(instances.committed_at < silent_before)
    return exists().where(
        _rows.session == calls.session,
        _rows.instance == calls.instance,
        schema.undelivered,
        _rows.instance.not_in(gone),
        *([] if but is None else [_rows.instance != but]),
    )


def listed(where: Path | str, states: Collection[DeliveryState]) -> list[DeliveryRow]:
    """Read deliveries in some states, of all instances, oldest first.

    Args:
        where: The ledger's file, or the URL of a PostgreSQL database.
        states: To read.

    Raises:
        LedgerError: It is missing, has another version, or cannot be read.
    """
    query = select(schema.deliveries).where(_rows.state.in_(states))
    with reading(where) as connection:
        found = connection.execute(query.order_by(_rows.made_at, _rows.session)).mappings()
        return [_row(row) for row in found]


def retry(where: Path | str, chosen: Sequence[DeliveryRow]) -> int:
    """Make deliveries due now, without their attempts; return their number.

    A sidecar that serves the ledger finds them at its next look.  Ids stay the same, so a
    receiver that has them already can tell.

    Args:
        where: The ledger's file, or the URL of a PostgreSQL database.
        chosen: As they were listed; those of a call that changed since are due anyway.

    Raises:
        LedgerError: Nothing was changed.
    """
    again = (
        update(schema.deliveries)
        .where(_this, _rows.revision == bindparam("which"))
        .values(next_attempt_at=time.time(), **_FRESH)
    )
    database = locate(where)
    with closing(database), database.transaction("write", alone=True) as connection:
        versions.require(database, connection)
        return sum(
            connection.execute(
                again, {"of": row.session, "whose": row.instance, "which": row.revision}
            ).rowcount
            for row in chosen
        )


def _next(now: float) -> dict[str, object]:
    """Columns of the next revision of a call."""
    return {
        **_FRESH,
        "revision": _rows.revision + 1,
        "made_at": now,
        "next_attempt_at": now + SETTLE_SECONDS,
    }


def _row(row: RowMapping) -> DeliveryRow:
    return DeliveryRow(**row)
