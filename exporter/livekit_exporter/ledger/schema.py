"""Tables of the ledger, version 3.

Several sidecars may share one database, so every row names its owner: `instance` is the id
of the data directory that it came through, and no sidecar changes another's rows.

The rows of `rows` say what a column holds: their fields, in their order, are the columns.
Money is a double: costs are computed as `Decimal` and a call's sum stays exact to
far below a millionth of a cent.  Times are Unix seconds, counts have 64 bits.

A change here needs a new version and a step in `migrations/versions`; a test holds the tables.
"""

from dataclasses import fields
from types import NoneType
from typing import Any, Final, Literal, get_args, get_origin

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    and_,
    literal_column,
)
from sqlalchemy.types import TypeEngine

from livekit_exporter.calls.sizes import Sizes
from livekit_exporter.ledger.rows import (
    DeliveryRow,
    FailureRow,
    MissingRow,
    SessionRow,
    SizesKey,
    TurnRow,
    UsageRow,
)
from livekit_exporter.record import Usage

VERSION: Final = "3"

metadata: Final = MetaData()

# Not Alembic's own name for it: a PostgreSQL database may hold another program's.
version: Final = Table(
    "ledger_version",
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="ledger_version_pkc"),  # as Alembic makes it
)

_TYPES: Final[dict[object, type[TypeEngine[Any]]]] = {
    str: Text,
    float: Float,
    int: BigInteger,
    bool: Boolean,
}


def _plain(row: type) -> list[Column[Any]]:
    """Make a column per field; `X | None` may be NULL, a `Literal` is text, `Usage` its fields."""
    made: list[Column[Any]] = []
    for each in fields(row):
        if each.type is Usage:
            made += _plain(Usage)
            continue
        kinds = [kind for kind in get_args(each.type) if kind is not NoneType]
        nullable = NoneType in get_args(each.type)
        literal = get_origin(each.type) is Literal
        kind = str if literal else kinds[0] if nullable else each.type
        made.append(Column(each.name, _TYPES[kind], nullable=nullable))
    return made


def _keyed(row: type, *key: str) -> list[Column[Any]]:
    """Make the columns of a row: its key, the instance that owns it, and the rest."""
    first = [Column(name, Text, primary_key=True) for name in (*key, "instance")]
    return first + [column for column in _plain(row) if column.name not in (*key, "instance")]


def _numbered(row: type) -> list[Column[Any]]:
    """Make the columns of a row whose key is a number."""
    number = BigInteger().with_variant(Integer, "sqlite")
    first: list[Column[Any]] = [
        Column("id", number, primary_key=True),
        Column("instance", Text, nullable=False),
    ]
    return first + [column for column in _plain(row) if column.name != "id"]


instances: Final = Table(
    "instances",
    metadata,
    Column("instance", Text, primary_key=True),
    Column("commits", BigInteger, nullable=False),  # grows with each; see `Ledger.claim`
    Column("committed_at", Float, nullable=False),
    Column("kept_from", Float, nullable=False),  # calls that were over before may be gone
    Column("repriced", BigInteger, nullable=False),  # last repricing, by its number in `repricings`
)

sessions: Final = Table(
    "sessions",
    metadata,
    *_keyed(SessionRow, "session"),
    Column("exported_at", Float),  # NULL while the export of its newest state is to be written
)
_going_on: Final = sessions.c.ended.is_(False)
Index("sessions_open", sessions.c.instance, sqlite_where=_going_on, postgresql_where=_going_on)
Index("sessions_started", sessions.c.started_at)
_to_export: Final = and_(sessions.c.ended.is_(True), sessions.c.exported_at.is_(None))
Index(
    "sessions_to_export", sessions.c.instance, sqlite_where=_to_export, postgresql_where=_to_export
)
Index("sessions_user", sessions.c.user, sessions.c.started_at)

turns: Final = Table("turns", metadata, *_keyed(TurnRow, "session", "speech"))
Index("turns_at", turns.c.at)


usage: Final = Table("usage", metadata, *_numbered(UsageRow))
Index("usage_at", usage.c.at)
Index("usage_session", usage.c.session)

failures: Final = Table("failures", metadata, *_numbered(FailureRow))
Index("failures_session", failures.c.session)

missing: Final = Table("missing", metadata, *_numbered(MissingRow))
Index("missing_session", missing.c.session)

