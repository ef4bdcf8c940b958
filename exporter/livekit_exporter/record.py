"""The records that an agent writes and the sidecar reads: facts, never prices.

One record is one line of JSON in a journal (`docs/journal.md`).  This module is
the format: the JSON Schema is generated from it, and the sidecar validates
against it.  It imports the standard library only, because it is loaded into the
process that carries the call.

Times are Unix seconds (UTC).  Durations are seconds.  A quantity that LiveKit
did not measure is `None`, never a sentinel; the names of the sentinels that were
dropped on the way are in `rejected`.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Final, Literal, TypeAlias, get_args

SCHEMA_VERSION: Final = 1

MAX_LINE_BYTES: Final = 1024 * 1024
"""Longest line that a reader accepts, newline included."""

LONGEST_TEXT: Final = 200
"""Most characters of an id or a name: no vendor's are longer, and an index cannot hold them."""

LARGEST_QUANTITY: Final = 1e12
"""More tokens, characters or seconds than this is no usage of one request."""
EARLIEST: Final = 1_577_836_800.0
LATEST: Final = 7_258_118_400.0
"""Years 2020 to 2200: any other time is a clock error."""

Stage: TypeAlias = Literal[
    "stt", "llm", "tts", "realtime", "turn_detection", "interruption", "avatar", "platform",
    "custom",
]  # fmt: skip

Gap: TypeAlias = Literal[
    "interrupted", "speculative", "failed", "recovery_probe", "open_connection",
]  # fmt: skip
"""Why a vendor bills what no event reports: a reply was cut off, or thrown away before its turn; an
attempt failed; a fallback adapter tried a provider; a connection was open and nothing was said."""

Source: TypeAlias = Literal["reported", "estimated"]
"""An event of LiveKit reported the usage, or it was estimated; the two are never added up."""

Phase: TypeAlias = Literal["call", "beside", "after"]
"""Usage within the session; beside it, such as by a judge or another session; or after it."""

NOT_STARTED: Final = "not_started"
"""Close reason of a call whose session was never started: nobody answered, or setup failed."""
JOB_ENDED: Final = "job_ended"
"""Close reason of a call without a session."""

Basis: TypeAlias = Literal["call", "ledger"]
"""Whose finished requests an estimate was calibrated on."""

Scope: TypeAlias = Literal["session", "user_day", "tenant_day", "day"]
"""Whose spend a limit of a budget is about: this call's, or that of the current day."""

Threshold: TypeAlias = Literal["warn", "limit", "unpriced"]
"""What of a budget was reached: its warning, its limit, or a model without a price."""


