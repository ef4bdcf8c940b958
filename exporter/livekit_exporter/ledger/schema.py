"""The ledger's tables.

Money is a double: costs are computed as `Decimal` and a call's sum stays exact to
far below a millionth of a cent.  Times are Unix seconds.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
)

VERSION: Final = 1

metadata: Final = MetaData()

meta: Final = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

sessions: Final = Table(
    "sessions",
    metadata,
    Column("session", Text, primary_key=True),
    Column("journal", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("user", Text),
    Column("labels", Text, nullable=False),  # JSON object
    Column("room", Text),
    Column("job", Text),
    Column("trace", Text),
    Column("host", Text, nullable=False),
    Column("sdk", Text, nullable=False),
    Column("exporter", Text, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("last_at", Float, nullable=False),
    Column("closed_at", Float),
    Column("reason", Text),
    Column("error", Text, nullable=False),
    Column("ended", Boolean, nullable=False),
    Column("waiting", Boolean, nullable=False),
    Column("answered", Text),
    Column("stt_provider", Text),
    Column("stt_model", Text),
    Column("turns", Integer, nullable=False),
    Column("interrupted", Integer, nullable=False),
    Column("unpriced_requests", Integer, nullable=False),
    Column("cost_usd", Float, nullable=False),
    Column("wasted_usd", Float, nullable=False),
    Column("unassigned_usd", Float, nullable=False),
)
Index("sessions_open", sessions.c.ended, sessions.c.session)
Index("sessions_started", sessions.c.started_at)

turns: Final = Table(
    "turns",
    metadata,
    Column("session", Text, primary_key=True),
    Column("speech", Text, primary_key=True),
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
    Column("tool_calls", Integer, nullable=False),
    Column("characters", Integer, nullable=False),
    Column("cost_usd", Float, nullable=False),
    Column("wasted_usd", Float, nullable=False),
)

QUANTITIES: Final = (
    ("input_tokens", BigInteger),
    ("cached_input_tokens", BigInteger),
    ("cache_write_tokens", BigInteger),
    ("output_tokens", BigInteger),
    ("total_tokens", BigInteger),
    ("input_audio_tokens", BigInteger),
    ("input_image_tokens", BigInteger),
    ("cached_audio_tokens", BigInteger),
    ("cached_image_tokens", BigInteger),
    ("output_audio_tokens", BigInteger),
    ("output_image_tokens", BigInteger),
    ("characters", BigInteger),
    ("audio_seconds", Float),
    ("connection_seconds", Float),
)
"""Columns of a usage row that hold `record.Usage`, by the same names."""

usage: Final = Table(
    "usage",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("session", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("agent", Text, nullable=False),
    Column("speech", Text),
    Column("persona", Text),
    Column("stage", Text, nullable=False),
    Column("provider", Text, nullable=False),  # as the catalogue names it
    Column("model", Text, nullable=False),
    Column("reported_provider", Text, nullable=False),  # as the plugin names it
    Column("label", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("requests", Integer, nullable=False),
    Column("cancelled", Boolean, nullable=False),
    Column("streamed", Boolean, nullable=False),
    Column("connection", Boolean, nullable=False),
    *(Column(name, kind, nullable=False) for name, kind in QUANTITIES),
    Column("first_seconds", Float),
    Column("request_seconds", Float),
    Column("status", Text, nullable=False),  # priced, unpriced, nothing_to_bill
    Column("cost_usd", Float),  # NULL while there is no price
    Column("output_usd", Float, nullable=False),  # the part for what the model said
    Column("price", Text),  # catalogue entry that gave the cost
    Column("prices_version", Text, nullable=False),
)
Index("usage_at", usage.c.at, usage.c.agent, usage.c.cost_usd)
Index("usage_session", usage.c.session)

failures: Final = Table(
    "failures",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
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

daily: Final = Table(
    "daily",
    metadata,
    Column("day", Text, primary_key=True),  # UTC, YYYY-MM-DD
    Column("agent", Text, primary_key=True),
    Column("stage", Text, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("unpriced_requests", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("characters", BigInteger, nullable=False),
    Column("audio_seconds", Float, nullable=False),
    Column("connection_seconds", Float, nullable=False),
    Column("cost_usd", Float, nullable=False),
)

series: Final = Table(
    "series",
    metadata,
    Column("family", Text, primary_key=True),
    Column("labels", Text, primary_key=True),  # JSON object, keys sorted
    Column("value", Float, nullable=False),  # of a histogram: the sum
    Column("counts", Text),  # JSON list, of a histogram: observations by bucket
    Column("touched_at", Float, nullable=False),
)

positions: Final = Table(
    "positions",
    metadata,
    Column("journal", Text, primary_key=True),
    Column("committed", BigInteger, nullable=False),  # bytes that are in the ledger
    Column("discarding", Boolean, nullable=False),  # inside a line that is too long
    Column("finished_at", Float),
)