# The outbox: one row per call, about its newest state.  The sidecar makes and changes it; who
# reprices, or retries on the command line, only ever makes a row pending.
deliveries: Final = Table("deliveries", metadata, *_keyed(DeliveryRow, "session"))
# Written out, so that a database knows that the index serves a query before it knows values.
undelivered: Final = deliveries.c.state == literal_column("'pending'")
Index(
    "deliveries_pending",
    deliveries.c.instance,
    deliveries.c.next_attempt_at,
    sqlite_where=undelivered,
    postgresql_where=undelivered,
)

# What stays when the rows above are old enough to go: sums of them, by day.
daily: Final = Table(
    "daily",
    metadata,
    Column("day", Text, primary_key=True),  # UTC, YYYY-MM-DD
    Column("instance", Text, primary_key=True),
    Column("agent", Text, primary_key=True),
    Column("stage", Text, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("cancelled_requests", BigInteger, nullable=False),
    Column("unpriced_requests", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("cached_input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("characters", BigInteger, nullable=False),
    Column("audio_seconds", Float, nullable=False),
    Column("connection_seconds", Float, nullable=False),
    Column("cost_usd", Float, nullable=False),
    Column("wasted_usd", Float, nullable=False),
)

# Labels are in it because nobody but the operator knows which of them names a customer.
# It has at most one row per call and day, where `usage` has one per request.
daily_users: Final = Table(
    "daily_users",
    metadata,
    Column("day", Text, primary_key=True),  # UTC, YYYY-MM-DD
    Column("instance", Text, primary_key=True),
    Column("key", Text, primary_key=True),  # digest of the next four, which have no bound
    Column("agent", Text, nullable=False),
    Column("user", Text),
    Column("labels", Text, nullable=False),  # JSON object, keys sorted
    Column("source", Text, nullable=False),
    Column("sessions", BigInteger, nullable=False),  # by the day that they began
    Column("session_seconds", Float, nullable=False),  # of ended ones, by the same day
    Column("turns", BigInteger, nullable=False),  # answered ones
    Column("unpriced_requests", BigInteger, nullable=False),
    Column("cost_usd", Float, nullable=False),
    Column("wasted_usd", Float, nullable=False),
)
Index("daily_users_user", daily_users.c.user, daily_users.c.day)

# What each repricing changed.  The cost of a single row before it is not kept: the row has its
# usage, so the prices of that time give it again, to the last digit.
repricings: Final = Table(
    "repricings",
    metadata,
    Column("repricing", BigInteger, primary_key=True, autoincrement=False),  # 1, 2, and so on
    Column("stage", Text, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("at", Float, nullable=False),
    Column("since", Float, nullable=False),  # of usage, and until when
    Column("until", Float, nullable=False),
    Column("prices_version", Text, nullable=False),
    Column("changed", BigInteger, nullable=False),  # rows of usage; no others are summed
    Column("old_usd", Float, nullable=False),
    Column("new_usd", Float, nullable=False),
    Column("old_unpriced_requests", BigInteger, nullable=False),
    Column("new_unpriced_requests", BigInteger, nullable=False),
)

# Sums over finished requests, which estimates of others are calibrated on; see `sizes.Sizes`.
sizes: Final = Table(
    "sizes",
    metadata,
    Column("instance", Text, primary_key=True),
    *(Column(name, Text, primary_key=True) for name in SizesKey._fields),
    *_plain(Sizes),
)

series: Final = Table(
    "series",
    metadata,
    Column("instance", Text, primary_key=True),
    Column("key", Text, primary_key=True),  # digest of family and labels, which have no bound
    Column("family", Text, nullable=False),
    Column("labels", Text, nullable=False),  # JSON object, keys sorted
    Column("value", Float, nullable=False),  # of a histogram: the sum
    Column("counts", Text),  # JSON list, of a histogram: observations by bucket
    Column("touched_at", Float, nullable=False),
)

positions: Final = Table(
    "positions",
    metadata,
    Column("instance", Text, primary_key=True),
    Column("journal", Text, primary_key=True),
    Column("committed", BigInteger, nullable=False),  # bytes that are in the ledger
    Column("discarding", Boolean, nullable=False),  # inside a line that is too long
    Column("finished_at", Float),
)
