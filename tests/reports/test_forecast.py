"""The end of the month, on histories whose truth is known."""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from livekit_exporter.cli.app import app
from livekit_exporter.reports import forecast
from livekit_exporter.reports.forecast import ENOUGH_DAYS, HISTORY_DAYS, Forecast
from tests import records
from tests.intake import Intake
from tests.reports.spending import lines, opened, question

TODAY = date(2026, 11, 16)
LEFT = 15
"""Days of November from today on."""

Truth: TypeAlias = Callable[[int, np.random.Generator], NDArray[np.float64]]

WEEK = np.array([1.0, 1.1, 1.1, 1.05, 1.0, 0.4, 0.3])


def before(days: list[float], today: date = TODAY) -> dict[date, float]:
    """Whole days that end yesterday."""
    first = today - timedelta(days=len(days))
    return {first + timedelta(days=number): usd for number, usd in enumerate(days)}


def november(days: list[float], today: date = TODAY) -> float:
    """What of them this month has cost."""
    return sum(usd for day, usd in before(days, today).items() if day >= today.replace(day=1))


def growing(days: int, draw: np.random.Generator) -> NDArray[np.float64]:
    """Weekends, one per cent more every day, and noise in proportion."""
    moments = np.arange(days)
    pattern = WEEK[moments % 7]
    noise: NDArray[np.float64] = np.exp(draw.normal(0, 0.15, days))
    usd: NDArray[np.float64] = 50 * 1.01**moments * pattern * noise
    return usd


def steady(days: int, draw: np.random.Generator) -> NDArray[np.float64]:
    """Weekends, no growth, and noise of one size."""
    return np.maximum(0, 100 * WEEK[np.arange(days) % 7] + draw.normal(0, 10, days))


@pytest.mark.parametrize(("truth", "history"), [(growing, 60), (steady, ENOUGH_DAYS)])
def test_range_holds_four_of_five_months(truth: Truth, history: int) -> None:
    """As it claims: each run is a history, and the month that follows it."""
    runs, held = 30, 0
    for seed in range(runs):
        days = truth(history + LEFT, np.random.default_rng(seed)).tolist()
        found = forecast.forecast(before(days[:history]), TODAY)
        month = november(days[:history]) + sum(days[history:])
        assert found.low is not None
        assert found.high is not None
        held += found.low <= month <= found.high

    assert 0.65 <= held / runs <= 0.97


def test_expected_is_near_the_truth() -> None:
    """A known pattern of the week with little noise."""
    days = [100 * WEEK[number % 7] * (1 + 0.01 * (number % 3)) for number in range(60 + LEFT)]
    found = forecast.forecast(before(days[:60]), TODAY)

    assert found.method == "model"
    assert found.expected == pytest.approx(november(days[:60]) + sum(days[60:]), rel=0.02)


def test_weekends_are_seen() -> None:
    """Fifteen days with two weekends cost what eleven weekdays cost."""
    days = [0.0 if number % 7 in (5, 6) else 10.0 + 0.1 * (number % 3) for number in range(63)]
    found = forecast.forecast(before(days), TODAY)
    to_come = sum(10.1 for number in range(63, 63 + LEFT) if number % 7 not in (5, 6))

    assert found.expected == pytest.approx(november(days) + to_come, rel=0.02)
    assert found.idle == 18


def test_growth_is_seen() -> None:
    """The days to come cost more than the last ones."""
    days = growing(60, np.random.default_rng(3)).tolist()
    found = forecast.forecast(before(days), TODAY)

    assert found.expected is not None
    assert found.expected - found.so_far > LEFT * sum(days[-14:]) / 14


def test_nothing_spent_is_no_forecast() -> None:
    """No history, no number."""
    for days in ({}, before([0.0] * 40)):
        found = forecast.forecast(days, TODAY)
        assert (found.method, found.expected, found.low) == ("none", None, None)


def test_spend_of_today_alone_is_no_forecast() -> None:
    """It is known so far, and the day is not over."""
    found = forecast.forecast({TODAY: 3.0}, TODAY)

    assert (found.method, found.so_far, found.expected) == ("none", 3.0, None)


