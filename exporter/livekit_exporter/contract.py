"""Defines every metric family that this exporter exposes: the metric contract.

No other module spells a family name, a label set or a bucket list.  The registry and the table
in the README are built from `FAMILIES`, and tests check rules and dashboards against it.  Closed
sets of label values are those of the journal's records.

Adding a metric is one family here, one observation in `sidecar/meter.py`, and
`make generate`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Final, TypeAlias, get_args

from livekit_exporter.record import KINDS, NOT_STARTED, Gap, Stage

AGENT_PREFIX: Final = "livekit_agent"
EXPORTER_PREFIX: Final = "livekit_exporter"

_BASE_UNITS: Final = ("seconds", "bytes", "usd")
UNKNOWN: Final = "unknown"
"""Value of a label without one, because an empty label equals an absent one in PromQL."""
OTHER: Final = "other"
"""Value that replaces label values beyond the cap."""


class Kind(StrEnum):
    """Prometheus metric types that the exporter uses."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


# A caller notices a gap at about 0.3 s and talks over the agent from about 1 s on;
# 0.8, 1.5, 3.5 and 5 s are the thresholds that people alert on, and a classic
# histogram can only answer for its bounds.  On simulated log-normal latencies these
# misjudge p95 by up to 6 %, the client library's defaults by up to 25 %.
LATENCY_BUCKETS: Final = (
    0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0,
    1.25, 1.5, 2.0, 2.5, 3.5, 5.0, 8.0, 10.0, 20.0,
)  # fmt: skip
CONNECT_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SESSION_BUCKETS: Final = (
    10.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0,
)  # fmt: skip
SESSION_COST_BUCKETS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
TURN_COST_BUCKETS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
)  # fmt: skip
TOKEN_RATE_BUCKETS: Final = (5.0, 10.0, 20.0, 35.0, 50.0, 75.0, 100.0, 150.0, 250.0, 500.0, 1000.0)
COMMIT_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

HIGHEST_TOKEN_RATE: Final = 1e6
"""More tokens per second is no rate: an answer out of a cache, timed by a coarse clock."""


# Compared by identity: families are keys wherever numbers are kept.
@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """A metric family, as an operator sees it.

    Args:
        name: Full name, `_total` left out for counters.
        kind: Prometheus type.
        help: One sentence that says what one increment or one observation is.
        labels: Label names, in exposition order.
        unit: Base unit that the name ends in, `""` for things that are only counted.
        buckets: Upper bounds, for histograms only.
        init_at_zero: Stages whose declared models get their series at zero, before their first
            use.
        values: Values of the one label whose series exist from the start, at zero.

    Raises:
        ValueError: The name breaks the naming rules, or the buckets do not fit the kind.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()
    init_at_zero: frozenset[str] = frozenset()
    values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name.startswith((f"{AGENT_PREFIX}_", f"{EXPORTER_PREFIX}_")):
            raise ValueError(
                f"metric {self.name!r}: the name must start with '{AGENT_PREFIX}_' or"
                f" '{EXPORTER_PREFIX}_'"
            )
        if self.name.endswith("_total"):
            raise ValueError(
                f"metric {self.name!r}: leave out '_total', the exposition appends it to counters"
            )
        if self.unit and not self.name.endswith(f"_{self.unit}"):
            raise ValueError(f"metric {self.name!r}: the name must end in its unit, '_{self.unit}'")
        if bool(self.buckets) != (self.kind is Kind.HISTOGRAM):
            wanted = "no" if self.buckets else "a"
            raise ValueError(f"metric {self.name!r}: a {self.kind} takes {wanted} bucket list")

    @property
    def full_name(self) -> str:
        """Name as PromQL sees the family, `_total` included for counters."""
        return f"{self.name}_total" if self.kind is Kind.COUNTER else self.name

    @property
    def about_agents(self) -> bool:
        """True for a family that carries the operator's extra labels."""
        return "agent" in self.labels and self.kind is not Kind.GAUGE

    def series(self) -> Iterator[str]:
        """Yield every series name that a query may use."""
        yield self.full_name
        if self.kind is Kind.HISTOGRAM:
            for suffix in ("_bucket", "_sum", "_count"):
                yield f"{self.name}{suffix}"


