"""Puts a call together as one JSON document: usage, cost and latency.  Pure.

The format is published (`docs/call.schema.json`) and has a version; fields are added,
never renamed.  There is no text of the conversation in it, only its length.

Costs are doubles as the ledger has them; `null` is a cost that nobody knows, because
the catalogue had no price, and is never zero.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from livekit_exporter.ledger.rows import QUANTITIES, FailureRow, SessionRow, TurnRow, UsageRow
from livekit_exporter.record import Stage, at_least_one

SCHEMA_VERSION: Final = 1

Redaction: TypeAlias = Literal["none", "hash", "drop"]
"""Treatment of the names of people and places: kept, hashed with a key, or dropped."""

_HASH_CHARACTERS: Final = 32


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class Request(_Part):
    """One report of usage: a provider request, or what a stream used since its last report."""

    at: datetime
    stage: Stage
    provider: str
    """As the catalogue names it."""
    model: str
    persona: str | None = None
    """Id of the agent that held the call."""
    phase: Literal["beside", "after"] | None = None
    """Used beside the session, such as by a judge, or after it; `null` for the session's own."""
    requests: int
    cancelled: bool = False
    source: Literal["reported", "estimated"]
    """`estimated` is what events do not show; never added to what was reported."""
    usage: dict[str, int | float]
    """Quantities that are not zero, by the field names of a journal's `Usage`."""
    first_seconds: float | None = None
    """Time to first token (LLM, realtime) or first byte (TTS)."""
    request_seconds: float | None = None
    cost_usd: float | None
    """`null` where there is no price."""
    price: str | None = None
    """Catalogue entry that gave the cost."""
    prices_version: str
    waste_reason: str | None = None
    wasted_usd: float = 0.0
    """The part of the cost that no caller heard."""


class Turn(_Part):
    """One reply of the agent, with everything that its cost is made of."""

    speech: str
    at: datetime
    persona: str | None = None
    answered: bool
    """It answered the caller; a greeting answers nobody."""
    interrupted: bool
    characters: int
    """Length of what was said; the text is nowhere kept."""
    tool_calls: int
    latency_seconds: float | None = None
    """Silence that the caller heard."""
    latency_derived: bool = False
    """The latency is the sum of its parts, because the SDK measured none."""
    eou_delay_seconds: float | None = None
    transcription_delay_seconds: float | None = None
    callback_seconds: float | None = None
    first_token_seconds: float | None = None
    first_byte_seconds: float | None = None
    cost_usd: float
    wasted_usd: float
    stt: tuple[Request, ...] = ()
    llm: tuple[Request, ...] = ()
    tts: tuple[Request, ...] = ()
    realtime: tuple[Request, ...] = ()
    other: tuple[Request, ...] = ()
    """Turn detection, interruption, avatar and custom."""


class Failure(_Part):
    """An attempt at a provider that failed."""

    at: datetime
    stage: Stage
    provider: str
    model: str
    recoverable: bool
    error: str
    """Class of the exception."""


class StageTotal(_Part):
    """Usage and cost of one stage of the call."""

    requests: int = 0
    unpriced_requests: int = 0
    usage: dict[str, int | float]
    cost_usd: float = 0.0
    wasted_usd: float = 0.0
    estimated_usd: float = 0.0
    """Cost of what events do not show; not contained in `cost_usd`."""


class Spread(_Part):
    """Distribution of a latency over a call, in seconds."""

    count: int
    average: float
    p50: float
    p95: float
    p99: float
    maximum: float


class CallExport(_Part):
    """The whole call."""

    schema_version: Literal[1] = SCHEMA_VERSION
    session: str
    agent: str
    user: str | None = None
    labels: dict[str, str]
    room: str | None = None
    job: str | None = None
    trace: str | None = None
    """OpenTelemetry trace id."""
    host: str
    sdk: str
    """Version of livekit-agents."""
    exporter: str
    """Version of what wrote the journal."""
    started_at: datetime
    ended_at: datetime | None = None
    duration_seconds: float | None = None
    reason: str | None = None
    """LiveKit's close reason; `lost` when the process died without a word."""
    error: str = ""
    incomplete: bool
    """The process died without a goodbye: what it used in its last tenth of a second is missing."""
    redaction: Redaction
    turns: tuple[Turn, ...]
    outside_turns: tuple[Request, ...]
    """Usage that no answer was made of: platform legs, what was heard after the last answer."""
    failures: tuple[Failure, ...]
    stages: dict[Stage, StageTotal]
    cost_usd: float
    wasted_usd: float
    estimated_usd: float
    """Not contained in `cost_usd`."""
    unpriced_requests: int
    """Requests whose cost is missing above."""
    turns_answered: int
    turns_interrupted: int
    latencies: Annotated[dict[str, Spread], Field(description="By name of the field of a turn.")]


_LATENCIES: Final = (
    "latency_seconds",
    "eou_delay_seconds",
    "transcription_delay_seconds",
    "callback_seconds",
    "first_token_seconds",
    "first_byte_seconds",
)
_STAGES_OF_A_TURN: Final = ("stt", "llm", "tts", "realtime")


