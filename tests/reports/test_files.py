"""Files: exact values, and nothing that a spreadsheet would run."""

import csv
import io
import json
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from livekit_exporter.reports import files
from livekit_exporter.reports.report import Column, ExtraError, Quantity, Report, Value

COLUMNS = (
    Column("name", "Name"),
    Column("cost_usd", "Cost", "usd"),
    Column("requests", "Requests", "count"),
    Column("at", "At", "time"),
    Column("amount", "Amount", "quantity", sparse=True, detail=True),
)
AT = datetime(2026, 11, 26, 1, 2, 3, tzinfo=UTC)
ROWS: tuple[tuple[Value, ...], ...] = (
    ('a, "b"\nc', 0.1 + 0.2, 3, AT, Quantity("share", 0.5)),
    (None, Decimal("0.7"), None, None, Quantity("usd", None)),
)
REPORT = Report(
    title="Cost", columns=COLUMNS, rows=ROWS, totals=(None, 1.0, 3, None, None), notes=("a note",)
)


def read_csv(text: str) -> list[list[str]]:
    """As any other program reads it."""
    return list(csv.reader(io.StringIO(text, newline="")))


def test_csv_has_names_and_exact_values() -> None:
    """RFC 4180: quotes are doubled, lines end in CR LF, nothing is a total."""
    text = files.as_csv(REPORT)

    assert text.startswith("name,cost_usd,requests,at,amount\r\n")
    assert read_csv(text)[1:] == [
        ['a, "b"\nc', "0.30000000000000004", "3", "2026-11-26T01:02:03+00:00", "0.5"],
        ["", "0.7", "", "", ""],
    ]


@pytest.mark.parametrize("formula", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3+cmd", "\t=1"])
def test_csv_holds_no_formula(formula: str) -> None:
    """A caller may choose their own name; a spreadsheet must not run it."""
    [_, [cell, *_]] = read_csv(files.as_csv(_named(formula)))

    assert cell == f"'{formula}"


@pytest.mark.parametrize("name", ["+49 170 1234567", "-1.5", "+1 (555) 010-9999", "a=b", "u-42"])
def test_csv_leaves_numbers_and_names_alone(name: str) -> None:
    """Users of a telephone agent are telephone numbers."""
    [_, [cell, *_]] = read_csv(files.as_csv(_named(name)))

    assert cell == name


@given(st.floats(allow_nan=False, allow_infinity=False), st.text())
def test_csv_and_json_give_the_same_double_back(amount: float, name: str) -> None:
    """The shortest text that reads as the same number."""
    report = Report(title="t", columns=COLUMNS[:2], rows=((name, amount),))

    assert float(read_csv(files.as_csv(report))[1][1]) == amount
    assert json.loads(files.as_json(report))["rows"] == [{"name": name, "cost_usd": amount}]


def test_json_says_what_the_figures_are() -> None:
    """Title, columns with units, rows as objects, totals, notes."""
    read = json.loads(files.as_json(REPORT))

    assert list(read) == ["title", "columns", "rows", "totals", "notes"]
    assert read["columns"][1] == {
        "name": "cost_usd",
        "title": "Cost",
        "kind": "usd",
        "unit": "usd",
    }
    assert read["rows"][1] == {
        "name": None,
        "cost_usd": 0.7,
        "requests": None,
        "at": None,
        "amount": None,
    }
    assert read["totals"]["requests"] == 3
    assert read["notes"] == ["a note"]


def test_json_without_rows_says_why() -> None:
    """A program gets the sentence that a person gets."""
    read = json.loads(files.as_json(Report(title="t", columns=COLUMNS, rows=(), empty="no call")))

    assert (read["rows"], read["totals"], read["notes"]) == ([], None, ["no call"])


def test_json_has_no_infinity() -> None:
    """JSON has no word for it."""
    report = Report(title="t", columns=COLUMNS[:2], rows=(("x", float("inf")),))

    assert json.loads(files.as_json(report))["rows"] == [{"name": "x", "cost_usd": None}]


def test_parquet_keeps_types_units_and_notes() -> None:
    """What a data frame is made of without a word of configuration."""
    table = parquet.read_table(io.BytesIO(files.as_parquet(REPORT)))

    assert [str(field.type) for field in table.schema] == [
        "string",
        "double",
        "int64",
        "timestamp[us, tz=UTC]",
        "double",
    ]
    assert table.schema.field("cost_usd").metadata == {b"title": b"Cost", b"unit": b"usd"}
    assert json.loads((table.schema.metadata or {})[b"notes"]) == ["a note"]
    assert table.to_pylist() == [
        {"name": 'a, "b"\nc', "cost_usd": 0.1 + 0.2, "requests": 3, "at": AT, "amount": 0.5},
        {"name": None, "cost_usd": 0.7, "requests": None, "at": None, "amount": None},
    ]


def test_parquet_without_rows_still_has_its_columns() -> None:
    """A pipeline reads every day's file the same way."""
    empty = Report(title="t", columns=COLUMNS, rows=())

    table = parquet.read_table(io.BytesIO(files.as_parquet(empty)))

    assert (table.num_rows, table.column_names) == (0, [column.name for column in COLUMNS])


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line instead of a traceback."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(ExtraError, match=r"pyarrow; install it with: pip install 'livekit-exp"):
        files.as_parquet(REPORT)


def _named(name: str) -> Report:
    return Report(title="t", columns=COLUMNS[:1], rows=((name,),))
