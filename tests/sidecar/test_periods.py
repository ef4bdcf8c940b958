"""Spend of the current day and month: exact, in the operator's time zone."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from livekit_exporter.sidecar.periods import Spend, Sums, period_start


class FixedUsage:
    """A ledger with fixed usage.

    Args:
        usage: Time, agent and cost.
    """

    def __init__(self, *usage: tuple[float, str, float]) -> None:
        self.usage = list(usage)
        self.asked = 0

    def spend(self, since: float) -> Sums:
        """Plain sums."""
        self.asked += 1
        summed: Sums = {}
        for at, agent, usd in self.usage:
            if at >= since:
                summed[agent, "reported"] = summed.get((agent, "reported"), 0.0) + usd
        return summed


def moment(text: str, zone: str = "UTC") -> float:
    """Unix time of a local time."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("zone", "now", "day", "month"),
    [
        ("UTC", "2026-11-23T12:00", "2026-11-23T00:00", "2026-11-01T00:00"),
        ("Europe/Berlin", "2026-11-23T23:30", "2026-11-23T22:00", "2026-10-31T23:00"),
        ("Europe/Berlin", "2026-07-01T21:59", "2026-06-30T22:00", "2026-06-30T22:00"),
        ("Europe/Berlin", "2026-03-29T12:00", "2026-03-28T23:00", "2026-02-28T23:00"),
        ("Asia/Kathmandu", "2026-11-23T18:14", "2026-11-22T18:15", "2026-10-31T18:15"),
        ("Asia/Kathmandu", "2026-11-23T18:15", "2026-11-23T18:15", "2026-10-31T18:15"),
    ],
)
def test_periods_begin_at_local_midnight(zone: str, now: str, day: str, month: str) -> None:
    """All given in UTC; summer time and odd offsets included."""
    begun = [period_start(period, moment(now), ZoneInfo(zone)) for period in ("day", "month")]

    # 23:30 UTC is the next day in Berlin.
    expected = [moment(day), moment(month)]
    if (zone, now) == ("Europe/Berlin", "2026-11-23T23:30"):
        expected[0] = moment("2026-11-23T23:00")
    assert begun == expected


def test_a_day_with_two_midnights_begins_at_the_first() -> None:
    """In Havana the clock goes from 1:00 back to 0:00; the day is one of 25 hours."""
    zone = ZoneInfo("America/Havana")
    first = datetime(2026, 11, 1, 4, 0, tzinfo=UTC).timestamp()

    for hours in (0.5, 1.5, 12, 24.5):
        assert period_start("day", first + hours * 3600, zone) == first, hours


def test_spend_is_read_once_a_period_and_then_added_to() -> None:
    """The ledger is asked twice: for the day and for the month."""
    now = moment("2026-11-23T12:00")
    ledger = FixedUsage(
        (now - 3600, "a", 1.0), (now - 86400, "a", 2.0), (now - 40 * 86400, "a", 4.0)
    )
    followed = Spend(ledger.spend, UTC)

    for minute in range(10):
        followed.follow(now + minute * 60)
    followed.add(now, "a", "reported", 0.5)
    followed.add(now, "a", "estimated", 0.125)
    followed.add(now, "b", "reported", 0.25)
    followed.add(now - 86400, "b", "reported", 8.0)
    followed.add(now - 40 * 86400, "b", "reported", 16.0)

    assert followed.of("day", "reported") == {"a": 1.5, "b": 0.25}
    assert followed.of("day", "estimated") == {"a": 0.125}
    assert followed.of("month", "reported") == {"a": 3.5, "b": 8.25}
    assert ledger.asked == 2


def test_spend_begins_anew_with_the_day() -> None:
    """Also when the clock was set back."""
    midnight = moment("2026-11-24T00:00")
    ledger = FixedUsage((midnight - 60, "a", 1.0), (midnight, "a", 2.0))
    followed = Spend(ledger.spend, UTC)

    seen = []
    for now in (midnight - 1, midnight, midnight - 1):
        followed.follow(now)
        seen.append(followed.of("day", "reported"))

    assert seen == [{"a": 3.0}, {"a": 2.0}, {"a": 3.0}]


def test_what_is_shown_is_a_copy() -> None:
    """A page being written must not change under the writer."""
    followed = Spend(FixedUsage().spend, UTC)
    followed.follow(moment("2026-11-23T12:00"))
    followed.of("day", "reported")["a"] = 9.0

    assert followed.of("day", "reported") == {}
