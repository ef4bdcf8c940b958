"""Charts of a report in a terminal."""

from collections.abc import Iterable
from typing import Final

from rich.bar import Bar
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from livekit_exporter.prices.explain.words import printable
from livekit_exporter.reports import written
from livekit_exporter.reports.report import Chart, ExtraError

_HEIGHT: Final = 16
_WIDEST: Final = 120
_TICKS: Final = 7
_COLOURS: Final = ("cyan", "magenta", "yellow", "green", "blue", "red")


def write(charts: Iterable[Chart], console: Console) -> None:
    """Draw charts below one another.

    Raises:
        ExtraError: `plotext` is not installed, and a line is among them.
    """
    for chart in charts:
        console.print()
        console.print(Text(printable(written.head(chart)), style="bold"))
        width = min(console.width, _WIDEST)
        drawn = (
            Text.from_ansi(_line(chart, width, colourless=not console.color_system))
            if chart.shape == "line"
            else _bars(chart)
        )
        console.print(drawn, width=width, no_wrap=True)


def _bars(chart: Chart) -> RenderableType:
    """One line a name; where there are several series, one below the other."""
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(overflow="fold", max_width=40)
    if len(chart.series) > 1:
        grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    texts = [written.column(chart.kind, values) for _, values in chart.series]
    for position, label in enumerate(chart.labels):
        for number, (name, values) in enumerate(chart.series):
            cells: list[RenderableType] = [Text("" if number else printable(label))]
            if len(chart.series) > 1:
                cells.append(Text(printable(name)))
            colour = _COLOURS[number % len(_COLOURS)]
            bar = Bar(chart.largest, 0, max(0.0, values[position]), color=colour)
            grid.add_row(*cells, bar, Text(texts[number][position]))
    return grid


def _line(chart: Chart, width: int, *, colourless: bool) -> str:
    try:
        import plotext  # noqa: PLC0415 - in an extra
    except ImportError as error:
        raise ExtraError("a chart over time", "plotext") from error
    figure = plotext.figure
    figure.clear()
    figure.theme("simple")
    figure.plot_size(width, _HEIGHT)
    places = list(range(len(chart.labels)))
    for name, values in chart.series:
        signal = figure.signal(places, list(values))
        signal.lines()
        if len(chart.series) > 1:
            signal.label(printable(name))
        figure.draw(signal)
    step = max(1, -(-len(places) // _TICKS))
    figure.ruler("x").ticks(places[::step], [printable(chart.labels[at]) for at in places[::step]])
    figure.ruler("y").lim(0, chart.largest)
    return str(figure.build().string(colourless))