_A: Final = ("agent",)
_TOOL: Final = ("agent", "tool")
_SPM: Final = ("agent", "stage", "provider", "model")
_PM: Final = ("agent", "provider", "model")

STAGES: Final[tuple[str, ...]] = get_args(Stage)
_SPEAKING: Final = frozenset({"llm", "tts", "realtime", "stt"})

_Labels: TypeAlias = tuple[str, ...]
_Stages: TypeAlias = frozenset[str]


# One constructor for each shape of family. The unit is written once, in the name.
def _unit(name: str) -> str:
    return next((unit for unit in _BASE_UNITS if name.endswith(f"_{unit}")), "")


def _counter(name: str, text: str, labels: _Labels = (), values: _Labels = ()) -> Family:
    return Family(name, Kind.COUNTER, text, labels, _unit(name), values=values)


def _model_counter(name: str, text: str, init_at_zero: _Stages = frozenset(STAGES)) -> Family:
    return Family(name, Kind.COUNTER, text, _SPM, _unit(name), init_at_zero=init_at_zero)


def _gauge(name: str, text: str, labels: _Labels = ()) -> Family:
    return Family(name, Kind.GAUGE, text, labels, _unit(name))


def _histogram(name: str, text: str, labels: _Labels, buckets: tuple[float, ...]) -> Family:
    return Family(name, Kind.HISTOGRAM, text, labels, _unit(name), buckets)


def _latency(name: str, text: str, labels: _Labels, init_at_zero: _Stages = frozenset()) -> Family:
    return Family(name, Kind.HISTOGRAM, text, labels, _unit(name), LATENCY_BUCKETS, init_at_zero)


TOKEN_PARTS: Final = {
    "llm": (("input", "text"), ("cached_input", "text"), ("output", "text")),
    "realtime": tuple(product(("input", "cached_input", "output"), ("text", "audio"))),
}
"""Kinds and modalities of tokens that models of a stage normally report."""

WASTE_REASONS: Final = {
    "llm": ("interrupted", "speculative", "recovery_probe"),
    "tts": ("interrupted", "speculative", "recovery_probe"),
    "realtime": ("interrupted", "speculative"),
}
"""Reasons, by stage, for which a cost was wasted."""

GAP_REASONS: Final[dict[str, tuple[str, ...]]] = dict.fromkeys(("llm", "tts"), get_args(Gap)[:4])
"""Reasons, by stage, for which vendors bill usage that no event reports."""

CLOSE_REASONS: Final = (
    "user_initiated", "participant_disconnected", "task_completed", "job_shutdown", "error", "lost",
    NOT_STARTED,
)  # fmt: skip
"""LiveKit's close reasons, and `lost` for a call whose process died before it closed."""

_REJECTIONS: Final = (
    "unknown_metrics", "unknown_item", "unknown_error", "malformed_quantity", "malformed_tools",
    "malformed_line", "internal_error", "follower_failed", "not_json", "version", "kind",
    "invalid", "out_of_range", "too_long", "torn", "truncated_file",
)  # fmt: skip
_NO_MEASUREMENTS: Final = (
    "no_first_token", "no_first_byte", "end_of_speech_unknown", "not_a_number", "negative",
    "too_long", "impossible_rate",
)  # fmt: skip

