"""Defines every metric family that this exporter exposes: the metric contract.

No other module spells a family name, a label set or a bucket list.  The registry is built
from `FAMILIES`, the table in the README is rendered from it, and tests check rules and
dashboards against it.  Closed sets of label values are those of the journal's records.

Adding a metric is one `Family` here, one observation in `sidecar/meter.py`, and
`make generate`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, get_args

from livekit_exporter.record import KINDS, Gap, Stage

AGENT_PREFIX: Final = "livekit_agent"
EXPORTER_PREFIX: Final = "livekit_exporter"

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
            raise ValueError(
                f"metric {self.name!r}: a {self.kind} takes"
                f" {'a' if self.kind is Kind.HISTOGRAM else 'no'} bucket list"
            )

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
_SPM: Final = ("agent", "stage", "provider", "model")
_PM: Final = ("agent", "provider", "model")

STAGES: Final[tuple[str, ...]] = get_args(Stage)
_EVERY: Final = frozenset(STAGES)
_SPEAKING: Final = frozenset({"llm", "tts", "realtime", "stt"})

TOKEN_PARTS: Final = {
    "llm": (("input", "text"), ("cached_input", "text"), ("output", "text")),
    "realtime": (
        ("input", "text"),
        ("input", "audio"),
        ("cached_input", "text"),
        ("cached_input", "audio"),
        ("output", "text"),
        ("output", "audio"),
    ),
}
"""Kinds and modalities of tokens that models of a stage normally report."""

WASTE_REASONS: Final = {
    "llm": ("interrupted", "speculative", "recovery_probe"),
    "tts": ("interrupted", "speculative", "recovery_probe"),
    "realtime": ("interrupted", "speculative"),
}
"""Reasons, by stage, for which a cost was wasted."""

GAP_REASONS: Final[dict[str, tuple[str, ...]]] = dict.fromkeys(("llm", "tts"), get_args(Gap))
"""Reasons, by stage, for which vendors bill usage that no event reports."""

CLOSE_REASONS: Final = (
    "user_initiated",
    "participant_disconnected",
    "task_completed",
    "job_shutdown",
    "error",
    "lost",
)
"""LiveKit's close reasons, and `lost` for a call whose process died before it closed."""

# Money and usage.
COST: Final = Family(
    "livekit_agent_cost_usd",
    Kind.COUNTER,
    "List price in US dollars of priced usage; unpriced and estimated usage is not in here.",
    _SPM,
    "usd",
    init_at_zero=_EVERY,
)
WASTED_COST: Final = Family(
    "livekit_agent_wasted_cost_usd",
    Kind.COUNTER,
    "The part of the cost that no caller heard: replies talked over or thrown away, and probes of a"
    " fallback adapter.",
    (*_SPM, "reason"),
    "usd",
)
ESTIMATED_COST: Final = Family(
    "livekit_agent_estimated_cost_usd",
    Kind.COUNTER,
    "List price in US dollars of what vendors bill and no event reports, estimated from spans; not"
    " contained in the cost.",
    (*_SPM, "reason"),
    "usd",
)
ESTIMATED_REQUESTS: Final = Family(
    "livekit_agent_estimated_requests",
    Kind.COUNTER,
    "Requests that vendors bill and no event reports, as spans show them; not contained in requests"
    " unless they were cut off.",
    (*_SPM, "reason"),
)
REQUESTS: Final = Family(
    "livekit_agent_requests",
    Kind.COUNTER,
    "Provider requests ended, whatever their outcome; a streaming STT request is one usage report.",
    _SPM,
    init_at_zero=_EVERY,
)
REQUEST_ERRORS: Final = Family(
    "livekit_agent_request_errors",
    Kind.COUNTER,
    "Attempts at a provider that failed, repeated or not.",
    _SPM,
    init_at_zero=_EVERY,
)
REQUESTS_CANCELLED: Final = Family(
    "livekit_agent_requests_cancelled",
    Kind.COUNTER,
    "Provider requests that were cut off, mostly by a caller who spoke.",
    _SPM,
    init_at_zero=frozenset({"llm", "tts", "realtime"}),
)
UNPRICED_REQUESTS: Final = Family(
    "livekit_agent_unpriced_requests",
    Kind.COUNTER,
    "Provider requests with usage for which the catalogue has no price; their cost is missing.",
    _SPM,
    init_at_zero=_EVERY,
)
REQUESTS_WITHOUT_USAGE: Final = Family(
    "livekit_agent_requests_without_usage",
    Kind.COUNTER,
    "Provider requests that reported no usage, so that nothing could be billed; cut-off ones are"
    " mostly among them.",
    _SPM,
    init_at_zero=_SPEAKING,
)
FREE_REQUESTS: Final = Family(
    "livekit_agent_free_requests",
    Kind.COUNTER,
    "Provider requests with usage that the catalogue says is free, for example self-hosted.",
    _SPM,
    init_at_zero=_SPEAKING,
)
TOKENS: Final = Family(
    "livekit_agent_tokens",
    Kind.COUNTER,
    "Tokens; kinds and modalities exclude one another and add up.",
    (*_SPM, "kind", "modality"),
)
CHARACTERS: Final = Family(
    "livekit_agent_characters",
    Kind.COUNTER,
    "Characters (Unicode code points) sent to speech synthesis.",
    _SPM,
    init_at_zero=frozenset({"tts"}),
)
AUDIO_SECONDS: Final = Family(
    "livekit_agent_audio_seconds",
    Kind.COUNTER,
    "Seconds of audio heard by STT or made by TTS.",
    _SPM,
    "seconds",
    init_at_zero=frozenset({"stt", "tts"}),
)
CONNECTION_SECONDS: Final = Family(
    "livekit_agent_connection_seconds",
    Kind.COUNTER,
    "Seconds of open session with models that are billed by it.",
    _SPM,
    "seconds",
    init_at_zero=frozenset({"realtime"}),
)
FALLBACKS: Final = Family(
    "livekit_agent_fallbacks",
    Kind.COUNTER,
    "Times that a fallback adapter took a provider out of service.",
    _SPM,
    init_at_zero=frozenset({"stt", "llm", "tts"}),
)

