"""A report as a file: CSV and JSON for any program, Parquet for the larger ones.

Values are exact: a double is written with as many digits as it takes to read the same
double again.
"""

import csv
import io
import json
import re
from datetime import datetime
from decimal import Decimal
from math import isfinite
from typing import Final

from livekit_exporter.reports.report import ExtraError, Kind, Quantity, Report, Value

# A spreadsheet takes a cell that begins so for a formula, quoted or not.
_FORMULA: Final = re.compile(r"[=+\-@\t\r]")
_NUMBER: Final = re.compile(r"[+-]?[\d\s().-]+")

UNITS: Final[dict[Kind, str]] = {
    "usd": "usd",
    "usd_per_minute": "usd/min",
    "seconds": "s",
    "minutes": "min",
    "share": "1",
    "ratio": "1",
    "count": "1",
}
"""Unit of a kind, as files carry it."""


def as_csv(report: Report) -> str:
    """RFC 4180: a line of names, then the rows; title, total and notes are not in it.

    A text that a spreadsheet would take for a formula begins with an apostrophe; numbers,
    telephone numbers among them, never do.
    """
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(column.name for column in report.columns)
    lines.writerows(map(_cell, row) for row in report.rows)
    return text.getvalue()


def as_json(report: Report) -> str:
    """One object: title, columns with their units, rows as objects, totals, notes."""
    names = [column.name for column in report.columns]

    def line(values: tuple[Value, ...]) -> dict[str, object]:
        return dict(zip(names, map(_plain, values), strict=True))

    answer = {
        "title": report.title,
        "columns": [
            {
                "name": column.name,
                "title": column.title,
                "kind": column.kind,
                "unit": UNITS.get(column.kind),
            }
            for column in report.columns
        ],
        "rows": [line(row) for row in report.rows],
        "totals": None if report.totals is None else line(report.totals),
        "notes": list(report.notes) if report.rows else [report.empty, *report.notes],
    }
    return json.dumps(answer, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_parquet(report: Report) -> bytes:
    """One table; the file's metadata carries the title and the notes, a column's its unit.

    Raises:
        ExtraError: `pyarrow` is not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - large, and in an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise ExtraError("Parquet", "pyarrow") from error
    kinds = {"text": pa.string(), "count": pa.int64(), "time": pa.timestamp("us", tz="UTC")}
    schema = pa.schema(
        [
            pa.field(
                column.name,
                kinds.get(column.kind, pa.float64()),
                metadata={"title": column.title, "unit": UNITS.get(column.kind, "")},
            )
            for column in report.columns
        ],
        metadata={"title": report.title, "notes": json.dumps(report.notes)},
    )
    arrays = [
        pa.array(
            [
                value if isinstance(value, datetime) else _plain(value)
                for value in (row[position] for row in report.rows)
            ],
            type=field.type,
        )
        for position, field in enumerate(schema)
    ]
    buffer = io.BytesIO()
    parquet.write_table(pa.Table.from_arrays(arrays, schema=schema), buffer)
    return buffer.getvalue()


def _cell(value: Value) -> str:
    if isinstance(value, str):
        risky = _FORMULA.match(value) and not _NUMBER.fullmatch(value)
        return f"'{value}" if risky else value
    plain = _plain(value)
    if plain is None:
        return ""
    if isinstance(plain, bool):
        return "true" if plain else "false"
    return plain if isinstance(plain, str) else repr(plain)


def _plain(value: Value) -> str | float | bool | None:
    if isinstance(value, Quantity):
        value = value.amount
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (float, Decimal)):
        return float(value) if isfinite(value) else None
    return value
