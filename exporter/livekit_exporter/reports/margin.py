"""The margin report: revenue minus cost, by user or label."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, time, tzinfo
from decimal import Decimal
from typing import Final, TypeAlias

from livekit_exporter.ledger.queries import Snapshot
from livekit_exporter.prices.rules import exact
from livekit_exporter.reports import csv_table, lines, reading, revenue, written
from livekit_exporter.reports.period import Period
from livekit_exporter.reports.question import DIMENSIONS, Question, QuestionError
from livekit_exporter.reports.report import Column, Report, Value
from livekit_exporter.reports.revenue import Revenue

Place: TypeAlias = tuple[str, str | None]
"""Month, empty where revenue is not by month, and user or label value."""

_OF_A_CALL: Final = ("user", "agent")
_NAMED: Final = 20
_NO_COST: Final = Decimal(0)

_MONTH: Final = Column(revenue.PERIOD, "Month")
_COLUMNS: Final = (
    Column("sessions", "Calls", "count"),
    Column("revenue_usd", "Revenue", "usd"),
    Column("cost_usd", "Cost", "usd"),
    Column("margin_usd", "Margin", "usd"),
    Column("margin_share", "Margin", "share"),
    Column("unpriced_requests", "Unpriced", "count", sparse=True),
)


@dataclass(slots=True)
class CallsCost:
    """The cost of one user's calls.

    Args:
        sessions: Calls.
        usd: US dollars, of what has a price.
        unpriced: Requests without one.
    """

    sessions: int = 0
    usd: Decimal = _NO_COST
    unpriced: int = 0

    @property
    def known(self) -> bool:
        """False if nothing that was used has a price, so that the cost is not known."""
        return bool(self.usd) or not self.unpriced


def key(question: Question) -> str:
    """Return the one dimension of the question, whose values revenue is listed by.

    Raises:
        QuestionError: It is several, or none that calls have.
    """
    if len(question.by) != 1 or (question.by[0] in DIMENSIONS and question.by[0] not in _OF_A_CALL):
        raise QuestionError(
            f"revenue is by 'user', 'agent' or one label of the calls, not by"
            f" '{', '.join(question.by)}'"
        )
    return question.by[0]


def months(found: Revenue, zone: tzinfo) -> Period:
    """Return the period from the first month of a file to the end of its last one.

    Raises:
        QuestionError: No line of it could be read.
    """
    named = sorted({month for month, _ in found.usd})
    if not named:
        raise QuestionError(next(iter(found.mistakes), "there is no revenue in the file"))
    first, last = date.fromisoformat(f"{named[0]}-01"), date.fromisoformat(f"{named[-1]}-01")
    after = date(last.year + last.month // 12, last.month % 12 + 1, 1)
    begin, end = (datetime.combine(day, time(), zone).timestamp() for day in (first, after))
    return Period(begin, end, zone)


def report(ledger: Snapshot, question: Question, found: Revenue, now: float) -> Report:
    """Compare the cost of calls with the revenue in a file; `now` is in Unix seconds.

    Raises:
        QuestionError: A label is asked for that no call has.
    """
    reading.check_labels(ledger, question)
    asked = replace(question, by=("day", *question.by)) if found.by_month else question
    answer = reading.usage(ledger, asked, ("cost_usd", "unpriced_requests"))
    spent: dict[Place, CallsCost] = {}
    for group, sums in answer.reported.items():
        held = spent.setdefault(_place(group, found), CallsCost())
        held.usd += exact(sums["cost_usd"])
        held.unpriced += int(sums["unpriced_requests"])
    for group, sums in reading.calls(ledger, asked).items():
        spent.setdefault(_place(group, found), CallsCost()).sessions += int(sums.get("sessions", 0))
    notes = [
        *(["estimated cost is not in it"] if answer.estimated else []),
        *reading.notes(ledger, question),
    ]
    if found.by_month and question.period.until > now:
        notes.insert(0, "the last month is not over: its cost is what there is so far")
    return compared(question, found, spent, notes)


def _place(group: reading.Group, found: Revenue) -> Place:
    return ((group[0] or "")[:7], group[1]) if found.by_month else ("", group[0])


def compared(
    question: Question, found: Revenue, spent: dict[Place, CallsCost], notes: Iterable[str] = ()
) -> Report:
    """Make the report: users with revenue, the worst margin first, then those with calls only.

    Args:
        question: Period, filters and the dimension of the revenue.
        found: The revenue.
        spent: Cost of calls, by the same places.
        notes: Notes about the costs.
    """
    # Of a month that the file does not name, no revenue is missing.
    named = {month for month, _ in found.usd}
    places = {*found.usd, *(each for each in spent if not found.by_month or each[0] in named)}

    def line(place: Place) -> tuple[Value, ...]:
        return _line(_revenue(found, place), spent.get(place, CallsCost()))

    def order(place: Place) -> tuple[str, bool, Decimal, str]:
        earned, cost = _revenue(found, place), spent.get(place, CallsCost()).usd
        return place[0], earned is None, (earned or _NO_COST) - cost, place[1] or ""

    shown, left = lines.shown(question, sorted(places, key=order))
    held = [spent[place] for place in places if place in spent]
    total = CallsCost(
        sum(each.sessions for each in held),
        sum((each.usd for each in held), _NO_COST),
        sum(each.unpriced for each in held),
    )
    dimension = lines.columns(question, [each.name for each in (_MONTH, *_COLUMNS)])
    month = (_MONTH,) if found.by_month else ()
    return Report(
        title=question.title("Margin"),
        columns=(*month, *dimension, *_COLUMNS),
        rows=tuple((*place[: len(month)], place[1], *line(place)) for place in shown),
        totals=(
            *(None for _ in (*month, *dimension)),
            *_line(sum(found.usd.values(), _NO_COST), total),
        )
        if places
        else None,
        notes=(
            *csv_table.notes(found.mistakes),
            *_one_sided(found, spent, places, question.by[0]),
            *left,
            *notes,
        ),
        empty=f"no revenue and no calls: {question.period}",
    )


def _revenue(found: Revenue, place: Place) -> Decimal | None:
    month, whose = place
    return None if whose is None else found.usd.get((month, whose))


def _line(earned: Decimal | None, spent: CallsCost) -> tuple[Value, ...]:
    margin = earned - spent.usd if earned is not None and spent.known else None
    return (
        spent.sessions,
        earned,
        spent.usd if spent.known else None,
        margin,
        margin / earned if margin is not None and earned else None,
        spent.unpriced,
    )


def _one_sided(
    found: Revenue, spent: dict[Place, CallsCost], places: set[Place], whose: str
) -> list[str]:
    """Note users with cost but no revenue, and users with revenue but no calls."""
    said = []
    unpaid = [place for place in places if _revenue(found, place) is None]
    cost = sum((spent[place].usd for place in unpaid), _NO_COST)
    if unpaid:
        said.append(
            f"{len(unpaid)} of them without revenue, {written.money(cost)}, are in the total's"
            " cost and margin"
        )
    if any(place[1] is None for place in unpaid):
        said.append(f"calls that name no {whose} are the line '{written.UNKNOWN}'")
    idle = [place for place in found.usd if not spent.get(place, CallsCost()).sessions]
    earned = sum((found.usd[place] for place in idle), _NO_COST)
    if idle:
        said.append(f"{len(idle)} of them with revenue, {written.money(earned)}, had no calls")
    return said
