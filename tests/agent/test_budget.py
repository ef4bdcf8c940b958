"""A budget's arithmetic: what counts, when it is crossed, and how often that is said."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from livekit_exporter import Budget, BudgetEvent
from livekit_exporter.agent.budget.lookups import Day
from livekit_exporter.agent.budget.tracker import BudgetTracker
from livekit_exporter.agent.prices import Prices
from livekit_exporter.record import (
    BudgetReached,
    Record,
    SessionStarted,
    Usage,
    UsageEstimated,
    UsageReported,
)
from livekit_exporter.sidecar import for_agents, prices_in_force
from livekit_exporter.sidecar.config.settings import Config, Platform
from tests.agent.accounts import Followed
from tests.records import AT

if TYPE_CHECKING:
    from pathlib import Path

CENT_OF_SPEECH = 200
"""Characters of Cartesia's sonic-3 that cost one cent."""
NOON = AT // 86400 * 86400 + 43200
DAY = Day(NOON - 43200, NOON + 43200, {})


class Notebook:
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def note(self, record: Record) -> None:
        """Keep it."""
        self.records.append(record)


class Watched(Followed):
    """A tracked budget with a clock, and the events it told."""

    def __init__(self, *, prices: Prices | None = None, **budget: Any) -> None:  # noqa: ANN401 - fields of any type
        super().__init__(prices)
        self.now = NOON
        self.events: list[BudgetEvent] = []
        self.notes = Notebook()
        limits = Budget(**budget)
        self.tracker = BudgetTracker(
            limits,
            tuple(limits.limits),
            None,  # type: ignore[arg-type]  # it is only handed on
            account=self.account,
            notes=self.notes,
            tell=self.events.append,
            clock=lambda: self.now,
        )
        self.followers.append(self.tracker)
        self.take(SessionStarted(session="s1", at=self.now, agent="support"))

    @property
    def crossed(self) -> list[tuple[str, str]]:
        """What was crossed, in its order."""
        return [(event.scope, event.threshold) for event in self.events]

    def speak(self, characters: int = CENT_OF_SPEECH) -> None:
        """Use speech synthesis."""
        self.take(spoken(characters, self.now))


def spoken(characters: int, at: float) -> UsageReported:
    """Speech synthesis that costs 50 US dollars per million characters."""
    return UsageReported(
        session="s1",
        at=at,
        stage="tts",
        provider="Cartesia",
        model="sonic-3",
        usage=Usage(characters=characters),
    )


def test_a_limit_is_reached_exactly_at_it() -> None:
    """Not a character before, and 0.1 is meant as it is written."""
    watched = Watched(session_usd=0.1, warn_at=0.8)

    watched.speak(1599)
    assert watched.crossed == []
    watched.speak(1)
    assert watched.crossed == [("session", "warn")]
    watched.speak(399)
    assert watched.crossed == [("session", "warn")]
    watched.speak(1)

    assert watched.crossed == [("session", "warn"), ("session", "limit")]
    assert watched.events[-1].spend_usd == Decimal("0.1") == watched.events[-1].limit_usd


def test_each_threshold_is_said_once_and_noted_once() -> None:
    """Whatever is spent afterwards."""
    watched = Watched(session_usd=0.02)

    for _ in range(20):
        watched.speak()

    assert watched.crossed == [("session", "warn"), ("session", "limit")]
    noted = [record for record in watched.notes.records if isinstance(record, BudgetReached)]
    assert [(record.scope, record.threshold) for record in noted] == watched.crossed
    assert [record.spend_usd for record in noted] == [0.02, 0.02]
    assert {(record.session, record.limit_usd, record.at) for record in noted} == {
        ("s1", 0.02, NOON)
    }


def test_one_report_that_crosses_both_warns_first() -> None:
    """So a warning is never missing, and never late."""
    watched = Watched(session_usd=0.01)

    watched.speak(10 * CENT_OF_SPEECH)

    assert watched.crossed == [("session", "warn"), ("session", "limit")]


def test_without_warnings_there_is_only_the_limit() -> None:
    """`warn_at=None`."""
    watched = Watched(session_usd=0.01, warn_at=None)

    watched.speak()

    assert watched.crossed == [("session", "limit")]


def test_estimates_count_like_reports() -> None:
    """A vendor bills a reply that was cut off, whoever reports it."""
    watched = Watched(session_usd=0.01)

    watched.take(
        UsageEstimated(
            session="s1",
            at=NOON,
            stage="tts",
            provider="Cartesia",
            model="sonic-3",
            reason="interrupted",
            basis="call",
            usage=Usage(characters=CENT_OF_SPEECH),
        )
    )

    assert watched.crossed == [("session", "warn"), ("session", "limit")]


def test_an_estimate_of_nothing_is_no_unpriced_model() -> None:
    """Where there was nothing to estimate from there is nothing to warn of."""
    watched = Watched(session_usd=0.01)

    watched.take(
        UsageEstimated(
            session="s1", at=NOON, stage="llm", provider="nobody", model="x", reason="failed"
        )
    )

    assert watched.events == []


