"""Periods as people write them, in zones whose days have 23, 24 and 25 hours."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_exporter.reports import period
from livekit_exporter.reports.period import Period, PeriodError

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 26, 15, 30, tzinfo=UTC).timestamp()  # a Thursday
HOUR = 3600.0


def at(text: str, zone: ZoneInfo | None = None) -> float:
    """Unix time of a moment in UTC or a zone."""
    return datetime.fromisoformat(text).replace(tzinfo=zone or UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20", "2026-11-20"),
        ("2026-11-20T14:00", "2026-11-20T14:00"),
        ("2026-11-20 14:00:30", "2026-11-20T14:00:30"),
        ("2026-11-20T14:00+02:00", "2026-11-20T12:00"),
        ("2026-11-20T14:00Z", "2026-11-20T14:00"),
        ("now", "2026-11-26T15:30"),
        ("30min", "2026-11-26T15:00"),
        ("24h", "2026-11-25T15:30"),
        ("0d", "2026-11-26"),
        ("7d", "2026-11-19"),
        ("2w", "2026-11-12"),
        ("today", "2026-11-26"),
        (" yesterday ", "2026-11-25"),
        ("this-week", "2026-11-23"),
        ("last-week", "2026-11-16"),
        ("this-month", "2026-11-01"),
        ("last-month", "2026-10-01"),
        ("this-year", "2026-01-01"),
    ],
)
def test_time_is_read_as_people_write_it(text: str, expected: str) -> None:
    """Dates, times with and without an offset, spans ago, and words."""
    assert period.moment(text, NOW, UTC) == at(expected)


@pytest.mark.parametrize(
    "text", ["", "tomorow", "7", "d7", "2026-13-01", "99999999d", "-7d", "1e9"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """The message quotes it and shows how a time is written."""
    with pytest.raises(PeriodError, match=r"'.*' is no time; "):
        period.moment(text, NOW, UTC)


def test_misspelt_word_is_recognised() -> None:
    """A word nearly right is named."""
    with pytest.raises(PeriodError, match="did you mean 'yesterday'"):
        period.moment("yesterdy", NOW, UTC)


def test_default_is_seven_days_and_today() -> None:
    """Whole days, so that each of them can be compared."""
    read = period.read(None, None, NOW, UTC)

    assert (read.since, read.until) == (at("2026-11-19"), at("2026-11-27"))
    assert str(read) == "2026-11-19 to 2026-11-26 (UTC)"


def test_days_are_those_of_the_zone() -> None:
    """Midnight in Berlin is 23:00 UTC in winter."""
    read = period.read("yesterday", "today", NOW, BERLIN)

    assert (read.since, read.until) == (at("2026-11-24T23:00"), at("2026-11-25T23:00"))
    assert str(read) == "2026-11-25 (Europe/Berlin)"


def test_period_with_times_says_both_ends() -> None:
    """Half a day is not called a day."""
    read = period.read("24h", "now", NOW, UTC)

    assert str(read) == "2026-11-25 15:30:00 to 2026-11-26 15:30:00 (UTC)"


@pytest.mark.parametrize(("since", "until"), [("today", "yesterday"), ("today", "today")])
def test_period_that_ends_before_it_begins_is_refused(since: str, until: str) -> None:
    """An empty period is a mistake, not an empty answer."""
    with pytest.raises(PeriodError, match="ends before it begins: since 'today' is 2026-11-26T00"):
        period.read(since, until, NOW, UTC)


@pytest.mark.parametrize(
    ("day", "following", "hours"),
    [
        ("2026-03-29", "2026-03-30", 23),
        ("2026-10-25", "2026-10-26", 25),
        ("2026-11-25", "2026-11-26", 24),
    ],
)
def test_day_has_the_hours_that_clocks_give_it(day: str, following: str, hours: int) -> None:
    """Clocks are set forward in March and back in October."""
    read = period.read(day, following, NOW, BERLIN)

    assert (read.until - read.since) / HOUR == hours
    assert {read.day(read.since + hour * HOUR) for hour in range(hours)} == {day}
    assert read.day(read.until) == following


def test_hour_that_comes_twice_is_two_hours() -> None:
    """The offset tells them apart."""
    read = period.read("2026-10-25", "2026-10-26", NOW, BERLIN)

    hours = [read.hour(read.since + hour * HOUR) for hour in range(25)]
    assert len(set(hours)) == 25
    assert hours[2:4] == ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00"]


@given(
    at=st.floats(0, 4e9),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe"]),
)
def test_every_quarter_of_an_hour_lies_in_one_day_and_hour(at: float, zone: str) -> None:
    """What reports put together from quarters is exact in zones with odd offsets, too."""
    read = Period(0, 4e9, ZoneInfo(zone))
    quarter = at // 900 * 900

    assert read.day(quarter) == read.day(at)
    assert read.hour(quarter) == read.hour(at)
