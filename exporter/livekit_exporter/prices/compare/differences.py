"""The catalogue against one public price list.  Pure.

Every price of the list is held against what we would charge for the same unit.  Models
are matched as events are: by declaration, never by resemblance.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Context, Decimal
from typing import Final

from livekit_exporter.prices.catalogue import UNKNOWN, Catalogue
from livekit_exporter.prices.compare.ours import Charged, charged
from livekit_exporter.prices.compare.price_list import (
    SECOND,
    SECONDS,
    Key,
    Listed,
    PriceList,
    price_at,
)
from livekit_exporter.prices.files.words import STAGES
from livekit_exporter.prices.units import EXACT, TOKEN_UNIT

_BUCKETS: Final = {unit: bucket for bucket, unit in TOKEN_UNIT.items()}

# Figures that went through a float end in noise.
_NOISE: Final = Decimal("1e-9")
# With fewer digits a figure says too little to be a rounded one.
_ROUNDED_DIGITS: Final = 3


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a price stands in the catalogue."""

    price_id: str
    unit: str
    over: int = 0
    """Input tokens above which a request pays it; 0 for every request."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A price of ours and what a list says instead, in USD per unit."""

    place: Place
    ours: Decimal
    theirs: Decimal
    since: date | None
    """First day of our price, `None` where it has none."""
    names: tuple[str, ...]
    """What the list calls the models that cost this."""
    settled: bool
    """Whether the list has one price for everything that this price of ours covers."""

    @property
    def size(self) -> Decimal:
        """What is between the two as a share of the larger, from 0 to 1."""
        larger = max(self.ours, self.theirs)
        return EXACT.divide(EXACT.subtract(larger, min(self.ours, self.theirs)), larger)

    @property
    def ratio(self) -> Decimal | None:
        """Their price for each dollar of ours, `None` where ours is zero."""
        return EXACT.divide(self.theirs, self.ours) if self.ours else None


@dataclass(frozen=True, slots=True)
class NotOurs:
    """A price of a list for which we have none."""

    provider: str
    name: str
    unit: str
    price_ids: tuple[str, ...]
    """Entries that have the model and not this; empty for a model that we do not have."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of it."""

    differ: tuple[Difference, ...]
    """Largest first."""
    agree: Mapping[Place, Decimal]
    """What we charge where everything that the list says is the same."""
    not_known: tuple[Place, ...]
    """Prices of ours that the list does not know."""
    not_ours: tuple[NotOurs, ...]


def compare(catalogue: Catalogue, price_list: PriceList, at: float) -> Comparison:
    """Hold the catalogue against a list.

    A price that we derive, as that of cached input where none is listed, is compared
    where the list has a figure for it, because it is what we charge.

    Args:
        catalogue: Our prices.
        price_list: Theirs.
        at: Unix time; ours are the prices in force then.
    """
    ours = charged(catalogue, at)
    rows: dict[str, list[tuple[str, dict[Key, Decimal]]]] = {}
    # A dictionary for its order and for having everything once.
    not_ours: dict[NotOurs, None] = {}
    for listed in price_list.models:
        name = listed.names[0]
        entries = [id_ for id_ in _entries(catalogue, listed) if id_ in ours]
        for price_id in entries:
            row = _in_terms_of(ours[price_id], listed.prices)
            rows.setdefault(price_id, []).append((name, row))
        for unit, _ in listed.prices:
            # One name may stand in two stages, which bill in different units.
            if not any(_has(ours[id_], unit) for id_ in entries):
                not_ours[NotOurs(listed.provider, name, unit, tuple(entries))] = None

    said = {
        Place(price_id, *key): figures
        for price_id, named in rows.items()
        for key, figures in _said(ours[price_id].prices, named, price_list).items()
    }
    differ = [
        one
        for place, figures in said.items()
        for one in _differences(place, ours[place.price_id], figures)
    ]
    agree = said.keys() - {one.place for one in differ}
    return Comparison(
        differ=tuple(sorted(differ, key=lambda one: (-one.size, one.place, one.theirs))),
        agree={place: next(iter(said[place])) for place in sorted(agree)},
        not_known=tuple(
            place
            for price_id, entry in sorted(ours.items())
            for place in _own(price_id, entry.prices)
            if place not in said
        ),
        not_ours=tuple(not_ours),
    )


