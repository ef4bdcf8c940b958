"""The waste report: the cost of output that no caller heard."""

from dataclasses import dataclass
from typing import Final

from livekit_exporter.ledger.queries import Snapshot
from livekit_exporter.reports import lines, reading
from livekit_exporter.reports.question import Question
from livekit_exporter.reports.reading import Group
from livekit_exporter.reports.report import Column, Report, Value

_COLUMNS: Final = (
    Column("reason", "Reason"),
    Column("wasted_usd", "Wasted", "usd"),
    Column("wasted_share", "Of the waste", "share"),
    Column("cost_share", "Of the cost", "share"),
    Column("reports", "Usage reports", "count"),
    Column("estimated_wasted_usd", "Estimated waste", "usd", sparse=True),
    Column("estimated_requests", "Estimated requests", "count", sparse=True),
)


@dataclass(slots=True)
class _Wasted:
    """Waste of one group and reason, reported and estimated."""

    usd: float = 0.0
    reports: int = 0
    estimated_usd: float = 0.0
    estimated_requests: int = 0


def report(ledger: Snapshot, question: Question) -> Report:
    """Report the waste of a period by reason.

    Raises:
        QuestionError: A label is asked for that no call has.
    """
    reading.check_labels(ledger, question)
    wasted, cost = _read(ledger, question)
    sizes = {group: each.usd for group, each in wasted.items()}
    total, spent = sum(sizes.values()), sum(cost.values())

    def line(group: Group) -> tuple[Value, ...]:
        return _line(wasted[group], total, cost.get(group[:-1], 0.0))

    everything = _Wasted(
        total,
        sum(each.reports for each in wasted.values()),
        sum(each.estimated_usd for each in wasted.values()),
        sum(each.estimated_requests for each in wasted.values()),
    )
    estimated = any(each.estimated_requests or each.estimated_usd for each in wasted.values())
    notes = (
        ("estimated waste is billed by vendors and not reported by LiveKit; in no other column",)
        if estimated
        else ()
    )
    return lines.report(
        question,
        "Waste",
        _COLUMNS,
        sizes,
        line,
        totals=(None, *_line(everything, total, spent)),
        notes=(*notes, *reading.notes(ledger, question)),
        charts=(lines.chart(question, "Wasted", "usd", sizes),),
        empty="nothing was wasted",
    )


def _read(ledger: Snapshot, question: Question) -> tuple[dict[Group, _Wasted], dict[Group, float]]:
    """Read waste by group and reason, and the cost by group."""
    wasted: dict[Group, _Wasted] = {}
    cost: dict[Group, float] = {}
    by = tuple(dict.fromkeys((*reading.key_columns(question), "source", "waste_reason")))
    sums_of = ("reports", "requests", "cost_usd", "wasted_usd")
    for key, sums in ledger.usage(reading.span(question), by, sums_of):
        group = reading.group(question, key)
        if group is None:
            continue
        reported = key["source"] == "reported"
        if reported:
            cost[group] = cost.get(group, 0.0) + sums["cost_usd"]
        if key["waste_reason"] is None or not sums["wasted_usd"]:
            continue
        into = wasted.setdefault((*group, str(key["waste_reason"])), _Wasted())
        if reported:
            into.usd += sums["wasted_usd"]
            into.reports += int(sums["reports"])
        else:
            into.estimated_usd += sums["wasted_usd"]
            into.estimated_requests += int(sums["requests"])
    return wasted, cost


def _line(wasted: _Wasted, total: float, cost: float) -> tuple[Value, ...]:
    return (
        wasted.usd,
        wasted.usd / total if total else None,
        wasted.usd / cost if cost else None,
        wasted.reports,
        wasted.estimated_usd,
        wasted.estimated_requests,
    )
