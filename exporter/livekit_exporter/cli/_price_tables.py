"""The output of the `prices` commands: tables in a terminal, a line per entry in a pipe."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from livekit_exporter.ledger.survey import Survey
from livekit_exporter.prices.catalogue import UNKNOWN, Catalogue
from livekit_exporter.prices.entries import Block, Charges, Entry, Tariff
from livekit_exporter.prices.explain import words as explain
from livekit_exporter.prices.explain.unpriced import Unpriced
from livekit_exporter.prices.explain.words import printable
from livekit_exporter.prices.pricing import WHY
from livekit_exporter.prices.units import CONFIDENCES, Basis, Confidence

_NARROW: Final = 60
"""Columns of a terminal below which a table of prices is no help."""
_STYLE: Final[dict[Confidence, str]] = {"high": "", "medium": "yellow", "low": "red"}


def print_entries(entries: Sequence[Entry], at: float) -> None:
    """Print every entry with its prices at a Unix time."""
    console = Console(highlight=False)
    if not console.is_terminal:
        for entry in entries:
            _line(console, _fields(entry, at))
    elif not entries:
        console.print(Text("no entry is all of that"))
    elif console.width < _NARROW:
        for entry in entries:
            console.print(_stacked(entry, at))
    else:
        console.print(_entries(entries, at))
        number = "1 entry" if len(entries) == 1 else f"{len(entries)} entries"
        console.print(Text(f"{number}; confidence is high where nothing else is said"))


def _entries(entries: Iterable[Entry], at: float) -> Table:
    table = _table("entry", "USD", "per", "checked")
    per, checked = table.columns[2:]
    per.no_wrap, checked.min_width = True, len("2026-10-21")
    for stage, of_stage in groupby(entries, lambda entry: entry.stage):
        table.add_section()
        table.add_row(Text(stage, "bold"))
        for entry in of_stage:
            name = entry.id
            for price, unit, block in _charged(entry, at):
                table.add_row(Text(name), Text(printable(price)), Text(unit), _checked(block))
                name = ""
    return table


def _stacked(entry: Entry, at: float) -> Text:
    said = Text().append(f"{entry.id} ({entry.stage})", "bold")
    for price, per, block in _charged(entry, at):
        said.append(f"\n  {printable(f'{price} per {per}' if per else price)}  ")
        said.append_text(_checked(block))
    return said


def _charged(entry: Entry, at: float) -> Iterator[tuple[str, str, Block | None]]:
    """Return price, unit and block, line by line."""
    if entry.free:
        yield f"free: {entry.free}", "", None
    for tariff in entry.tariffs:
        block = tariff.block_at(at)
        if block is None:
            yield f"no price before {tariff.blocks[-1].valid_from}", "", None
            continue
        charges = block.charges_at(at)
        shown: Block | None = block
        for line in explain.lines(charges, tariff.basis):
            fallback = "" if tariff is entry.tariffs[0] else "else "
            hours = f" ({charges.hours} UTC)" if charges.hours else ""
            yield f"{fallback}{line}{hours}", line.per, shown
            shown = None


def _checked(block: Block | None) -> Text:
    if block is None:
        return Text()
    checked = Text(str(block.checked))
    if block.confidence != "high":
        checked.append(f" {block.confidence}", _STYLE[block.confidence])
    return checked


def _fields(entry: Entry, at: float) -> Sequence[str]:
    blocks = [block for tariff in entry.tariffs if (block := tariff.block_at(at)) is not None]
    prices = "; ".join(
        f"{price} per {per}" if per else price for price, per, _ in _charged(entry, at)
    )
    worst = max((block.confidence for block in blocks), key=CONFIDENCES.index, default="")
    checked = min((str(block.checked) for block in blocks), default="")
    return entry.id, entry.stage, prices, worst, checked


def print_explained(entry: Entry, catalogue: Catalogue, at: float) -> None:
    """Print one entry in words."""
    console = Console(highlight=False)
    page = Table.grid(padding=(0, 2, 0, 0))
    page.add_column(overflow="fold", style="bold")
    page.add_column(overflow="fold")
    for head, said in _page(entry, catalogue, at):
        if console.is_terminal:
            page.add_row(head, Text("\n".join(map(printable, said))))
        else:
            for number, line in enumerate(said):
                _line(console, [f"{'' if number else head:10}  {line}"])
    if console.is_terminal:
        console.print(page)


def _page(entry: Entry, catalogue: Catalogue, at: float) -> Iterator[tuple[str, list[str]]]:
    """Return heads and lines, from the name to the example."""
    provider = catalogue.providers[entry.provider]
    yield "entry", [entry.id]
    yield "stage", [entry.stage]
    aliases = {"names": provider.names, "hosts": provider.hosts, "labels": provider.labels}
    known = [f"{kind}: {', '.join(said)}" for kind, said in aliases.items() if said]
    yield "provider", [entry.provider, *known]
    default = ["models that the plugin does not name"]
    yield "matches", [*entry.match, *(default if entry.id in provider.defaults.values() else [])]
    for tariff in entry.tariffs:
        if tariff is not entry.tariffs[0]:
            yield "fallback", [f"by {tariff.basis}:"]
        for block in reversed(tariff.blocks):
            yield explain.when(block, tariff, at), list(_block(block, tariff))
    yield "rule", explain.rule(entry, at)
    example = explain.example(entry, at)
    yield "example", [example.said, *explain.calculation(example.quote)]
    yield "total", [explain.total(example.quote)]


def _block(block: Block, tariff: Tariff) -> Iterator[str]:
    if block.valid_from is not None:
        yield f"from {block.valid_from}"
    yield from _lines(block.charges, tariff.basis)
    for window in block.windows:
        yield f"from {window.charges.hours.replace('-', ' until ')} UTC"
        yield from (f"  {line}" for line in _lines(window.charges, tariff.basis))
    yield f"{block.source}, checked {block.checked}, confidence {block.confidence}"


def _lines(charges: Charges, basis: Basis) -> Iterator[str]:
    return (f"{line} per {line.per}" for line in explain.lines(charges, basis))


def print_unpriced(survey: Survey, stub: str) -> None:
    """Print usage without a price; in a pipe only the price file, whose comments list it."""
    console = Console(highlight=False)
    notes = console if console.is_terminal else Console(stderr=True, highlight=False)
    if not survey.unpriced:
        notes.print(Text("no usage without a price"))
    elif console.is_terminal:
        console.print(_unpriced(survey.unpriced))
    if survey.settled:
        rows = "1 row has" if survey.settled == 1 else f"{survey.settled:,} rows have"
        notes.print(Text(f"{rows} a price by now, left out here, and would be repriced"))
    if stub and console.is_terminal:
        console.print()
    console.file.write(stub)


def _unpriced(groups: Iterable[Unpriced]) -> Table:
    table = _table("without a price", "requests", "usage", "seen (UTC)")
    table.columns[1].justify = "right"
    for group in groups:
        what = Text(
            f"{group.stage}  {printable(group.provider)}\n{printable(group.model or UNKNOWN)}"
        )
        if group.label:
            what.append(f"\n{printable(group.label)}", "dim")
        if group.why != "no_entry":
            what.append(f"\n{WHY[group.why]}", "yellow")
        usage = Text(group.used.replace(", ", "\n"))
        table.add_row(what, f"{group.requests:,}", usage, Text(group.days.replace(" to ", " to\n")))
        table.add_section()
    return table


def _table(*heads: str) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for head in heads:
        table.add_column(head, overflow="fold")
    return table


def _line(console: Console, fields: Iterable[str]) -> None:
    """Write a line for other programs, fields separated by tabs."""
    console.file.write("\t".join(map(printable, fields)) + "\n")
