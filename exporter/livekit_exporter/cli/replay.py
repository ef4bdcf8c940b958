"""The command that feeds recorded session events through the collector."""

import json
from pathlib import Path
from typing import Annotated

import typer

from livekit_exporter import files
from livekit_exporter.cli.errors import one_line_for
from livekit_exporter.cli.parameters import DataDir


def replay(
    file: Annotated[Path, typer.Argument(help="Recorded session events, JSON lines.")],
    data_dir: DataDir = None,
    agent: Annotated[str, typer.Option(help="Name of the agent in the metrics.")] = "replay",
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Feed a recorded stream of session events through the collector."""
    from livekit_exporter.agent import replay as recorded

    root = files.resolve(data_dir)
    with one_line_for(OSError, UnicodeDecodeError):
        result = recorded.replay(file, root, agent=agent)
    if as_json:
        names = ("lines", "records", "sessions", "unread")
        typer.echo(json.dumps({name: getattr(result, name) for name in names}))
        return
    typer.echo(
        f"{result.lines} lines: {result.records} records of {result.sessions} sessions"
        f" written to {files.journals(root)}"
    )
    for reason, count in sorted(result.unread.items()):
        typer.echo(f"not understood: {count} ({reason})")