def _said(
    ours: Mapping[Key, Decimal], rows: list[tuple[str, dict[Key, Decimal]]], price_list: PriceList
) -> dict[Key, dict[Decimal, list[str]]]:
    """What a list says where one entry has a price: figures, and the models that cost them.

    A figure that is only written differently from ours becomes ours.
    """
    said: dict[Key, dict[Decimal, list[str]]] = {}
    thresholds = {over for _, over in ours}.union(over for _, row in rows for _, over in row)
    for name, row in rows:
        for unit, over in _asked(row, thresholds):
            mine, theirs = price_at(ours, unit, over), price_at(row, unit, over)
            if mine is not None and theirs is not None:
                rounded = price_list.rounds_seconds and unit in SECONDS
                figure = mine if _same(mine, theirs, rounded=rounded) else theirs
                said.setdefault((unit, over), {}).setdefault(figure, []).append(name)
    return said


def _differences(
    place: Place, entry: Charged, figures: Mapping[Decimal, list[str]]
) -> Iterator[Difference]:
    mine = price_at(entry.prices, place.unit, place.over)
    for theirs, names in figures.items():
        if mine is not None and theirs != mine:
            yield Difference(
                place,
                mine,
                theirs,
                entry.since[place.unit],
                tuple(dict.fromkeys(names)),
                settled=len(figures) == 1,
            )


def _entries(catalogue: Catalogue, listed: Listed) -> dict[str, None]:
    """Ids of the entries that price a listed model, in any stage."""
    return {
        entry.id: None
        for name in listed.names
        # An entry for models that nobody names is no price of one that is called so.
        if name.strip().lower() not in ("", UNKNOWN)
        for stage in STAGES
        if (entry := catalogue.find(stage, listed.provider, name)) is not None
    }


def _has(entry: Charged, unit: str) -> bool:
    return unit in entry.since or (unit == SECOND and not entry.since.keys().isdisjoint(SECONDS))


def _in_terms_of(entry: Charged, prices: Mapping[Key, Decimal]) -> dict[Key, Decimal]:
    """Give a list's seconds and thresholds the names that our entry has for them."""
    second = next((unit for unit in SECONDS if unit in entry.since), SECOND)
    # "From 200,000 on" and "above 200,000" are one threshold: 199,999 is written for the first.
    thresholds = {over + step: over for _, over in entry.prices if over for step in (1, -1, 0)}
    return {
        (second if unit == SECOND else unit, thresholds.get(over, over)): usd
        for (unit, over), usd in prices.items()
    }


def _asked(row: Mapping[Key, Decimal], thresholds: set[int]) -> Iterator[Key]:
    """What of a row is compared: its units, at every threshold that anybody has.

    A threshold that the row has for other units only says nothing of this one.
    """
    for unit in dict.fromkeys(unit for unit, _ in row):
        here = {over for listed, over in row if listed == unit}
        elsewhere = {over for _, over in row} - here
        yield from ((unit, over) for over in sorted(thresholds - elsewhere))


def _same(ours: Decimal, theirs: Decimal, *, rounded: bool) -> bool:
    if abs(EXACT.subtract(ours, theirs)) <= EXACT.multiply(_NOISE, max(ours, theirs)):
        return True
    digits = len(theirs.normalize(EXACT).as_tuple().digits)
    return rounded and digits >= _ROUNDED_DIGITS and Context(prec=digits).plus(ours) == theirs


def _own(price_id: str, prices: Mapping[Key, Decimal]) -> Iterator[Place]:
    """Prices of an entry without those that only repeat another one of it."""
    for (unit, over), usd in prices.items():
        bucket = _BUCKETS.get(unit)
        if bucket is not None:
            kind, modality = bucket
            input_of_it = prices.get((TOKEN_UNIT["input", modality], over))
            if kind in ("cached_input", "cache_write") and usd == input_of_it:
                continue
            if modality != "text" and usd == prices.get((TOKEN_UNIT[kind, "text"], over)):
                continue
        yield Place(price_id, unit, over)
