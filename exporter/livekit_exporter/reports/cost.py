"""What was spent, and what it comes to per minute and per turn."""

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
    """Ask the ledger what was spent.

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
    groups = {*answer.reported, *answer.estimated, *(calls if whole_calls else ())}
    spent = {group: answer.reported.get(group, {}).get("cost_usd", 0.0) for group in groups}
    ordered, left_out = lines.shown(question, lines.arranged(question, spent))
    total = sum(spent.values())

    def line(usage: Numbers, estimated: Numbers, held: Numbers) -> tuple[Value, ...]:
        return (
            *_money(usage, estimated, total),
            *(_calls(held) if whole_calls else ()),
            *_rates(usage, held),
        )

    positions = [question.by.index(name) for name in of_calls]
    rows = tuple(
        (
            *group,
            *line(
                answer.reported.get(group, {}),
                answer.estimated.get(group, {}),
                calls.get(tuple(group[position] for position in positions), {}),
            ),
        )
        for group in ordered
    )
    measures = (*_MONEY, *(_CALLS if whole_calls else ()), *_RATES)
    all_used = reading.total(answer.reported)
    totals = line(all_used, reading.total(answer.estimated), reading.total(calls))
    return Report(
        title=question.title("Cost"),
        columns=(*lines.columns(question, [each.name for each in measures]), *measures),
        rows=rows,
        totals=(*(None for _ in question.by), *totals) if question.by and rows else None,
        notes=(
            *_notes(answer, whole_calls=whole_calls),
            *left_out,
            *reading.notes(ledger, question, all_used.get("unpriced_requests", 0)),
        ),
        charts=(lines.chart(question, "Cost", "usd", spent),) if rows else (),
        empty=f"nothing was used and no call began: {question.period}",
    )


def _money(usage: Numbers, estimated: Numbers, total: float) -> tuple[Value, ...]:
    cost, unpriced = usage.get("cost_usd", 0.0), usage.get("unpriced_requests", 0)
    # Nothing that was used has a price: what it cost is not known.
    known = bool(cost) or not unpriced
    return (
        cost if known else None,
        cost / total if known and total else None,
        usage.get("wasted_usd", 0.0),
        estimated.get("cost_usd", 0.0),
        int(unpriced),
    )


def _calls(held: Numbers) -> tuple[Value, ...]:
    return int(held.get("sessions", 0)), held.get("session_seconds", 0.0) / 60


def _rates(usage: Numbers, held: Numbers) -> tuple[Value, ...]:
    cost, minutes = usage.get("cost_usd", 0.0), held.get("session_seconds", 0.0) / 60
    turns = held.get("turns", 0)
    known = bool(cost) or not usage.get("unpriced_requests", 0)
    return (
        cost / minutes if known and minutes else None,
        cost / turns if known and turns else None,
    )


def _notes(answer: reading.Answer, *, whole_calls: bool) -> list[str]:
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