def test_few_days_give_a_run_rate_and_no_range() -> None:
    """Five days of two dollars, fifteen to come."""
    found = forecast.forecast(before([2.0] * 5), TODAY)

    assert (found.method, found.history) == ("run rate", 5)
    assert found.expected == pytest.approx(10 + 2 * LEFT)
    assert (found.low, found.high) == (None, None)


def test_one_day_more_gives_a_range() -> None:
    """Both sides of the threshold."""
    days = [2.0 + 0.1 * (number % 4) for number in range(ENOUGH_DAYS)]

    assert forecast.forecast(before(days[1:]), TODAY).method == "run rate"
    assert forecast.forecast(before(days), TODAY).method == "model"


def test_constant_days_have_a_constant_end() -> None:
    """Nothing to model, and nothing that says how sure that is."""
    found = forecast.forecast(before([7.0] * 40), TODAY)

    assert found.method == "constant"
    assert found.expected == found.low == found.high == pytest.approx(7.0 * 30)


def test_spend_that_ended_is_over() -> None:
    """An agent that nobody calls any more costs nothing."""
    found = forecast.forecast(
        before([10.0 + number % 3 for number in range(60)] + [0.0] * 40), TODAY
    )

    assert (found.method, found.expected) == ("constant", 0.0)


def test_day_that_is_not_over_is_no_whole_day() -> None:
    """Its little spend so far does not pull the forecast down."""
    days = [10.0 + 0.1 * (number % 3) for number in range(40)]
    found = forecast.forecast({**before(days), TODAY: 0.5}, TODAY)

    assert found.history == 40
    assert found.so_far == pytest.approx(november(days) + 0.5)
    assert found.expected == pytest.approx(10.1 * 30, rel=0.02)


def test_today_costs_at_least_what_it_has_cost() -> None:
    """A hundred dollars this morning will not be undone."""
    days = [10.0 + 0.1 * (number % 3) for number in range(40)]
    found = forecast.forecast({**before(days), TODAY: 100.0}, TODAY)

    assert found.low is not None
    assert found.low > november(days) + 100


@pytest.mark.parametrize(
    "days",
    [
        [0.001 * 1.5**number for number in range(60)],
        [2.0**number for number in range(80)],
        [1e300 * (1 + 0.01 * (number % 3)) for number in range(40)],
        [1e-12 * (1 + 0.3 * (number % 3)) for number in range(40)],
        [*[1.0] * 20, 1000.0, *[1.0] * 15, 2.0],
        [0.0 if number % 7 in {5, 6} else 10.0 for number in range(60)],
        [*[10.0] * 40, *[100.0 + number for number in range(10)]],
        [10.0 + number % 4 if number < 30 or number > 50 else 0.0 for number in range(80)],
    ],
    ids=["exploding", "doubling", "huge", "tiny", "spike", "exact weeks", "step", "gap"],
)
def test_any_history_has_an_ordered_finite_answer(days: list[float]) -> None:
    """No exception, no warning, nothing below what is spent."""
    found = forecast.forecast(before(days), TODAY)

    assert found.low is not None
    assert found.expected is not None
    assert found.high is not None
    assert found.so_far <= found.low <= found.expected <= found.high
    assert isfinite(found.high)


def test_exploding_spend_is_forecast_to_explode() -> None:
    """Half as much again every day: the rest of the month is most of it."""
    found = forecast.forecast(before([0.001 * 1.5**number for number in range(60)]), TODAY)

    assert found.low is not None
    assert found.low > 50 * found.so_far


def test_same_history_has_the_same_answer() -> None:
    """Months are drawn, but not by chance."""
    days = steady(60, np.random.default_rng(1)).tolist()

    assert forecast.forecast(before(days), TODAY) == forecast.forecast(before(days), TODAY)


def test_old_days_are_not_history() -> None:
    """What was half a year ago is over."""
    days = [1000.0] * 100 + [10.0 + number % 3 for number in range(HISTORY_DAYS)]
    found = forecast.forecast(before(days), TODAY)

    assert found.history == HISTORY_DAYS
    assert found.expected == pytest.approx(11 * 30, rel=0.1)


