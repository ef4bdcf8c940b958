"""Commands that answer questions from the ledger."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from livekit_exporter.cli.errors import fail, one_line_for
from livekit_exporter.cli.options import ALL, UNGROUPED, LedgerOptions, takes

report_app = typer.Typer(no_args_is_help=True, help="Report cost, latency and usage of calls.")


@report_app.command("cost")
@takes(ALL)
def cost(options: LedgerOptions) -> None:
    """Report the cost, also per minute and per turn."""
    from livekit_exporter.reports.cost import report

    options.answer(report, options.question("day"))


@report_app.command("latency")
@takes(ALL)
def latency(options: LedgerOptions) -> None:
    """Report how long callers wait: percentiles of all measured values."""
    from livekit_exporter.reports.latency import report

    options.answer(report, options.question())


@report_app.command("usage")
@takes(ALL)
def usage(options: LedgerOptions) -> None:
    """Report usage: requests, tokens, characters, seconds."""
    from livekit_exporter.reports.usage import report

    options.answer(report, options.question("stage", "provider", "model"))


@report_app.command("waste")
@takes(ALL)
def waste(options: LedgerOptions) -> None:
    """Report the cost of output that no caller heard, by reason."""
    from livekit_exporter.reports.waste import report

    options.answer(report, options.question())


@report_app.command("compare")
@takes(ALL)
def compare(
    options: LedgerOptions,
    a: Annotated[
        str,
        typer.Argument(
            help="First side, such as model=openai/gpt-4.1-mini, agent=support, tenant=acme or"
            " since=last-month,until=this-month; separate several conditions with commas.",
            metavar="A",
        ),
    ],
    b: Annotated[str, typer.Argument(help="Second side.", metavar="B")],
) -> None:
    """Compare two models, agents, personas, customers or periods."""
    from livekit_exporter.reports.report import ExtraError

    try:
        from livekit_exporter.reports import compare as asked
    except ImportError:
        fail(ExtraError("a comparison", "scipy"))
    from livekit_exporter.reports.period import PeriodError
    from livekit_exporter.reports.question import QuestionError

    question = options.question()
    with one_line_for(PeriodError, QuestionError):
        first, second = (asked.selection(each, question, time.time()) for each in (a, b))
    options.answer(asked.report, question, first, second)


@report_app.command("whatif")
@takes(ALL)
def whatif(
    options: LedgerOptions,
    swaps: Annotated[
        list[str] | None,
        typer.Argument(
            help="Price usage as this model's, such as llm=groq/llama-3.3-70b-versatile.",
            metavar="STAGE=PROVIDER/MODEL...",
        ),
    ] = None,
    prices: Annotated[
        Path | None, typer.Option(help="Price all usage with this price file, YAML.")
    ] = None,
) -> None:
    """Report what the same usage would cost with other models or other prices."""
    from livekit_exporter.reports import whatif as asked
    from livekit_exporter.reports.question import QuestionError

    if not swaps and prices is None:
        fail("whatif needs a model, such as llm=groq/llama-3.3-70b-versatile, or --prices FILE")
    question = options.question("stage", "provider", "model")
    catalogue = options.catalogue(prices)
    with one_line_for(QuestionError):
        swapped = asked.swaps(swaps or (), catalogue)
    options.answer(asked.report, question, swapped, None if prices is None else catalogue)


@report_app.command("advise")
@takes(UNGROUPED)
def advise(options: LedgerOptions) -> None:
    """Suggest changes that save money, with the amount that each would save."""
    from livekit_exporter.reports.advise import report

    options.answer(report, options.question(), options.catalogue(), time.time())


@report_app.command("margin")
@takes(ALL)
def margin(
    options: LedgerOptions,
    file: Annotated[
        Path,
        typer.Argument(
            help="Revenue, CSV: user (or the label of --by), revenue_usd, and optionally period,"
            " as 2026-11."
        ),
    ],
) -> None:
    """Report revenue minus cost, by user or by a label of the calls."""
    from livekit_exporter.reports import csv_table, revenue
    from livekit_exporter.reports import margin as asked
    from livekit_exporter.reports.question import QuestionError

    question = options.question("user")
    with one_line_for(QuestionError, csv_table.CsvError):
        found = revenue.read(csv_table.load(file), asked.key(question))
        if found.by_month:
            if options.since or options.until:
                fail(f"{file} says which months it is about; leave --since and --until out")
            question = replace(question, period=asked.months(found, question.period.zone))
    options.answer(asked.report, question, found, time.time())
    if found.mistakes:
        raise typer.Exit(1)


@report_app.command("forecast")
@takes(UNGROUPED)
def forecast(options: LedgerOptions) -> None:
    """Forecast the cost of the current month at its end, with a range."""
    from livekit_exporter.reports import forecast as asked
    from livekit_exporter.reports.report import ExtraError

    if options.until is not None:
        fail("a forecast begins now; leave --until out, and say with --since where history begins")
    question = replace(options, since=options.since or f"{asked.HISTORY_DAYS}d").question()
    with one_line_for(ExtraError):
        options.answer(asked.report, question, time.time(), options.month_budget())
