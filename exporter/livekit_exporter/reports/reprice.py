"""The report of a repricing, and the history of repricings."""

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias

from livekit_exporter.ledger.backends.locate import reading
from livekit_exporter.ledger.expressions import Span
from livekit_exporter.ledger.reprice import apply
from livekit_exporter.ledger.reprice.call import repriced
from livekit_exporter.ledger.reprice.changes import Changes, ModelChange, ModelName
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.reports.question import Question
from livekit_exporter.reports.report import Column, Report, Value, row
from livekit_exporter.reports.written import counted

Chunk: TypeAlias = list[tuple[str, str]]
Followed: TypeAlias = Callable[[list[Chunk]], Iterable[Chunk]]
"""Iterates over chunks of calls, and may show progress."""

_CALLS_AT_A_TIME: Final = 200

_MODEL: Final = tuple(Column(name, name.capitalize()) for name in ("stage", "provider", "model"))
_SUMS: Final = (
    Column("source", "Source", detail=True),
    Column("changed", "Changed", "count"),
    Column("old_usd", "Old", "usd"),
    Column("new_usd", "New", "usd"),
    Column("difference_usd", "Difference", "usd"),
    Column("old_unpriced_requests", "Were unpriced", "count", sparse=True),
    Column("new_unpriced_requests", "Are unpriced", "count", sparse=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a repricing or a dry run.

    Args:
        models: By model, of usage whose price or cost changed.
        calls: Calls that were looked at, and of these `changed` ones.
        going_on: Calls that are not over and keep their costs.
        kept_from: Since when calls are kept, Unix seconds.
        number: Of the repricing; `None` where nothing was written.
    """

    models: dict[ModelName, ModelChange]
    calls: int
    changed: int
    going_on: int
    kept_from: float
    number: int | None = None


def reprice(
    where: Path | str, span: Span, catalogue: Catalogue, followed: Followed, *, dry_run: bool
) -> Outcome:
    """Price stored usage again, and write it unless it is a dry run.

    Args:
        where: The ledger's file, or the URL of a PostgreSQL database.
        span: What to price again.
        catalogue: Prices in force.
        followed: To go through the calls.
        dry_run: Change nothing.

    Raises:
        LedgerError: Nothing was changed.
    """
    with closing(Changes()) as changes:
        with reading(where) as connection:
            calls = apply.over(connection, span)
            for chunk in followed(
                [
                    calls[begin : begin + _CALLS_AT_A_TIME]
                    for begin in range(0, len(calls), _CALLS_AT_A_TIME)
                ]
            ):
                for call in apply.read(connection, chunk):
                    change = repriced(call, span, catalogue)
                    if change is not None:
                        changes.add(change)
            going_on = apply.going_on(connection, span)
            kept_from = apply.kept_from(connection)
        number = None
        if changes.models and not dry_run:
            number = apply.apply(where, changes, span, catalogue.version)
        return Outcome(
            models=changes.models,
            calls=len(calls),
            changed=changes.calls.rows,
            going_on=going_on,
            kept_from=kept_from,
            number=number,
        )


def report(outcome: Outcome, question: Question, version: str, *, dry_run: bool) -> Report:
    """Make the report from an outcome."""
    ordered = sorted(
        outcome.models.items(),
        key=lambda item: (-abs(item[1].new_usd - item[1].old_usd), item[0]),
    )
    total = ModelChange(*map(sum, zip(*outcome.models.values(), strict=True)))
    subject = "Would be repriced" if dry_run else "Repriced"
    return Report(
        title=question.title(f"{subject} with prices {version}"),
        columns=(*_MODEL, *_SUMS),
        rows=tuple((*name[:3], name.source, *_line(change)) for name, change in ordered),
        totals=(None, None, None, None, *_line(total)) if ordered else None,
        notes=_notes(outcome, question, dry_run=dry_run),
        empty=f"every cost stays what it is: {counted(outcome.calls, 'call')} looked at",
    )


def _line(change: ModelChange) -> tuple[Value, ...]:
    return row(_SUMS[1:], change, difference_usd=change.new_usd - change.old_usd)


def _notes(outcome: Outcome, question: Question, *, dry_run: bool) -> tuple[str, ...]:
    said = []
    if outcome.models and dry_run:
        said.append(f"nothing was changed; {counted(outcome.changed, 'call')} would be")
    elif outcome.models:
        said.append(
            f"{counted(outcome.changed, 'call')} changed, in one transaction: repricing"
            f" {outcome.number}, see 'livekit-exporter prices repricings'"
        )
        said.append(
            "counters and histograms on /metrics keep what was counted; the spend of the current"
            " day and month follows within seconds"
        )
    if outcome.going_on:
        said.append(
            f"{counted(outcome.going_on, 'call')} of the period still going on; they keep their"
            " costs until somebody reprices them"
        )
    if outcome.kept_from > question.period.since:
        day = question.period.day(outcome.kept_from)
        said.append(f"of calls before {day} only daily sums may be left, which stay as they are")
    return tuple(said)


def history(where: Path | str) -> Report:
    """Report the repricings so far, the latest first.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    with reading(where) as connection:
        found = apply.history(connection)
    return Report(
        title="Repricings",
        columns=(
            Column("repricing", "No.", "count"),
            Column("at", "When", "time"),
            Column("since", "From", "time", detail=True),
            Column("until", "Until", "time", detail=True),
            Column("prices_version", "Prices"),
            *_MODEL,
            *_SUMS,
        ),
        rows=tuple(
            (
                line.repricing,
                *(datetime.fromtimestamp(at, UTC) for at in (line.at, line.since, line.until)),
                line.prices_version,
                *line.name[:3],
                line.name.source,
                *_line(line.change),
            )
            for line in found
        ),
        notes=(
            "the cost before is what the prices of that time give: 'report whatif --prices FILE'",
        )
        if found
        else (),
        empty="nothing was ever repriced",
    )
