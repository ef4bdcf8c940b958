"""A provider's usage or cost export, a CSV file.

OpenAI's two exports are recognised by their columns, as they are in files of its usage
dashboard and in the import documentation of third parties; of any other file, the
options say which column holds what.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from typing import Final, NamedTuple

from livekit_exporter.reports.csv_table import CsvError, CsvTable, LineError, amount

# Unix seconds of this century, not a day written without dashes.
_SECONDS: Final = re.compile(r"[0-9]{10}(?:\.[0-9]+)?")


class Unit(NamedTuple):
    """A unit of an export, and the ledger's sums that measure the same.

    Args:
        name: As people write it.
        sums: Columns of the ledger that add up to it.
        per: How many of their unit make one of this.
    """

    name: str
    sums: tuple[str, ...]
    per: int = 1


USD: Final = Unit("usd", ("cost_usd",))

UNITS: Final[Mapping[str, Unit]] = {
    unit.name: unit
    for unit in (
        USD,
        Unit("requests", ("requests",)),
        Unit("tokens", ("input_tokens", "output_tokens")),
        Unit("input_tokens", ("input_tokens",)),
        Unit("cached_input_tokens", ("cached_input_tokens",)),
        Unit("output_tokens", ("output_tokens",)),
        Unit("characters", ("characters",)),
        Unit("audio_seconds", ("audio_seconds",)),
        Unit("audio_minutes", ("audio_seconds",), 60),
        Unit("audio_hours", ("audio_seconds",), 3600),
        Unit("connection_seconds", ("connection_seconds",)),
        Unit("connection_minutes", ("connection_seconds",), 60),
        Unit("connection_hours", ("connection_seconds",), 3600),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The columns of an export.

    Args:
        date: When: a day, a time in ISO 8601, or Unix seconds.
        model: Which model; `None` where the file does not say.
        measures: Column and unit of each amount.
        items: The model column holds OpenAI's line items, such as `gpt-4o-2024-08-06, input`.
        currency: Column that must say `usd`, if there is one.
        provider: Provider that writes exports with these columns, if they tell.
    """

    date: str
    model: str | None
    measures: tuple[tuple[str, Unit], ...]
    items: bool = False
    currency: str | None = None
    provider: str | None = None

    @property
    def columns(self) -> list[str]:
        """Columns that are read from every line; `currency` is looked at where there is cost."""
        named = (self.date, self.model, *(column for column, _ in self.measures))
        return [column for column in named if column is not None]


KNOWN: Final = (
    # The cost export.
    Layout(
        date="start_time",
        model="line_item",
        measures=(("amount_value", USD),),
        items=True,
        currency="amount_currency",
        provider="openai",
    ),
    # The activity export.
    Layout(
        date="start_time",
        model="model",
        measures=(
            ("num_model_requests", UNITS["requests"]),
            ("input_tokens", UNITS["input_tokens"]),
            ("output_tokens", UNITS["output_tokens"]),
        ),
        provider="openai",
    ),
)
"""Kinds of exports that their columns identify."""


class Columns(NamedTuple):
    """Names of the columns of an export, as a person gives them; `None` where they are not given.

    Args:
        date: Column of the day or time.
        model: Column of the model.
        cost: Column of US dollars.
        usage: Column of an amount used, in place of `cost`.
        unit: Unit of that amount.
    """

    date: str | None = None
    model: str | None = None
    cost: str | None = None
    usage: str | None = None
    unit: str = "tokens"


@dataclass(slots=True)
class Export:
    """The amounts in an export.

    Args:
        units: Units of the amounts.
        provider: Provider that wrote it; `None` where its columns do not tell.
        first: First day that it has a line of, and `last` the last.
        amounts: By unit's name, day (`YYYY-MM-DD`) and model, `None` where it says none.
        mistakes: Lines that could not be read, each as `file:line: what; remedy`.
    """

    units: tuple[Unit, ...]
    provider: str | None = None
    first: date | None = None
    last: date | None = None
    amounts: dict[tuple[str, str, str | None], Decimal] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)


def read(table: CsvTable, columns: Columns, zone: tzinfo) -> Export:
    """Read an export, by the named columns or as one of the known kinds.

    Args:
        table: The file.
        columns: Names of its columns; without any the file must be of a known kind.
        zone: Time zone of the days, for lines that say a time.

    Raises:
        CsvError: The columns are not known, or one of them is missing.
    """
    given = (columns.date, columns.model, columns.cost, columns.usage)
    layout = (None if any(given) else _recognised(table)) or _layout(columns)
    for column in layout.columns:
        table.require(column, f"the first line names {', '.join(table.columns)}")
    found = Export(tuple(unit for _, unit in layout.measures), layout.provider)
    for number, cells in table.rows:
        try:
            _take(found, table.line(cells), layout, zone)
        except LineError as error:
            found.mistakes.append(f"{table.name}:{number}: {error}")
    if found.first is None:
        raise CsvError(next(iter(found.mistakes), f"{table.name}: there are no lines in it"))
    return found


def _recognised(table: CsvTable) -> Layout | None:
    for known in KNOWN:
        if {*known.columns, known.currency or known.date}.issubset(table.columns):
            return known
    return None


def _take(found: Export, line: Mapping[str, str], layout: Layout, zone: tzinfo) -> None:
    day = _day(line[layout.date], layout.date, zone)
    amounts = [
        # A day on which nothing was used has a line without amounts.
        (unit, amount(line[column], column) if line[column] else Decimal(0))
        for column, unit in layout.measures
    ]
    if layout.currency is not None and any(usd for _, usd in amounts):
        currency = line[layout.currency]
        if currency.lower() != "usd":
            raise LineError(f"'{layout.currency}' is '{currency}'; only US dollars are compared")
    said = line[layout.model] if layout.model is not None else ""
    model = (_item(said) if layout.items else said) or None
    found.first = min(found.first or day, day)
    found.last = max(found.last or day, day)
    for unit, quantity in amounts:
        key = (unit.name, day.isoformat(), model)
        found.amounts[key] = found.amounts.get(key, Decimal(0)) + quantity


def _day(text: str, column: str, zone: tzinfo) -> date:
    try:
        if _SECONDS.fullmatch(text):
            return datetime.fromtimestamp(float(text), UTC).astimezone(zone).date()
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError) as error:
        raise LineError(f"'{column}' is '{text}', no time; write it as 2026-11-20") from error
    # A time without an offset is the provider's own: its day is the one that is written.
    return (moment.astimezone(zone) if moment.tzinfo else moment).date()


def _item(text: str) -> str:
    """Model of a line item: `priority | gpt-audio-2025-12-15 audio, input, long context`."""
    model, comma, _ = text.rpartition("|")[2].strip().partition(",")
    return model.split()[0] if comma and model.split() else text


def _layout(columns: Columns) -> Layout:
    date, cost, usage = columns.date, columns.cost, columns.usage
    if date is None or (cost is None) == (usage is None):
        raise CsvError(
            "this export is not recognised by its columns; say which hold what with --date-column,"
            " --model-column, and --cost-column or --usage-column"
        )
    measure = (cost, USD) if cost is not None else (usage or "", _unit(columns.unit))
    return Layout(date=date, model=columns.model, measures=(measure,))


def _unit(name: str) -> Unit:
    unit = UNITS.get(name)
    if unit is None:
        known = ", ".join(each for each in UNITS if each != USD.name)
        raise CsvError(f"'{name}' is no unit; --unit takes {known}")
    return unit
