"""Commands that ask the ledger."""

import time
from typing import Annotated

import typer

from livekit_exporter.cli_mistakes import fail, one_line_for
from livekit_exporter.cli_options import Options, with_options

report_app = typer.Typer(no_args_is_help=True, help="Ask the ledger.")


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
