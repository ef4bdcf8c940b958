"""Reports by group: their columns, order of lines, totals and charts."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, TypeVar

from livekit_exporter.reports import written
from livekit_exporter.reports.question import DIMENSIONS, TIMES, Question
from livekit_exporter.reports.reading import Group
from livekit_exporter.reports.report import Chart, Column, Kind, Report, Value

_Line = TypeVar("_Line")

_BARS: Final = 20
_LINES: Final = 5
_REST: Final = "other"


def report(  # noqa: PLR0913 - the parts of a report, given by name
    question: Question,
    subject: str,
    measures: Sequence[Column],
    sizes: Mapping[Group, float],
    line: Callable[[Group], tuple[Value, ...]],
    *,
    totals: tuple[Value, ...] | None,
    notes: Iterable[str],
    charts: tuple[Chart, ...],
    empty: str,
    before: Iterable[str] = (),
) -> Report:
    """Make a report with a line per group, by time, then the largest first.

    Args:
        question: Period, filters and groups.
        subject: Begin of the title.
        measures: Columns after those of the groups.
        sizes: Size of every group, for the order.
        line: Returns the measures of a group.
        totals: Measures of all groups together; none are shown where there is no group.
        notes: Notes after the one about lines left out.
        charts: Charts of the same figures.
        empty: Sentence in place of a table without lines.
        before: Notes before the one about lines left out.
    """
    kept, left_out = shown(question, arranged(question, sizes))
    by = columns(question, [each.name for each in measures])
    return Report(
        title=question.title(subject),
        columns=(*by, *measures),
        rows=tuple((*group, *line(group)) for group in kept),
        totals=(*(None for _ in by), *totals) if totals is not None and sizes else None,
        notes=(*before, *left_out, *notes),
        charts=charts if sizes else (),
        empty=f"{empty}: {question.period}",
    )


def columns(question: Question, taken: Collection[str]) -> tuple[Column, ...]:
    """Return the columns of the groups.

    Args:
        question: Period, filters and groups.
        taken: Names of the other columns; a label of such a name gets a longer one.
    """
    return tuple(
        Column(
            f"label.{name}" if name in taken else name,
            name.capitalize() if name in DIMENSIONS else name,
        )
        for name in question.by
    )


def arranged(question: Question, sizes: Mapping[Group, float]) -> list[Group]:
    """Sort groups by time, then the largest first."""
    times = [position for position, name in enumerate(question.by) if name in TIMES]

    def place(group: Group) -> tuple[tuple[str, ...], float, tuple[str, ...]]:
        return (
            tuple(group[position] or "" for position in times),
            -sizes[group],
            tuple(value or "" for value in group),
        )

    return sorted(sizes, key=place)


def shown(question: Question, wanted: Sequence[_Line]) -> tuple[Sequence[_Line], list[str]]:
    """Cut lines to the limit; return them, and a note if some are left out."""
    if question.limit is None or len(wanted) <= question.limit:
        return wanted, []
    left = written.value("count", len(wanted) - question.limit)
    return wanted[: question.limit], [f"{left} more lines are left out by --limit"]


def name(group: Group) -> str:
    """Return the name of a group."""
    return " / ".join(written.UNKNOWN if value is None else value for value in group) or "total"


def chart(question: Question, title: str, kind: Kind, sizes: Mapping[Group, float]) -> Chart:
    """Draw sizes as lines over time if the groups are by time, else as bars."""
    time = next((position for position, each in enumerate(question.by) if each in TIMES), None)
    if time is None:
        largest = sorted(sizes, key=lambda group: -sizes[group])[:_BARS]
        values = tuple(sizes[group] for group in largest)
        return Chart("bars", title, kind, tuple(map(name, largest)), ((title, values),))
    moments = sorted({group[time] or "" for group in sizes})
    parts: dict[str, dict[str, float]] = {}
    for group, size in sizes.items():
        rest = group[:time] + group[time + 1 :]
        part = parts.setdefault(name(rest) if rest else title, {})
        part[group[time] or ""] = part.get(group[time] or "", 0.0) + size
    ranked = sorted(parts, key=lambda each: -sum(parts[each].values()))
    series = {each: parts[each] for each in ranked[:_LINES]}
    for each in ranked[_LINES:]:
        rest_of_them = series.setdefault(_REST, {})
        for moment, size in parts[each].items():
            rest_of_them[moment] = rest_of_them.get(moment, 0.0) + size
    return Chart(
        "line",
        title,
        kind,
        tuple(moments),
        tuple(
            (each, tuple(part.get(moment, 0.0) for moment in moments))
            for each, part in series.items()
        ),
    )
