"""The command that compares the ledger with a provider's export."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from livekit_exporter.cli.errors import one_line_for
from livekit_exporter.cli.options import ALL, LedgerOptions, takes


def _column(what: str) -> object:
    return typer.Option(help=f"Column of the {what}.", metavar="COLUMN")


@takes(ALL)
def reconcile(  # noqa: PLR0913, PLR0917 - options, given by name
    options: LedgerOptions,
    file: Annotated[Path, typer.Argument(help="Usage or cost export of the provider, CSV.")],
    date_column: Annotated[str | None, _column("date or time")] = None,
    model_column: Annotated[str | None, _column("model")] = None,
    cost_column: Annotated[str | None, _column("cost, US dollars")] = None,
    usage_column: Annotated[str | None, _column("amount used")] = None,
    unit: Annotated[
        str, typer.Option(help="Unit of the usage column: tokens, characters, audio_minutes, ...")
    ] = "tokens",
    tolerance: Annotated[
        float, typer.Option(min=0, help="Accept differences up to this share of the file's amount.")
    ] = 0.05,
    model_name: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of a model in the file and in the ledger, where they differ.",
            metavar="FILE=LEDGER",
        ),
    ] = None,
) -> None:
    """Compare the ledger with a provider's usage export; exit with 1 where they differ."""
    from livekit_exporter.reports import csv_table, exports
    from livekit_exporter.reports import reconcile as asked
    from livekit_exporter.reports.question import QuestionError, pairs

    # Providers bill days of UTC, whatever days the operator reads.
    options = replace(options, timezone=options.timezone or "UTC")
    question = options.question("day", "model")
    columns = exports.Columns(date_column, model_column, cost_column, usage_column, unit)
    with one_line_for(csv_table.CsvError, QuestionError):
        export = exports.read(csv_table.load(file), columns, question.period.zone)
        bounded = options.since is not None or options.until is not None
        question = asked.question(question, export, bounded=bounded)
        provider = asked.provider(question, export.provider)
        given = {name: values[-1] for name, values in pairs(model_name or ()).items()}
    names = asked.ModelAliases(options.catalogue(), provider, given)
    with options.snapshot() as ledger:
        report, agree = asked.report(ledger, question, export, names, Decimal(str(tolerance)))
    options.show(report)
    if not agree:
        raise typer.Exit(1)