# Money and usage.
COST: Final = _model_counter(
    "livekit_agent_cost_usd",
    "List price in US dollars of priced usage; unpriced and estimated usage is not in here.",
)
WASTED_COST: Final = _counter(
    "livekit_agent_wasted_cost_usd",
    "The part of the cost that no caller heard: replies talked over or thrown away, and probes of a"
    " fallback adapter.",
    (*_SPM, "reason"),
)
ESTIMATED_COST: Final = _counter(
    "livekit_agent_estimated_cost_usd",
    "List price in US dollars of what vendors bill and no event reports, estimated from spans; not"
    " contained in the cost.",
    (*_SPM, "reason"),
)
ESTIMATED_REQUESTS: Final = _counter(
    "livekit_agent_estimated_requests",
    "Requests that vendors bill and no event reports, as spans show them; not contained in requests"
    " unless they were cut off.",
    (*_SPM, "reason"),
)
REQUESTS: Final = _model_counter(
    "livekit_agent_requests",
    "Provider requests ended, whatever their outcome; a streaming STT request is one usage report.",
)
REQUEST_ERRORS: Final = _model_counter(
    "livekit_agent_request_errors", "Attempts at a provider that failed, repeated or not."
)
REQUESTS_CANCELLED: Final = _model_counter(
    "livekit_agent_requests_cancelled",
    "Provider requests that were cut off, mostly by a caller who spoke.",
    init_at_zero=frozenset({"llm", "tts", "realtime"}),
)
UNPRICED_REQUESTS: Final = _model_counter(
    "livekit_agent_unpriced_requests",
    "Provider requests with usage for which the catalogue has no price; their cost is missing.",
)
REQUESTS_WITHOUT_USAGE: Final = _model_counter(
    "livekit_agent_requests_without_usage",
    "Provider requests that reported no usage, so that nothing could be billed; cut-off ones are"
    " mostly among them.",
    init_at_zero=_SPEAKING,
)
USAGE_MISSING: Final = _model_counter(
    "livekit_agent_usage_missing",
    "Turns in which a component worked and nobody reported what it used; its cost is missing.",
    init_at_zero=_SPEAKING,
)
FREE_REQUESTS: Final = _model_counter(
    "livekit_agent_free_requests",
    "Provider requests with usage that the catalogue says is free, for example self-hosted.",
    init_at_zero=_SPEAKING,
)
TOKENS: Final = _counter(
    "livekit_agent_tokens",
    "Tokens; kinds and modalities exclude one another and add up.",
    (*_SPM, "kind", "modality"),
)
CHARACTERS: Final = _model_counter(
    "livekit_agent_characters",
    "Characters (Unicode code points) sent to speech synthesis.",
    init_at_zero=frozenset({"tts"}),
)
AUDIO_SECONDS: Final = _model_counter(
    "livekit_agent_audio_seconds",
    "Seconds of audio heard by STT or made by TTS.",
    init_at_zero=frozenset({"stt", "tts"}),
)
CONNECTION_SECONDS: Final = _model_counter(
    "livekit_agent_connection_seconds",
    "Seconds of open session with models that are billed by it.",
    init_at_zero=frozenset({"realtime"}),
)
FALLBACKS: Final = _model_counter(
    "livekit_agent_fallbacks",
    "Times that a fallback adapter took a provider out of service.",
    init_at_zero=frozenset({"stt", "llm", "tts"}),
)

# Calls and turns.
SESSIONS: Final = _counter("livekit_agent_sessions", "Calls (AgentSessions) started.", _A)
SESSIONS_CLOSED: Final = _counter(
    "livekit_agent_sessions_closed",
    "Calls ended, by LiveKit's close reason; 'lost' when the process died without a word.",
    ("agent", "reason"),
)
TURNS: Final = _counter("livekit_agent_turns", "User turns that the agent answered.", _A)
TURNS_INTERRUPTED: Final = _counter(
    "livekit_agent_turns_interrupted", "Answered turns that the caller talked over.", _A
)
TOOL_CALLS: Final = _counter(
    "livekit_agent_tool_calls", "Function tools that returned, failed ones included.", _TOOL
)
TOOL_ERRORS: Final = _counter(
    "livekit_agent_tool_errors", "Function tools that returned an error.", _TOOL
)

# Budgets that agents set for their calls.
BUDGET_EXCEEDED: Final = _counter(
    "livekit_agent_budget_exceeded",
    "Calls that reached a limit of their budget, or a model without a price where that stops them.",
    ("agent", "scope"),
)
BUDGET_WARNINGS: Final = _counter(
    "livekit_agent_budget_warnings",
    "Calls that came so near to a limit of their budget that they were warned.",
    ("agent", "scope"),
)
BUDGET_LOOKUPS_FAILED: Final = _counter(
    "livekit_agent_budget_lookups_failed",
    "Times that a call could not ask the sidecar what others have spent today.",
    _A,
)

