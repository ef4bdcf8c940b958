"""What was paid for and heard by nobody."""

from typing import Final

from livekit_exporter.ledger.queries import Snapshot, Span
from livekit_exporter.reports import lines, reading
from livekit_exporter.reports.question import Question
from livekit_exporter.reports.report import Column, Report

_COLUMNS: Final = (
    Column("reason", "Reason"),
    Column("wasted_usd", "Wasted", "usd"),
    Column("wasted_share", "Of the waste", "share"),
    Column("cost_share", "Of the cost", "share"),
    Column("reports", "Usage reports", "count"),
    Column("estimated_wasted_usd", "Estimated waste", "usd", sparse=True),
    Column("estimated_requests", "Estimated requests", "count", sparse=True),
)


def report(ledger: Snapshot, question: Question) -> Report:
    """Ask the ledger what was wasted, and why.

    Raises:
        QuestionError: A label is asked for that no call has.
    """
    reading.check_labels(ledger, question)
    span = Span(question.period.since, question.period.until, question.only)
    cost: dict[reading.Group, float] = {}
    wasted: dict[reading.Group, float] = {}
    estimated: dict[reading.Group, float] = {}
    reports: dict[reading.Group, int] = {}
    requests: dict[reading.Group, int] = {}
    by = tuple(dict.fromkeys((*reading.key_columns(question), "source", "waste_reason")))
    for key, sums in ledger.usage(span, by, ("reports", "requests", "cost_usd", "wasted_usd")):
        group = reading.group(question, key)
        if group is None:
            continue
        reported = key["source"] == "reported"
        if reported:
            cost[group] = cost.get(group, 0.0) + sums["cost_usd"]
        if key["waste_reason"] is not None and sums["wasted_usd"]:
            line = (*group, str(key["waste_reason"]))
            amounts, counts = (wasted, reports) if reported else (estimated, requests)
            amounts[line] = amounts.get(line, 0.0) + sums["wasted_usd"]
            number = sums["reports"] if reported else sums["requests"]
            counts[line] = counts.get(line, 0) + int(number)
    sizes = {line: wasted.get(line, 0.0) for line in {**wasted, **estimated}}
    shown, left_out = lines.shown(question, lines.arranged(question, sizes))
    total, spent = sum(wasted.values()), sum(cost.values())
    notes = []
    if estimated:
        notes.append(
            "estimated waste is billed by vendors and not reported by LiveKit; in no other column"
        )
    return Report(
        title=question.title("Waste"),
        columns=(*lines.columns(question, [each.name for each in _COLUMNS]), *_COLUMNS),
        rows=tuple(
            (
                *line,
                wasted.get(line, 0.0),
                wasted.get(line, 0.0) / total if total else None,
                wasted.get(line, 0.0) / cost[line[:-1]] if cost.get(line[:-1]) else None,
                reports.get(line, 0),
                estimated.get(line, 0.0),
                requests.get(line, 0),
            )
            for line in shown
        ),
        totals=(
            *(None for _ in (*question.by, "reason")),
            total,
            1.0 if total else None,
            total / spent if spent else None,
            sum(reports.values()),
            sum(estimated.values()),
            sum(requests.values()),
        )
        if shown
        else None,
        notes=(*left_out, *notes, *reading.notes(ledger, question)),
        charts=(lines.chart(question, "Wasted", "usd", sizes),) if sizes else (),
        empty=f"nothing was wasted: {question.period}",
    )
