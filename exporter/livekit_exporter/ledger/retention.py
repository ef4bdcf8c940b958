"""Deletes what the ledger does not have to keep: old calls, idle series, old positions."""

from typing import Final

from sqlalchemy import Connection, and_, bindparam, delete, not_, select, update

from livekit_exporter.ledger import outbox, schema

NO_LABELS: Final = "{}"

_KEEP_POSITIONS_SECONDS: Final = 7 * 86400.0

_OF_A_CALL: Final = (
    schema.usage,
    schema.turns,
    schema.failures,
    schema.missing,
    schema.deliveries,
    schema.sessions,
)


def forget_series(connection: Connection, instance: str, before: float, now: float) -> None:
    """Delete series and positions that are not needed any more.

    Series without labels stay: there is one of each, and it must not begin anew.  Those of
    another instance go once it has written nothing since `before`, such as a pod that is gone.

    Args:
        connection: In a transaction that writes.
        instance: Own instance.
        before: Series that were touched last before this Unix time go.
        now: Unix seconds.
    """
    series, positions, others = schema.series.c, schema.positions.c, schema.instances.c
    stale = and_(series.touched_at < before, series.labels != NO_LABELS)
    # A finished journal's position outlives the file: a file system that lost power may
    # bring the file back.
    old = positions.finished_at < now - _KEEP_POSITIONS_SECONDS
    silent = select(others.instance).where(
        others.committed_at < before, others.instance != instance
    )
    for statement in (
        delete(schema.series).where(series.instance == instance, stale),
        delete(schema.positions).where(positions.instance == instance, old),
        delete(schema.series).where(series.instance.in_(silent)),
        delete(schema.positions).where(
            positions.instance.in_(silent), positions.finished_at < before
        ),
    ):
        connection.execute(statement)


def forget_calls(connection: Connection, before: float, limit: int, silenced: str | None) -> int:
    """Delete calls that were over before a time, oldest first, with all their rows.

    Rollups keep their sums.  Calls of other instances go as well, because an instance may be
    gone.  A call with a pending delivery stays as long as the instance lives that delivers it.

    Args:
        connection: In a transaction that writes.
        before: Unix seconds.
        limit: Most calls to delete.
        silenced: An instance that delivers nothing, so its pending deliveries keep no call.

    Returns:
        Number of calls deleted.
    """
    calls = schema.sessions.c
    oldest = (
        select(calls.session, calls.instance)
        .where(
            calls.ended.is_(True),
            calls.started_at < before,
            calls.last_at < before,
            not_(outbox.awaited(before, silenced)),
        )
        .order_by(calls.started_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    gone = [
        {"call": session, "whose": instance} for session, instance in connection.execute(oldest)
    ]
    if not gone:
        return 0
    for table in _OF_A_CALL:
        connection.execute(
            delete(table).where(
                table.c["session"] == bindparam("call"), table.c["instance"] == bindparam("whose")
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
