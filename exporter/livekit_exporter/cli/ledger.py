"""Commands that check the ledger and copy it."""

from typing import Annotated

import typer

from livekit_exporter.cli import settings
from livekit_exporter.cli.errors import one_line_for
from livekit_exporter.cli.parameters import Config

ledger_app = typer.Typer(no_args_is_help=True, help="Check and copy the ledger.")


@ledger_app.command("check")
def check_ledger(
    ledger: Annotated[
        str | None,
        typer.Argument(
            help="Data directory or PostgreSQL URL; else the ledger of the sidecar's settings."
        ),
    ] = None,
    config: Config = None,
) -> None:
    """Report everything that is wrong with the ledger, one line each; exit with 1 if any."""
    from livekit_exporter.ledger.backends.database import LedgerError
    from livekit_exporter.ledger.checking import findings

    failed = False
    where = settings.ledger(settings.load(config)) if ledger is None else settings.ledger_at(ledger)
    with one_line_for(LedgerError):
        for finding in findings(where):
            typer.echo(finding)
            failed = True
    if failed:
        raise typer.Exit(1)
    typer.echo("ok")


@ledger_app.command("copy")
def copy_ledger(
    source: Annotated[str, typer.Option("--from", help="Data directory or PostgreSQL URL.")],
    target: Annotated[
        str,
        typer.Option("--to", help="Data directory without a ledger, or URL of an empty database."),
    ],
) -> None:
    """Copy every row of a ledger into another database and compare counts and sums.

    No sidecar may run on either of them.
    """
    from livekit_exporter.cli._copying import copy
    from livekit_exporter.ledger.backends.database import LedgerError
    from livekit_exporter.sidecar.lock import HeldError

    with one_line_for(LedgerError, HeldError, OSError):
        rows = copy(settings.ledger_at(source), settings.ledger_at(target))
    typer.echo(f"{rows:,} rows copied, counts and sums are the same")