class _Validated:
    """Tells pydantic, in the sidecar, how to read a class of this module.

    Docstrings below a field become its description in the schema.  Values that no database
    or JSON can hold are refused.
    """

    __slots__ = ()
    __pydantic_config__: ClassVar = {
        "use_attribute_docstrings": True,
        "allow_inf_nan": False,
        "str_max_length": LONGEST_TEXT,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fact(_Validated):
    """The fields that every record begins with, in this order."""

    kind: str
    session: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Model(_Validated):
    """A provider's model that a session may use."""

    stage: Stage
    provider: str
    """As the plugin reports it: a host or a display name."""
    model: str
    label: str = ""
    """Class path of the plugin, the only identification where a plugin says `unknown`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage(_Validated):
    """Usage that a provider counted for one request, in the provider's own sums.

    Parts are contained in their whole here, as providers report them;
    `prices.pricing.token_buckets` takes them apart.
    """

    input_tokens: int = 0
    """All input tokens, cached and cache-written ones included."""
    cached_input_tokens: int = 0
    """Part of `input_tokens` that was read from a cache."""
    cache_write_tokens: int = 0
    """Part of `input_tokens` that was written to a cache."""
    output_tokens: int = 0
    """Output tokens as reported; some vendors leave thinking tokens out."""
    total_tokens: int = 0
    """The provider's own total; shows the thinking tokens that `output_tokens` lacks."""
    input_audio_tokens: int = 0
    """Part of `input_tokens`."""
    input_image_tokens: int = 0
    """Part of `input_tokens`."""
    cached_audio_tokens: int = 0
    """Part of `cached_input_tokens` and of `input_audio_tokens`."""
    cached_image_tokens: int = 0
    """Part of `cached_input_tokens` and of `input_image_tokens`."""
    output_audio_tokens: int = 0
    """Part of `output_tokens`."""
    output_image_tokens: int = 0
    """Part of `output_tokens`."""
    characters: int = 0
    """Unicode code points sent to speech synthesis."""
    audio_seconds: float = 0.0
    """Audio heard (STT) or made (TTS)."""
    connection_seconds: float = 0.0
    """Open session time, for models billed by it."""


def at_least_one(requests: int) -> int:
    """Count the requests of a report of usage: at least one.

    A report stands for no request where a stream says what it used since its last one.
    """
    return max(requests, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStarted(_Fact):
    """A call began.  The first record of its session."""

    kind: Literal["session_started"] = "session_started"
    agent: str
    user: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    """The user's own dimensions, for example `tenant`."""
    room: str | None = None
    job: str | None = None
    trace: str | None = None
    """OpenTelemetry trace id, 32 hexadecimal digits, once it is known."""
    host: str = ""
    sdk: str = ""
    """Version of livekit-agents."""
    exporter: str = ""
    """Version of the writer."""
    models: tuple[Model, ...] = ()
    """Models declared by the session, so that their series exist before they are used."""
    budgets: tuple[Scope, ...] = ()
    """Scopes that the call has a limit for, so that their series exist before it is reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsDeclared(_Fact):
    """A hand-off brought an agent, and with it perhaps models of its own."""

    kind: Literal["models_declared"] = "models_declared"
    persona: str | None = None
    trace: str | None = None
    models: tuple[Model, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReported(_Fact):
    """A provider request ended, or a stream reported usage so far since its last report."""

    kind: Literal["usage"] = "usage"
    stage: Stage
    provider: str
    model: str
    label: str = ""
    """Class path of the plugin."""
    request: str = ""
    """The provider's request id."""
    speech: str | None = None
    """LiveKit's speech id: which reply this belongs to."""
    persona: str | None = None
    """Id of the agent that held the call when the request ended."""
    trace: str | None = None
    cancelled: bool = False
    streamed: bool = False
    """The usage of a stream so far, not of a whole request."""
    connection: bool = False
    """A connection was opened; no request, nothing to bill."""
    usage: Usage = field(default_factory=Usage)
    first_seconds: float | None = None
    """Time to first token (LLM, realtime) or first byte (TTS)."""
    request_seconds: float | None = None
    """Length of the whole request."""
    acquire_seconds: float | None = None
    """Time to get a connection."""
    tokens_per_second: float | None = None
    """Output rate as LiveKit measured it."""
    requests: int = 1
    """Provider requests in this record; a batch where the framework counts in batches."""
    rejected: tuple[str, ...] = ()
    """Why measured values were left out."""
    phase: Phase = "call"
    """`beside` and `after` are part of no turn."""
    cost_usd: float | None = None
    """What the provider itself says that it costs; then no price is looked up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageEstimated(_Fact):
    """Usage that the vendor bills but LiveKit does not report, estimated from spans.

    Never added to reported usage.
    """

    kind: Literal["usage_estimated"] = "usage_estimated"
    stage: Stage
    provider: str
    model: str
    label: str = ""
    request: str = ""
    """The provider's request id, where it had answered with one."""
    speech: str | None = None
    persona: str | None = None
    trace: str | None = None
    reason: Gap
    basis: Basis | None = None
    """`None` where nothing was there to calibrate on; then `usage` is empty."""
    usage: Usage = field(default_factory=Usage)
    requests: int = 1
    prompt_characters: int = 0
    """Length of what the model was asked; its text is nowhere kept."""
    reply_characters: int = 0
    """Length of what it had answered by then."""
    request_seconds: float | None = None
    """Length of the attempt."""

    def as_reported(self) -> UsageReported:
        """The same usage as an event would report it, to be priced."""
        shared = {spec.name for spec in fields(self)} & {
            spec.name for spec in fields(UsageReported)
        }
        # Any: each value goes into the field that it comes from.
        values: dict[str, Any] = {name: getattr(self, name) for name in shared - {"kind"}}
        return UsageReported(**values, cancelled=self.reason not in ("failed", "open_connection"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTraced(_Fact):
    """The span of a request whose usage an event reported has ended.

    It carries what the event does not: what the request was for, and the sizes that
    estimates of the same model are calibrated on.
    """

    kind: Literal["request_traced"] = "request_traced"
    stage: Stage
    provider: str
    model: str
    label: str = ""
    request: str = ""
    """The provider's request id, which joins it to its usage."""
    speech: str | None = None
    trace: str | None = None
    recovery_probe: bool = False
    """A fallback adapter tried whether the provider is back; nobody heard the answer."""
    prompt_characters: int = 0
    """Length of what the model was asked; 0 where it is not known."""
    reply_characters: int = 0
    """Length of what it answered; 0 where it is not known."""
    input_tokens: int = 0
    """As its event reported them; 0 where it was cut off."""
    cached_input_tokens: int = 0
    output_tokens: int = 0
    characters: int = 0
    """Sent to speech synthesis, as its event reported them."""
    first_seconds: float | None = None
    """Time to first token."""
    answering_seconds: float = 0.0
    """From its first token to its last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageMissing(_Fact):
    """A provider's model worked in some turns, and nobody reported what it used."""

    kind: Literal["usage_missing"] = "usage_missing"
    stage: Stage
    provider: str
    model: str
    label: str = ""
    persona: str | None = None
    trace: str | None = None
    turns: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnCommitted(_Fact):
    """The end of the user's utterance was decided."""

    kind: Literal["turn_committed"] = "turn_committed"
    provider: str = ""
    """Of the turn detector, where there is one."""
    model: str = ""
    speech: str | None = None
    persona: str | None = None
    trace: str | None = None
    eou_delay_seconds: float | None = None
    transcription_delay_seconds: float | None = None
    callback_seconds: float | None = None
    """Time spent in the agent's `on_user_turn_completed`."""
    rejected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageAdded(_Fact):
    """A message entered the conversation; of its text only the length is kept."""

    kind: Literal["message"] = "message"
    role: Literal["user", "assistant"]
    message: str = ""
    """LiveKit's item id."""
    speech: str | None = None
    persona: str | None = None
    trace: str | None = None
    characters: int = 0
    interrupted: bool = False
    spoken_seconds: float | None = None
    """How long it was heard."""
    measured: bool = True
    """The SDK measures turn latency on messages; where it does not, the reader derives it."""
    latency_seconds: float | None = None
    """Silence that the caller heard, as measured by LiveKit (`e2e_latency`)."""
    first_token_seconds: float | None = None
    first_byte_seconds: float | None = None
    requests: tuple[str, ...] = ()
    """Provider request ids, which join a realtime reply to its usage."""
    rejected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFailed(_Fact):
    """An attempt at a provider failed, whether or not it was repeated."""

    kind: Literal["request_failed"] = "request_failed"
    stage: Stage
    provider: str
    model: str
    label: str = ""
    persona: str | None = None
    trace: str | None = None
    recoverable: bool = True
    error: str = ""
    """Class of the exception; its text may name people and stays in the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCalled(_Fact):
    """A function tool of the agent returned."""

    kind: Literal["tool_call"] = "tool_call"
    tool: str
    speech: str | None = None
    persona: str | None = None
    trace: str | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailabilityChanged(_Fact):
    """A fallback adapter took a provider out of service, or brought it back."""

    kind: Literal["availability"] = "availability"
    stage: Stage
    provider: str
    model: str
    label: str = ""
    persona: str | None = None
    trace: str | None = None
    available: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClosed(_Fact):
    """The call ended and said so."""

    kind: Literal["session_closed"] = "session_closed"
    reason: str
    """LiveKit's close reason."""
    error: str = ""
    """Class of the exception that ended the session."""
    trace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetReached(_Fact):
    """A threshold of the call's budget was crossed; each of them once."""

    kind: Literal["budget_reached"] = "budget_reached"
    scope: Scope
    threshold: Threshold
    trace: str | None = None
    limit_usd: float | None = None
    """`None` where an unpriced model is why, and nobody set a limit."""
    spend_usd: float = 0.0
    """Spend of the scope by then, reported and estimated."""
    stale: bool = False
    """The sidecar could not be asked lately: the spend of other calls may be more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLookupFailed(_Fact):
    """The sidecar did not say what others have spent today; the call goes by what it knows."""

    kind: Literal["budget_lookup_failed"] = "budget_lookup_failed"
    trace: str | None = None
    error: str = ""
    """Class of the exception."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorReport(_Fact):
    """Losses of the collector since its last report."""

    kind: Literal["collector"] = "collector"
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Records that were not written, by reason."""
    rejected: Mapping[str, int] = field(default_factory=dict)
    """Events that were not understood, by reason."""
    lost_usd: float = 0.0
    """List price of the usage in what was dropped, as the agent priced it."""


Record: TypeAlias = (
    SessionStarted
    | ModelsDeclared
    | UsageReported
    | UsageEstimated
    | RequestTraced
    | UsageMissing
    | TurnCommitted
    | MessageAdded
    | RequestFailed
    | ToolCalled
    | AvailabilityChanged
    | SessionClosed
    | BudgetReached
    | BudgetLookupFailed
    | CollectorReport
)

KINDS: Final[tuple[str, ...]] = tuple(
    str(spec.default) for cls in get_args(Record) for spec in fields(cls) if spec.name == "kind"
)
"""Values of `kind`, in the order of `Record`."""


def _omissible(cls: type) -> tuple[tuple[str, object], ...]:
    """List the fields of a class, each with the value that a line need not carry."""
    named: list[tuple[str, object]] = []
    for spec in fields(cls):
        made = spec.default if spec.default_factory is MISSING else spec.default_factory()
        named.append((spec.name, MISSING if spec.name == "kind" else made))
    return tuple(named)


_FIELDS: Final = {cls: _omissible(cls) for cls in (*get_args(Record), Usage, Model)}


def _members(item: object) -> dict[str, object]:
    """Give the JSON encoder a class of this module: its fields that do not hold their default."""
    named = _FIELDS.get(type(item))
    if named is None:
        raise TypeError(f"a record cannot carry {type(item).__name__}")
    return {name: value for name, default in named if (value := getattr(item, name)) != default}


_ENCODER: Final = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_members)


def to_line(record: Record) -> bytes:
    """Encode a record as one line of a journal, newline included.

    Raises:
        TypeError: A value is of a class that JSON does not have.
        ValueError: A number is not finite.
    """
    return f'{{"v":{SCHEMA_VERSION},{_ENCODER.encode(record)[1:]}\n'.encode()
