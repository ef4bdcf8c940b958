"""Version 2: rows of several sidecars, attribution and waste on every usage row, a rollup by user.

Version 1 was an embedded ledger of one sidecar, so this step speaks SQLite.  Primary
keys change, which SQLite cannot do in place: rows move to new tables.
"""

import json
from hashlib import blake2b

import sqlalchemy as sa
from alembic import context, op

revision = "2"
down_revision = None

_OLD_INDEXES = (
    "sessions_open",
    "sessions_started",
    "usage_at",
    "usage_session",
    "failures_session",
)
_OLD_TABLES = ("sessions", "turns", "usage", "failures", "daily", "series", "positions")

_MOVE_USAGE = """
    INSERT INTO usage
    SELECT u.id, :instance, u.session, u.at, u.agent, s.user, coalesce(s.labels, '{}'), u.speech,
        u.speech, u.persona, u.stage, u.provider, u.model, u.reported_provider, u.label, u.request,
        u.requests, u.cancelled, u.streamed, u.connection, u.input_tokens, u.cached_input_tokens,
        u.cache_write_tokens, u.output_tokens, u.total_tokens, u.input_audio_tokens,
        u.input_image_tokens, u.cached_audio_tokens, u.cached_image_tokens,
        u.output_audio_tokens, u.output_image_tokens, u.characters, u.audio_seconds,
        u.connection_seconds, u.first_seconds, u.request_seconds, 'reported', u.status,
        u.cost_usd, u.output_usd, u.price, u.prices_version, NULL, 0.0
    FROM old_usage AS u LEFT JOIN old_sessions AS s ON s.session = u.session
"""

# A reply's waste was kept as one sum.  Of one that nobody heard it is everything; of one
# that was cut off, the same share of its synthesis and of what the model said.
_SHARE_WASTE = """
    WITH parts AS (
        SELECT u.id, t.session, t.speech, t.wasted_usd AS wasted,
            CASE WHEN t.spoken OR t.committed THEN 'interrupted' ELSE 'speculative' END AS reason,
            CASE WHEN u.stage = 'tts' OR NOT t.spoken THEN u.cost_usd ELSE u.output_usd END AS part
        FROM old_usage AS u
        JOIN old_turns AS t ON t.session = u.session AND t.speech = u.speech
        WHERE t.wasted_usd > 0 AND u.cost_usd > 0
    ), shares AS (
        SELECT id, reason, wasted * part / sum(part) OVER (PARTITION BY session, speech) AS usd
        FROM parts WHERE part > 0
    )
    UPDATE usage SET waste_reason = shares.reason, wasted_usd = shares.usd
    FROM shares WHERE shares.id = usage.id
"""

_MOVE_SESSIONS = """
    INSERT INTO sessions
    SELECT session, :instance, journal, agent, user, labels, room, job, trace, host, sdk, exporter,
        started_at, last_at, closed_at, reason, error, ended, waiting, answered, stt_provider,
        stt_model, turns, interrupted, unpriced_requests, cost_usd, wasted_usd, unassigned_usd,
        NULL
    FROM old_sessions
"""

_MOVE_TURNS = """
    INSERT INTO turns
    SELECT session, speech, :instance, at, persona, eou_delay_seconds, transcription_delay_seconds,
        callback_seconds, first_token_seconds, first_byte_seconds, latency_seconds, derived,
        committed, spoken, answered, interrupted, tool_calls, characters, NULL, cost_usd,
        wasted_usd
    FROM old_turns
"""

_MOVE_FAILURES = """
    INSERT INTO failures
    SELECT id, :instance, session, at, agent, persona, stage, provider, model, recoverable, error
    FROM old_failures
"""

_MOVE_POSITIONS = """
    INSERT INTO positions
    SELECT :instance, journal, committed, discarding, finished_at FROM old_positions
"""

# Days of whole seconds: SQLite rounds the last half millisecond of a day to the next.
_SUM_MODELS = """
    INSERT INTO daily
    SELECT strftime('%Y-%m-%d', CAST(at AS INTEGER), 'unixepoch') AS day, :instance, agent, stage,
        provider, model, source, sum(requests), sum(cancelled),
        sum(CASE WHEN status = 'unpriced' THEN max(requests, 1) ELSE 0 END), sum(input_tokens),
        sum(cached_input_tokens), sum(output_tokens), sum(characters), sum(audio_seconds),
        sum(connection_seconds), sum(coalesce(cost_usd, 0.0)), sum(wasted_usd)
    FROM usage GROUP BY day, agent, stage, provider, model, source
"""