# How long callers and stages wait.
TURN_LATENCY: Final = _latency(
    "livekit_agent_turn_latency_seconds",
    "Silence a caller hears, from the end of their speech to the agent's first audio.",
    _A,
)
EOU_DELAY: Final = _latency(
    "livekit_agent_eou_delay_seconds",
    "Time from the end of user speech to the decision that the turn is over.",
    _PM,
)
TRANSCRIPTION_DELAY: Final = _latency(
    "livekit_agent_transcription_delay_seconds",
    "Time from the end of user speech to the final transcript.",
    _PM,
)
TURN_CALLBACK: Final = _latency(
    "livekit_agent_turn_callback_seconds",
    "Time a turn spent in the agent's on_user_turn_completed.",
    _A,
)
LLM_TTFT: Final = _latency(
    "livekit_agent_llm_ttft_seconds",
    "Time from LLM request to first token, of requests that had one.",
    _PM,
    init_at_zero=frozenset({"llm"}),
)
TTS_TTFB: Final = _latency(
    "livekit_agent_tts_ttfb_seconds",
    "Time from TTS request to first byte of audio, of requests that had one.",
    _PM,
    init_at_zero=frozenset({"tts"}),
)
REALTIME_TTFT: Final = _latency(
    "livekit_agent_realtime_ttft_seconds",
    "Time from the start of a realtime response to its first audio token.",
    _PM,
    init_at_zero=frozenset({"realtime"}),
)
REQUEST_SECONDS: Final = _latency(
    "livekit_agent_request_seconds",
    "Length of a whole provider request; cancelled ones and streaming STT are not in here.",
    _SPM,
    init_at_zero=frozenset({"llm", "tts", "realtime"}),
)
CONNECTION_ACQUIRE: Final = _histogram(
    "livekit_agent_connection_acquire_seconds",
    "Time to get a connection to a provider.",
    ("agent", "stage", "provider"),
    CONNECT_BUCKETS,
)
TOKENS_PER_SECOND: Final = _histogram(
    "livekit_agent_output_tokens_per_second",
    "Output tokens per second of a request that was not cut off.",
    _PM,
    TOKEN_RATE_BUCKETS,
)
SESSION_SECONDS: Final = _histogram(
    "livekit_agent_session_seconds", "Length of a call.", _A, SESSION_BUCKETS
)
SESSION_COST: Final = _histogram(
    "livekit_agent_session_cost_usd", "Priced cost of a call.", _A, SESSION_COST_BUCKETS
)
TURN_COST: Final = _histogram(
    "livekit_agent_turn_cost_usd",
    "Priced cost of an answered turn: its replies, and what was heard since the answer before.",
    _A,
    TURN_COST_BUCKETS,
)

# State.
ACTIVE_SESSIONS: Final = _gauge("livekit_agent_active_sessions", "Calls going on now.", _A)
PERIOD_COST: Final = _gauge(
    "livekit_agent_period_cost_usd",
    "Exact spend of the current day or month, read from the ledger, in the configured time zone.",
    ("agent", "period", "source"),
)
BUDGET: Final = _gauge(
    "livekit_agent_budget_usd",
    "Spend allowed per day or month by the configuration; absent when none is set.",
    ("period",),
)
PRICE: Final = _gauge(
    "livekit_agent_price_usd_per_unit",
    "Price in force per unit, of models that were used.",
    ("stage", "provider", "model", "unit"),
)

