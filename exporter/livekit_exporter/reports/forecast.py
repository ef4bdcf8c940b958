"""A forecast of the current month's cost at its end, with a range.

A structural time series (statsmodels' `UnobservedComponents`): a level that wanders, a
steady trend, and a pattern of the week, fitted to the sums of whole days, either as they
are or as logarithms, whichever says more.  The rest of the month is drawn from it many
times; the range holds four of five of these months.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from livekit_exporter.ledger.queries import Snapshot
from livekit_exporter.reports import reading, written
from livekit_exporter.reports.question import Question
from livekit_exporter.reports.report import Chart, Column, ExtraError, Report
from livekit_exporter.reports.written import counted

HISTORY_DAYS: Final = 180
"""Days of history at most; older days say little about the next weeks and make the fit slow."""

ENOUGH_DAYS: Final = 21
"""Each day of the week three times; with fewer, a pattern of the week may be chance."""

RANGE: Final = (0.1, 0.9)
"""Shares of the drawn months below the range and below its end."""

_MONTHS_DRAWN: Final = 2000
_WEEK: Final = 7
# The same history gives the same answer.
_SEED: Final = 1
_SAME: Final = 1e-9

Method: TypeAlias = Literal["none", "run rate", "constant", "model"]

_COLUMNS: Final = (
    Column("month", "Month"),
    Column("so_far_usd", "So far", "usd"),
    Column("expected_usd", "Expected", "usd"),
    Column("low_usd", "Low", "usd"),
    Column("high_usd", "High", "usd"),
    Column("method", "Method"),
)


@dataclass(frozen=True, slots=True)
class ForecastDay:
    """The expected spend since the month began, at the end of a day.

    Args:
        day: The day.
        usd: US dollars, of days that are over the ones that were spent.
        low: Least of the range.
        high: Most of the range.
    """

    day: date
    usd: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The end of a month.

    Args:
        method: How it was made; `none` where there is nothing to make it from.
        history: Whole days that it rests on.
        idle: Of these, days without any cost.
        so_far: US dollars of this month.
        expected: US dollars at its end: half of the drawn months end below.
        low: Least of the range, `None` where nothing is known of it.
        high: Most of the range.
        days: The way there.
        above_budget: Share of drawn months that end above the budget, if there is one.
    """

    method: Method
    history: int
    idle: int
    so_far: float
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    days: tuple[ForecastDay, ...] = ()
    above_budget: float | None = None


def forecast(daily: Mapping[date, float], today: date, budget: float | None = None) -> Forecast:
    """Forecast the end of the current month.

    Args:
        daily: US dollars by day, today's so far among them; a day that is not there had none.
        today: The day that is not over yet.
        budget: US dollars allowed for the month.

    Raises:
        ExtraError: `statsmodels` is not installed.
    """
    begun = today.replace(day=1)
    over = [begun + timedelta(days=number) for number in range((today - begun).days)]
    left = [today + timedelta(days=number) for number in range((_next_month(today) - today).days)]
    history = _history(daily, today)
    spent = [daily.get(day, 0.0) for day in over]
    known = Forecast(
        method="none",
        history=len(history),
        idle=sum(1 for usd in history if not usd),
        so_far=sum(spent) + daily.get(today, 0.0),
    )
    if not history:
        return known
    recent = history[-ENOUGH_DAYS:]
    mean = sum(recent) / len(recent)
    if len(history) < ENOUGH_DAYS:
        rest = [[mean] * len(left)]
        method: Method = "run rate"
    elif max(abs(usd - mean) for usd in recent) <= _SAME * mean:
        rest = [[mean] * len(left)]
        method = "constant"
    else:
        rest = _drawn(history, len(left))
        method = "model"
    for way in rest:
        # The day is not over: what it cost so far it cost.
        way[0] = max(way[0], daily.get(today, 0.0))
    return _summed(known, method, (over, spent), (left, rest), budget)


def _history(daily: Mapping[date, float], today: date) -> list[float]:
    """Return the cost of whole days, from the first that cost something; `HISTORY_DAYS` at most."""
    first = min((day for day, usd in daily.items() if usd and day < today), default=today)
    first = max(first, today - timedelta(days=HISTORY_DAYS))
    days = (first + timedelta(days=number) for number in range((today - first).days))
    return [daily.get(day, 0.0) for day in days]


def _summed(
    known: Forecast,
    method: Method,
    past: tuple[list[date], list[float]],
    future: tuple[list[date], list[list[float]]],
    budget: float | None,
) -> Forecast:
    """Sum days to months and find the median and both ends of the range."""
    days: list[ForecastDay] = []
    total = 0.0
    for day, usd in zip(*past, strict=True):
        total += usd
        days.append(ForecastDay(day, total, total, total))
    left, rest = future
    months = [total] * len(rest)
    for number, day in enumerate(left):
        months = [month + way[number] for month, way in zip(months, rest, strict=True)]
        ranked = sorted(months)
        low, middle, high = (
            ranked[round(share * (len(ranked) - 1))] for share in (RANGE[0], 0.5, RANGE[1])
        )
        days.append(ForecastDay(day, middle, low, high))
    ranged = method != "run rate"
    above = None
    if budget is not None and ranged:
        above = sum(1 for month in months if month > budget) / len(months)
    return replace(
        known,
        method=method,
        expected=days[-1].usd,
        low=days[-1].low if ranged else None,
        high=days[-1].high if ranged else None,
        days=tuple(days),
        above_budget=above,
    )


