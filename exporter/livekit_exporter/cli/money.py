"""Commands about money that could have been spent otherwise, or will be."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from livekit_exporter.cli.errors import fail, one_line_for
from livekit_exporter.cli.options import (
    Options,
    with_answer,
    with_filters,
    with_options,
    with_usage,
)
from livekit_exporter.cli.reports import report_app

if TYPE_CHECKING:
    from collections.abc import Iterable

    from livekit_exporter.reports.reprice import Chunk


@report_app.command("whatif")
@with_options
def whatif(
    options: Options,
    swaps: Annotated[
        list[str] | None,
        typer.Argument(
            help="What to price usage as, such as llm=groq/llama-3.3-70b-versatile.",
            metavar="STAGE=PROVIDER/MODEL...",
            show_default=False,
        ),
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option(help="A price file, YAML, to price all usage with.", show_default=False),
    ] = None,
) -> None:
    """What the same usage would cost with other models, or with other prices."""
    from livekit_exporter.reports import whatif as asked
    from livekit_exporter.reports.question import QuestionError

    if not swaps and prices is None:
        fail("whatif needs a model, such as llm=groq/llama-3.3-70b-versatile, or --prices FILE")
    question = options.question("stage", "provider", "model")
    catalogue = options.catalogue(prices)
    with one_line_for(QuestionError):
        swapped = asked.swaps(swaps or (), catalogue)
    with options.snapshot() as ledger:
        report = asked.report(ledger, question, swapped, None if prices is None else catalogue)
    options.show(report)


@report_app.command("advise")
@with_filters
def advise(options: Options) -> None:
    """What the data suggests to change, each with the money that it is worth."""
    import time

    from livekit_exporter.reports import advise as asked

    question = options.question()
    catalogue = options.catalogue()
    with options.snapshot() as ledger:
        report = asked.report(ledger, question, catalogue, time.time())
    options.show(report)


@report_app.command("margin")
@with_options
def margin(
    options: Options,
    file: Annotated[
        Path,
        typer.Argument(
            help="Revenue, CSV: user (or the label of --by), revenue_usd, and maybe period, as"
            " 2026-11."
        ),
    ],
) -> None:
    """What is left of revenue, by user or by a label of the calls."""
    import time
    from dataclasses import replace

    from livekit_exporter.reports import csv_table, revenue
    from livekit_exporter.reports import margin as asked
    from livekit_exporter.reports.question import QuestionError

    question = options.question("user")
    with one_line_for(QuestionError, csv_table.TableError):
        found = revenue.read(csv_table.load(file), asked.key(question))
        if found.by_month:
            if options.since or options.until:
                fail(f"{file} says which months it is about; leave --since and --until out")
            question = replace(question, period=asked.months(found, question.period.zone))
    with options.snapshot() as ledger:
        report = asked.report(ledger, question, found, time.time())
    options.show(report)
    if found.mistakes:
        raise typer.Exit(1)


@with_options
def reconcile(  # noqa: PLR0913, PLR0917 - options, given by name
    options: Options,
    file: Annotated[Path, typer.Argument(help="The provider's usage or cost export, CSV.")],
    date_column: Annotated[
        str | None,
        typer.Option(help="Column that says when.", show_default=False, metavar="COLUMN"),
    ] = None,
    model_column: Annotated[
        str | None,
        typer.Option(help="Column that says which model.", show_default=False, metavar="COLUMN"),
    ] = None,
    cost_column: Annotated[
        str | None,
        typer.Option(help="Column of US dollars.", show_default=False, metavar="COLUMN"),
    ] = None,
    usage_column: Annotated[
        str | None,
        typer.Option(help="Column of an amount used.", show_default=False, metavar="COLUMN"),
    ] = None,
    unit: Annotated[
        str,
        typer.Option(help="Of the usage column: tokens, characters, audio_minutes and the like."),
    ] = "tokens",
    tolerance: Annotated[
        float, typer.Option(min=0, help="Share of the file's amount that is no difference.")
    ] = 0.05,
    model_name: Annotated[
        list[str] | None,
        typer.Option(
            help="A model's name in the file and in the ledger, where they differ.",
            show_default=False,
            metavar="FILE=LEDGER",
        ),
    ] = None,
) -> None:
    """Hold the ledger against a provider's usage export; exit with 1 where they differ."""
    from dataclasses import replace
    from decimal import Decimal

    from livekit_exporter.reports import csv_table, exports
    from livekit_exporter.reports import reconcile as asked
    from livekit_exporter.reports.question import QuestionError, pairs

    # Providers bill days of UTC, whatever days the operator reads.
    options = replace(options, timezone=options.timezone or "UTC")
    question = options.question("day", "model")
    zone = question.period.zone
    with one_line_for(csv_table.TableError, QuestionError):
        table = csv_table.load(file)
        explicit = any((date_column, model_column, cost_column, usage_column))
        known = None if explicit else exports.recognised(table)
        layout = (
            known.layout
            if known is not None
            else exports.chosen(
                date=date_column,
                model=model_column,
                cost=cost_column,
                usage=usage_column,
                unit=unit,
            )
        )
        billed = exports.read(table, layout, zone)
        bounded = options.since is not None or options.until is not None
        question = asked.question(question, billed, zone, bounded=bounded)
        provider = asked.provider(question, known)
        given = {name: values[-1] for name, values in pairs(model_name or ()).items()}
    names = asked.Names(options.catalogue(), provider, given)
    units = [measured for _, measured in layout.measures]
    with options.snapshot() as ledger:
        report, agree = asked.report(
            ledger, question, billed, names, units, Decimal(str(tolerance))
        )
    options.show(report)
    if not agree:
        raise typer.Exit(1)


