"""A report as a table in a terminal or a pipe."""

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Final, TextIO

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from livekit_exporter.prices.explain.words import printable
from livekit_exporter.reports import written
from livekit_exporter.reports.report import Report
from livekit_exporter.reports.written import Cells

_UNBOUNDED: Final = 10_000
"""Columns of a pipe: what reads it breaks no lines and wants none broken."""

_FOLDED: Final = 16
"""Letters of a name that stand on one line even where there is little room."""

_GAP: Final = 2


def write(report: Report, stream: TextIO | None = None) -> None:
    """Write title, table and notes.

    Args:
        report: The answer.
        stream: Where to; by default standard output.
    """
    console = terminal(stream or sys.stdout)
    console.print(Text(printable(report.title), style="bold"))
    if not report.rows:
        console.print(Text(f"{printable(report.empty)}."))
    else:
        columns = written.cells(report.for_people())
        for number, part in enumerate(_parts(columns, console.width)):
            if number:
                console.print()
            widths = _widths(part, console.width)
            # A terminal that is narrower still breaks the lines; nothing is ever cut off.
            wide = terminal(
                stream or sys.stdout, max(console.width, sum(widths) + _GAP * len(part))
            )
            wide.print(_table(part, widths, totals=report.totals is not None))
    for note in report.notes:
        console.print(Text(f"note: {printable(note)}"), style="dim")


def write_facts(title: str, facts: Sequence[tuple[str, str]], stream: TextIO | None = None) -> None:
    """Write what there is to say of one thing, a line each."""
    console = terminal(stream or sys.stdout)
    console.print(Text(printable(title), style="bold"))
    grid = Table.grid(padding=(0, 2, 0, 0))
    for name, value in facts:
        grid.add_row(Text(name, style="dim"), Text(printable(value), overflow="fold"))
    console.print(grid)


def terminal(stream: TextIO, width: int | None = None) -> Console:
    """Rich's idea of a stream: its width, and whether it shows colours."""
    if width is None and not stream.isatty() and not os.environ.get("COLUMNS"):
        width = _UNBOUNDED
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def _least(column: Cells) -> int:
    """Letters that a column takes at least; figures are never broken, names and heads are."""
    widest = max(map(cell_len, (column.total, *column.cells)), default=1)
    word = max(map(cell_len, column.head.split()), default=1)
    return max(min(widest, _FOLDED) if column.text else widest, word)


def _most(column: Cells) -> int:
    """Letters that a column takes where nothing is broken."""
    return max(map(cell_len, (column.head, column.total, *column.cells)))


def _parts(columns: list[Cells], width: int) -> Iterator[list[Cells]]:
    """Columns side by side as far as there is room, then the others, each part with the names."""
    names = next((at for at, column in enumerate(columns) if not column.text), len(columns))
    part = columns[:names]
    for column in columns[names:]:
        if (
            len(part) > names
            and sum(_least(each) + _GAP for each in (*part, column)) - _GAP > width
        ):
            yield part
            part = columns[:names]
        part.append(column)
    yield part


def _widths(columns: list[Cells], width: int) -> list[int]:
    """Letters for each column: what it needs at least, names then heads unbroken if they fit."""
    widths = [_least(column) for column in columns]
    room = width - sum(widths) - _GAP * (len(columns) - 1)
    for at in sorted(range(len(columns)), key=lambda at: not columns[at].text):
        more = max(0, min(_most(columns[at]) - widths[at], room))
        widths[at] += more
        room -= more
    return widths


def _table(columns: list[Cells], widths: list[int], *, totals: bool) -> Table:
    """Names to the left, figures to the right."""
    made = Table(
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        show_edge=False,
        show_footer=totals,
        header_style="bold",
        footer_style="bold",
    )
    for column, width in zip(columns, widths, strict=True):
        made.add_column(
            Text(column.head),
            footer=Text(column.total),
            justify="left" if column.text else "right",
            overflow="fold",
            width=width,
            vertical="bottom",
        )
    for line in zip(*(column.cells for column in columns), strict=True):
        made.add_row(*map(Text, line))
    return made
