"""Commands that correct the prices of stored usage."""

from pathlib import Path
from typing import Annotated

import typer

from livekit_exporter.cli.errors import fail, one_line_for
from livekit_exporter.cli.options import ANSWER, USAGE, LedgerOptions, takes


@takes(USAGE)
def reprice(
    options: LedgerOptions,
    prices: Annotated[
        Path | None, typer.Option(help="Use this price file, YAML, in place of the configured one.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change and change nothing.")
    ] = False,
) -> None:
    """Price stored usage again with the prices in force and correct the ledger."""
    from livekit_exporter.cli._progress import pricing
    from livekit_exporter.ledger.backends.database import LedgerError
    from livekit_exporter.ledger.expressions import Span
    from livekit_exporter.reports import reprice as asked

    if options.since is None:
        fail("say from when on usage is priced again, such as --since 2026-11-01")
    question = options.question()
    catalogue = options.catalogue(prices)
    span = Span(question.period.since, question.period.until, question.only)
    with one_line_for(LedgerError):
        outcome = asked.reprice(options.where, span, catalogue, pricing, dry_run=dry_run)
    options.show(asked.report(outcome, question, catalogue.version, dry_run=dry_run))


@takes(ANSWER)
def repricings(options: LedgerOptions) -> None:
    """List the repricings so far, with their time and prices."""
    from livekit_exporter.ledger.backends.database import LedgerError
    from livekit_exporter.reports import reprice as asked

    with one_line_for(LedgerError):
        report = asked.history(options.where)
    options.show(report)
