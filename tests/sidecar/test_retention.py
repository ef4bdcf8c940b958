"""Calls that are old enough go with all their rows; sums, series and what goes on stay."""

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from livekit_exporter import contract, files
from livekit_exporter.ledger.locate import locate
from livekit_exporter.record import Record, RequestFailed
from livekit_exporter.sidecar.config.settings import Ledger
from livekit_exporter.sidecar.spend import period_start
from tests.intake import Intake
from tests.records import LLM, Writer, answered, asked, closed, heard, started, thought

HOUR = 3600.0
DAY = 86400.0
ROWS = ("sessions", "usage", "turns", "failures")


def call_at(session: str, at: float) -> Sequence[Record]:
    """A call of one minute with a row of every kind."""
    failed = RequestFailed(
        session=session, at=at, stage="llm", provider=LLM.provider, model=LLM.model
    )
    return (
        started(session, at=at),
        heard(session, at=at),
        asked(session, at=at),
        failed,
        thought(session, at=at),
        answered(session, at=at),
        closed(session, at=at + 60),
    )


def keeping(data_dir: Path, days: float, timezone: str = "UTC") -> Intake:
    """A sidecar's loop that keeps calls for some days."""
    return Intake(data_dir, timezone=timezone, ledger=Ledger(keep_days=days))


def later(intake: Intake) -> None:
    """An hour passes, and what is due then is done."""
    intake.clock.advance(HOUR)
    for _ in range(20):
        intake.passes()


def counts(intake: Intake, where: str = "") -> dict[str, float]:
    """Rows by table."""
    return {
        table: intake.figure(f"SELECT count(*) FROM {table} {where}")  # noqa: S608 - a list
        for table in ROWS
    }


def rollups(intake: Intake) -> list[object]:
    """All sums by day."""
    return [intake.ask("SELECT * FROM daily"), intake.ask("SELECT * FROM daily_users")]


def test_old_calls_go_and_everything_that_was_added_up_stays(data_dir: Path) -> None:
    """A customer's month is still told, and no counter falls."""
    now = time.time()
    intake = keeping(data_dir, 40)
    with closing(intake.ingest):
        intake.passes()
        intake.take(*call_at("old", now - 100 * DAY))
        intake.take(*call_at("new", now))
        sums = [intake.ask(f"SELECT * FROM {table}") for table in ("daily", "daily_users")]  # noqa: S608 - a list
        series = {
            family: intake.values(family) for family in contract.FAMILIES if family.about_agents
        }

        later(intake)

        assert counts(intake, "WHERE session = 'old'") == dict.fromkeys(ROWS, 0)
        assert counts(intake, "WHERE session = 'new'") == {
            "sessions": 1,
            "usage": 2,
            "turns": 1,
            "failures": 1,
        }
        assert rollups(intake) == sums
        for family, values in series.items():
            assert intake.values(family) == values, family.name


def test_without_the_setting_calls_stay_for_ever(data_dir: Path) -> None:
    """Nobody loses history by an upgrade."""
    intake = Intake(data_dir)
    with closing(intake.ingest):
        intake.take(*call_at("old", time.time() - 1000 * DAY))
        later(intake)

        assert intake.figure("SELECT count(*) FROM sessions") == 1


def test_a_call_that_goes_on_stays_however_long_ago_it_began(data_dir: Path) -> None:
    """It still costs, and its first hour is part of its bill."""
    old = time.time() - 100 * DAY
    intake = keeping(data_dir, 40)
    with closing(intake.ingest), Writer(data_dir) as journal:
        journal.put(started(at=old), heard(at=old))
        intake.passes()
        later(intake)

        assert intake.figure("SELECT count(*) FROM usage") == 1


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/St_Johns"])
def test_the_current_month_stays_whole_however_short_calls_are_kept(
    data_dir: Path, zone: str
) -> None:
    """Its spend is exact in any time zone, also after a restart."""
    first = keeping(data_dir, 0.001, zone)
    month = period_start("month", time.time(), first.config.zone)
    with closing(first.ingest):
        first.take(*call_at("before", month - 120))
        first.take(*call_at("within", month + 1))
        later(first)
        assert first.ask("SELECT session FROM sessions") == [("within",)]
        spent = spend_of_the_month(first)
    again = keeping(data_dir, 0.001, zone)
    with closing(again.ingest):
        again.passes()

        assert spend_of_the_month(again) == spent > 0


def spend_of_the_month(intake: Intake) -> float:
    """The gauge on the page."""
    return sum(
        float(line.rpartition(" ")[2])
        for line in intake.page().splitlines()
        if line.startswith("livekit_agent_period_cost_usd{")
        and 'period="month"' in line
        and 'source="reported"' in line
    )


def test_many_old_calls_go_step_by_step_while_new_ones_come(data_dir: Path) -> None:
    """Ingest is never held up by more than one step."""
    now = time.time()
    intake = keeping(data_dir, 40)
    with closing(intake.ingest):
        intake.passes()
        for number in range(3):
            old = [call_at(f"s{number}-{n}", now - 100 * DAY) for n in range(40)]
            intake.take(*(record for records in old for record in records))
        intake.clock.advance(HOUR)
        left = []
        for number in range(4):
            intake.take(*call_at(f"new-{number}", now))
            left.append(intake.figure("SELECT count(*) FROM sessions WHERE session LIKE 's%'"))

        assert left == [70, 20, 0, 0]
        assert intake.figure("SELECT count(*) FROM sessions") == 4


def test_space_is_given_back(data_dir: Path) -> None:
    """To the file system, not only to the file."""
    now = time.time()
    intake = keeping(data_dir, 40)
    with closing(intake.ingest):
        intake.passes()
        for number in range(20):
            old = [call_at(f"s{number}-{n}", now - 100 * DAY) for n in range(40)]
            intake.take(*(record for records in old for record in records))
    path = files.ledger(data_dir)
    full = path.stat().st_size
    again = keeping(data_dir, 40)
    with closing(again.ingest):
        later(again)

    assert path.stat().st_size < full / 2


def test_a_report_sees_one_state_while_calls_are_deleted(data_dir: Path) -> None:
    """It began before, so it ends with what was there."""
    intake = keeping(data_dir, 40)
    with closing(intake.ingest):
        intake.passes()
        intake.take(*call_at("old", time.time() - 100 * DAY))
        report = locate(files.ledger(data_dir), read_only=True)
        with closing(report), report.snapshot() as connection:
            count = "SELECT count(*) FROM {}"
            before = connection.exec_driver_sql(count.format("sessions")).scalar()

            later(intake)

            assert before == 1
            assert connection.exec_driver_sql(count.format("usage")).scalar() == 2
            assert intake.figure("SELECT count(*) FROM usage") == 0
