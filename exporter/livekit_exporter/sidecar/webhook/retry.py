"""Decides after an attempt to deliver a call: delivered, back-off, or dead letter.  Pure."""

from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from livekit_exporter.ledger.outbox import LONGEST_PAUSE_SECONDS
from livekit_exporter.ledger.rows import DeliveryRow

REFUSALS: Final = 10
"""Refusals of a call by the receiver that make it a dead letter."""

_GONE: Final = 410
_TRANSIENT: Final = frozenset((408, 409, 425, 429))
"""Statuses from 400 to 499 that say nothing about the message."""


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """The result of one request to the receiver.

    Args:
        status: HTTP status; `None` when no answer came.
        error: Reason for the failure; empty when the call was delivered.
        retry_after: Seconds that the receiver asks us to wait.
        body: The beginning of the answer's body, as far as it was asked for.
        seconds: Duration.
    """

    status: int | None
    error: str = ""
    retry_after: float | None = None
    body: str = ""
    seconds: float = 0.0

    @property
    def delivered(self) -> bool:
        """True when the receiver accepted the call."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - HTTP's own

    @property
    def refused(self) -> bool:
        """True when the receiver rejects this message, and would reject it again."""
        status = self.status
        return status is not None and 400 <= status < 500 and status not in _TRANSIENT  # noqa: PLR2004


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Limits of the attempts to deliver a call.

    Args:
        retry_seconds: Pause after the first attempt; doubled after each.
        give_up_seconds: Time from the first attempt after which a failed one is the last.
    """

    retry_seconds: float
    give_up_seconds: float


def after(
    row: DeliveryRow, attempt: DeliveryAttempt, now: float, policy: RetryPolicy, jitter: float
) -> DeliveryRow:
    """Return a delivery as it is after an attempt.

    Args:
        row: The delivery before it.
        attempt: The result.
        now: Unix seconds.
        policy: Limits of the attempts.
        jitter: From 0 to 1: the share of the second half of the pause to wait, so that
            calls that failed together do not come back together.
    """
    first = now if row.first_attempt_at is None else row.first_attempt_at
    tried = replace(
        row,
        attempts=row.attempts + 1,
        refusals=row.refusals + attempt.refused,
        first_attempt_at=first,
        last_attempt_at=now,
        status=attempt.status,
        error=attempt.error,
    )
    if attempt.delivered:
        return replace(tried, state="delivered", delivered_at=now, error="")
    if (
        attempt.status == _GONE
        or tried.refusals >= REFUSALS
        or now - first >= policy.give_up_seconds
    ):
        return replace(tried, state="dead")
    pause = backoff_seconds(tried.attempts, policy.retry_seconds, jitter)
    return replace(tried, next_attempt_at=now + max(pause, attempt.retry_after or 0.0))


def backoff_seconds(attempts: int, first: float, jitter: float) -> float:
    """Return the pause after so many attempts: doubled each time, at most an hour.

    Args:
        attempts: Attempts so far.
        first: Pause after the first one, in seconds.
        jitter: From 0 to 1: the share of the second half of the pause to wait.
    """
    # From 40 doublings on it is an hour anyway, and a float would overflow.
    whole = min(first * 2.0 ** min(attempts - 1, 40), LONGEST_PAUSE_SECONDS)
    return whole * (0.5 + 0.5 * jitter)


def retry_after(header: str | None, now: float) -> float | None:
    """Read a `Retry-After` header: seconds, at most an hour; `None` when it says nothing."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:10])
    else:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, TypeError, OverflowError):
            return None
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
    return min(max(seconds, 0.0), LONGEST_PAUSE_SECONDS)