def test_minutes_that_a_platform_bills_count_as_they_pass(tmp_path: Path) -> None:
    """A call that is quiet pays for its length."""
    platform = Platform(legs={"livekit/agent-session": "all"})  # a cent a minute
    _, merged = prices_in_force.load(Config(data_dir=tmp_path, platform=platform))
    for_agents.share_prices(merged, tmp_path)
    watched = Watched(session_usd=0.05, prices=Prices(tmp_path))

    watched.speak(1)
    assert watched.crossed == []
    watched.now += 240
    watched.speak(1)

    assert watched.crossed == [("session", "warn")]
    watched.now += 60
    watched.speak(1)
    assert watched.crossed == [("session", "warn"), ("session", "limit")]


def test_what_others_have_spent_today_counts() -> None:
    """For the scopes of the day, and for no other."""
    watched = Watched(session_usd=1, user_day_usd=1, tenant_day_usd=1, day_usd=1)

    watched.tracker.learn(
        Day(
            DAY.start,
            DAY.end,
            {
                "user_day": Decimal("0.995"),
                "tenant_day": Decimal("0.85"),
                "day": Decimal("0.1"),
                "session": Decimal(99),
            },
        )
    )
    assert watched.crossed == [("user_day", "warn"), ("tenant_day", "warn")]
    watched.speak()

    assert watched.crossed[2:] == [("user_day", "limit")]
    assert watched.events[-1].spend_usd == Decimal("1.005")
    assert not watched.events[-1].stale


def test_a_sidecar_that_never_answered_leaves_the_call_its_own_spend() -> None:
    """And the event says that it may be more."""
    watched = Watched(day_usd=0.02)

    watched.tracker.learn(None)
    watched.speak()
    watched.speak()

    assert watched.crossed == [("day", "warn"), ("day", "limit")]
    assert watched.events[-1].stale


def test_a_sidecar_that_is_away_leaves_the_last_figure() -> None:
    """Until it is asked with success again."""
    watched = Watched(day_usd=1, warn_at=None)
    known = Day(DAY.start, DAY.end, {"day": Decimal("0.98")})

    watched.tracker.learn(known)
    watched.tracker.learn(None)
    watched.speak()
    watched.speak()

    assert watched.crossed == [("day", "limit")]
    assert watched.events[0].stale


def test_a_figure_that_falls_does_not_say_it_again() -> None:
    """A repricing may make the day cheaper; what was crossed was crossed."""
    watched = Watched(day_usd=1)
    dear = Day(DAY.start, DAY.end, {"day": Decimal(2)})
    cheap = Day(DAY.start, DAY.end, {"day": Decimal("0.1")})

    for day in (dear, cheap, dear):
        watched.tracker.learn(day)

    assert watched.crossed == [("day", "warn"), ("day", "limit")]


def test_after_midnight_yesterday_does_not_count() -> None:
    """Also while the sidecar is away: then only what this call has spent since counts."""
    watched = Watched(session_usd=0.03, day_usd=1, warn_at=None)
    watched.tracker.learn(Day(DAY.start, DAY.end, {"day": Decimal("0.97")}))
    watched.speak()

    watched.now = DAY.end + 1
    watched.tracker.learn(None)
    watched.speak()
    assert watched.crossed == []
    watched.tracker.learn(Day(DAY.end, DAY.end + 86400, {"day": Decimal("0.985")}))
    assert watched.crossed == []
    watched.speak()

    # A cent before midnight is the session's, not the new day's.
    assert watched.crossed == [("session", "limit"), ("day", "limit")]
    assert watched.events[-1].spend_usd == Decimal("1.005")


def test_own_spend_of_yesterday_does_not_count_after_midnight() -> None:
    """Neither beside the sidecar's new figure nor, while it is away, in place of one."""
    watched = Watched(day_usd=1, warn_at=None)
    watched.tracker.learn(DAY)
    watched.speak(90 * CENT_OF_SPEECH)

    watched.now = DAY.end
    watched.speak(20 * CENT_OF_SPEECH)
    assert watched.crossed == []
    watched.tracker.learn(Day(DAY.end, DAY.end + 86400, {"day": Decimal("0.7")}))
    assert watched.crossed == []
    watched.speak(10 * CENT_OF_SPEECH)

    assert watched.crossed == [("day", "limit")]
    assert watched.events[0].spend_usd == 1


def test_a_clock_that_is_set_back_does_not_raise() -> None:
    """Costs stay what they are; the day is the one that the sidecar said."""
    watched = Watched(session_usd=0.02, day_usd=0.02, warn_at=None)
    watched.tracker.learn(DAY)
    watched.now -= 86400 * 3

    watched.speak()
    watched.speak()

    assert ("session", "limit") in watched.crossed


@pytest.mark.parametrize(
    "wrong",
    [
        {"session_usd": 0},
        {"session_usd": -1},
        {"day_usd": math.nan},
        {"day_usd": math.inf},
        {"tenant_day_usd": Decimal("NaN")},
        {"user_day_usd": True},
        {"user_day_usd": "0.5"},
        {"warn_at": 0},
        {"warn_at": 1.01},
        {"on_unpriced": "explode"},
        {"refresh_seconds": 0},
        {"refresh_seconds": math.inf},
        {"on_limit": "stop"},
    ],
    ids=str,
)
def test_a_wrong_budget_is_refused_when_it_is_written(wrong: dict[str, Any]) -> None:
    """With the name of what is wrong."""
    (name,) = wrong

    with pytest.raises(ValueError, match=name):
        Budget(**wrong)
