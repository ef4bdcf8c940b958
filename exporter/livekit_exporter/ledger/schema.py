"""Tables of the ledger, version 2.

Several sidecars may share one database, so every row names its owner: `instance` is the id
of the data directory that it came through, and no sidecar changes another's rows.

Money is a double: costs are computed as `Decimal` and a call's sum stays exact to
far below a millionth of a cent.  Times are Unix seconds, counts have 64 bits.

A change here needs a new version and a step in `migrations/versions`; a test holds the tables.
"""

from dataclasses import fields
from typing import Final

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

from livekit_exporter.record import Usage

VERSION: Final = "2"

metadata: Final = MetaData()

# Not Alembic's own name for it: a PostgreSQL database may hold another program's.
version: Final = Table(
    "ledger_version",
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="ledger_version_pkc"),  # as Alembic makes it
)

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
    Column("session", Text, primary_key=True),
    Column("instance", Text, primary_key=True),
    Column("journal", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("user", Text),
    Column("labels", Text, nullable=False),  # JSON object, keys sorted
    Column("room", Text),
    Column("job", Text),
    Column("trace", Text),
    Column("host", Text, nullable=False),
    Column("sdk", Text, nullable=False),
    Column("exporter", Text, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("last_at", Float, nullable=False),
    Column("closed_at", Float),
    Column("reason", Text),  # LiveKit's; 'lost' when the process died without a goodbye
    Column("error", Text, nullable=False),
    Column("ended", Boolean, nullable=False),
    Column("waiting", Boolean, nullable=False),
    Column("answered", Text),
    Column("stt_provider", Text),
    Column("stt_model", Text),
    Column("turns", BigInteger, nullable=False),
    Column("interrupted", BigInteger, nullable=False),
    Column("unpriced_requests", BigInteger, nullable=False),
    Column("cost_usd", Float, nullable=False),
    Column("wasted_usd", Float, nullable=False),
    Column("unassigned_usd", Float, nullable=False),
    Column("exported_at", Float),  # NULL while its export is still to be written
)
_going_on: Final = sessions.c.ended.is_(False)
Index("sessions_open", sessions.c.instance, sqlite_where=_going_on, postgresql_where=_going_on)
Index("sessions_started", sessions.c.started_at)
_to_export: Final = and_(sessions.c.ended.is_(True), sessions.c.exported_at.is_(None))
Index(
    "sessions_to_export", sessions.c.instance, sqlite_where=_to_export, postgresql_where=_to_export
)
Index("sessions_user", sessions.c.user, sessions.c.started_at)

turns: Final = Table(
    "turns",
    metadata,
    Column("session", Text, primary_key=True),
    Column("speech", Text, primary_key=True),
    Column("instance", Text, primary_key=True),
    Column("at", Float, nullable=False),
    Column("persona", Text),
    Column("eou_delay_seconds", Float),
    Column("transcription_delay_seconds", Float),
    Column("callback_seconds", Float),
    Column("first_token_seconds", Float),
    Column("first_byte_seconds", Float),
    Column("latency_seconds", Float),
    Column("derived", Boolean, nullable=False),  # latency added up, not measured
    Column("committed", Boolean, nullable=False),
    Column("spoken", Boolean, nullable=False),
    Column("answered", Boolean, nullable=False),
    Column("interrupted", Boolean, nullable=False),
    Column("tool_calls", BigInteger, nullable=False),
    Column("characters", BigInteger, nullable=False),
    Column("spoken_seconds", Float),
    Column("cost_usd", Float, nullable=False),
    Column("wasted_usd", Float, nullable=False),
)
Index("turns_at", turns.c.at)


usage: Final = Table(
    "usage",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("instance", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("agent", Text, nullable=False),
    Column("user", Text),
    Column("labels", Text, nullable=False),  # JSON object, keys sorted
    Column("speech", Text),
    Column("turn", Text),  # speech id of the turn whose cost it is part of, once one is known
    Column("persona", Text),
    Column("stage", Text, nullable=False),
    Column("provider", Text, nullable=False),  # as the catalogue names it
    Column("model", Text, nullable=False),
    Column("reported_provider", Text, nullable=False),  # as the plugin names it
    Column("label", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("cancelled", Boolean, nullable=False),
    Column("streamed", Boolean, nullable=False),
    Column("connection", Boolean, nullable=False),
    *(
        Column(each.name, BigInteger if each.type is int else Float, nullable=False)
        for each in fields(Usage)
    ),
    Column("first_seconds", Float),
    Column("request_seconds", Float),
    Column("source", Text, nullable=False),  # reported, estimated: never added to one another
    Column("status", Text, nullable=False),  # priced, unpriced, nothing_to_bill
    Column("cost_usd", Float),  # NULL while there is no price
    Column("output_usd", Float, nullable=False),  # the part for what the model said
    Column("price", Text),  # catalogue entry that gave the cost
    Column("prices_version", Text, nullable=False),
    Column("waste_reason", Text),  # NULL as long as nothing of it is known to be wasted
    Column("wasted_usd", Float, nullable=False),
)
Index("usage_at", usage.c.at)
Index("usage_session", usage.c.session)

failures: Final = Table(
    "failures",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("instance", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("agent", Text, nullable=False),
    Column("persona", Text),
    Column("stage", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("recoverable", Boolean, nullable=False),
    Column("error", Text, nullable=False),
)
Index("failures_session", failures.c.session)

# The outbox: one row per call, about its newest state.  The sidecar makes and changes it; who
# reprices, or retries on the command line, only ever makes a row pending.
deliveries: Final = Table(
    "deliveries",
    metadata,
    Column("session", Text, primary_key=True),
    Column("instance", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False),  # 1 when the call ended, then 2, and so on
    Column("state", Text, nullable=False),  # pending, delivered, dead
    Column("made_at", Float, nullable=False),  # this revision
    Column("next_attempt_at", Float, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("refusals", BigInteger, nullable=False),
    Column("first_attempt_at", Float),
    Column("last_attempt_at", Float),
    Column("status", BigInteger),  # HTTP status of the last answer
    Column("error", Text, nullable=False),
    Column("delivered_at", Float),
)
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
    Column("stage", Text, primary_key=True),
    Column("provider", Text, primary_key=True),  # as the plugin names it
    Column("model", Text, primary_key=True),
    Column("prompt_characters", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("answering_seconds", Float, nullable=False),
    Column("answered_tokens", BigInteger, nullable=False),
    Column("written_characters", BigInteger, nullable=False),
    Column("written_tokens", BigInteger, nullable=False),
    Column("begun", BigInteger, nullable=False),
    Column("first_seconds", Float, nullable=False),
    Column("text_characters", BigInteger, nullable=False),
    Column("spoken_characters", BigInteger, nullable=False),
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
