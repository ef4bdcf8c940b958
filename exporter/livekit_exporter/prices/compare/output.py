"""A comparison as people and programs read it."""

import sys
from collections.abc import Sequence
from datetime import date
from decimal import Context, Decimal
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from livekit_exporter.prices.compare.differences import Comparison, Difference, Place
from livekit_exporter.prices.compare.price_list import SECONDS, PriceList, stated
from livekit_exporter.prices.units import EXACT

# Enough to tell two prices apart that differ.
_SHORT: Final = Context(prec=6)

# Of a file or a pipe, which have none; no line is broken in it.
_WIDTH: Final = 200


def show(differences: Sequence[Difference]) -> None:
    """Print one line per difference, in the units of the vendors' pages."""
    if not differences:
        return
    columns = Table(box=None, pad_edge=False, header_style="bold")
    columns.add_column("price", overflow="fold")
    columns.add_column("unit", overflow="fold")
    columns.add_column("per", no_wrap=True)
    for name in ("ours", "theirs", "ratio"):
        columns.add_column(name, justify="right", no_wrap=True)
    columns.add_column("since", no_wrap=True)
    for one in differences:
        unit = one.place.unit
        columns.add_row(
            Text(one.place.price_id),
            unit_of(one.place),
            "minute" if unit in SECONDS else "1M",
            _short(stated(one.ours, unit)),
            _short(stated(one.theirs, unit)),
            "" if one.ratio is None else _short(one.ratio),
            str(one.since or ""),
        )
    Console(width=None if sys.stdout.isatty() else _WIDTH).print(columns)


def unit_of(place: Place) -> str:
    """A unit with its tier, as `input_token > 272000`."""
    return f"{place.unit} > {place.over}" if place.over else place.unit


def counts(comparison: Comparison, price_list: PriceList, day: date) -> str:
    """Count the prices that agree and those that do not, in one line."""
    skipped = (
        f"; {price_list.skipped} models left out, a figure of theirs is no price"
        if price_list.skipped
        else ""
    )
    return (
        f"{price_list.name}, prices of {day}: {len(comparison.agree)} agree,"
        f" {len({one.place for one in comparison.differ})} differ,"
        f" {len(comparison.not_known)} not known to the source,"
        f" {len(comparison.not_ours)} in the source and not ours"
        f" ({sum(bool(one.price_ids) for one in comparison.not_ours)} of models that we have)"
        f"{skipped}"
    )


def as_json(comparison: Comparison, price_list: PriceList, day: date) -> dict[str, object]:
    """Everything, in USD per unit as decimal text."""
    return {
        "source": price_list.name,
        "day": day.isoformat(),
        "skipped": price_list.skipped,
        "differ": [
            {
                **_place(one.place),
                "ours_usd": _exact(one.ours),
                "theirs_usd": _exact(one.theirs),
                "ratio": None if one.ratio is None else f"{_SHORT.plus(one.ratio):f}",
                "since": one.since and one.since.isoformat(),
                "names": one.names,
            }
            for one in comparison.differ
        ],
        "agree": [_place(place) for place in comparison.agree],
        "not_known": [_place(place) for place in comparison.not_known],
        "not_ours": [
            {
                "provider": one.provider,
                "model": one.name,
                "unit": one.unit,
                "price_ids": one.price_ids,
            }
            for one in comparison.not_ours
        ],
    }


def _place(place: Place) -> dict[str, object]:
    return {
        "price_id": place.price_id,
        "unit": place.unit,
        "above_input_tokens": place.over or None,
    }


def _exact(number: Decimal) -> str:
    return f"{number.normalize(EXACT):f}"


def _short(number: Decimal) -> str:
    return f"{_SHORT.plus(number).normalize(_SHORT):f}"
