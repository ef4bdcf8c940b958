"""Revenue by user or label, from a CSV file; every line that cannot be read is named."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from livekit_exporter.reports.csv_table import CsvTable, LineError, amount

AMOUNT: Final = "revenue_usd"
PERIOD: Final = "period"

_MONTH: Final = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])")


@dataclass(slots=True)
class Revenue:
    """What a file says.

    Args:
        by_month: Whether it says months.
        usd: US dollars by month, empty where it says none, and by user or label value.
        mistakes: Lines that could not be read, each as `file:line: what; remedy`.
    """

    by_month: bool
    usd: dict[tuple[str, str], Decimal] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)


def read(table: CsvTable, key: str) -> Revenue:
    """Read a file; several lines of one user add up.

    Args:
        table: The file.
        key: Column that says whose revenue it is: `user`, or a label's name.

    Raises:
        CsvError: It does not name the columns.
    """
    for column in (key, AMOUNT):
        table.require(
            column, f"the first line must name '{key}' and '{AMOUNT}', and may name '{PERIOD}'"
        )
    found = Revenue(by_month=PERIOD in table.columns)
    for number, cells in table.rows:
        try:
            _take(found, table.line(cells), key)
        except LineError as error:
            found.mistakes.append(f"{table.name}:{number}: {error}")
    return found


def _take(found: Revenue, line: Mapping[str, str], key: str) -> None:
    whose, month = line[key], line.get(PERIOD, "")
    if not whose:
        raise LineError(f"'{key}' is empty; say whose revenue it is")
    usd = amount(line[AMOUNT], AMOUNT)
    if found.by_month and not _MONTH.fullmatch(month):
        raise LineError(f"'{PERIOD}' is '{month}', no month; write it as 2026-11")
    where = (month, whose)
    found.usd[where] = found.usd.get(where, Decimal(0)) + usd