# Calls and turns.
SESSIONS: Final = Family(
    "livekit_agent_sessions", Kind.COUNTER, "Calls (AgentSessions) started.", _A
)
SESSIONS_CLOSED: Final = Family(
    "livekit_agent_sessions_closed",
    Kind.COUNTER,
    "Calls ended, by LiveKit's close reason; 'lost' when the process died without a word.",
    ("agent", "reason"),
)
TURNS: Final = Family(
    "livekit_agent_turns", Kind.COUNTER, "User turns that the agent answered.", _A
)
TURNS_INTERRUPTED: Final = Family(
    "livekit_agent_turns_interrupted",
    Kind.COUNTER,
    "Answered turns that the caller talked over.",
    _A,
)
TOOL_CALLS: Final = Family(
    "livekit_agent_tool_calls",
    Kind.COUNTER,
    "Function tools that returned, failed ones included.",
    ("agent", "tool"),
)
TOOL_ERRORS: Final = Family(
    "livekit_agent_tool_errors",
    Kind.COUNTER,
    "Function tools that returned an error.",
    ("agent", "tool"),
)

# Budgets that agents set for their calls.
BUDGET_EXCEEDED: Final = Family(
    "livekit_agent_budget_exceeded",
    Kind.COUNTER,
    "Calls that reached a limit of their budget, or a model without a price where that stops them.",
    ("agent", "scope"),
)
BUDGET_WARNINGS: Final = Family(
    "livekit_agent_budget_warnings",
    Kind.COUNTER,
    "Calls that came so near to a limit of their budget that they were warned.",
    ("agent", "scope"),
)
BUDGET_LOOKUPS_FAILED: Final = Family(
    "livekit_agent_budget_lookups_failed",
    Kind.COUNTER,
    "Times that a call could not ask the sidecar what others have spent today.",
    _A,
)

