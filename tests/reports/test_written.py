"""How values are written for people."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_exporter.prices.explain.words import printable
from livekit_exporter.reports import written
from livekit_exporter.reports.report import Column, Quantity


@pytest.mark.parametrize(
    ("kind", "values", "texts"),
    [
        ("usd", [0.012345, 0.1], ["0.01235", "0.10000"]),
        ("usd", [0.0012346, 0.0], ["0.001235", "0.000000"]),
        ("usd", [1234.5, 0.004, 0.5], ["1,234.50", "<0.01", "0.50"]),
        ("usd", [Decimal("0.1"), None], ["0.10000", "-"]),
        ("usd", [], []),
        ("usd", [float("nan"), 1.0], ["-", "1.0000"]),
        ("usd", [-0.0000001, 1], ["-<0.0001", "1.0000"]),
        ("seconds", [0.8123, 12.5], ["0.812", "12.500"]),
        ("seconds", [123456.7], ["123,457"]),
        ("share", [0.1234, 1, 0.0001], ["12.3", "100.0", "<0.1"]),
        ("count", [1234567, 0], ["1,234,567", "0"]),
        ("minutes", [0.04, 71.25], ["<0.1", "71.2"]),
        ("text", ["a", None], ["a", "-"]),
        ("quantity", [Quantity("usd", 0.5), Quantity("share", None)], ["0.50000 $", "- %"]),
        ("time", [datetime(2026, 11, 26, 1, 2, 3, tzinfo=UTC)], ["2026-11-26 01:02:03+00:00"]),
    ],
)
def test_column_has_one_number_of_digits(kind: str, values: list[object], texts: list[str]) -> None:
    """Enough of them to add up; unknown is a dash, and little is not nothing."""
    assert written.column(kind, values) == texts  # type: ignore[arg-type]


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_no_amount_looks_like_nothing(values: list[float]) -> None:
    """A price of a thousandth of a cent is not written as zero."""
    for value, text in zip(values, written.column("usd", values), strict=True):
        assert (float(text.replace(",", "").strip("<")) == 0) == (value == 0)


@given(st.lists(st.floats(1e-4, 1e3), min_size=1, max_size=50))
def test_written_lines_add_up_to_the_written_total(values: list[float]) -> None:
    """As near as rounding of each line allows."""
    *lines, total = written.column("usd", [*values, sum(values)])
    digits = len(total.partition(".")[2])

    added = sum(float(line.replace(",", "").strip("<")) for line in lines)
    assert abs(added - float(total.replace(",", ""))) <= (len(lines) + 1) * 10**-digits


def test_head_carries_the_unit() -> None:
    """Figures stand without their units below it."""
    assert written.head(Column("cost_usd", "Cost", "usd")) == "Cost ($)"
    assert written.head(Column("agent", "Agent")) == "Agent"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("gpt-4.1", "gpt-4.1"),
        ("日本語 é", "日本語 é"),
        ("red\x1b[31m", "red\\x1b[31m"),
        ("two\nlines", "two\\nlines"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("bell\a", "bell\\x07"),
    ],
)
def test_name_cannot_move_the_cursor(name: str, text: str) -> None:
    """Names come from agents and callers; a terminal would obey what is in them."""
    assert printable(name) == text