@report_app.command("forecast")
@with_filters
def forecast(options: Options) -> None:
    """What the current month will have cost at its end, with a range."""
    import time
    from dataclasses import replace

    from livekit_exporter.reports import forecast as asked
    from livekit_exporter.reports.extra import ExtraError

    if options.until is not None:
        fail("a forecast begins now; leave --until out, and say with --since where history begins")
    question = replace(options, since=options.since or f"{asked.HISTORY_DAYS}d").question()
    with options.snapshot() as ledger, one_line_for(ExtraError):
        report = asked.report(ledger, question, time.time(), options.month_budget())
    options.show(report)


@with_usage
def reprice(
    options: Options,
    prices: Annotated[
        Path | None,
        typer.Option(
            help="A price file, YAML, in place of the configured one.", show_default=False
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")
    ] = False,
) -> None:
    """Price stored usage again with the prices in force, and correct the ledger."""
    from livekit_exporter.ledger.backends.database import LedgerError
    from livekit_exporter.ledger.expressions import Span
    from livekit_exporter.reports import reprice as asked

    if options.since is None:
        fail("say from when on usage is priced again, such as --since 2026-11-01")
    question = options.question()
    catalogue = options.catalogue(prices)
    span = Span(question.period.since, question.period.until, question.only)
    with one_line_for(LedgerError):
        outcome = asked.reprice(options.where, span, catalogue, _followed, dry_run=dry_run)
    options.show(asked.report(outcome, question, catalogue.version, dry_run=dry_run))


@with_answer
def repricings(options: Options) -> None:
    """What was repriced so far, when and with which prices."""
    from livekit_exporter.ledger.backends.database import LedgerError
    from livekit_exporter.reports import reprice as asked

    with one_line_for(LedgerError):
        report = asked.history(options.where)
    options.show(report)


def _followed(calls: "list[Chunk]") -> "Iterable[Chunk]":
    """Go through calls and show on a terminal how far it is."""
    if not sys.stderr.isatty():
        return calls
    from rich.console import Console
    from rich.progress import track

    return track(calls, "pricing calls", console=Console(stderr=True), transient=True)