@pytest.mark.parametrize(
    ("today", "days"),
    [
        (date(2026, 11, 1), 30),
        (date(2026, 11, 30), 30),
        (date(2026, 12, 31), 31),
        (date(2028, 2, 28), 29),
    ],
)
def test_month_has_its_days(today: date, days: int) -> None:
    """From the first to the last, also of a leap year."""
    found = forecast.forecast(before([7.0] * 40, today), today)

    assert len(found.days) == days
    assert found.expected == pytest.approx(7.0 * days)
    assert found.days[-1].day.month == today.month


def test_budget_is_held_against_the_drawn_months() -> None:
    """A budget far above is never passed, one below always."""
    days = steady(60, np.random.default_rng(1)).tolist()

    assert forecast.forecast(before(days), TODAY, 1e9).above_budget == 0
    assert forecast.forecast(before(days), TODAY, 1.0).above_budget == 1


def said(found: Forecast, budget: Decimal | None = None) -> str:
    """The notes of an answer."""
    now = datetime(2026, 11, 16, 12, tzinfo=UTC).timestamp()
    return " / ".join(forecast.written_up(found, question(), now, budget).notes)


def test_answer_states_its_method() -> None:
    """And what it rests on."""
    days = steady(60, np.random.default_rng(1)).tolist()

    assert "60 whole days (statsmodels UnobservedComponents); 8 of 10" in said(
        forecast.forecast(before(days), TODAY)
    )
    assert f"only 5 whole days of history, {ENOUGH_DAYS} are needed" in said(
        forecast.forecast(before([2.0] * 5), TODAY)
    )
    assert "nothing to forecast from" in said(forecast.forecast({}, TODAY))
    assert "100% of these months end above the budget of $1.00" in said(
        forecast.forecast(before(days), TODAY, 1.0), Decimal(1)
    )


def test_days_are_those_of_the_time_zone(data_dir: Path, intake: Intake) -> None:
    """A call at half past eleven at night in UTC is tomorrow's in Berlin."""
    late = datetime(2026, 11, 10, 23, 30, tzinfo=UTC).timestamp()
    intake.take(records.started(at=late), records.thought(at=late))
    now = late + 3600

    with opened(data_dir) as ledger:
        utc = forecast.report(ledger, question(until=now), now)
        berlin = forecast.report(ledger, question(until=now, zone="Europe/Berlin"), now)

    # In UTC it was yesterday, a whole day; in Berlin it is today's, and today is not over.
    assert lines(utc)[0]["method"] == "run rate"
    assert lines(berlin)[0]["method"] == "none"
    assert lines(berlin)[0]["so_far_usd"] == pytest.approx(0.00056)


def test_command_answers(data_dir: Path, intake: Intake) -> None:
    """From the words on the command line to a line of figures."""
    intake.take(*records.call())
    words = ["report", "forecast", "--data-dir", str(data_dir), "--json"]

    result = CliRunner().invoke(app, [*words, "--since", "2026-11-01"])

    assert result.exit_code == 0, result.output
    [row] = json.loads(result.stdout)["rows"]
    assert row["method"] in {"none", "run rate"}


def test_command_does_not_look_back_from_another_day(data_dir: Path) -> None:
    """The current month is the one that is forecast."""
    words = ["report", "forecast", "--data-dir", str(data_dir), "--until", "2026-11-01"]

    assert "leave --until out" in CliRunner().invoke(app, words).stderr


def test_missing_library_is_one_line() -> None:
    """It is in an extra."""
    code = (
        "import sys; sys.modules['statsmodels'] = None\n"
        "from datetime import date, timedelta\n"
        "from livekit_exporter.reports import forecast, report\n"
        "today = date(2026, 11, 16)\n"
        "days = {today - timedelta(days=n): n % 5 + 1.0 for n in range(1, 40)}\n"
        "try: forecast.forecast(days, today)\n"
        "except report.ExtraError as error: print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert result.stdout.strip().endswith("pip install 'livekit-exporter[reports]'")
