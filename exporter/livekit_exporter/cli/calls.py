"""Commands about single calls."""

from typing import Annotated, Literal

import typer

from livekit_exporter.cli.options import PLACE, UNGROUPED, LedgerOptions, takes

calls_app = typer.Typer(no_args_is_help=True, help="List calls and show a single one.")


@calls_app.command("list")
@takes(UNGROUPED)
def list_calls(
    options: LedgerOptions,
    sort: Annotated[
        Literal["latest", "cost", "duration", "latency", "turns"],
        typer.Option(help="Order; latency is the longest wait in a call."),
    ] = "latest",
) -> None:
    """List calls, twenty unless --limit says otherwise."""
    from livekit_exporter.reports import calls

    options.answer(calls.listing, options.question(), sort)


@calls_app.command("show")
@takes(PLACE)
def show_call(
    options: LedgerOptions,
    session: Annotated[
        str, typer.Argument(help="Id of a call, or the first letters of it.", metavar="ID")
    ],
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the export of the call, names included.")
    ] = False,
) -> None:
    """Show one call: its turns, how long the caller waited, and the cost."""
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
