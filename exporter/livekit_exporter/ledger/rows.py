"""Rows that the sidecar reads, changes and writes back: calls, turns, series, positions."""

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class SessionRow:
    """One call.

    Args:
        closed_at: When the agent said goodbye; the session ends with its journal.
        ended: Its journal is read to the end; nothing comes any more.
        waiting: The user said something that nobody has answered yet.
        answered: Speech id of the last answer.
        stt_provider: Who transcribes, by the last usage; `stt_model` likewise.
        unassigned_usd: Cost without a speech id since the last answer.
    """

    session: str
    journal: str
    agent: str
    started_at: float
    last_at: float
    user: str | None = None
    labels: str = "{}"
    room: str | None = None
    job: str | None = None
    trace: str | None = None
    host: str = ""
    sdk: str = ""
    exporter: str = ""
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


@dataclass(kw_only=True)
class TurnRow:
    """One reply of the agent; a turn when it answers the user.

    Args:
        committed: It belongs to an utterance that was decided to be over.
        spoken: A message of it entered the conversation.
        answered: That message answered the user.
    """

    session: str
    speech: str
    at: float
    persona: str | None = None
    eou_delay_seconds: float | None = None
    transcription_delay_seconds: float | None = None
    callback_seconds: float | None = None
    first_token_seconds: float | None = None
    first_byte_seconds: float | None = None
    latency_seconds: float | None = None
    derived: bool = False
    committed: bool = False
    spoken: bool = False
    answered: bool = False
    interrupted: bool = False
    tool_calls: int = 0
    characters: int = 0
    cost_usd: float = 0.0
    wasted_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """Value of one series.

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
    """How far a journal is in the ledger.

    Args:
        committed: Bytes.
        discarding: The reader stands inside a line that is too long.
        finished_at: When its last byte was committed; the file may be deleted.
    """

    committed: int = 0
    discarding: bool = False
    finished_at: float | None = None


@dataclass(slots=True)
class Batch:
    """Everything that one transaction writes."""

    usage: list[dict[str, object]] = field(default_factory=list)
    failures: list[dict[str, object]] = field(default_factory=list)
    sessions: dict[str, SessionRow] = field(default_factory=dict)
    turns: dict[tuple[str, str], TurnRow] = field(default_factory=dict)
    daily: dict[tuple[str, str, str, str, str], list[float]] = field(default_factory=dict)
    series: list[SeriesRow] = field(default_factory=list)
    positions: dict[str, Position] = field(default_factory=dict)
