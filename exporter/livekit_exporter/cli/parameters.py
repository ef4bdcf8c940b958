"""Arguments and options that several commands take."""

from pathlib import Path
from typing import Annotated, Final

import typer

from livekit_exporter import files

CONFIG_VARIABLE: Final = "LIVEKIT_EXPORTER_CONFIG"

DataDir = Annotated[
    str | None,
    typer.Option(
        help=f"Data directory that agents and the sidecar share; else {files.ENVIRONMENT}."
    ),
]
LedgerDir = Annotated[
    str | None, typer.Option(help=f"Directory of the ledger; else {files.ENVIRONMENT}.")
]
PriceFile = Annotated[
    Path | None, typer.Option(help="Your price file, YAML; its prices override the shipped ones.")
]
At = Annotated[
    str | None, typer.Option(help="Day or time of the prices, ISO 8601 in UTC.", show_default="now")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON with every field.")]
Config = Annotated[
    Path | None,
    typer.Option(help="Configuration file of the sidecar, YAML.", envvar=CONFIG_VARIABLE),
]
ListenAddress = Annotated[
    str | None, typer.Option(help="host:port of the HTTP server; port 0 takes any free port.")
]