_SUM_USERS = """
    SELECT strftime('%Y-%m-%d', CAST(at AS INTEGER), 'unixepoch') AS day, agent, user, labels,
        sum(session) AS sessions, sum(seconds) AS session_seconds, sum(turn) AS turns,
        sum(unpriced) AS unpriced_requests, sum(cost) AS cost_usd, sum(wasted) AS wasted_usd
    FROM (
        SELECT started_at AS at, agent, user, labels, 1 AS session,
            CASE WHEN ended THEN max(closed_at - started_at, 0.0) ELSE 0.0 END AS seconds,
            0 AS turn, 0 AS unpriced, 0.0 AS cost, 0.0 AS wasted
        FROM sessions
        UNION ALL
        SELECT t.at, s.agent, s.user, s.labels, 0, 0.0, 1, 0, 0.0, 0.0
        FROM turns AS t JOIN sessions AS s ON s.session = t.session WHERE t.answered
        UNION ALL
        SELECT at, agent, user, labels, 0, 0.0, 0,
            CASE WHEN status = 'unpriced' THEN max(requests, 1) ELSE 0 END,
            coalesce(cost_usd, 0.0), wasted_usd
        FROM usage
    )
    GROUP BY day, agent, user, labels
"""


def upgrade() -> None:
    """Move every row of version 1."""
    connection = op.get_bind()
    instance = {"instance": context.config.attributes["instance"]}
    for index in _OLD_INDEXES:
        op.drop_index(index)
    for table in _OLD_TABLES:
        op.rename_table(table, f"old_{table}")
    _create()
    connection.execute(
        sa.text("INSERT INTO instances VALUES (:instance, 0, 0.0, 0.0, 0)"), instance
    )
    for statement in (
        _MOVE_SESSIONS,
        _MOVE_TURNS,
        _MOVE_USAGE,
        _SHARE_WASTE,
        _MOVE_FAILURES,
        _MOVE_POSITIONS,
        _SUM_MODELS,
    ):
        connection.execute(sa.text(statement), instance)
    _sum_users(connection, instance)
    _move_series(connection, instance)
    for table in (*_OLD_TABLES, "meta"):
        op.drop_table(table if table == "meta" else f"old_{table}")


def _sum_users(connection: sa.Connection, instance: dict[str, str]) -> None:
    rows = [
        {
            **row,
            **instance,
            "key": _digest(row["agent"], row["user"], row["labels"], "reported"),
            "source": "reported",
        }
        for row in connection.execute(sa.text(_SUM_USERS)).mappings()
    ]
    _insert(connection, "daily_users", rows)


def _move_series(connection: sa.Connection, instance: dict[str, str]) -> None:
    rows = [
        {**row, **instance, "key": _digest(row["family"], row["labels"])}
        for row in connection.execute(sa.text("SELECT * FROM old_series")).mappings()
    ]
    _insert(connection, "series", rows)


def _insert(connection: sa.Connection, table: str, rows: list[dict[str, object]]) -> None:
    if rows:
        names = ", ".join(rows[0])
        values = ", ".join(f":{name}" for name in rows[0])
        statement = f"INSERT INTO {table} ({names}) VALUES ({values})"  # noqa: S608 - our own names
        connection.execute(sa.text(statement), rows)


