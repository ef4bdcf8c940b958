"""Commands about deliveries to the webhook: list them, send them again, send a test."""

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from livekit_exporter import __version__
from livekit_exporter.cli import settings
from livekit_exporter.cli.errors import fail, one_line_for
from livekit_exporter.cli.parameters import AsJson, Config, LedgerDir

if TYPE_CHECKING:
    from collections.abc import Sequence

    from livekit_exporter.ledger.rows import DeliveryRow, DeliveryState
    from livekit_exporter.sidecar.config.settings import Config as Settings

webhook_app = typer.Typer(
    no_args_is_help=True, help="List, retry and test deliveries of calls to the webhook."
)


@webhook_app.command("list")
def list_deliveries(
    dead: Annotated[
        bool, typer.Option("--dead", help="Only deliveries that were given up.")
    ] = False,
    pending: Annotated[
        bool, typer.Option("--pending", help="Only those still to be sent.")
    ] = False,
    delivered: Annotated[
        bool, typer.Option("--delivered", help="Only those the receiver accepted.")
    ] = False,
    as_json: AsJson = False,
    data_dir: LedgerDir = None,
    config: Config = None,
) -> None:
    """List deliveries, oldest first; by default those that the receiver has not accepted."""
    states = _states(dead=dead, pending=pending, delivered=delivered)
    found = _listed(settings.load(config, data_dir=data_dir), states)
    if as_json:
        typer.echo(json.dumps([_described(row) for row in found], indent=1))
        return
    if not found:
        typer.echo(f"no delivery is {' or '.join(states)}")
        return
    _print(found)


@webhook_app.command("retry")
def retry(
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID...", help="Ids of deliveries or calls; delivered ones are sent again too."
        ),
    ] = None,
    all_dead: Annotated[
        bool, typer.Option("--all-dead", help="Send those that were given up.")
    ] = False,
    all_pending: Annotated[
        bool, typer.Option("--all-pending", help="Send those that wait for their next attempt.")
    ] = False,
    data_dir: LedgerDir = None,
    config: Config = None,
) -> None:
    """Send deliveries again; a running sidecar does so within seconds."""
    from livekit_exporter.ledger import outbox
    from livekit_exporter.ledger.backends.database import LedgerError

    if bool(ids) == (all_dead or all_pending):
        fail("say which: ids as 'webhook list' shows them, --all-dead or --all-pending")
    configured = settings.load(config, data_dir=data_dir)
    states = _states(dead=all_dead, pending=all_pending)
    chosen = (
        _named(ids, _listed(configured, ["dead", "pending", "delivered"]))
        if ids
        else _listed(configured, states)
    )
    with one_line_for(LedgerError):
        number = outbox.retry(settings.ledger(configured), chosen) if chosen else 0
    typer.echo(f"{number} to be sent again")
    if number and configured.webhook.url is None:
        typer.echo("no webhook is configured here, so nobody may send them", err=True)


@webhook_app.command("test")
def try_out(config: Config = None) -> None:
    """Send one signed event to the configured address and print the answer."""
    import asyncio
    import secrets
    import time

    from livekit_exporter.export import event as call_event
    from livekit_exporter.sidecar.config.settings import ConfigError
    from livekit_exporter.sidecar.webhook import endpoint as webhook

    with one_line_for(ConfigError):
        target = webhook.configured(settings.load(config))
    if target is None:
        fail("no webhook is configured; set webhook.url, and name the file with --config")
    message = f"test_{secrets.token_hex(16)}"
    body = call_event.trial(time.time(), __version__)
    answer = asyncio.run(webhook.post_once(target, message, body))
    typer.echo(f"sent {message} to {target.origin}")
    if answer.delivered:
        typer.echo(f"HTTP {answer.status} after {answer.seconds * 1000:.0f} ms")
    else:
        typer.echo(f"{answer.error} after {answer.seconds * 1000:.0f} ms")
    if answer.body:
        typer.echo(answer.body)
    if not answer.delivered:
        raise typer.Exit(1)


def _states(*, dead: bool, pending: bool, delivered: bool = False) -> "Sequence[DeliveryState]":
    """Return the chosen states; by default those of deliveries that have not arrived."""
    chosen: dict[DeliveryState, bool] = {"dead": dead, "pending": pending, "delivered": delivered}
    return [state for state, wanted in chosen.items() if wanted] or ["dead", "pending"]


def _listed(configured: "Settings", states: "Sequence[DeliveryState]") -> "list[DeliveryRow]":
    from livekit_exporter.ledger import outbox
    from livekit_exporter.ledger.backends.database import LedgerError

    with one_line_for(LedgerError):
        return outbox.listed(settings.ledger(configured), states)


def _named(ids: "Sequence[str]", known: "Sequence[DeliveryRow]") -> "list[DeliveryRow]":
    """Find deliveries by their own ids, or by those of their calls."""
    found = []
    for name in ids:
        meant = [row for row in known if name in {row.id, row.session}]
        if not meant:
            fail(
                f"no delivery and no call is called '{name}'; 'livekit-exporter webhook list' shows"
                " all, and a call that changed since has a new id"
            )
        found += meant
    return found


def _described(row: "DeliveryRow") -> dict[str, object]:
    """Return a delivery for JSON, with times in ISO 8601."""
    times = {
        name: _time(value) if isinstance(value, float) else value
        for name, value in asdict(row).items()
    }
    return {"id": row.id, **times}


def _time(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _print(rows: "Sequence[DeliveryRow]") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from livekit_exporter.prices.explain.words import printable
    from livekit_exporter.reports.tables import terminal

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for head in ("Id", "Call", "State", "Attempts", "Since", "Next attempt", "Last answer"):
        table.add_column(head, justify="right" if head == "Attempts" else "left", overflow="fold")
    for row in rows:
        cells = (
            row.id,
            row.session,
            row.state,
            str(row.attempts),
            _time(row.made_at),
            _time(row.next_attempt_at) if row.state == "pending" else "",
            row.error or (f"HTTP {row.status}" if row.status else ""),
        )
        table.add_row(*(Text(printable(cell)) for cell in cells))
    terminal(sys.stdout).print(table)
