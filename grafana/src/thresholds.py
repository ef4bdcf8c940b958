"""Thresholds of the alerts in `prometheus/rules`, for drawing.

A test holds every number against the alert it names, so that a line in a panel is the
line at which somebody is called.
"""

from typing import Final, NamedTuple


class Limit(NamedTuple):
    """Values from which on an alert fires.

    Args:
        alert: Its name.
        ticket: From where on it asks for somebody's attention in working hours.
        page: From where on it wakes somebody.
    """

    alert: str
    ticket: float | None = None
    page: float | None = None


TURN_LATENCY: Final = Limit("LivekitAgentTurnLatencyHigh", ticket=1.5, page=3.5)
"""Seconds, p95."""

SLOW_TURNS: Final = Limit("LivekitAgentTurnsSlow", ticket=0.05)
"""Part of the turns that may take longer than the ticket limit of their latency."""

BURN_RATE: Final = Limit("LivekitAgentTurnsSlow", ticket=1.0, page=14.4)
"""Times faster than allowed that slow turns are used up."""

EOU_DELAY: Final = Limit("LivekitAgentEndOfTurnSlow", ticket=1.0)
"""Seconds, p95."""

LLM_TTFT: Final = Limit("LivekitAgentLlmSlow", ticket=0.8)
"""Seconds, p95."""

TTS_TTFB: Final = Limit("LivekitAgentTtsSlow", ticket=0.5)
"""Seconds, p95."""

REALTIME_TTFT: Final = Limit("LivekitAgentRealtimeSlow", ticket=1.0)
"""Seconds, p95."""

PROVIDER_ERRORS: Final = Limit("LivekitAgentProviderErrors", ticket=0.05)
"""Failed attempts for every request."""

FALLBACKS: Final = Limit("LivekitAgentFallbacks", ticket=0.05)
"""Times that a provider was taken out of service, for every call."""

SESSIONS_FAILING: Final = Limit("LivekitAgentSessionsFailing", page=0.05)
"""Part of the calls that an error ended."""

SESSIONS_LOST: Final = Limit("LivekitAgentSessionsLost", ticket=0.02)
"""Part of the calls whose process died."""

INTERRUPTIONS: Final = Limit("LivekitAgentInterruptionsHigh", ticket=0.25)
"""Part of the answers that were talked over."""

TOOL_ERRORS: Final = Limit("LivekitAgentToolErrors", ticket=0.1)
"""Part of the tool calls that failed."""

DAY_BUDGET: Final = Limit("LivekitAgentDayBudget", ticket=0.8, page=1.0)
"""Part of the day's budget that is used up."""

MONTH_BUDGET: Final = Limit("LivekitAgentMonthBudget", ticket=1.0)
"""Part of the month's budget at which the month is heading to end."""

WASTE: Final = Limit("LivekitAgentWasteHigh", ticket=0.25)
"""Part of the cost that nobody heard."""

UNREPORTED: Final = Limit("LivekitAgentUnreportedCostHigh", ticket=0.3)
"""Part of what vendors bill that no event reports."""

EXPORTER_DOWN: Final = Limit("LivekitExporterInstanceDown")
NO_RECORDS: Final = Limit("LivekitExporterNoRecords", ticket=300.0)
"""Seconds since the newest record was made, while calls are going on."""

JOURNAL_LAG: Final = Limit("LivekitExporterJournalLag", ticket=1e6)
"""Bytes."""

PRICES_STALE: Final = Limit("LivekitExporterPricesStale", ticket=90.0)
"""Days since a price in use was last checked."""

RECORDS_DROPPED: Final = Limit("LivekitExporterRecordsDropped", ticket=0.0)
RECORDS_REJECTED: Final = Limit("LivekitExporterRecordsRejected", ticket=0.0)
UNPRICED: Final = Limit("LivekitExporterUnpricedRequests", ticket=0.0)
UNSEEN: Final = Limit("LivekitExporterUsageUnreported", ticket=0.0)
USAGE_MISSING: Final = Limit("LivekitExporterUsageMissing", ticket=0.1)
"""Part of the requests that ran to their end and reported no usage."""

LABELS_CAPPED: Final = Limit("LivekitExporterLabelsCapped", ticket=0.0)
LEDGER_ERRORS: Final = Limit("LivekitExporterLedgerErrors", ticket=0.0)
EXPORTS_FAILING: Final = Limit("LivekitExporterExportsFailing", ticket=0.0)
WEBHOOK_FAILING: Final = Limit("LivekitExporterWebhookFailing", ticket=900.0)
"""Seconds that a call has been waiting to be delivered."""

WEBHOOK_DEAD_LETTERS: Final = Limit("LivekitExporterWebhookDeadLetters", ticket=0.0)
RELOAD_FAILED: Final = Limit("LivekitExporterReloadFailed")

LIMITS: Final = tuple(value for value in list(globals().values()) if isinstance(value, Limit))
"""All of them, in the order written above."""
