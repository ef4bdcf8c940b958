"""The period of a question: begin, end, and time zone of the days."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from difflib import get_close_matches
from typing import Final

DEFAULT_SINCE: Final = "7d"
_AGO: Final = re.compile(r"(\d{1,5})(min|h|d|w)")
_EXACT: Final = {"min": timedelta(minutes=1), "h": timedelta(hours=1)}
_DAYS: Final = {"d": 1, "w": 7}
_WORDS: Final = (
    "now",
    "today",
    "yesterday",
    "this-week",
    "last-week",
    "this-month",
    "last-month",
    "this-year",
)


class PeriodError(ValueError):
    """A time that cannot be read, or a period that ends before it begins."""


@dataclass(frozen=True, slots=True)
class Period:
    """A half-open span of time.

    Args:
        since: First moment in it, Unix seconds.
        until: First moment after it, Unix seconds.
        zone: Time zone of days and hours.
    """

    since: float
    until: float
    zone: tzinfo = UTC

    def __str__(self) -> str:
        begin = datetime.fromtimestamp(self.since, self.zone)
        end = datetime.fromtimestamp(self.until, self.zone)
        if begin.time() != time() or end.time() != time():
            return f"{begin:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} ({self.zone})"
        last = end.date() - timedelta(days=1)
        first = f"{begin:%Y-%m-%d}"
        return (
            f"{first} ({self.zone})" if last == begin.date() else f"{first} to {last} ({self.zone})"
        )

    def day(self, at: float) -> str:
        """Day of a time in the period's zone, `YYYY-MM-DD`."""
        return f"{datetime.fromtimestamp(at, self.zone):%Y-%m-%d}"

    def hour(self, at: float) -> str:
        """Hour of a time in the period's zone, with its offset: clocks set back repeat one."""
        begun = datetime.fromtimestamp(at, self.zone).replace(minute=0, second=0, microsecond=0)
        return begun.isoformat(timespec="minutes")


def read(since: str | None, until: str | None, now: float, zone: tzinfo) -> Period:
    """Read a period as people write it.

    Args:
        since: Begin; by default midnight seven days ago.
        until: End (exclusive); by default the end of today.
        now: Unix seconds.
        zone: Time zone of days, and of times that are written without an offset.

    Raises:
        PeriodError: One of them is no time, or they are the wrong way round.
    """
    begin = moment(since or DEFAULT_SINCE, now, zone)
    end = moment(until, now, zone) if until else _midnight(_today(now, zone), 1, zone)
    if begin >= end:
        raise PeriodError(
            f"the period ends before it begins: since '{since or DEFAULT_SINCE}' is"
            f" {_iso(begin, zone)}, until '{until or 'the end of today'}' is {_iso(end, zone)}"
        )
    return Period(begin, end, zone)


def moment(text: str, now: float, zone: tzinfo) -> float:
    """Read a time: ISO 8601, a number of `min`, `h`, `d` or `w` ago, or a word such as `today`.

    Days and weeks ago are midnights, so that every day of the answer is a whole one.

    Returns:
        Unix seconds.

    Raises:
        PeriodError: It is nothing of this.
    """
    wanted = text.strip()
    today = _today(now, zone)
    ago = _AGO.fullmatch(wanted)
    try:
        if ago and ago[2] in _EXACT:
            return now - (int(ago[1]) * _EXACT[ago[2]]).total_seconds()
        if ago:
            return _midnight(today, -int(ago[1]) * _DAYS[ago[2]], zone)
        if wanted in _WORDS:
            return now if wanted == "now" else _midnight(_first_day(wanted, today), 0, zone)
        read_as = datetime.fromisoformat(wanted)
        return (read_as if read_as.tzinfo else read_as.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        remedy = suggestion(wanted, _WORDS) or (
            "write 2026-11-20, 2026-11-20T14:00, 7d, 24h or a word such as"
            f" {', '.join(_WORDS[1:4])}"
        )
        raise PeriodError(f"'{text}' is no time; {remedy}") from error


def suggestion(word: str, known: Iterable[str]) -> str:
    """Ask whether a similar known word was meant; empty where none is similar."""
    close = get_close_matches(word, list(known), n=1)
    return f"did you mean '{close[0]}'?" if close else ""


def _first_day(word: str, today: date) -> date:
    """Return the first day of the period that a word names."""
    monday, month = today - timedelta(days=today.weekday()), today.replace(day=1)
    return {
        "today": today,
        "yesterday": today - timedelta(days=1),
        "this-week": monday,
        "last-week": monday - timedelta(days=7),
        "this-month": month,
        "last-month": (month - timedelta(days=1)).replace(day=1),
        "this-year": today.replace(month=1, day=1),
    }[word]


def _today(now: float, zone: tzinfo) -> date:
    return datetime.fromtimestamp(now, zone).date()


def _midnight(day: date, days: int, zone: tzinfo) -> float:
    return datetime.combine(day + timedelta(days=days), time(), zone).timestamp()


def _iso(at: float, zone: tzinfo) -> str:
    return datetime.fromtimestamp(at, zone).isoformat(timespec="seconds")