def json_schema() -> dict[str, object]:
    """Build the JSON Schema of an export."""
    schema = TypeAdapter(CallExport).json_schema(mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "A call, as livekit-exporter exports it",
    }


def percentile(values: Sequence[float], percent: float) -> float:
    """Find the percentile of sorted values by nearest rank."""
    rank = -(-len(values) * percent // 100)
    return values[max(0, int(rank) - 1)]


def call_export(
    session: SessionRow,
    turns: Iterable[TurnRow],
    usage: Sequence[UsageRow],
    failures: Iterable[FailureRow],
    *,
    redaction: Redaction = "none",
    key: bytes = b"",
) -> CallExport:
    """Put a call together from its rows.

    Args:
        session: The call.
        turns: Its replies, in their order.
        usage: Its usage rows, in their order.
        failures: Its failed requests.
        redaction: Treatment of user, room and job.
        key: Secret of the installation for `hash`: without it, names could be guessed.
    """
    by_turn: dict[str | None, list[Request]] = {}
    requests = list(map(_request, usage))
    for row, request in zip(usage, requests, strict=True):
        by_turn.setdefault(row.turn, []).append(request)
    exported = tuple(_turn(turn, by_turn.get(turn.speech, ())) for turn in turns)
    stages = _stages(requests)

    def name(value: str | None) -> str | None:
        return _redacted(value, redaction, key)

    own = {
        "user": name(session.user),
        "labels": json.loads(session.labels),
        "room": name(session.room),
        "job": name(session.job),
        "started_at": _time(session.started_at),
        "ended_at": None if session.closed_at is None else _time(session.closed_at),
        "duration_seconds": session.seconds,
        "redaction": redaction,
        "turns": exported,
        "outside_turns": tuple(by_turn.get(None, ())),
        "failures": tuple(Failure.model_validate(_same(Failure, row)) for row in failures),
        "stages": stages,
        "estimated_usd": sum(stage.estimated_usd for stage in stages.values()),
        "turns_answered": session.turns,
        "turns_interrupted": session.interrupted,
        "latencies": _latencies(exported),
    }
    return CallExport.model_validate(_same(CallExport, session) | own)


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _same(part: type[_Part], row: object) -> dict[str, object]:
    """Take the fields of a part that a row has under the same name."""
    return {name: getattr(row, name) for name in part.model_fields if hasattr(row, name)}


def _redacted(value: str | None, redaction: Redaction, key: bytes) -> str | None:
    if value is None or redaction == "none":
        return value
    if redaction == "drop":
        return None
    return hmac.new(key, value.encode(), hashlib.sha256).hexdigest()[:_HASH_CHARACTERS]


def _request(row: UsageRow) -> Request:
    usage = {name: used for name in QUANTITIES if (used := getattr(row.usage, name))}
    # Pydantic reads a number as Unix seconds.
    return Request.model_validate(_same(Request, row) | {"usage": usage})


def _turn(turn: TurnRow, requests: Sequence[Request]) -> Turn:
    parts: dict[str, list[Request]] = {}
    for request in requests:
        stage = request.stage if request.stage in _STAGES_OF_A_TURN else "other"
        parts.setdefault(stage, []).append(request)
    own = {"at": _time(turn.at), "latency_derived": turn.derived}
    return Turn.model_validate(_same(Turn, turn) | own | parts)


def _stages(requests: Iterable[Request]) -> dict[Stage, StageTotal]:
    by_stage: dict[Stage, list[Request]] = {}
    for request in requests:
        by_stage.setdefault(request.stage, []).append(request)
    return {stage: _stage_total(made) for stage, made in by_stage.items()}


def _stage_total(requests: Sequence[Request]) -> StageTotal:
    used: dict[str, int | float] = {}
    reported = [request for request in requests if request.source == "reported"]
    for request in reported:
        for name, quantity in request.usage.items():
            used[name] = used.get(name, 0) + quantity
    return StageTotal(
        requests=sum(request.requests for request in reported),
        unpriced_requests=sum(
            at_least_one(request.requests) for request in reported if request.cost_usd is None
        ),
        usage=used,
        cost_usd=sum(request.cost_usd or 0.0 for request in reported),
        wasted_usd=sum(request.wasted_usd for request in reported),
        estimated_usd=sum(
            request.cost_usd or 0.0 for request in requests if request.source == "estimated"
        ),
    )


def _latencies(turns: Sequence[Turn]) -> dict[str, Spread]:
    spreads = {}
    answered = [turn for turn in turns if turn.answered]
    for name in _LATENCIES:
        seconds = sorted(value for turn in answered if (value := getattr(turn, name)) is not None)
        if seconds:
            spreads[name] = Spread(
                count=len(seconds),
                average=sum(seconds) / len(seconds),
                p50=percentile(seconds, 50),
                p95=percentile(seconds, 95),
                p99=percentile(seconds, 99),
                maximum=seconds[-1],
            )
    return spreads
