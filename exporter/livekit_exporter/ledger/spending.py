"""What was spent since a moment, by whom: the question that budgets of running calls ask.

Of all instances in the database: a user's calls may be on any host.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Select, func, literal, select, union_all

from livekit_exporter.ledger import schema
from livekit_exporter.ledger.rows import utc_day
from livekit_exporter.record import Source

_DAY_SECONDS: Final = 86400.0


class Spent(NamedTuple):
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
    """The state of the ledger at one moment.

    Args:
        spent: All there is.
        last_row: Id of the newest usage row in it.
    """

    spent: Sequence[Spent]
    last_row: int


def spent_since(moment: float) -> Select[Any]:
    """Spend by agent, user, labels and source since a moment, and the newest row's id.

    Whole UTC days come from the rollup, the rest of the first day from its rows.

    Args:
        moment: Unix seconds.
    """
    first = datetime.fromtimestamp(moment, UTC)
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    whole_from = midnight if moment <= midnight else midnight + _DAY_SECONDS
    rows, days = schema.usage.c, schema.daily_users.c
    parts = union_all(
        select(days.agent, days.user, days.labels, days.source, days.cost_usd).where(
            days.day >= utc_day(whole_from)
        ),
        select(
            rows.agent,
            rows.user,
            rows.labels,
            rows.source,
            func.coalesce(rows.cost_usd, literal(0.0)).label("cost_usd"),
        ).where(rows.at >= moment, rows.at < whole_from),
    ).subquery()
    key = (parts.c.agent, parts.c.user, parts.c.labels, parts.c.source)
    newest = select(func.coalesce(func.max(rows.id), 0)).scalar_subquery()
    return select(*key, func.sum(parts.c.cost_usd).label("usd"), newest.label("last_row")).group_by(
        *key
    )


def spent_by_call(session: str, moment: float, last_row: int) -> Select[Any]:
    """The same of one call, of no newer rows than those that were read.

    Args:
        session: Its id.
        moment: Unix seconds.
        last_row: Id of the newest row.
    """
    rows = schema.usage.c
    key = (rows.agent, rows.user, rows.labels, rows.source)
    usd = func.coalesce(func.sum(rows.cost_usd), 0.0).label("usd")
    return (
        select(*key, usd)
        .where(rows.session == session, rows.at >= moment, rows.id <= last_row)
        .group_by(*key)
    )
