"""The shape of every report: columns, rows, notes and charts."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal[
    "text",
    "count",
    "usd",
    "usd_per_minute",
    "seconds",
    "minutes",
    "share",
    "ratio",
    "time",
    "quantity",
]
"""The kind of a column's values, which determines unit and format.

In a column of quantities each cell has a kind of its own.
"""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number in a column whose cells are of different kinds.

    Args:
        kind: What it is.
        amount: How much; `None` is not known.
    """

    kind: Kind
    amount: float | None


Value: TypeAlias = str | int | float | Decimal | bool | datetime | Quantity | None
"""A cell; `None` is not known, which is never zero."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Args:
        name: Key in JSON, CSV and Parquet; ends in its unit, as `cost_usd`.
        title: Head of the column for people.
        kind: What it holds.
        sparse: Left out for people where no line has anything in it; files always have it.
        detail: Left out for people; only files have it.
    """

    name: str
    title: str
    kind: Kind = "text"
    sparse: bool = False
    detail: bool = False


def row(columns: Iterable[Column], named: object, **own: Value) -> tuple[Value, ...]:
    """Return the cells of a line: what is given by a column's name, else the attribute of it."""
    return tuple(
        own[column.name] if column.name in own else getattr(named, column.name)
        for column in columns
    )


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of a report.

    Args:
        shape: Bars by name, a line over time, or a histogram by upper bound.
        title: What it shows.
        kind: Unit of the values.
        labels: Names, times in ISO 8601, or bounds.
        series: Values by name of the line or part; every one as long as `labels`.
    """

    shape: Literal["bars", "line", "histogram"]
    title: str
    kind: Kind
    labels: tuple[str, ...]
    series: tuple[tuple[str, tuple[float, ...]], ...]

    @property
    def largest(self) -> float:
        """The largest value, to draw the others against; 1 where there is none."""
        return max((value for _, values in self.series for value in values), default=0.0) or 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report.

    Args:
        title: The question, with the period.
        columns: Columns of every row.
        rows: The lines, each as long as `columns`.
        totals: The last line, where one makes sense.
        notes: What a reader must know to believe the figures, a sentence each: usage
            without a price, estimates, too little data.
        charts: Pictures of the same figures.
        empty: Sentence in place of a table without lines.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    totals: tuple[Value, ...] | None = None
    notes: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    empty: str = "nothing was found"

    def for_people(self) -> "Report":
        """Return the report without detail columns and without empty sparse columns."""
        shown = [
            position
            for position, column in enumerate(self.columns)
            if not column.detail and (not column.sparse or any(row[position] for row in self.rows))
        ]

        def only(values: tuple[Value, ...]) -> tuple[Value, ...]:
            return tuple(values[position] for position in shown)

        return replace(
            self,
            columns=tuple(self.columns[position] for position in shown),
            rows=tuple(map(only, self.rows)),
            totals=None if self.totals is None else only(self.totals),
        )


class ExtraError(Exception):
    """A report needs a package that is not installed; the message says how to install it."""

    def __init__(self, what: str, package: str) -> None:
        super().__init__(
            f"{what} needs {package}; install it with: pip install 'livekit-exporter[reports]'"
        )
