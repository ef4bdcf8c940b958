"""The waste report: the cost of output that no caller heard."""

from typing import Final

from livekit_exporter.ledger.queries import Snapshot
from livekit_exporter.reports import lines, reading
from livekit_exporter.reports.question import Question
from livekit_exporter.reports.reading import Group, Numbers
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


def report(ledger: Snapshot, question: Question) -> Report:
    """Report the waste of a period by reason.

    Raises:
        QuestionError: A label is asked for that no call has.
    """
    reading.check_labels(ledger, question)
    wasted, cost = _read(ledger, question)
    sizes = {group: sums.get("wasted_usd", 0.0) for group, sums in wasted.items()}
    total, spent = sum(sizes.values()), sum(cost.values())

    def line(group: Group) -> tuple[Value, ...]:
        return _line(wasted[group], total, cost.get(group[:-1], 0.0))

    everything = reading.total(wasted)
    notes = reading.notes(ledger, question)
    if everything.get("estimated_wasted_usd"):
        notes.insert(
            0,
            "estimated waste is billed by vendors and not reported by LiveKit; in no other column",
        )
    return lines.report(
        question,
        "Waste",
        _COLUMNS,
        sizes,
        line,
        totals=(None, *_line(everything, total, spent)),
        notes=notes,
        charts=(lines.chart(question, "Wasted", "usd", sizes),),
        empty="nothing was wasted",
    )


def _read(ledger: Snapshot, question: Question) -> tuple[dict[Group, Numbers], dict[Group, float]]:
    """Read waste by group and reason, and the cost by group."""
    wasted: dict[Group, Numbers] = {}
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
        usd, where = sums["wasted_usd"], (*group, str(key["waste_reason"]))
        if reported:
            reading.add(wasted, where, {"wasted_usd": usd, "reports": sums["reports"]})
        else:
            more = {"estimated_wasted_usd": usd, "estimated_requests": sums["requests"]}
            reading.add(wasted, where, more)
    return wasted, cost


def _line(wasted: Numbers, total: float, cost: float) -> tuple[Value, ...]:
    usd = wasted.get("wasted_usd", 0.0)
    return (
        usd,
        usd / total if total else None,
        usd / cost if cost else None,
        int(wasted.get("reports", 0)),
        wasted.get("estimated_wasted_usd", 0.0),
        int(wasted.get("estimated_requests", 0)),
    )
