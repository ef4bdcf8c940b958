"""Reads single values of LiveKit's objects: names, counts, durations and times.

LiveKit marks what it did not measure with a number: -1 for a first token or byte that
never came, 0.0 for an end of speech that was not detected.  Those become `None`, and the
record names them in `rejected`.
"""

import math
from typing import Final, NamedTuple

from livekit_exporter.record import LARGEST_QUANTITY, LONGEST_TEXT

CLOCK_TOLERANCE_SECONDS: Final = 3600.0
"""A timestamp that differs more from the clock is not used: one plugin reports a monotonic one."""


class UnreadableError(Exception):
    """An event cannot be turned into a record.

    Args:
        reason: Closed set of words, counted in `livekit_exporter_records_rejected_total`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Moment(NamedTuple):
    """State of the call when an event arrives: session id, clock, agent, reply, trace id."""

    session: str
    now: float
    persona: str | None = None
    speech: str | None = None
    trace: str | None = None


def text(value: object) -> str:
    """Read a name or an id, shortened to what a journal carries; empty if it is no text."""
    if not isinstance(value, str):
        return ""
    value = value[:LONGEST_TEXT]
    if value.isascii() and "\0" not in value:
        return value
    # Neither half a surrogate pair nor a NUL can be stored everywhere.
    return value.encode(errors="replace").decode().replace("\0", "?")


def number(value: object) -> float | None:
    """Read a finite number; `None` for anything else, booleans and text included."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        converted = float(value)
    except OverflowError:
        return None
    return converted if math.isfinite(converted) else None


def amount(value: object) -> float:
    """Read a billed quantity, such as a duration in seconds.

    Raises:
        UnreadableError: It is not one, so the cost of the event is not known.
    """
    converted = number(value)
    if converted is None or not 0 <= converted <= LARGEST_QUANTITY:
        raise UnreadableError("malformed_quantity")
    return converted


def count(value: object) -> int:
    """Read a billed quantity that is counted, such as tokens.

    Raises:
        UnreadableError: It is not one, so the cost of the event is not known.
    """
    counted = amount(value)
    if counted != int(counted):
        raise UnreadableError("malformed_quantity")
    return int(counted)


def measured(value: object, rejected: list[str], sentinel: str = "negative") -> float | None:
    """Read a measured duration in seconds.

    Args:
        value: The duration; `None` if LiveKit measured none.
        rejected: Gets the reason why a value is not used.
        sentinel: Reason for the value -1.
    """
    if value is None:
        return None
    seconds = number(value)
    if seconds is None:
        rejected.append("not_a_number")
        return None
    if seconds < 0:
        rejected.append(sentinel if seconds == -1 else "negative")
        return None
    return seconds


def delay(value: object, rejected: list[str]) -> float | None:
    """Read an end-of-utterance delay; exactly zero means that LiveKit saw no end of speech."""
    seconds = measured(value, rejected)
    if seconds == 0:
        rejected.append("end_of_speech_unknown")
        return None
    return seconds


def positive(value: object) -> float | None:
    """Read a duration that LiveKit leaves at zero when it does not measure it."""
    seconds = number(value)
    return seconds if seconds is not None and seconds > 0 else None


def timestamp(value: object, now: float) -> float:
    """Read a Unix time; `now` if it is none, or differs too much from it in either direction."""
    at = number(value)
    return now if at is None or abs(at - now) > CLOCK_TOLERANCE_SECONDS else at


def between(first: object, last: object) -> float | None:
    """Subtract two times; `None` if one is unknown, or the difference is no plausible duration."""
    begun, ended = number(first), number(last)
    if begun is None or ended is None or not 0 <= ended - begun <= CLOCK_TOLERANCE_SECONDS:
        return None
    return ended - begun
