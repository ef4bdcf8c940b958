"""What an attempt to deliver a call comes to: done, to be repeated, or given up.  Pure."""

from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from livekit_exporter.ledger.outbox import LONGEST_PAUSE_SECONDS
from livekit_exporter.ledger.rows import DeliveryRow

REFUSALS: Final = 10
"""Times that a receiver may refuse a call before it is given up."""

_GONE: Final = 410
_PASSING: Final = frozenset((408, 409, 425, 429))
"""Refusals that say nothing about the message."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Args:
        status: HTTP status; `None` when no answer came.
        error: Why none came, or what is wrong with it; empty when it was taken.
        retry_after: Seconds that the receiver wants to be left alone.
        said: The beginning of the body, where somebody asked for it.
        seconds: How long it took.
    """

    status: int | None
    error: str = ""
    retry_after: float | None = None
    said: str = ""
    seconds: float = 0.0

    @property
    def taken(self) -> bool:
        """Whether the receiver has it now."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - HTTP's own

    @property
    def refused(self) -> bool:
        """Whether the receiver does not want this message, as far as it knows."""
        status = self.status
        return status is not None and 400 <= status < 500 and status not in _PASSING  # noqa: PLR2004


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and for how long a delivery is tried.

    Args:
        retry_seconds: Pause after the first attempt; doubled after each.
        give_up_seconds: Time from the first attempt after which a failed one is the last.
    """

    retry_seconds: float
    give_up_seconds: float


def after(
    row: DeliveryRow, answer: Answer, now: float, patience: Patience, chance: float
) -> DeliveryRow:
    """A delivery after an attempt.

    Args:
        row: As it was before.
        answer: What came back.
        now: Unix seconds.
        patience: How long it is tried.
        chance: From 0 to 1: which part of the second half of the pause is waited, so that
            calls that failed together do not come back together.
    """
    first = now if row.first_attempt_at is None else row.first_attempt_at
    tried = replace(
        row,
        attempts=row.attempts + 1,
        refusals=row.refusals + answer.refused,
        first_attempt_at=first,
        last_attempt_at=now,
        status=answer.status,
        error=answer.error,
    )
    if answer.taken:
        return replace(tried, state="delivered", delivered_at=now, error="")
    if (
        answer.status == _GONE
        or tried.refusals >= REFUSALS
        or now - first >= patience.give_up_seconds
    ):
        return replace(tried, state="dead")
    pause = pause_seconds(tried.attempts, patience.retry_seconds, chance)
    return replace(tried, next_attempt_at=now + max(pause, answer.retry_after or 0.0))


def pause_seconds(attempts: int, first: float, chance: float) -> float:
    """Pause after so many attempts: doubled each time, at most an hour, half of it by chance."""
    # Beyond this many it is the hour anyway, and a float has its limits.
    whole = min(first * 2.0 ** min(attempts - 1, 40), LONGEST_PAUSE_SECONDS)
    return whole * (0.5 + 0.5 * chance)


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds that a `Retry-After` asks for, at most an hour; `None` when it says nothing."""
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
