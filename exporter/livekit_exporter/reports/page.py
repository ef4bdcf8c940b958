"""A report as one page that needs nothing else: a table, and its charts as inline SVG."""

from collections.abc import Sequence
from html import escape

from livekit_exporter.export.html import frame
from livekit_exporter.prices.explain.words import printable
from livekit_exporter.reports import drawing, written
from livekit_exporter.reports.report import Report


def page(report: Report) -> str:
    """A whole document."""
    title = escape(printable(report.title))
    parts = [f"<header><h1>{title}</h1></header>"]
    for chart in report.charts:
        parts += [
            f"<h2>{escape(printable(written.head(chart)))}</h2>",
            f'<div class="panel chart">{drawing.legend(chart)}{drawing.svg(chart)}</div>',
        ]
    if report.rows:
        parts += ["<h2>Figures</h2>", f'<div class="panel">{_table(report.for_people())}</div>']
    else:
        parts.append(f"<p>{escape(printable(report.empty))}.</p>")
    if report.notes:
        notes = "".join(f"<li>{escape(printable(note))}</li>" for note in report.notes)
        parts += ["<h2>Notes</h2>", f"<ul>{notes}</ul>"]
    return frame(printable(report.title), "\n".join(parts) + "\n")


def _table(report: Report) -> str:
    columns = written.cells(report)
    texts = [column.text for column in columns]
    head = _row("th", [column.head for column in columns], texts)
    lines = zip(*(column.cells for column in columns), strict=True)
    body = "\n".join(_row("td", line, texts) for line in lines)
    total = _row("th", [column.total for column in columns], texts)
    foot = f"<tfoot>{total}</tfoot>" if report.totals is not None else ""
    return f"<table><thead>{head}</thead>\n<tbody>{body}</tbody>{foot}</table>"


def _row(tag: str, cells: Sequence[str], texts: Sequence[bool]) -> str:
    figure = ' class="figure"'
    inside = "".join(
        f"<{tag}{'' if text else figure}>{escape(cell)}</{tag}>"
        for cell, text in zip(cells, texts, strict=True)
    )
    return f"<tr>{inside}</tr>"
