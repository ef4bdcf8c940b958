"""Charts of a report as SVG, in the colours of the page that they stand on.  Pure."""

from collections.abc import Generator, Iterator
from decimal import Decimal
from html import escape
from math import ceil
from typing import Final

from livekit_exporter.prices.explain.words import printable
from livekit_exporter.reports import written
from livekit_exporter.reports.report import Chart

_WIDTH: Final = 960
_HEIGHT: Final = 280
_ROW: Final = 26
_NAME_WIDTH: Final = 260
_NAME_LETTERS: Final = 36
_VALUE_WIDTH: Final = 110
_LEFT: Final = 80
_RIGHT: Final = 44
_TOP: Final = 16
_BOTTOM: Final = 34
_COLOURS: Final = 6
_MOST_LABELS: Final = 10
_STEPS: Final = (1, 2, 5, 10)
_TICKS: Final = 5


def svg(chart: Chart) -> str:
    """One chart; every value is in its text or its tooltip."""
    match chart.shape:
        case "bars":
            height, parts = _bars(chart)
        case "line":
            height, parts = _HEIGHT, list(_line(chart))
        case "histogram":
            height, parts = _HEIGHT, list(_histogram(chart))
    title = escape(printable(chart.title))
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{title}">\n'
        + "\n".join(parts)
        + "\n</svg>"
    )


def legend(chart: Chart) -> str:
    """Names of the series with their colours; nothing where there is one series."""
    if len(chart.series) < 2:  # noqa: PLR2004 - one needs no key
        return ""
    items = "".join(
        f'<li class="s{number % _COLOURS}">{escape(printable(name))}</li>'
        for number, (name, _) in enumerate(chart.series)
    )
    return f'<ul class="legend">{items}</ul>\n'


def _bars(chart: Chart) -> tuple[int, list[str]]:
    room = _WIDTH - _NAME_WIDTH - _VALUE_WIDTH
    texts = [written.column(chart.kind, values) for _, values in chart.series]
    parts, row = [], 0
    for position, label in enumerate(chart.labels):
        name = printable(label)
        parts.append(
            f'<text class="name" x="{_NAME_WIDTH - 10}" y="{row * _ROW + 18}">'
            f"{escape(_shortened(name))}<title>{escape(name)}</title></text>"
        )
        for number, (_, values) in enumerate(chart.series):
            length = room * max(values[position], 0.0) / chart.largest
            top = row * _ROW + 4
            parts.append(
                f'<rect class="s{number % _COLOURS}" x="{_NAME_WIDTH}" y="{top}"'
                f' width="{length:.1f}" height="{_ROW - 8}" rx="2"/>'
                f'<text x="{_NAME_WIDTH + length + 8:.1f}" y="{top + 14}">'
                f"{escape(texts[number][position])}</text>"
            )
            row += 1
    return max(row, 1) * _ROW, parts


def _line(chart: Chart) -> Iterator[str]:
    highest = yield from _grid(chart)
    room = _WIDTH - _LEFT - _RIGHT
    last = max(len(chart.labels) - 1, 1)
    places = [_LEFT + room * at / last for at in range(len(chart.labels))]
    if len(places) == 1:
        places = [_LEFT + room / 2]
    yield from _labels(chart, places)
    for number, (name, values) in enumerate(chart.series):
        points = [(x, _y(value, highest)) for x, value in zip(places, values, strict=True)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        yield f'<polyline class="s{number % _COLOURS}" points="{path}"/>'
        texts = written.column(chart.kind, values)
        for (x, y), label, text in zip(points, chart.labels, texts, strict=True):
            said = escape(printable(f"{label}, {name}: {text}"))
            yield (
                f'<circle class="s{number % _COLOURS}" cx="{x:.1f}" cy="{y:.1f}" r="3">'
                f"<title>{said}</title></circle>"
            )


def _histogram(chart: Chart) -> Iterator[str]:
    highest = yield from _grid(chart)
    room = (_WIDTH - _LEFT - _RIGHT) / max(len(chart.labels), 1)
    yield from _labels(chart, [_LEFT + room * (at + 0.5) for at in range(len(chart.labels))])
    wide = room / max(len(chart.series), 1)
    for number, (name, values) in enumerate(chart.series):
        texts = written.column(chart.kind, values)
        for at, (label, value, text) in enumerate(zip(chart.labels, values, texts, strict=True)):
            left, top = _LEFT + room * at + wide * number + 1, _y(value, highest)
            said = escape(printable(f"{label}, {name}: {text}"))
            yield (
                f'<rect class="s{number % _COLOURS}" x="{left:.1f}"'
                f' y="{top:.1f}" width="{max(wide - 2, 1):.1f}"'
                f' height="{_HEIGHT - _BOTTOM - top:.1f}"><title>{said}</title></rect>'
            )


def _grid(chart: Chart) -> Generator[str, None, float]:
    """Horizontal lines at round values; returns the highest of them."""
    ticks = _ticks(chart.largest)
    for value, text in zip(ticks, written.column(chart.kind, ticks), strict=True):
        y = _y(value, ticks[-1])
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="name" x="{_LEFT - 8}" y="{y + 4:.1f}">{escape(text)}</text>'
    return ticks[-1]


def _labels(chart: Chart, places: list[float]) -> Iterator[str]:
    step = max(1, -(-len(places) // _MOST_LABELS))
    for x, label in list(zip(places, chart.labels, strict=True))[::step]:
        text = escape(_shortened(printable(label)))
        yield f'<text class="middle" x="{x:.1f}" y="{_HEIGHT - 10}">{text}</text>'


def _ticks(largest: float) -> list[float]:
    """Round values from zero to at least the largest."""
    least = Decimal(largest) / _TICKS
    power = Decimal(1).scaleb(least.adjusted())
    step = next(power * each for each in _STEPS if power * each >= least)
    return [float(step * count) for count in range(ceil(Decimal(largest) / step) + 1)]


def _y(value: float, highest: float) -> float:
    room = _HEIGHT - _TOP - _BOTTOM
    return _TOP + room * (1 - max(value, 0.0) / highest)


def _shortened(name: str) -> str:
    return name if len(name) <= _NAME_LETTERS else f"{name[: _NAME_LETTERS - 1]}…"