def _digest(*parts: str | None) -> str:
    return blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def _create() -> None:
    op.create_table(
        "daily",
        sa.Column("day", sa.Text(), primary_key=True),
        sa.Column("instance", sa.Text(), primary_key=True),
        sa.Column("agent", sa.Text(), primary_key=True),
        sa.Column("stage", sa.Text(), primary_key=True),
        sa.Column("provider", sa.Text(), primary_key=True),
        sa.Column("model", sa.Text(), primary_key=True),
        sa.Column("source", sa.Text(), primary_key=True),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("cancelled_requests", sa.BigInteger(), nullable=False),
        sa.Column("unpriced_requests", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("characters", sa.BigInteger(), nullable=False),
        sa.Column("audio_seconds", sa.Float(), nullable=False),
        sa.Column("connection_seconds", sa.Float(), nullable=False),
        sa.Column("cost_usd", sa.Float(), nullable=False),
        sa.Column("wasted_usd", sa.Float(), nullable=False),
    )
    op.create_table(
        "daily_users",
        sa.Column("day", sa.Text(), primary_key=True),
        sa.Column("instance", sa.Text(), primary_key=True),
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("user", sa.Text()),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("sessions", sa.BigInteger(), nullable=False),
        sa.Column("session_seconds", sa.Float(), nullable=False),
        sa.Column("turns", sa.BigInteger(), nullable=False),
        sa.Column("unpriced_requests", sa.BigInteger(), nullable=False),
        sa.Column("cost_usd", sa.Float(), nullable=False),
        sa.Column("wasted_usd", sa.Float(), nullable=False),
    )
    op.create_table(
        "deliveries",
        sa.Column("session", sa.Text(), primary_key=True),
        sa.Column("instance", sa.Text(), primary_key=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.Column("next_attempt_at", sa.Float(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("refusals", sa.BigInteger(), nullable=False),
        sa.Column("first_attempt_at", sa.Float()),
        sa.Column("last_attempt_at", sa.Float()),
        sa.Column("status", sa.BigInteger()),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("delivered_at", sa.Float()),
    )
    op.create_table(
        "failures",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("persona", sa.Text()),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("recoverable", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
    )
    op.create_table(
        "instances",
        sa.Column("instance", sa.Text(), primary_key=True),
        sa.Column("commits", sa.BigInteger(), nullable=False),
        sa.Column("committed_at", sa.Float(), nullable=False),
        sa.Column("kept_from", sa.Float(), nullable=False),
        sa.Column("repriced", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "positions",
        sa.Column("instance", sa.Text(), primary_key=True),
        sa.Column("journal", sa.Text(), primary_key=True),
        sa.Column("committed", sa.BigInteger(), nullable=False),
        sa.Column("discarding", sa.Boolean(), nullable=False),
        sa.Column("finished_at", sa.Float()),
    )
    op.create_table(
        "repricings",
        sa.Column("repricing", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("stage", sa.Text(), primary_key=True),
        sa.Column("provider", sa.Text(), primary_key=True),
        sa.Column("model", sa.Text(), primary_key=True),
        sa.Column("source", sa.Text(), primary_key=True),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("until", sa.Float(), nullable=False),
        sa.Column("prices_version", sa.Text(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("old_usd", sa.Float(), nullable=False),
        sa.Column("new_usd", sa.Float(), nullable=False),
        sa.Column("old_unpriced_requests", sa.BigInteger(), nullable=False),
        sa.Column("new_unpriced_requests", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "series",
        sa.Column("instance", sa.Text(), primary_key=True),
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("counts", sa.Text()),
        sa.Column("touched_at", sa.Float(), nullable=False),
    )
    op.create_table(
        "sessions",
        sa.Column("session", sa.Text(), primary_key=True),
        sa.Column("instance", sa.Text(), primary_key=True),
        sa.Column("journal", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("user", sa.Text()),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("room", sa.Text()),
        sa.Column("job", sa.Text()),
        sa.Column("trace", sa.Text()),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("sdk", sa.Text(), nullable=False),
        sa.Column("exporter", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("last_at", sa.Float(), nullable=False),
        sa.Column("closed_at", sa.Float()),
        sa.Column("reason", sa.Text()),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.Column("waiting", sa.Boolean(), nullable=False),
        sa.Column("answered", sa.Text()),
        sa.Column("stt_provider", sa.Text()),
        sa.Column("stt_model", sa.Text()),
        sa.Column("turns", sa.BigInteger(), nullable=False),
        sa.Column("interrupted", sa.BigInteger(), nullable=False),
        sa.Column("unpriced_requests", sa.BigInteger(), nullable=False),
        sa.Column("cost_usd", sa.Float(), nullable=False),
        sa.Column("wasted_usd", sa.Float(), nullable=False),
        sa.Column("unassigned_usd", sa.Float(), nullable=False),
        sa.Column("exported_at", sa.Float()),
    )
    op.create_table(
        "sizes",
        sa.Column("instance", sa.Text(), primary_key=True),
        sa.Column("stage", sa.Text(), primary_key=True),
        sa.Column("provider", sa.Text(), primary_key=True),
        sa.Column("model", sa.Text(), primary_key=True),
        sa.Column("prompt_characters", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), nullable=False),
        sa.Column("answering_seconds", sa.Float(), nullable=False),
        sa.Column("answered_tokens", sa.BigInteger(), nullable=False),
        sa.Column("written_characters", sa.BigInteger(), nullable=False),
        sa.Column("written_tokens", sa.BigInteger(), nullable=False),
        sa.Column("begun", sa.BigInteger(), nullable=False),
        sa.Column("first_seconds", sa.Float(), nullable=False),
        sa.Column("text_characters", sa.BigInteger(), nullable=False),
        sa.Column("spoken_characters", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "turns",
        sa.Column("session", sa.Text(), primary_key=True),
        sa.Column("speech", sa.Text(), primary_key=True),
        sa.Column("instance", sa.Text(), primary_key=True),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("persona", sa.Text()),
        sa.Column("eou_delay_seconds", sa.Float()),
        sa.Column("transcription_delay_seconds", sa.Float()),
        sa.Column("callback_seconds", sa.Float()),
        sa.Column("first_token_seconds", sa.Float()),
        sa.Column("first_byte_seconds", sa.Float()),
        sa.Column("latency_seconds", sa.Float()),
        sa.Column("derived", sa.Boolean(), nullable=False),
        sa.Column("committed", sa.Boolean(), nullable=False),
        sa.Column("spoken", sa.Boolean(), nullable=False),
        sa.Column("answered", sa.Boolean(), nullable=False),
        sa.Column("interrupted", sa.Boolean(), nullable=False),
        sa.Column("tool_calls", sa.BigInteger(), nullable=False),
        sa.Column("characters", sa.BigInteger(), nullable=False),
        sa.Column("spoken_seconds", sa.Float()),
        sa.Column("cost_usd", sa.Float(), nullable=False),
        sa.Column("wasted_usd", sa.Float(), nullable=False),
    )
    op.create_table(
        "usage",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("user", sa.Text()),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("speech", sa.Text()),
        sa.Column("turn", sa.Text()),
        sa.Column("persona", sa.Text()),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("reported_provider", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("cancelled", sa.Boolean(), nullable=False),
        sa.Column("streamed", sa.Boolean(), nullable=False),
        sa.Column("connection", sa.Boolean(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("total_tokens", sa.BigInteger(), nullable=False),
        sa.Column("input_audio_tokens", sa.BigInteger(), nullable=False),
        sa.Column("input_image_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_audio_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_image_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_audio_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_image_tokens", sa.BigInteger(), nullable=False),
        sa.Column("characters", sa.BigInteger(), nullable=False),
        sa.Column("audio_seconds", sa.Float(), nullable=False),
        sa.Column("connection_seconds", sa.Float(), nullable=False),
        sa.Column("first_seconds", sa.Float()),
        sa.Column("request_seconds", sa.Float()),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("cost_usd", sa.Float()),
        sa.Column("output_usd", sa.Float(), nullable=False),
        sa.Column("price", sa.Text()),
        sa.Column("prices_version", sa.Text(), nullable=False),
        sa.Column("waste_reason", sa.Text()),
        sa.Column("wasted_usd", sa.Float(), nullable=False),
    )
    op.create_index("turns_at", "turns", ["at"])
    op.create_index("usage_at", "usage", ["at"])
    op.create_index("usage_session", "usage", ["session"])
    op.create_index("failures_session", "failures", ["session"])
    op.create_index("sessions_started", "sessions", ["started_at"])
    op.create_index("sessions_user", "sessions", ["user", "started_at"])
    op.create_index("daily_users_user", "daily_users", ["user", "day"])
    op.create_index(
        "deliveries_pending",
        "deliveries",
        ["instance", "next_attempt_at"],
        sqlite_where=sa.text("state = 'pending'"),
    )
    op.create_index("sessions_open", "sessions", ["instance"], sqlite_where=sa.text("ended IS 0"))
    op.create_index(
        "sessions_to_export",
        "sessions",
        ["instance"],
        sqlite_where=sa.text("ended IS 1 AND exported_at IS NULL"),
    )
