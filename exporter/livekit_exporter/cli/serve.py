"""Commands that run the sidecar and check its configuration."""

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from livekit_exporter.cli.errors import one_line_for
from livekit_exporter.cli.parameters import Config, DataDir, ListenAddress

config_app = typer.Typer(no_args_is_help=True, help="Check the configuration file.")


def serve(
    data_dir: DataDir = None,
    listen_address: ListenAddress = None,
    config: Config = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    log_format: Annotated[str | None, typer.Option(help="text or json.")] = None,
    parent_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run the sidecar: read journals, price usage, write the ledger, serve /metrics."""
    from livekit_exporter.sidecar.config.settings import ConfigError, load

    flags = {
        "data_dir": data_dir,
        "listen_address": listen_address,
        "log.level": log_level,
        "log.format": log_format,
    }
    reload = partial(load, config, os.environ, flags)
    with one_line_for(ConfigError):
        settings = reload()

    from livekit_exporter.sidecar.serve import run

    raise typer.Exit(run(settings, parent_fd=parent_fd, reload=reload))


@config_app.command("check")
def check(file: Annotated[Path, typer.Argument(help="Configuration file, YAML.")]) -> None:
    """Check a configuration file; exit with 1 and the place of the first mistake."""
    from livekit_exporter.sidecar import prices_in_force
    from livekit_exporter.sidecar.config.settings import ConfigError, load

    with one_line_for(ConfigError):
        config = load(file, {}, {})
        prices_in_force.load(config)
        config.webhook.keys()
    typer.echo(f"{file}: ok")
