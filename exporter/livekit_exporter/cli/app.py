"""The command line, put together: its groups, and the options before a command.

Commands import what they run when they run it, so that `--help` and shell completion are
quick and `replay` does not need what `serve` needs.
"""

import sys
from typing import Annotated

import typer

from livekit_exporter import __version__
from livekit_exporter.cli import (
    calls,
    demo,
    ledger,
    prices,
    reconcile,
    replay,
    reports,
    reprice,
    serve,
    webhook,
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Costs and latencies of LiveKit voice agents as Prometheus metrics.",
    epilog="Start with: livekit-exporter demo",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"livekit-exporter {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Take the options before a command."""


app.command("serve")(serve.serve)
app.command("replay")(replay.replay)
app.command("demo")(demo.demo)
app.command("reconcile")(reconcile.reconcile)
app.add_typer(serve.config_app, name="config")
app.add_typer(prices.prices_app, name="prices")
prices.prices_app.command("reprice")(reprice.reprice)
prices.prices_app.command("repricings")(reprice.repricings)
app.add_typer(reports.report_app, name="report")
app.add_typer(calls.calls_app, name="calls")
app.add_typer(webhook.webhook_app, name="webhook")
app.add_typer(ledger.ledger_app, name="ledger")


def main() -> None:
    """Run the `livekit-exporter` program."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
