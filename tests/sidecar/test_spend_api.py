"""What was spent today: exact, of whoever is asked for, whatever the time zone."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_exporter.ledger.rows import Batch, UsageRow
from livekit_exporter.ledger.spending import Spending, UserSpend
from livekit_exporter.ledger.store import Ledger
from livekit_exporter.record import SessionStarted, Usage, UsageReported
from livekit_exporter.sidecar.http.spend_api import (
    DaySpend,
    SpendQuestion,
    SpendQuestionError,
    read_question,
)
from tests.intake import Intake
from tests.records import AT, closed, started

if TYPE_CHECKING:
    from pathlib import Path

    from livekit_exporter.record import Record

HOUR = 3600.0
BERLIN = ZoneInfo("Europe/Berlin")
LOS_ANGELES = ZoneInfo("America/Los_Angeles")
MIDNIGHT = datetime(2026, 11, 18, tzinfo=UTC).timestamp()


def cents(session: str, at: float, count: int = 1) -> UsageReported:
    """Speech synthesis for so many cents."""
    return UsageReported(
        session=session,
        at=at,
        stage="tts",
        provider="Cartesia",
        model="sonic-3",
        usage=Usage(characters=200 * count),
    )


def call_of(
    session: str,
    at: float,
    *usage: UsageReported,
    user: str | None = None,
    agent: str = "support",
    **labels: str,
) -> tuple[Record, ...]:
    """A call by somebody."""
    begun: SessionStarted = replace(started(session, at=at, agent=agent), user=user, labels=labels)
    return (begun, *usage, closed(session, at=at + HOUR))


def answer(
    intake: Intake, now: float, asked: SpendQuestion | None = None, zone: tzinfo = UTC
) -> dict[str, Any]:
    """What a sidecar with this clock and zone says."""
    ledger = intake.ingest.ledger
    assert ledger is not None
    return DaySpend(lambda: now).answer(ledger, zone, str(zone), asked or SpendQuestion())


def reported(said: dict[str, Any], scope: str = "day") -> float:
    """Reported spend in cents."""
    return round(float(said["spend"][scope]["reported_usd"]) * 100, 9)


def test_each_is_answered_apart(intake: Intake) -> None:
    """By user, by label and all; nobody is nobody."""
    intake.take(*call_of("a", AT, cents("a", AT, 1), user="u-1", tenant="acme"))
    intake.take(*call_of("b", AT, cents("b", AT, 2), user="u-2", tenant="acme"))
    intake.take(*call_of("c", AT, cents("c", AT, 4), user="u-1", tenant="globex", agent="sales"))
    intake.take(*call_of("d", AT, cents("d", AT, 8)))

    said = answer(intake, AT, SpendQuestion(user="u-1", label=("tenant", "acme")))
    of_sales = answer(
        intake, AT, SpendQuestion(user="u-1", label=("tenant", "acme"), agent="sales")
    )
    nobody = answer(intake, AT, SpendQuestion(user="u-3", label=("tenant", "")))

    assert [reported(said, scope) for scope in ("day", "user", "label")] == [15, 5, 3]
    assert [reported(of_sales, scope) for scope in ("day", "user", "label")] == [4, 4, 0]
    assert [reported(nobody, scope) for scope in ("day", "user", "label")] == [15, 0, 0]
    assert set(answer(intake, AT)["spend"]) == {"day"}


@pytest.mark.parametrize("zone", [UTC, BERLIN, LOS_ANGELES, ZoneInfo("Asia/Kathmandu")], ids=str)
def test_the_day_is_that_of_the_zone(intake: Intake, zone: tzinfo) -> None:
    """A cent in each quarter of an hour of three UTC days; a day of the zone has 96 of them."""
    quarters = [MIDNIGHT - 86400 + 900 * number for number in range(3 * 96)]
    intake.take(*call_of("s1", quarters[0], *(cents("s1", at) for at in quarters)))
    noon = datetime(2026, 11, 18, 12, tzinfo=zone).timestamp()
    start = datetime(2026, 11, 18, tzinfo=zone).timestamp()

    said = answer(intake, noon, zone=zone)

    # What is already there of later counts, too: clocks of agents may be ahead.
    assert reported(said) == sum(at >= start for at in quarters)
    assert said["day"]["start_at"] == start
    assert said["day"]["end_at"] == start + 86400
    assert said["day"]["zone"] == str(zone)
    assert datetime.fromisoformat(said["day"]["start"]).timestamp() == start


def test_a_day_of_25_hours_ends_at_its_midnight(intake: Intake) -> None:
    """Clocks are set back in Berlin on 25 October 2026."""
    intake.take(*call_of("s1", AT))
    noon = datetime(2026, 10, 25, 12, tzinfo=BERLIN).timestamp()

    said = answer(intake, noon, zone=BERLIN)

    assert said["day"]["end_at"] - said["day"]["start_at"] == 25 * HOUR
    assert said["day"]["end"] == "2026-10-26T00:00:00+01:00"


def test_a_call_can_be_left_out(intake: Intake) -> None:
    """Its part of today only, of each scope that it is in, and no dust is left."""
    yesterday = MIDNIGHT - HOUR
    spoken = [cents("own", MIDNIGHT + number, 1) for number in range(7)]
    intake.take(
        *call_of("own", yesterday, cents("own", yesterday, 50), *spoken, user="u-1", tenant="acme")
    )
    asked = SpendQuestion(user="u-1", label=("tenant", "acme"), exclude_session="own")

    alone = answer(intake, MIDNIGHT + HOUR, asked)
    assert {reported(alone, scope) for scope in ("day", "user", "label")} == {0}
    intake.take(*call_of("b", MIDNIGHT, cents("b", MIDNIGHT, 2), user="u-1"))
    said = answer(intake, MIDNIGHT + HOUR, asked)

    assert [reported(said, scope) for scope in ("day", "user", "label")] == [2, 2, 0]
    # A call of nobody, and one that is made up.
    assert reported(answer(intake, MIDNIGHT, SpendQuestion(exclude_session="x' OR 1=1 --"))) == 9


@pytest.mark.parametrize(
    "value", ['a"b', "a\\", "%", "_", '", "tenant": "acme', "ü", "", "a=b", "\x7f"], ids=repr
)
def test_a_label_is_held_against_its_whole_value(intake: Intake, value: str) -> None:
    """A value that looks like JSON or like a pattern is a value."""
    intake.take(*call_of("a", AT, cents("a", AT, 1), tenant="acme"))
    intake.take(*call_of("b", AT, cents("b", AT, 2), tenant=value))

    assert reported(answer(intake, AT, SpendQuestion(label=("tenant", value))), "label") == 2
    assert reported(answer(intake, AT, SpendQuestion(label=("tenant", "acme"))), "label") == 1


def test_estimates_stand_apart(intake: Intake, data_dir: Path) -> None:
    """In a sum of their own, also when a call is left out."""
    intake.take(*call_of("s1", AT, cents("s1", AT, 1), cents("s1", AT, 2)))
    with closing(sqlite3.connect(data_dir / "ledger.db")) as ledger:
        ledger.execute("UPDATE usage SET source = 'estimated' WHERE id = 1")
        ledger.execute(
            "INSERT INTO daily_users SELECT day, instance, 'other', agent, user, labels,"
            " 'estimated', 0, 0, 0, 0, 0.01, 0 FROM daily_users"
        )
        ledger.execute("UPDATE daily_users SET cost_usd = 0.02 WHERE source = 'reported'")
        ledger.commit()

    said = answer(intake, AT)
    without = answer(intake, AT, SpendQuestion(exclude_session="s1"))

    assert said["spend"]["day"] == {"reported_usd": 0.02, "estimated_usd": 0.01}
    assert without["spend"]["day"] == {"reported_usd": 0, "estimated_usd": 0}


def test_calls_on_other_hosts_count(database_url: str) -> None:
    """Sidecars that share a database share the day."""
    first, second = Ledger(database_url, "first"), Ledger(database_url, "second")
    try:
        now = datetime.now(UTC).timestamp()
        for ledger, usd in ((first, 1.0), (second, 2.0)):
            ledger.commit(batch_of(ledger.instance, now, usd))
        said: Any = DaySpend().answer(
            first, UTC, "UTC", SpendQuestion(user="u", exclude_session="second")
        )
    finally:
        first.close()
        second.close()

    assert said["spend"]["day"]["reported_usd"] == 1.0
    assert said["spend"]["user"]["reported_usd"] == 1.0


def batch_of(session: str, at: float, usd: float) -> Batch:
    """One row of usage of a user."""
    row = UsageRow(
        session=session,
        at=at,
        agent="a",
        user="u",
        stage="llm",
        provider="acme",
        model="mind-1",
        reported_provider="acme",
        usage=Usage(),
        status="priced",
        cost_usd=usd,
    )
    return Batch(usage=[row])


class Counting:
    """A ledger that counts how often it is read."""

    def __init__(self) -> None:
        self.reads = 0
        self.lock = threading.Lock()

    def spending(self, since: float) -> Spending:
        """Say a figure."""
        with self.lock:
            self.reads += 1
        return Spending([UserSpend("a", "u", "{}", "reported", since)], 1)

    def spending_of(self, *_: object, **__: object) -> list[UserSpend]:
        """Say nothing."""
        return []


def test_many_calls_read_the_ledger_once() -> None:
    """For a second; a new day is read at once."""
    ledger, now = Counting(), [AT]
    day = DaySpend(lambda: now[0])

    threads = [
        threading.Thread(target=day.answer, args=(ledger, UTC, "UTC", SpendQuestion()))
        for _ in range(50)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.reads == 1
    now[0] += 86400
    said: Any = day.answer(ledger, UTC, "UTC", SpendQuestion())

    assert ledger.reads == 2
    assert said["day"]["start_at"] == said["spend"]["day"]["reported_usd"] > AT


def test_another_ledger_is_not_answered_from_memory() -> None:
    """As after a restart of the database."""
    day = DaySpend(lambda: AT)
    first, second = Counting(), Counting()

    for ledger in (first, second):
        day.answer(ledger, UTC, "UTC", SpendQuestion())

    assert second.reads == 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]),
            st.floats(MIDNIGHT - 2 * 86400, MIDNIGHT + 86400),
            st.integers(0, 5),
        ),
        max_size=12,
    ),
    st.sampled_from([UTC, BERLIN, LOS_ANGELES]),
)
def test_it_is_the_sum_of_the_rows(
    tmp_path_factory: pytest.TempPathFactory, used: list[tuple[str, float, int]], zone: tzinfo
) -> None:
    """Whatever was used when: rollups and rows say the same."""
    intake = Intake(tmp_path_factory.mktemp("spend"))
    try:
        for session in ("a", "b", "c"):
            rows = [cents(session, at, count) for owner, at, count in used if owner == session]
            intake.take(*call_of(session, MIDNIGHT - 2 * 86400, *rows))
        now = MIDNIGHT + 43200
        said = answer(intake, now, SpendQuestion(exclude_session="b"), zone)
    finally:
        intake.ingest.close()

    start = said["day"]["start_at"]
    expected = sum(count for owner, at, count in used if owner != "b" and at >= start)
    assert reported(said) == expected


def test_parameters_are_read() -> None:
    """A value may hold what separates."""
    asked = read_question(
        [("user", "u=1"), ("label", "tenant=a=b"), ("agent", "x"), ("exclude_session", "s")]
    )

    assert asked == SpendQuestion(
        user="u=1", label=("tenant", "a=b"), agent="x", exclude_session="s"
    )
    assert read_question([("label", "tenant=")]).label == ("tenant", "")
    assert read_question([]) == SpendQuestion()


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ([("label", "tenant")], "label is 'tenant'"),
        ([("label", "=acme")], "label is '=acme'"),
        ([("label", "")], "label is ''"),
        ([("usr", "u")], "'usr' is no parameter"),
        ([("user", "u"), ("user", "v")], "twice"),
    ],
    ids=str,
)
def test_a_question_that_is_none_is_refused(parameters: list[tuple[str, str]], said: str) -> None:
    """Rather than answered for somebody else."""
    with pytest.raises(SpendQuestionError, match=said):
        read_question(parameters)
