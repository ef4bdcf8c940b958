"""The text of values, for people.

A column has one number of digits, so that its figures stand below one another and the
lines visibly add up to the total.  Files carry the exact values instead.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from livekit_exporter.export import html as page
from livekit_exporter.prices.explain.words import printable
from livekit_exporter.reports.report import Chart, Column, Kind, Quantity, Report, Value

UNKNOWN: Final = "-"

UNITS: Final[dict[Kind, str]] = {
    "usd": "$",
    "usd_per_minute": "$/min",
    "seconds": "s",
    "share": "%",
}
"""Unit of a kind, as a column's head carries it; the others name theirs in the title."""

_MOST_DIGITS: Final[dict[Kind, int]] = {
    "usd": 6,
    "usd_per_minute": 6,
    "seconds": 3,
    "minutes": 1,
    "share": 1,
    "ratio": 3,
}
_SIGNIFICANT: Final = 5


@dataclass(frozen=True, slots=True)
class Cells:
    """A column as it is written.

    Args:
        head: Its title with the unit.
        cells: Its lines.
        total: Below them; empty where there is none.
        text: True for names, false for figures.
    """

    head: str
    cells: tuple[str, ...]
    total: str
    text: bool


def cells(report: Report) -> list[Cells]:
    """Write a whole report, column by column."""
    lines = [*report.rows, *([report.totals] if report.totals is not None else [])]
    columns = []
    for position, each in enumerate(report.columns):
        texts = column(each.kind, [line[position] for line in lines])
        text = each.kind == "text"
        total = texts.pop() if report.totals is not None else ""
        if text and total == UNKNOWN:
            total = "" if position else "total"
        columns.append(Cells(head(each), tuple(texts), total, text))
    return columns


def head(titled: Column | Chart) -> str:
    """Return the title of a column or chart with its unit."""
    unit = UNITS.get(titled.kind)
    return f"{titled.title} ({unit})" if unit else titled.title


def column(kind: Kind, values: Iterable[Value]) -> list[str]:
    """Write all values of a column alike."""
    values = list(values)
    digits = _digits(kind, values)
    return [value(kind, each, digits) for each in values]


def value(kind: Kind, given: Value, digits: int | None = None) -> str:
    """Write one value; what is not known is a dash, what is too small for the digits is `<`."""
    match given:
        case None:
            text = UNKNOWN
        case bool():
            text = "yes" if given else "no"
        case str():
            text = printable(given)
        case Quantity():
            text = f"{value(given.kind, given.amount)} {UNITS.get(given.kind, '')}".rstrip()
        case datetime():
            text = given.isoformat(sep=" ", timespec="seconds")
        case int() if kind in ("count", "text"):
            text = f"{given:,}"
        case _:
            text = _number(kind, Decimal(given), digits)
    return text


def counted(count: float, noun: str) -> str:
    """Write a count with its noun, for a sentence."""
    return f"{value('count', int(count))} {noun}{'' if count == 1 else 's'}"


def money(usd: float | Decimal) -> str:
    """An amount in a sentence."""
    return page.money(Decimal(usd))


def _number(kind: Kind, given: Decimal, digits: int | None) -> str:
    if not given.is_finite():
        return UNKNOWN
    shown = given * 100 if kind == "share" else given
    places = _digits(kind, [shown]) if digits is None else digits
    least = Decimal(1).scaleb(-places)
    if shown and abs(shown) < least / 2:
        return f"{'-' if shown < 0 else ''}<{least}"
    return f"{shown:,.{places}f}"


def _digits(kind: Kind, values: Iterable[Value]) -> int:
    """Digits after the point that suit a column: fewer, the larger its largest value is."""
    most = _MOST_DIGITS.get(kind, 0)
    if kind == "share":
        return most
    sizes = [abs(Decimal(each)) for each in values if isinstance(each, (int, float, Decimal))]
    finite = [size for size in sizes if size.is_finite() and size]
    if not finite:
        return min(most, 2)
    whole = max(finite).adjusted() + 1
    fewest = 2 if kind in ("usd", "usd_per_minute") else 0
    return max(min(fewest, most), min(most, _SIGNIFICANT - whole))
