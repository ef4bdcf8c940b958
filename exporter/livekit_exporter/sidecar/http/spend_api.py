"""Answers `GET /api/v1/spend`: the spend of today, for the budgets of calls that go on.

Many calls ask at once, so the ledger is read at most once a second, and less often where
reading is slow, so that it takes at most a tenth of the time.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Final, Protocol

from livekit_exporter.ledger.spending import Spending, UserSpend
from livekit_exporter.sidecar.periods import period_start

_FRESH_SECONDS: Final = 1.0
_FRESH_PER_READING: Final = 10.0
_PARAMETERS: Final = ("user", "label", "agent", "exclude_session")


class SpendQuestionError(ValueError):
    """The parameters cannot be read; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendQuestion:
    """Parameters of a request; the spend of the whole day is always part of the answer.

    Args:
        user: Add the spend of this user; `None` for no such sum.
        label: Add the spend of calls with this label, name and value; `None` for no such sum.
        agent: Count this agent only.
        exclude_session: Leave out the spend of this call.
    """

    user: str | None = None
    label: tuple[str, str] | None = None
    agent: str | None = None
    exclude_session: str | None = None


def read_question(parameters: Sequence[tuple[str, str]]) -> SpendQuestion:
    """Read the parameters of a request.

    Raises:
        SpendQuestionError: A parameter is unknown, given twice, or a label without a name.
    """
    given = dict(parameters)
    for name in given:
        if name not in _PARAMETERS:
            raise SpendQuestionError(
                f"'{name}' is no parameter; there are {', '.join(_PARAMETERS)}"
            )
    if len(given) != len(parameters):
        raise SpendQuestionError("a parameter is there twice")
    name, equals, value = given.get("label", "").partition("=")
    if "label" in given and not (name and equals):
        raise SpendQuestionError(f"label is '{given['label']}'; write it as name=value")
    return SpendQuestion(
        user=given.get("user"),
        label=(name, value) if name else None,
        agent=given.get("agent"),
        exclude_session=given.get("exclude_session"),
    )


class SpendingSource(Protocol):
    """Reads the ledger."""

    def spending(self, since: float) -> Spending:
        """Read the spend since a Unix time."""
        ...

    def spending_of(self, session: str, since: float, last_row: int) -> list[UserSpend]:
        """Read the spend of one call since a Unix time, up to a row."""
        ...


@dataclass(frozen=True, slots=True)
class _DayReading:
    """The spend of a day as the ledger had it at one moment."""

    source: SpendingSource
    start: float
    as_of: float
    fresh_until: float
    spending: Spending


class DaySpend:
    """Answers questions about the spend of the current day.

    Args:
        clock: Unix seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._state: _DayReading | None = None

    def answer(
        self, source: SpendingSource, zone: tzinfo, zone_name: str, question: SpendQuestion
    ) -> dict[str, object]:
        """Answer with what `json.dumps` takes.  Reads the ledger, so call it in a thread.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        start = period_start("day", self._clock(), zone)
        state = self._read(source, start)
        spent = list(state.spending.spent)
        if question.exclude_session is not None:
            own = source.spending_of(question.exclude_session, start, state.spending.last_row)
            spent += [each._replace(usd=-each.usd) for each in own]
        if question.agent is not None:
            spent = [each for each in spent if each.agent == question.agent]
        sums = {"day": _sums(spent)}
        if question.user is not None:
            sums["user"] = _sums([each for each in spent if each.user == question.user])
        if question.label is not None:
            name, value = question.label
            sums["label"] = _sums(
                [each for each in spent if json.loads(each.labels).get(name) == value]
            )
        end = _next_midnight(start, zone)
        return {
            "as_of": state.as_of,
            "day": {
                "zone": zone_name,
                "start": datetime.fromtimestamp(start, zone).isoformat(),
                "end": datetime.fromtimestamp(end, zone).isoformat(),
                "start_at": start,
                "end_at": end,
            },
            "spend": sums,
        }

    def _read(self, source: SpendingSource, start: float) -> _DayReading:
        with self._lock:
            state = self._state
            if (
                state is None
                or state.source is not source
                or state.start != start
                or time.monotonic() >= state.fresh_until
            ):
                begun, now = time.monotonic(), self._clock()
                spending = source.spending(start)
                took = time.monotonic() - begun
                fresh_until = begun + max(_FRESH_SECONDS, _FRESH_PER_READING * took)
                state = self._state = _DayReading(source, start, now, fresh_until, spending)
            return state


def _next_midnight(start: float, zone: tzinfo) -> float:
    day = datetime.fromtimestamp(start, zone).date() + timedelta(days=1)
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()


def _sums(spent: Sequence[UserSpend]) -> Mapping[str, float]:
    """Add up by source; never below zero, where rounding leaves dust when a call is left out."""
    return {
        f"{source}_usd": max(0.0, sum(each.usd for each in spent if each.source == source))
        for source in ("reported", "estimated")
    }