def _drawn(history: list[float], days: int) -> list[list[float]]:
    """Draw the next days many times.

    Raises:
        ExtraError: `statsmodels` is not installed.
    """
    try:
        import numpy as np  # noqa: PLC0415 - large, and in an extra
        from statsmodels.tsa.statespace.structural import UnobservedComponents  # noqa: PLC0415
    except ImportError as error:
        raise ExtraError("a forecast", "statsmodels") from error
    usd = np.asarray(history)
    scale = usd.mean()
    best, most, logarithms = None, -np.inf, False
    for as_logarithms in (False, True) if (usd > 0).all() else (False,):
        model = UnobservedComponents(
            np.log(usd / scale) if as_logarithms else usd / scale,
            level="lldtrend",
            seasonal=_WEEK,
            stochastic_seasonal=False,
        )
        with warnings.catch_warnings():
            # A fit that has not converged is one of two, and the better one is taken.
            warnings.simplefilter("ignore")
            fitted = model.fit(disp=False, maxiter=200)
        # The density of the same days, whichever scale they were fitted on.
        burnt = fitted.loglikelihood_burn
        likely = fitted.llf - (np.log(usd / scale)[burnt:].sum() if as_logarithms else 0.0)
        if likely > most:
            best, most, logarithms = fitted, likely, as_logarithms
    if best is None:
        return [[float(scale)] * days]
    draw = np.random.default_rng(_SEED)
    with warnings.catch_warnings(), np.errstate(over="ignore"):
        # Variances of a history without any noise are zero but for their last digits.
        warnings.simplefilter("ignore")
        ways = np.asarray(
            best.simulate(days, anchor="end", repetitions=_MONTHS_DRAWN, rng=draw)
        ).reshape(days, _MONTHS_DRAWN)
        usd_drawn = scale * (np.exp(ways) if logarithms else np.maximum(ways, 0.0))
    drawn: list[list[float]] = usd_drawn.T.tolist()
    return drawn


def _next_month(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)


def report(
    ledger: Snapshot, question: Question, now: float, budget: Decimal | None = None
) -> Report:
    """Report a forecast of the current month.

    Args:
        ledger: Snapshot to read.
        question: The period is the history; filters hold.
        now: Unix seconds.
        budget: US dollars allowed for a month of all calls.

    Raises:
        ExtraError: `statsmodels` is not installed.
        QuestionError: A label is asked for that no call has.
    """
    reading.check_labels(ledger, question)
    answer = reading.usage(ledger, replace(question, by=("day",)), ("cost_usd",))
    daily = {
        date.fromisoformat(day): sums["cost_usd"]
        for (day,), sums in answer.reported.items()
        if day is not None
    }
    whole = not question.only and not question.labels
    found = forecast(
        daily,
        datetime.fromtimestamp(now, question.period.zone).date(),
        float(budget) if budget is not None and whole else None,
    )
    return written_up(found, question, now, budget, notes=reading.notes(ledger, question))


def written_up(
    found: Forecast,
    question: Question,
    now: float,
    budget: Decimal | None = None,
    notes: Sequence[str] = (),
) -> Report:
    """Make the report from a forecast."""
    today = datetime.fromtimestamp(now, question.period.zone).date()
    month = f"{today:%Y-%m}"
    ranged = found.low is not None
    return Report(
        title=question.title(f"Forecast of {month} from the days before"),
        columns=_COLUMNS,
        rows=((month, found.so_far, found.expected, found.low, found.high, found.method),),
        notes=(*_said(found, budget), *notes),
        charts=(_chart(found, month, ranged=ranged),) if found.days else (),
    )


def _said(found: Forecast, budget: Decimal | None) -> list[str]:
    said = []
    match found.method:
        case "none":
            said.append("there is no whole day with cost before today, so nothing to forecast from")
        case "run rate":
            said.append(
                f"only {counted(found.history, 'whole day')} of history, {ENOUGH_DAYS} are needed"
                " for a forecast with a range; this is their mean for every day to come, without"
                " weekends or trend"
            )
        case "constant":
            said.append(
                f"each of the last {ENOUGH_DAYS} whole days cost the same, so nothing says how far"
                " the next ones may be from it"
            )
        case "model":
            said.append(
                f"level, trend and days of the week of {counted(found.history, 'whole day')}"
                " (statsmodels UnobservedComponents); 8 of 10 months drawn from it end between low"
                " and high, half of them below expected"
            )
    if found.idle:
        said.append(f"{counted(found.idle, 'day')} without cost in between count as $0")
    if found.above_budget is not None and budget is not None:
        said.append(
            f"{found.above_budget:.0%} of these months end above the budget of"
            f" {written.money(budget)}"
        )
    return said


def _chart(found: Forecast, month: str, *, ranged: bool) -> Chart:
    series = [("expected", tuple(day.usd for day in found.days))]
    if ranged:
        series.insert(0, ("low", tuple(day.low for day in found.days)))
        series.append(("high", tuple(day.high for day in found.days)))
    return Chart(
        "line",
        f"Spend of {month} at the end of each day",
        "usd",
        tuple(day.day.isoformat() for day in found.days),
        tuple(series),
    )
