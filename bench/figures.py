"""Results of a measurement, and their notation."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Row: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """One line of the README.

    Args:
        what: What was measured.
        measured: The figure, with its unit.
        against: The baseline of the same run, with its figure; empty without one.
        ratio: Measured to baseline, as text.
    """

    what: str
    measured: str
    against: str = ""
    ratio: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Results of one measurement: lines for the README and a table.

    Args:
        question: Heading.
        method: How it was measured, in a sentence or two.
        columns: Heads of the table.
        rows: Its lines.
        quotes: What the README says of it.
    """

    question: str
    method: str
    columns: Row
    rows: Sequence[Row]
    quotes: Sequence[Quote]


def percentile(values: Iterable[float], percent: float) -> float:
    """Smallest value that at least `percent` of all values do not exceed.

    Raises:
        ValueError: There are no values.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values were measured")
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def micros(nanoseconds: float) -> str:
    """A duration in microseconds, three digits."""
    return digits(nanoseconds / 1e3)


def millis(seconds: float) -> str:
    """A duration in milliseconds, three digits."""
    return digits(seconds * 1e3)


def digits(number: float) -> str:
    """Three significant digits, without an exponent; whole thousands apart."""
    if number >= 100:
        return f"{number:,.0f}".replace(",", " ")
    if number >= 10:
        return f"{number:.1f}"
    return f"{number:.2f}" if number >= 0.1 or not number else f"{number:.2g}"


def ratio(measured: float, baseline: float) -> str:
    """Multiple of the baseline."""
    return f"{digits(measured / baseline)}x"


def table(columns: Row, rows: Sequence[Row]) -> str:
    """A Markdown table, aligned so that it reads well as plain text."""
    lines = [columns, *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    written = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    ]
    written.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(written)