# How long callers and stages wait.
TURN_LATENCY: Final = Family(
    "livekit_agent_turn_latency_seconds",
    Kind.HISTOGRAM,
    "Silence a caller hears, from the end of their speech to the agent's first audio.",
    _A,
    "seconds",
    LATENCY_BUCKETS,
)
EOU_DELAY: Final = Family(
    "livekit_agent_eou_delay_seconds",
    Kind.HISTOGRAM,
    "Time from the end of user speech to the decision that the turn is over.",
    _PM,
    "seconds",
    LATENCY_BUCKETS,
)
TRANSCRIPTION_DELAY: Final = Family(
    "livekit_agent_transcription_delay_seconds",
    Kind.HISTOGRAM,
    "Time from the end of user speech to the final transcript.",
    _PM,
    "seconds",
    LATENCY_BUCKETS,
)
TURN_CALLBACK: Final = Family(
    "livekit_agent_turn_callback_seconds",
    Kind.HISTOGRAM,
    "Time a turn spent in the agent's on_user_turn_completed.",
    _A,
    "seconds",
    LATENCY_BUCKETS,
)
LLM_TTFT: Final = Family(
    "livekit_agent_llm_ttft_seconds",
    Kind.HISTOGRAM,
    "Time from LLM request to first token, of requests that had one.",
    _PM,
    "seconds",
    LATENCY_BUCKETS,
    init_at_zero=frozenset({"llm"}),
)
TTS_TTFB: Final = Family(
    "livekit_agent_tts_ttfb_seconds",
    Kind.HISTOGRAM,
    "Time from TTS request to first byte of audio, of requests that had one.",
    _PM,
    "seconds",
    LATENCY_BUCKETS,
    init_at_zero=frozenset({"tts"}),
)
REALTIME_TTFT: Final = Family(
    "livekit_agent_realtime_ttft_seconds",
    Kind.HISTOGRAM,
    "Time from the start of a realtime response to its first audio token.",
    _PM,
    "seconds",
    LATENCY_BUCKETS,
    init_at_zero=frozenset({"realtime"}),
)
REQUEST_SECONDS: Final = Family(
    "livekit_agent_request_seconds",
    Kind.HISTOGRAM,
    "Length of a whole provider request; cancelled ones and streaming STT are not in here.",
    _SPM,
    "seconds",
    LATENCY_BUCKETS,
    init_at_zero=frozenset({"llm", "tts", "realtime"}),
)
CONNECTION_ACQUIRE: Final = Family(
    "livekit_agent_connection_acquire_seconds",
    Kind.HISTOGRAM,
    "Time to get a connection to a provider.",
    ("agent", "stage", "provider"),
    "seconds",
    CONNECT_BUCKETS,
)
TOKENS_PER_SECOND: Final = Family(
    "livekit_agent_output_tokens_per_second",
    Kind.HISTOGRAM,
    "Output tokens per second of a request that was not cut off.",
    _PM,
    "",
    TOKEN_RATE_BUCKETS,
)
SESSION_SECONDS: Final = Family(
    "livekit_agent_session_seconds",
    Kind.HISTOGRAM,
    "Length of a call.",
    _A,
    "seconds",
    SESSION_BUCKETS,
)
SESSION_COST: Final = Family(
    "livekit_agent_session_cost_usd",
    Kind.HISTOGRAM,
    "Priced cost of a call.",
    _A,
    "usd",
    SESSION_COST_BUCKETS,
)
TURN_COST: Final = Family(
    "livekit_agent_turn_cost_usd",
    Kind.HISTOGRAM,
    "Priced cost of an answered turn: its replies, and what was heard since the answer before.",
    _A,
    "usd",
    TURN_COST_BUCKETS,
)

# State.
ACTIVE_SESSIONS: Final = Family(
    "livekit_agent_active_sessions", Kind.GAUGE, "Calls going on now.", _A
)
PERIOD_COST: Final = Family(
    "livekit_agent_period_cost_usd",
    Kind.GAUGE,
    "Exact spend of the current day or month, read from the ledger, in the configured time zone.",
    ("agent", "period", "source"),
    "usd",
)
BUDGET: Final = Family(
    "livekit_agent_budget_usd",
    Kind.GAUGE,
    "Spend allowed per day or month by the configuration; absent when none is set.",
    ("period",),
    "usd",
)
PRICE: Final = Family(
    "livekit_agent_price_usd_per_unit",
    Kind.GAUGE,
    "Price in force per unit, of models that were used.",
    ("stage", "provider", "model", "unit"),
)

