"""Spend since a moment, from the rollups for whole UTC days and from rows for the rest."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, Subquery, Table, func, select, true, union_all

from livekit_exporter.ledger import schema
from livekit_exporter.ledger.expressions import COST_USD
from livekit_exporter.ledger.rows import utc_day
from livekit_exporter.record import Source

_DAY_SECONDS: Final = 86400.0
_BY_USER: Final = ("agent", "user", "labels", "source")


class UserSpend(NamedTuple):
    """US dollars of what an agent did for a user under the same labels.

    Args:
        labels: JSON object with sorted keys.
        source: Reported or estimated.
    """

    agent: str
    user: str | None
    labels: str
    source: Source
    usd: float


class Spending(NamedTuple):
    """Spend of one state of the ledger.

    Args:
        spent: All there is.
        last_row: Id of the newest usage row in it.
    """

    spent: Sequence[UserSpend]
    last_row: int


def spent_by_agent(moment: float, instance: str) -> Select[Any]:
    """Select the spend of one instance by agent and source since a moment (Unix seconds)."""
    by = ("agent", "source")
    parts = _parts(moment, schema.daily, by, instance)
    key = [parts.c[name] for name in by]
    return select(*key, func.sum(parts.c.usd).label("usd")).group_by(*key)


def spent_by_user(moment: float) -> Select[Any]:
    """Select the spend of all instances by agent, user, labels and source since a moment.

    A user's calls may run on any host.  The id of the newest usage row comes with each line,
    as `last_row`.

    Args:
        moment: Unix seconds.
    """
    parts = _parts(moment, schema.daily_users, _BY_USER)
    key = [parts.c[name] for name in _BY_USER]
    newest = select(func.coalesce(func.max(schema.usage.c.id), 0)).scalar_subquery()
    sums = func.sum(parts.c.usd).label("usd"), newest.label("last_row")
    return select(*key, *sums).group_by(*key)


def spent_by_call(session: str, moment: float, last_row: int) -> Select[Any]:
    """Select the spend of one call by user, of no newer rows than `spent_by_user` has seen.

    Args:
        session: Its id.
        moment: Unix seconds.
        last_row: Id of the newest row.
    """
    rows = schema.usage.c
    key = [rows[name] for name in _BY_USER]
    seen = rows.session == session, rows.at >= moment, rows.id <= last_row
    return select(*key, func.sum(COST_USD).label("usd")).where(*seen).group_by(*key)


def _parts(
    moment: float, rollup: Table, by: Sequence[str], instance: str | None = None
) -> Subquery:
    """Select the lines of a rollup for whole UTC days, and rows for the rest of the first day."""
    first = datetime.fromtimestamp(moment, UTC)
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    whole_from = midnight if moment <= midnight else midnight + _DAY_SECONDS

    def own(table: Table) -> ColumnElement[bool]:
        return true() if instance is None else table.c["instance"] == instance

    days, rows = rollup.c, schema.usage.c
    return union_all(
        select(*(days[name] for name in by), days["cost_usd"].label("usd")).where(
            own(rollup), days["day"] >= utc_day(whole_from)
        ),
        select(*(rows[name] for name in by), COST_USD.label("usd")).where(
            own(schema.usage), rows.at >= moment, rows.at < whole_from
        ),
    ).subquery()