# The exporter itself.
BUILD_INFO: Final = _gauge(
    "livekit_exporter_build_info",
    "Always 1; which exporter answers.",
    ("version", "python_version"),
)
JOURNAL_FILES: Final = _gauge("livekit_exporter_journal_files", "Journals in the data directory.")
JOURNAL_LAG: Final = _gauge(
    "livekit_exporter_journal_lag_bytes", "Bytes in journals that are not in the ledger yet."
)
RECORDS: Final = _counter(
    "livekit_exporter_records", "Journal records taken into the ledger.", ("kind",), values=KINDS
)
RECORDS_REJECTED: Final = _counter(
    "livekit_exporter_records_rejected",
    "Journal lines and agent events that could not be understood; what they said is missing.",
    ("reason",),
    values=_REJECTIONS,
)
RECORDS_DROPPED: Final = _counter(
    "livekit_exporter_records_dropped",
    "Records that an agent could not write to its journal; what they said is missing.",
    ("reason",),
    values=("queue_full", "directory_full", "journal_deleted", "too_long", "not_encodable"),
)
LOST_COST: Final = _counter(
    "livekit_exporter_lost_cost_usd",
    "List price in US dollars of usage in dropped records, as the agent priced it; no ledger has"
    " it.",
)
SAMPLES_REJECTED: Final = _counter(
    "livekit_exporter_samples_rejected",
    "Measured values left out of the histograms because they are no measurements.",
    ("reason",),
    values=_NO_MEASUREMENTS,
)
LABEL_VALUES_CAPPED: Final = _counter(
    "livekit_exporter_label_values_capped",
    "Times that a label value became 'other' because the label has too many.",
    ("label",),
    values=("agent", "provider", "model", "tool", "reason"),
)
LEDGER_COMMIT: Final = _histogram(
    "livekit_exporter_ledger_commit_seconds", "Time of one ledger transaction.", (), COMMIT_BUCKETS
)
LEDGER_BYTES: Final = _gauge(
    "livekit_exporter_ledger_bytes",
    "Size of the ledger on disk; of one that sidecars share, the whole from each of them.",
)
LEDGER_ERRORS: Final = _counter(
    "livekit_exporter_ledger_errors",
    "Ledger transactions that failed; their records wait in the journals.",
)
CALLS_EXPORTED: Final = _counter(
    "livekit_exporter_calls_exported",
    "Files written of calls that ended; one that is written again counts again.",
)
EXPORT_ERRORS: Final = _counter(
    "livekit_exporter_export_errors", "Attempts to write such files that failed; they are repeated."
)
WEBHOOK_DELIVERIES: Final = _counter(
    "livekit_exporter_webhook_deliveries",
    "Calls that ended and that the webhook took; one that changed and is sent again counts again.",
)
WEBHOOK_ERRORS: Final = _counter(
    "livekit_exporter_webhook_errors",
    "Attempts to deliver a call to the webhook that failed; all but the last are repeated.",
)
WEBHOOK_DEAD_LETTERS: Final = _counter(
    "livekit_exporter_webhook_dead_letters",
    "Calls that were given up to be delivered; 'webhook retry' sends them again.",
)
WEBHOOK_PENDING: Final = _gauge(
    "livekit_exporter_webhook_pending", "Calls that are still to be delivered to the webhook."
)
WEBHOOK_OLDEST: Final = _gauge(
    "livekit_exporter_webhook_oldest_pending_timestamp_seconds",
    "When the oldest of those ended or changed, Unix time; absent while there is none.",
)
LAST_RECORD: Final = _gauge(
    "livekit_exporter_last_record_timestamp_seconds",
    "When the newest record in the ledger was made, Unix time.",
)
RELOAD_SUCCESSFUL: Final = _gauge(
    "livekit_exporter_config_last_reload_successful",
    "Whether the last attempt to load the configuration succeeded.",
)
RELOAD_TIMESTAMP: Final = _gauge(
    "livekit_exporter_config_last_reload_success_timestamp_seconds",
    "When the configuration was last loaded successfully, Unix time.",
)
PRICES_INFO: Final = _gauge(
    "livekit_exporter_prices_info", "Always 1; which price catalogue is in force.", ("version",)
)
PRICES_OLDEST_CHECK: Final = _gauge(
    "livekit_exporter_prices_oldest_check_timestamp_seconds",
    "When the least recently checked price of a model in use was checked, Unix time.",
)

FAMILIES: Final[Sequence[Family]] = tuple(
    value for value in list(globals().values()) if isinstance(value, Family)
)
"""All families, in the order written above."""
