"""Charts: in a terminal, and as SVG on a page."""

import io
import re
import sys
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from livekit_exporter.reports import charts, drawing
from livekit_exporter.reports.report import Chart, ExtraError

BARS = Chart("bars", "Cost", "usd", ("sonic-3", "nova-3"), (("Cost", (0.02, 0.005)),))
LINE = Chart(
    "line",
    "Cost",
    "usd",
    ("2026-11-24", "2026-11-25", "2026-11-26"),
    (("sonic-3", (0.1, 0.3, 0.2)), ("nova-3", (0.05, 0.0, 0.1))),
)
HISTOGRAM = Chart("histogram", "Wait", "count", ("≤ 0.5 s", "≤ 1 s"), (("wait", (3.0, 12.0)),))


def drawn(chart: Chart) -> str:
    """What a pipe of 80 columns gets."""
    stream = io.StringIO()
    charts.write([chart], Console(file=stream, width=80))
    return stream.getvalue()


def test_bars_are_as_long_as_their_values() -> None:
    """With the name before and the value behind."""
    first, second = drawn(BARS).splitlines()[2:4]

    assert first.startswith("sonic-3 █")
    assert first.endswith(" 0.020000")
    assert second.count("█") == pytest.approx(first.count("█") / 4, abs=1)


def test_histogram_has_a_line_per_bucket() -> None:
    """Counts are whole numbers."""
    assert [line.split()[-1] for line in drawn(HISTOGRAM).splitlines()[2:]] == ["3", "12"]


def test_line_names_its_series_and_days() -> None:
    """And carries no colours into a pipe."""
    text = drawn(LINE)

    assert all(name in text for name in ("sonic-3", "nova-3", "2026-11-24", "2026-11-26"))
    assert "\x1b" not in text


def test_line_without_plotext_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars need nothing."""
    monkeypatch.setitem(sys.modules, "plotext", None)

    with pytest.raises(ExtraError, match="plotext; install it with"):
        drawn(LINE)
    assert "nova-3" in drawn(BARS)


@pytest.mark.parametrize("chart", [BARS, LINE, HISTOGRAM], ids=lambda chart: chart.shape)
def test_svg_is_well_formed_and_names_its_values(chart: Chart) -> None:
    """A reader without sight or with a mouse gets the numbers."""
    root = ET.fromstring(drawing.svg(chart))

    text = "".join(root.itertext())
    assert root.get("aria-label") == chart.title
    assert all(label in text for label in chart.labels)


@given(
    shape=st.sampled_from(["bars", "line", "histogram"]),
    points=st.lists(st.tuples(st.text(max_size=50), st.floats(0, 1e12)), max_size=40),
    name=st.text(max_size=50),
)
def test_any_values_can_be_drawn(shape: str, points: list[tuple[str, float]], name: str) -> None:
    """None at all, all zero, one, and names of any letters."""
    labels, values = tuple(label for label, _ in points), tuple(value for _, value in points)
    chart = Chart(shape, name, "usd", labels, ((name, values), ("other", values)))  # type: ignore[arg-type]

    svg = drawing.svg(chart)

    numbers = re.findall(r'(?:x|y|cx|cy|width|height)="(-?[\d.]+)"', svg)
    assert all(-1 <= float(number) <= 2000 for number in numbers)
    ET.fromstring(f"<div>{drawing.legend(chart)}{svg}</div>")
    if points:
        drawn(chart)
