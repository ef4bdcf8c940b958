"""Commands that ask the ledger."""

import time
from typing import Annotated, Literal

import typer

from livekit_exporter.cli.errors import fail, one_line_for
from livekit_exporter.cli.options import Options, with_filters, with_options, with_place

report_app = typer.Typer(no_args_is_help=True, help="Ask the ledger.")
calls_app = typer.Typer(no_args_is_help=True, help="Look at single calls.")


@report_app.command("cost")
@with_options
def cost(options: Options) -> None:
    """What was spent, and what it comes to per minute and per turn."""
    from livekit_exporter.reports import cost as asked

    question = options.question("day")
    with options.snapshot() as ledger:
        report = asked.report(ledger, question)
    options.show(report)


@report_app.command("latency")
@with_options
def latency(options: Options) -> None:
    """How long callers wait, and for what: percentiles of all measured values."""
    from livekit_exporter.reports import latency as asked

    question = options.question()
    with options.snapshot() as ledger:
        report = asked.report(ledger, question)
    options.show(report)


@report_app.command("usage")
@with_options
def usage(options: Options) -> None:
    """What was used: requests, tokens, characters, seconds."""
    from livekit_exporter.reports import usage as asked

    question = options.question("stage", "provider", "model")
    with options.snapshot() as ledger:
        report = asked.report(ledger, question)
    options.show(report)


@report_app.command("waste")
@with_options
def waste(options: Options) -> None:
    """What was paid for and heard by nobody, and why."""
    from livekit_exporter.reports import waste as asked

    question = options.question()
    with options.snapshot() as ledger:
        report = asked.report(ledger, question)
    options.show(report)


@report_app.command("compare")
@with_options
def compare(
    options: Options,
    a: Annotated[
        str,
        typer.Argument(
            help="One side, such as model=openai/gpt-4.1-mini, agent=support, tenant=acme or"
            " since=last-month,until=this-month; several of these with commas.",
            metavar="A",
        ),
    ],
    b: Annotated[str, typer.Argument(help="The other side.", metavar="B")],
) -> None:
    """Two models, agents, personas, customers or periods side by side."""
    from livekit_exporter.reports.extra import ExtraError

    try:
        from livekit_exporter.reports import compare as asked
    except ImportError:
        fail(ExtraError("a comparison", "scipy"))
    from livekit_exporter.reports.period import PeriodError
    from livekit_exporter.reports.question import QuestionError

    question = options.question()
    with one_line_for(PeriodError, QuestionError):
        sides = [asked.selection(each, question, time.time()) for each in (a, b)]
    with options.snapshot() as ledger:
        report = asked.report(ledger, question, *sides)
    options.show(report)


@calls_app.command("list")
@with_filters
def list_calls(
    options: Options,
    sort: Annotated[
        Literal["latest", "cost", "duration", "latency", "turns"],
        typer.Option(help="Which come first; latency is a call's longest wait."),
    ] = "latest",
) -> None:
    """Which calls there were, twenty if not said otherwise."""
    from livekit_exporter.reports import calls

    question = options.question()
    with options.snapshot() as ledger:
        report = calls.listing(ledger, question, sort)
    options.show(report)


@calls_app.command("show")
@with_place
def show_call(
    options: Options,
    session: Annotated[
        str, typer.Argument(help="Id of a call, or its begin.", metavar="ID", show_default=False)
    ],
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the export of the call, names included.")
    ] = False,
) -> None:
    """One call: its turns, what callers waited for, and what it cost."""
    from livekit_exporter.export.document import call_export
    from livekit_exporter.reports import calls, tables

    with options.snapshot() as ledger:
        detail = calls.detail(ledger, session)
    if as_json:
        rows = detail.rows
        exported = call_export(detail.call, rows.turns, rows.usage, rows.failures)
        typer.echo(exported.model_dump_json(indent=1))
        return
    tables.write_facts(f"Call {detail.call.session}", calls.facts(detail, options.zone))
    parts = [calls.turns(detail), calls.models(detail)]
    estimates = calls.estimates(detail)
    for part in [*parts, estimates] if estimates.rows else parts:
        typer.echo()
        tables.write(part)
