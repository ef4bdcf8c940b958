"""Rows of the ledger as typed objects, and the batch that one transaction writes."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from operator import attrgetter
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from livekit_exporter.calls.sizes import Sizes
from livekit_exporter.calls.turns import Reply
from livekit_exporter.prices.pricing import Status
from livekit_exporter.record import Source, Stage, Usage

_DAY_SECONDS: Final = 86400

DUST_USD: Final = 1e-12
"""Largest difference of doubles that counts as zero, US dollars."""

DeliveryState: TypeAlias = Literal["pending", "delivered", "dead"]
"""State of a delivery to the webhook; `dead` was given up."""


@dataclass(kw_only=True)
class SessionRow:
    """A call, a row of `sessions`.

    Args:
        closed_at: Time of the close event; the call itself ends with its journal.
        ended: The journal was read to its end and has no writer.
        waiting: The user said something that is not answered yet.
        answered: Speech id of the last answer.
        stt_provider: Provider of the last transcription; `stt_model` likewise.
        unassigned_usd: Cost without a speech id since the last answer.
    """

    session: str
    journal: str
    agent: str
    user: str | None = None
    labels: str = "{}"
    room: str | None = None
    job: str | None = None
    trace: str | None = None
    host: str = ""
    sdk: str = ""
    exporter: str = ""
    started_at: float
    last_at: float
    closed_at: float | None = None
    reason: str | None = None
    error: str = ""
    ended: bool = False
    waiting: bool = False
    answered: str | None = None
    stt_provider: str | None = None
    stt_model: str | None = None
    turns: int = 0
    interrupted: int = 0
    unpriced_requests: int = 0
    cost_usd: float = 0.0
    wasted_usd: float = 0.0
    unassigned_usd: float = 0.0

    @property
    def incomplete(self) -> bool:
        """`True` when its process died without a close event, so its end may be missing."""
        return self.reason == "lost"

    @property
    def seconds(self) -> float | None:
        """Length of the call; `None` while it has no end, or an end before its start."""
        if self.closed_at is None or self.closed_at < self.started_at:
            return None
        return self.closed_at - self.started_at


@dataclass(kw_only=True)
class TurnRow(Reply):
    """A reply of the agent with its cost, a row of `turns`."""

    session: str
    cost_usd: float = 0.0
    wasted_usd: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """Delivery of a call that ended to the webhook, a row of `deliveries`.

    Args:
        instance: Data directory of the call.
        revision: State of the call: 1 when it ended, one more each time it changed.
        made_at: Time of that state, Unix seconds like all times here.
        next_attempt_at: Time of the next attempt while it is pending.
        attempts: Number of times it was sent.
        refusals: Number of attempts that the receiver refused.
        first_attempt_at: Time of the first attempt, `None` before.
        last_attempt_at: Time of the last attempt.
        status: HTTP status of the last answer; `None` where none came.
        error: Reason why the last attempt failed.
        delivered_at: Time at which the receiver accepted it.
    """

    session: str
    instance: str
    revision: int
    state: DeliveryState
    made_at: float
    next_attempt_at: float
    attempts: int = 0
    refusals: int = 0
    first_attempt_at: float | None = None
    last_attempt_at: float | None = None
    status: int | None = None
    error: str = ""
    delivered_at: float | None = None

    @property
    def id(self) -> str:
        """Idempotency key: the same each time that this state of this call is sent."""
        return f"call_{digest(self.instance, self.session)}_{self.revision}"


class Due(NamedTuple):
    """Deliveries that are due.

    Args:
        deliveries: Up to a limit, the longest waiting first.
        next_at: Time at which the next one is due, of those that are not.
    """

    deliveries: Sequence[DeliveryRow]
    next_at: float | None


class Backlog(NamedTuple):
    """Pending deliveries, due or not.

    Args:
        pending: Number of calls.
        oldest: Time at which the oldest of them ended or changed.
    """

    pending: int = 0
    oldest: float | None = None


@dataclass(slots=True, kw_only=True)
class UsageRow:
    """One report of usage with its cost, a row of `usage`.

    Money is US dollars, times are Unix seconds, durations are seconds.

    Args:
        id: Number of the row; `None` until the ledger has it.
        labels: JSON object with sorted keys.
        speech: LiveKit's id of the reply that the request was made for.
        turn: Speech id of the answer that the cost is part of; `None` until one is known.
        provider: As the price catalogue names it.
        reported_provider: As the plugin names it.
        label: Class path of the plugin.
        request: Id that the provider gave the request.
        requests: 0 where a stream reports what it used since its last report.
        first_seconds: Time to first token (LLM, realtime) or first byte (TTS).
        status: `priced`, `unpriced` or `nothing_to_bill`.
        cost_usd: `None` while there is no price.
        output_usd: Part of the cost for the model's output.
        price: Id of the catalogue entry that gave the cost.
        waste_reason: Reason for `wasted_usd`; `None` while nothing is known to be wasted.
        wasted_usd: Part of the cost that no caller heard.
        phase: `beside` the session or `after` it; `None` for what the session itself used.
    """

    id: int | None = None
    session: str
    at: float
    agent: str
    user: str | None = None
    labels: str = "{}"
    speech: str | None = None
    turn: str | None = None
    persona: str | None = None
    stage: Stage
    provider: str
    model: str
    reported_provider: str
    label: str = ""
    request: str = ""
    requests: int = 1
    cancelled: bool = False
    streamed: bool = False
    connection: bool = False
    usage: Usage
    first_seconds: float | None = None
    request_seconds: float | None = None
    source: Source = "reported"
    status: Status
    cost_usd: float | None
    output_usd: float = 0.0
    price: str | None = None
    prices_version: str = ""
    waste_reason: str | None = None
    wasted_usd: float = 0.0
    phase: str | None = None


@dataclass(slots=True, kw_only=True)
class MissingRow:
    """Usage of a call that nobody reported, a row of `missing`.

    Args:
        at: Unix seconds.
        provider: As the price catalogue names it.
        turns: Turns in which it was done.
    """

    session: str
    at: float
    agent: str
    persona: str | None
    stage: Stage
    provider: str
    model: str
    turns: int


@dataclass(slots=True, kw_only=True)
class FailureRow:
    """One failed attempt at a provider, a row of `failures`.

    Args:
        at: Unix seconds.
        provider: As the price catalogue names it.
        error: Class of the exception.
    """

    session: str
    at: float
    agent: str
    persona: str | None
    stage: Stage
    provider: str
    model: str
    recoverable: bool
    error: str


SESSION_COLUMNS: Final = tuple(each.name for each in fields(SessionRow))
"""Columns of `sessions` that a `SessionRow` is made of."""

TURN_COLUMNS: Final = tuple(each.name for each in fields(TurnRow))
"""Columns of `turns` that a `TurnRow` is made of."""

QUANTITIES: Final = tuple(each.name for each in fields(Usage))
"""Columns of `usage` that hold `record.Usage`, in its order."""

_USAGE_FACTS: Final = tuple(each.name for each in fields(UsageRow) if each.name != "usage")

USAGE_COLUMNS: Final = (*_USAGE_FACTS, *QUANTITIES)
"""Columns of `usage` that `usage_row` reads, in its order."""

NEW_USAGE_COLUMNS: Final = USAGE_COLUMNS[1:]
"""Columns of `usage` that a sidecar writes, in the order of `usage_values`."""

MISSING_COLUMNS: Final = tuple(each.name for each in fields(MissingRow))
FAILURE_COLUMNS: Final = tuple(each.name for each in fields(FailureRow))
"""Columns of `failures`, in the order of `failure_values`."""

usage_values: Final[Callable[[UsageRow], tuple[object, ...]]] = attrgetter(
    *_USAGE_FACTS[1:], *(f"usage.{name}" for name in QUANTITIES)
)
"""Values of a new row, one per name in `NEW_USAGE_COLUMNS`."""

missing_values: Final[Callable[[MissingRow], tuple[object, ...]]] = attrgetter(*MISSING_COLUMNS)
failure_values: Final[Callable[[FailureRow], tuple[object, ...]]] = attrgetter(*FAILURE_COLUMNS)
"""Values of a row, one per name in `FAILURE_COLUMNS`."""


def usage_row(values: Sequence[Any]) -> UsageRow:
    """Make a row of its values in the order of `USAGE_COLUMNS`."""
    quantities = Usage(**dict(zip(QUANTITIES, values[len(_USAGE_FACTS) :], strict=True)))
    return UsageRow(usage=quantities, **dict(zip(_USAGE_FACTS, values, strict=False)))


@dataclass(frozen=True, slots=True)
class CallRows:
    """All rows of one call but its own: replies, usage and failures."""

    turns: Sequence[TurnRow]
    usage: Sequence[UsageRow]
    failures: Sequence[FailureRow]


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """Value of one series, a row of `series`.

    Args:
        labels: JSON object with sorted keys.
        value: Of a counter its value, of a histogram its sum.
        counts: Of a histogram the observations by bucket, the one without bound last.
        touched_at: Last change, Unix seconds.
    """

    family: str
    labels: str
    value: float
    counts: tuple[int, ...] | None
    touched_at: float


@dataclass(frozen=True, slots=True)
class Position:
    """Progress of a journal in the ledger, a row of `positions`.

    Args:
        committed: Bytes that are in the ledger.
        discarding: The reader stands inside a line that is too long.
        finished_at: Time at which its last byte was committed; the file may be deleted.
    """

    committed: int = 0
    discarding: bool = False
    finished_at: float | None = None


class ModelSums(NamedTuple):
    """Sums of the rollup by day and model: columns of `daily`."""

    unpriced_requests: int = 0
    cost_usd: float = 0.0
    wasted_usd: float = 0.0
    requests: int = 0
    cancelled_requests: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    characters: int = 0
    audio_seconds: float = 0.0
    connection_seconds: float = 0.0


class UserSums(NamedTuple):
    """Sums of the rollup by day and user: columns of `daily_users`."""

    unpriced_requests: int = 0
    cost_usd: float = 0.0
    wasted_usd: float = 0.0
    sessions: int = 0
    session_seconds: float = 0.0
    turns: int = 0


class ModelKey(NamedTuple):
    """Key of a row of `daily`, but for the instance."""

    day: str
    agent: str
    stage: str
    provider: str
    model: str
    source: Source


class UserKey(NamedTuple):
    """Key of a row of `daily_users`, but for the instance."""

    day: str
    agent: str
    user: str | None
    labels: str
    source: Source


class SizesKey(NamedTuple):
    """Key of a row of `sizes`, by the names that plugins report."""

    stage: str
    provider: str
    model: str


def digest(*parts: str | None) -> str:
    """Hash texts to a key of fixed length."""
    return blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def utc_day(at: float) -> str:
    """Format the UTC day of a Unix time, `YYYY-MM-DD`."""
    return _day(int(at // _DAY_SECONDS))


@lru_cache(maxsize=64)
def _day(number: int) -> str:
    """Format a count of days since 1970; cached, because every record asks."""
    return datetime.fromtimestamp(number * _DAY_SECONDS, UTC).strftime("%Y-%m-%d")


@dataclass(slots=True)
class Batch:
    """Rows that one transaction writes.

    Args:
        usage: New rows of usage.
        answers: The answer that usage rows which are in the ledger and belong to none are
            part of, by session.
        unassigned: Usage rows of this batch that belong to no answer yet, by session.
        wasted: US dollars that are known by now to be wasted, and why, of usage rows that
            are in the ledger, by their id.
        sizes: What finished requests add to the sizes of their models.
        models: What the rollup by day and model gains beside the new rows of usage.
        users: The same of the rollup by day and user.
        deliver: Calls that end are to be delivered to a webhook.
        deliveries: Deliveries that were tried, as they are since.
    """

    usage: list[UsageRow] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    unassigned: dict[str, list[UsageRow]] = field(default_factory=dict)
    wasted: dict[int, tuple[float, str]] = field(default_factory=dict)
    failures: list[FailureRow] = field(default_factory=list)
    missing: list[MissingRow] = field(default_factory=list)
    sessions: dict[str, SessionRow] = field(default_factory=dict)
    turns: dict[tuple[str, str], TurnRow] = field(default_factory=dict)
    sizes: dict[SizesKey, Sizes] = field(default_factory=dict)
    models: list[tuple[ModelKey, ModelSums]] = field(default_factory=list)
    users: list[tuple[UserKey, UserSums]] = field(default_factory=list)
    series: list[SeriesRow] = field(default_factory=list)
    positions: dict[str, Position] = field(default_factory=dict)
    deliver: bool = False
    deliveries: list[DeliveryRow] = field(default_factory=list)

    def add_up(
        self, row: SessionRow, at: float, sums: UserSums, source: Source = "reported"
    ) -> None:
        """Add to the rollup by day and user what a call did at a Unix time."""
        self.users.append((UserKey(utc_day(at), row.agent, row.user, row.labels, source), sums))

    def answer(self, session: str, speech: str) -> None:
        """Count what was used since the last answer of a call in this one."""
        for row in self.unassigned.pop(session, ()):
            row.turn = speech
        # What the ledger holds is older than anything here, so the first answer takes it.
        self.answers.setdefault(session, speech)
