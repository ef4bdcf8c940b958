"""Errors of the command line: one line on standard error and exit code 1."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer


def fail(message: object) -> NoReturn:
    """Print a message on standard error and exit with 1."""
    typer.echo(f"livekit-exporter: {message}", err=True)
    raise typer.Exit(1)


@contextmanager
def one_line_for(*mistakes: type[Exception]) -> Iterator[None]:
    """Report exceptions that a user can cause in one line instead of a traceback."""
    try:
        yield
    except mistakes as error:
        fail(" ".join(str(error).split()))
