"""Measure how quickly reports answer from a large ledger."""

import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC
from math import isclose
from pathlib import Path
from typing import Final, NamedTuple

from bench import ledgers
from bench.figures import Answer, Quote, millis, percentile, ratio
from livekit_exporter.ledger.queries import Snapshot, snapshot
from livekit_exporter.reports import calls, cost, reading
from livekit_exporter.reports.period import Period
from livekit_exporter.reports.question import Question

_ROWS: Final = 1_000_000
_QUICK_ROWS: Final = 30_000
_TIMES: Final = 7
_SCANS: Final = 3
_USD: Final = ("cost_usd",)

_MONTH: Final = Period(ledgers.BEGIN, ledgers.BEGIN + ledgers.DAYS * ledgers.DAY, UTC)
_TODAY: Final = Period(_MONTH.until - ledgers.DAY, _MONTH.until, UTC)


_ROWS_ALONE: Final = "SELECT sum(cost_usd) FROM usage NOT INDEXED"


class _Asked(NamedTuple):
    """One question: as a report, and as a query of the bare rows.

    Args:
        what: The question.
        ask: How a report asks it.
        scan: The same in SQL, of the rows alone.
        values: What the SQL fills in.
        usd: The sum that both must give.
    """

    what: str
    ask: Callable[[Snapshot], float]
    scan: str
    values: tuple[object, ...]
    usd: float


def measure(*, quick: bool) -> Answer:
    """Ask what people ask, and ask the same of the rows alone.

    Raises:
        AssertionError: An answer is wrong, or no quicker than without index and rollup.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        written = ledgers.write(path, _QUICK_ROWS if quick else _ROWS)
        lines = [
            (asked.what, *_compared(asked, path, quick=quick)) for asked in _questions(written)
        ]
    size = f"{written.rows / 1e6:.3g} million usage rows"
    return Answer(
        question="How quickly a report answers",
        method=(
            f"{written.rows} usage rows of {written.calls} calls in {ledgers.DAYS} days, written by"
            " the ledger's own code; each question as a report asks it, against the same question"
            f" to the rows without index and rollup. Medians of {_TIMES} and {_SCANS}. Meant to be"
            " under 100 ms, the first under 5 ms."
        ),
        columns=("question", "ms", "rows alone, ms", "ratio"),
        rows=[
            (what, millis(taken), millis(scanned), ratio(taken, scanned))
            for what, taken, scanned in lines
        ],
        quotes=[
            Quote(
                what=f"report of {what}, {size}",
                measured=f"{millis(taken)} ms",
                against=f"rows without index and rollup: {millis(scanned)} ms",
                ratio=ratio(taken, scanned),
            )
            for what, taken, scanned in lines
        ],
    )


def _questions(written: ledgers.Sums) -> list[_Asked]:
    by_day_and_model = Question(period=_MONTH, by=("day", "model"))
    top_users = Question(period=_MONTH, by=("user",), limit=ledgers.TOP)
    one_user = Question(period=_MONTH, by=("day",), only={"user": (ledgers.USER,)})
    return [
        _Asked(
            "cost by day and model, the figures alone",
            lambda ledger: reading.total(reading.usage(ledger, by_day_and_model, _USD).reported)[
                "cost_usd"
            ],
            "SELECT sum(usd) FROM (SELECT sum(cost_usd) AS usd FROM usage NOT INDEXED"
            " GROUP BY date(at, 'unixepoch'), model)",
            (),
            written.usd,
        ),
        _Asked(
            "cost by day and model",
            lambda ledger: _spent(ledger, by_day_and_model),
            "SELECT sum(usd) FROM (SELECT sum(cost_usd) AS usd FROM usage NOT INDEXED"
            " GROUP BY date(at, 'unixepoch'), model)",
            (),
            written.usd,
        ),
        _Asked(
            "cost of today",
            lambda ledger: _spent(ledger, Question(period=_TODAY)),
            f"{_ROWS_ALONE} WHERE at >= ? AND at < ?",
            (_TODAY.since, _TODAY.until),
            written.today_usd,
        ),
        _Asked(
            "the ten most expensive users",
            lambda ledger: _spent(ledger, top_users),
            "SELECT sum(usd) FROM (SELECT sum(cost_usd) AS usd FROM usage NOT INDEXED"
            " GROUP BY user ORDER BY usd DESC LIMIT ?)",
            (ledgers.TOP,),
            written.top_usd,
        ),
        _Asked(
            "one user's month by day",
            lambda ledger: _spent(ledger, one_user),
            f"{_ROWS_ALONE} WHERE user = ?",
            (ledgers.USER,),
            written.user_usd,
        ),
        _Asked(
            "one call",
            lambda ledger: calls.detail(ledger, written.first_call).call.cost_usd,
            f"{_ROWS_ALONE} WHERE session = ?",
            (written.first_call,),
            written.first_call_usd,
        ),
    ]


def _spent(ledger: Snapshot, question: Question) -> float:
    """Spend of a whole report, summed over its lines."""
    report = cost.report(ledger, question)
    place = [column.name for column in report.columns].index("cost_usd")
    return sum(float(str(row[place])) for row in report.rows)


def _compared(asked: _Asked, path: Path, *, quick: bool) -> tuple[float, float]:
    """Seconds of both ways."""
    taken, alone = [], []
    for _ in range(_TIMES):
        # Opened anew, for it keeps what it has summed up once.
        with snapshot(path) as ledger:
            begun = time.perf_counter()
            answer = asked.ask(ledger)
            taken.append(time.perf_counter() - begun)
        assert isclose(answer, asked.usd, rel_tol=1e-9), f"{asked.what}: {answer}, not {asked.usd}"
    with closing(sqlite3.connect(path)) as bare:
        for _ in range(_SCANS):
            begun = time.perf_counter()
            [answer] = bare.execute(asked.scan, asked.values).fetchone()
            alone.append(time.perf_counter() - begun)
            assert isclose(answer, asked.usd, rel_tol=1e-9), f"{asked.what}: rows give {answer}"
    seconds, floor = percentile(taken, 50), percentile(alone, 50)
    # A few rows are read in less time than a report needs for its notes.
    assert quick or seconds < floor, f"{asked.what}: {seconds} s, rows alone {floor} s"
    return seconds, floor
