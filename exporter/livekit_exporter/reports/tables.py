"""A report as a table in a terminal or a pipe."""

import sys
from typing import Final, TextIO

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from livekit_exporter.reports import written
from livekit_exporter.reports.report import Report

_UNBOUNDED: Final = 10_000
"""Columns of a pipe: what reads it breaks no lines and wants none broken."""

_FOLDED: Final = 16
"""Letters of a name that stand on one line even where there is little room."""


def write(report: Report, stream: TextIO | None = None) -> None:
    """Write title, table and notes.

    Args:
        report: The answer.
        stream: Where to; by default standard output.
    """
    console = terminal(stream or sys.stdout)
    console.print(Text(written.printable(report.title), style="bold"))
    if not report.rows:
        console.print(Text(f"{written.printable(report.empty)}."))
    else:
        shown = table(report.for_people())
        # Broken lines can be read, figures that are cut off cannot.
        least = Measurement.get(console, console.options, shown).minimum
        console.print(
            shown, width=max(least, 0) if least > console.width else None, soft_wrap=False
        )
    for note in report.notes:
        console.print(Text(f"note: {written.printable(note)}"), style="dim")


def terminal(stream: TextIO) -> Console:
    """Rich's idea of a stream: its width, and whether it shows colours."""
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in console._environ:  # noqa: SLF001
        console = Console(file=stream, highlight=False, markup=False, emoji=False, width=_UNBOUNDED)
    return console


def table(report: Report) -> Table:
    """The lines of a report, numbers to the right and with equal digits."""
    made = Table(
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        show_edge=False,
        show_footer=report.totals is not None,
        header_style="bold",
        footer_style="bold",
    )
    values = [*report.rows, *([report.totals] if report.totals is not None else [])]
    columns = []
    for position, column in enumerate(report.columns):
        cells = written.column(column.kind, [row[position] for row in values])
        footer = cells.pop() if report.totals is not None else ""
        text = column.kind == "text"
        widest = max(map(cell_len, [footer, *cells]), default=1)
        made.add_column(
            Text(written.head(column)),
            footer=Text("" if text and footer == written.UNKNOWN else footer),
            justify="left" if text else "right",
            overflow="fold",
            min_width=min(widest, _FOLDED) if text else widest,
            vertical="bottom",
        )
        columns.append(cells)
    for line in zip(*columns, strict=True):
        made.add_row(*map(Text, line))
    return made
