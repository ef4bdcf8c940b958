"""Tables: whole at any width, whatever the names are."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_exporter.reports import tables
from livekit_exporter.reports.report import Column, Report

COLUMNS = (
    Column("model", "Model"),
    Column("cost_usd", "Cost", "usd"),
    Column("wasted_usd", "Wasted", "usd", sparse=True),
    Column("requests", "Requests", "count"),
    Column("exact", "Exact", "usd", detail=True),
)
REPORT = Report(
    title="Cost by model",
    columns=COLUMNS,
    rows=(("gpt-4.1-mini", 0.0123, 0.0, 1200, 0.1), ("sonic-3", None, None, 3, 0.2)),
    totals=(None, 0.0123, 0.0, 1203, 0.3),
    notes=("something is missing",),
)


def text(report: Report) -> str:
    """What is written into a pipe."""
    stream = io.StringIO()
    tables.write(report, stream)
    return stream.getvalue()


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")


def test_table_shows_title_lines_total_and_notes() -> None:
    """Figures to the right, names to the left, the total below."""
    assert [line.rstrip() for line in text(REPORT).splitlines()] == [
        "Cost by model",
        "Model         Cost ($)  Requests",
        "────────────────────────────────",
        "gpt-4.1-mini  0.012300     1,200",
        "sonic-3              -         3",
        "",
        "total         0.012300     1,203",
        "note: something is missing",
    ]


def test_column_without_anything_in_it_is_for_files_only() -> None:
    """Neither is a detail shown."""
    assert "Wasted" not in text(REPORT)
    assert "Exact" not in text(REPORT)


def test_empty_answer_is_a_sentence() -> None:
    """No head over nothing."""
    empty = Report(title="Cost", columns=COLUMNS, rows=(), empty="nothing was used: today")

    assert text(empty) == "Cost\nnothing was used: today.\n"


def test_pipe_breaks_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """`grep` finds a name however long it is."""
    monkeypatch.delenv("COLUMNS", raising=False)  # pytest's workers are told a width
    name = "model-" + "x" * 300
    wide = Report(title="t" * 300, columns=COLUMNS, rows=((name, 1.0, 0.0, 1, 0.0),))

    assert name in text(wide)
    assert "t" * 300 in text(wide)


@pytest.mark.usefixtures("narrow")
def test_table_too_wide_is_shown_in_parts() -> None:
    """Names stand before each part; no figure is cut off."""
    columns = (Column("model", "Model"), *(Column(f"c{n}", f"Column{n}", "usd") for n in range(20)))
    wide = Report(
        title="t", columns=columns, rows=(("gpt-4.1-mini", *(n + 0.5 for n in range(20))),)
    )

    written = text(wide)

    assert max(map(len, written.splitlines())) <= 80
    assert written.count("gpt-4.1-mini") == 3
    assert all(f"{n + 0.5:.3f}" in written for n in range(20))


@pytest.mark.usefixtures("narrow")
def test_long_name_is_folded_not_cut() -> None:
    """Every letter of it is there."""
    name = "a-model-with-a-name-of-quite-some-length-" * 4
    folded = Report(title="t", columns=COLUMNS, rows=((name, 1.0, 1.0, 1, 0.0),))

    written = text(folded)

    letters = "".join(re.findall(r"[a-z-]+", written.split("─")[-1]))
    assert name in letters
    assert max(map(len, written.splitlines())) <= 80


@pytest.mark.parametrize("name", ["[bold]x[/bold]", "[/]", "[link=http://x]", "\\[x]", ":smile:"])
def test_markup_in_a_name_is_the_name(name: str) -> None:
    """Rich would take brackets for a style."""
    hostile = Report(title=name, columns=COLUMNS, rows=((name, 1.0, 0.0, 1, 0.0),), notes=(name,))

    assert text(hostile).count(name) == 3


@given(name=st.text(max_size=200), amount=st.floats(allow_nan=True, allow_infinity=True))
def test_any_name_and_amount_can_be_shown(name: str, amount: float) -> None:
    """And nothing of it reaches a terminal as a command."""
    shown = text(Report(title=name, columns=COLUMNS, rows=((name, amount, amount, 1, 0.0),)))

    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", shown)