# The exporter itself.
BUILD_INFO: Final = Family(
    "livekit_exporter_build_info",
    Kind.GAUGE,
    "Always 1; which exporter answers.",
    ("version", "python_version"),
)
JOURNAL_FILES: Final = Family(
    "livekit_exporter_journal_files", Kind.GAUGE, "Journals in the data directory."
)
JOURNAL_LAG: Final = Family(
    "livekit_exporter_journal_lag_bytes",
    Kind.GAUGE,
    "Bytes in journals that are not in the ledger yet.",
    unit="bytes",
)
RECORDS: Final = Family(
    "livekit_exporter_records",
    Kind.COUNTER,
    "Journal records taken into the ledger.",
    ("kind",),
    values=KINDS,
)
RECORDS_REJECTED: Final = Family(
    "livekit_exporter_records_rejected",
    Kind.COUNTER,
    "Journal lines and agent events that could not be understood; what they said is missing.",
    ("reason",),
    values=(
        "unknown_metrics",
        "unknown_item",
        "unknown_error",
        "malformed_quantity",
        "malformed_tools",
        "malformed_line",
        "internal_error",
        "follower_failed",
        "not_json",
        "version",
        "kind",
        "invalid",
        "out_of_range",
        "too_long",
        "torn",
        "truncated_file",
    ),
)
RECORDS_DROPPED: Final = Family(
    "livekit_exporter_records_dropped",
    Kind.COUNTER,
    "Records that an agent could not write to its journal; what they said is missing.",
    ("reason",),
    values=("queue_full", "directory_full", "journal_deleted", "too_long", "not_encodable"),
)
SAMPLES_REJECTED: Final = Family(
    "livekit_exporter_samples_rejected",
    Kind.COUNTER,
    "Measured values left out of the histograms because they are no measurements.",
    ("reason",),
    values=(
        "no_first_token",
        "no_first_byte",
        "end_of_speech_unknown",
        "not_a_number",
        "negative",
        "too_long",
        "impossible_rate",
    ),
)
LABEL_VALUES_CAPPED: Final = Family(
    "livekit_exporter_label_values_capped",
    Kind.COUNTER,
    "Times that a label value became 'other' because the label has too many.",
    ("label",),
    values=("agent", "provider", "model", "tool", "reason"),
)
LEDGER_COMMIT: Final = Family(
    "livekit_exporter_ledger_commit_seconds",
    Kind.HISTOGRAM,
    "Time of one ledger transaction.",
    unit="seconds",
    buckets=COMMIT_BUCKETS,
)
LEDGER_BYTES: Final = Family(
    "livekit_exporter_ledger_bytes",
    Kind.GAUGE,
    "Size of the ledger on disk; of one that sidecars share, the whole from each of them.",
    unit="bytes",
)
LEDGER_ERRORS: Final = Family(
    "livekit_exporter_ledger_errors",
    Kind.COUNTER,
    "Ledger transactions that failed; their records wait in the journals.",
)
CALLS_EXPORTED: Final = Family(
    "livekit_exporter_calls_exported",
    Kind.COUNTER,
    "Files written of calls that ended; one that is written again counts again.",
)
EXPORT_ERRORS: Final = Family(
    "livekit_exporter_export_errors",
    Kind.COUNTER,
    "Attempts to write such files that failed; they are repeated.",
)
WEBHOOK_DELIVERIES: Final = Family(
    "livekit_exporter_webhook_deliveries",
    Kind.COUNTER,
    "Calls that ended and that the webhook took; one that changed and is sent again counts again.",
)
WEBHOOK_ERRORS: Final = Family(
    "livekit_exporter_webhook_errors",
    Kind.COUNTER,
    "Attempts to deliver a call to the webhook that failed; all but the last are repeated.",
)
WEBHOOK_DEAD_LETTERS: Final = Family(
    "livekit_exporter_webhook_dead_letters",
    Kind.COUNTER,
    "Calls that were given up to be delivered; 'webhook retry' sends them again.",
)
WEBHOOK_PENDING: Final = Family(
    "livekit_exporter_webhook_pending",
    Kind.GAUGE,
    "Calls that are still to be delivered to the webhook.",
)
WEBHOOK_OLDEST: Final = Family(
    "livekit_exporter_webhook_oldest_pending_timestamp_seconds",
    Kind.GAUGE,
    "When the oldest of those ended or changed, Unix time; absent while there is none.",
    unit="seconds",
)
LAST_RECORD: Final = Family(
    "livekit_exporter_last_record_timestamp_seconds",
    Kind.GAUGE,
    "When the newest record in the ledger was made, Unix time.",
    unit="seconds",
)
RELOAD_SUCCESSFUL: Final = Family(
    "livekit_exporter_config_last_reload_successful",
    Kind.GAUGE,
    "Whether the last attempt to load the configuration succeeded.",
)
RELOAD_TIMESTAMP: Final = Family(
    "livekit_exporter_config_last_reload_success_timestamp_seconds",
    Kind.GAUGE,
    "When the configuration was last loaded successfully, Unix time.",
    unit="seconds",
)
PRICES_INFO: Final = Family(
    "livekit_exporter_prices_info",
    Kind.GAUGE,
    "Always 1; which price catalogue is in force.",
    ("version",),
)
PRICES_OLDEST_CHECK: Final = Family(
    "livekit_exporter_prices_oldest_check_timestamp_seconds",
    Kind.GAUGE,
    "When the least recently checked price of a model in use was checked, Unix time.",
    unit="seconds",
)

FAMILIES: Final[Sequence[Family]] = tuple(
    value for value in list(globals().values()) if isinstance(value, Family)
)
"""All families, in the order written above."""


def markdown_table(families: Sequence[Family] = FAMILIES) -> str:
    """Render the metric table that the README carries."""
    rows = ["| Metric | Type | Labels | Meaning |", "| --- | --- | --- | --- |"]
    for family in families:
        labels = ", ".join(f"`{label}`" for label in family.labels) or "none"
        rows.append(f"| `{family.full_name}` | {family.kind} | {labels} | {family.help} |")
    return "\n".join(rows) + "\n"
