"""`GET /api/v1/spend`: what was spent today, for the budgets of calls that go on.

Any number of calls ask, so the ledger is read at most once a second, and where that
takes long only as often as makes it a tenth of the time.
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
_TIMES_AS_LONG: Final = 10.0
_PARAMETERS: Final = ("user", "label", "agent", "exclude_session")


class QuestionError(ValueError):
    """The question cannot be understood; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Whose spend is asked for.

    Args:
        user: A user's; `None` for no such answer.
        label: Name and value of a label, likewise.
        agent: Of this agent only.
        exclude_session: A call whose own spend is left out.
    """

    user: str | None = None
    label: tuple[str, str] | None = None
    agent: str | None = None
    exclude_session: str | None = None


def question(parameters: Sequence[tuple[str, str]]) -> Question:
    """Read the parameters of a request.

    Raises:
        QuestionError: One is unknown, comes twice, or is no `name=value`.
    """
    said = dict(parameters)
    for name in said:
        if name not in _PARAMETERS:
            raise QuestionError(f"'{name}' is no parameter; there are {', '.join(_PARAMETERS)}")
    if len(said) != len(parameters):
        raise QuestionError("a parameter is there twice")
    name, equals, value = said.get("label", "").partition("=")
    if "label" in said and not (name and equals):
        raise QuestionError(f"label is '{said['label']}'; write it as name=value")
    return Question(
        user=said.get("user"),
        label=(name, value) if name else None,
        agent=said.get("agent"),
        exclude_session=said.get("exclude_session"),
    )


class SpendingSource(Protocol):
    """The ledger."""

    def spending(self, since: float) -> Spending:
        """Spend since a Unix time."""
        ...

    def spending_of(self, session: str, since: float, last_row: int) -> list[UserSpend]:
        """Spend of one call since then, in no newer rows."""
        ...


@dataclass(frozen=True, slots=True)
class _State:
    """What the ledger said, and when."""

    source: SpendingSource
    start: float
    as_of: float
    fresh_until: float
    spending: Spending


class DaySpend:
    """Answers questions about the current day.

    Args:
        clock: Unix seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._state: _State | None = None

    def answer(
        self, source: SpendingSource, zone: tzinfo, zone_name: str, asked: Question
    ) -> dict[str, object]:
        """The answer, JSON-ready.  Reads the ledger: in a thread.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        start = period_start("day", self._clock(), zone)
        state = self._read(source, start)
        spent = list(state.spending.spent)
        if asked.exclude_session is not None:
            own = source.spending_of(asked.exclude_session, start, state.spending.last_row)
            spent += [each._replace(usd=-each.usd) for each in own]
        if asked.agent is not None:
            spent = [each for each in spent if each.agent == asked.agent]
        sums = {"day": _sums(spent)}
        if asked.user is not None:
            sums["user"] = _sums([each for each in spent if each.user == asked.user])
        if asked.label is not None:
            name, value = asked.label
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

    def _read(self, source: SpendingSource, start: float) -> _State:
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
                fresh_until = begun + max(_FRESH_SECONDS, _TIMES_AS_LONG * took)
                state = self._state = _State(source, start, now, fresh_until, spending)
            return state


def _next_midnight(start: float, zone: tzinfo) -> float:
    day = datetime.fromtimestamp(start, zone).date() + timedelta(days=1)
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()


def _sums(spent: Sequence[UserSpend]) -> Mapping[str, float]:
    """By source; taking a call out leaves no dust below zero."""
    return {
        f"{source}_usd": max(0.0, sum(each.usd for each in spent if each.source == source))
        for source in ("reported", "estimated")
    }
