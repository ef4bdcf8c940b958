"""The cost report: US dollars, also per minute and per turn."""

from typing import Final

from livekit_exporter.ledger.queries import Snapshot
from livekit_exporter.reports import lines, reading
from livekit_exporter.reports.question import Question
from livekit_exporter.reports.reading import Numbers
from livekit_exporter.reports.report import Column, Report, Value

_NAMES: Final = ("cost_usd", "wasted_usd", "unpriced_requests")

_MONEY: Final = (
    Column("cost_usd", "Cost", "usd"),
    Column("cost_share", "Share", "share"),
    Column("wasted_usd", "Wasted", "usd", sparse=True),
    Column("estimated_usd", "Estimated", "usd", sparse=True),
    Column("unpriced_requests", "Unpriced", "count", sparse=True),
)
_CALLS: Final = (
    Column("sessions", "Calls", "count"),
    Column("session_minutes", "Minutes", "minutes"),
)
_RATES: Final = (
    Column("cost_usd_per_minute", "Per minute", "usd"),
    Column("cost_usd_per_turn", "Per turn", "usd"),
)


def report(ledger: Snapshot, question: Question) -> Report:
    """Report the cost of a period.

    Where the answer is divided by something that a call has several of, such as models,
    the rates are that part's share of a minute or turn of all calls, so that they add up.

    Raises:
        QuestionError: A label is asked for that no call has.
    """
    reading.check_labels(ledger, question)
    answer = reading.usage(ledger, question, _NAMES)
    calls = reading.calls(ledger, question)
    of_calls = reading.of_a_call(question).by
    whole_calls = of_calls == question.by
    # No set: the total must add the groups up in the same order every time.
    groups = dict.fromkeys((*answer.reported, *answer.estimated, *(calls if whole_calls else ())))
    spent = {group: answer.reported.get(group, {}).get("cost_usd", 0.0) for group in groups}
    total = sum(spent.values())
    positions = [question.by.index(name) for name in of_calls]

    def line(group: reading.Group) -> tuple[Value, ...]:
        return _line(
            answer.reported.get(group, {}),
            answer.estimated.get(group, {}),
            calls.get(tuple(group[position] for position in positions), {}),
            total,
            whole_calls=whole_calls,
        )

    all_used = reading.total(answer.reported)
    estimated, held = reading.total(answer.estimated), reading.total(calls)
    totals = _line(all_used, estimated, held, total, whole_calls=whole_calls)
    return lines.report(
        question,
        "Cost",
        (*_MONEY, *(_CALLS if whole_calls else ()), *_RATES),
        spent,
        line,
        totals=totals if question.by else None,
        notes=reading.notes(ledger, question, all_used.get("unpriced_requests", 0)),
        charts=(lines.chart(question, "Cost", "usd", spent),),
        empty="nothing was used and no call began",
        before=_notes(answer, whole_calls=whole_calls),
    )


def _line(
    usage: Numbers, estimated: Numbers, held: Numbers, total: float, *, whole_calls: bool
) -> tuple[Value, ...]:
    cost, unpriced = usage.get("cost_usd", 0.0), usage.get("unpriced_requests", 0)
    minutes, turns = held.get("session_seconds", 0.0) / 60, held.get("turns", 0)
    # Without any price the cost is not known, which is not zero.
    known = bool(cost) or not unpriced
    return (
        cost if known else None,
        cost / total if known and total else None,
        usage.get("wasted_usd", 0.0),
        estimated.get("cost_usd", 0.0),
        int(unpriced),
        *((int(held.get("sessions", 0)), minutes) if whole_calls else ()),
        cost / minutes if known and minutes else None,
        cost / turns if known and turns else None,
    )


def _notes(answer: reading.UsageSums, *, whole_calls: bool) -> list[str]:
    said = []
    if answer.estimated:
        said.append(
            "estimated cost is what vendors bill and LiveKit does not report; not in 'cost'"
        )
    if not whole_calls:
        said.append(
            "per minute and per turn are shares of all calls' minutes and turns: they add up"
        )
    return said
