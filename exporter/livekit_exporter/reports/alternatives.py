"""Cheaper models of the same provider, as the catalogue names them.  Pure.

The catalogue knows prices and names, not quality.  What can be told from a name is a
line (the same words, another version: `gpt-5.6-luna` and `gpt-6-luna`) and a family (the
same first word); whether the cheaper one is good enough, only a trial can tell.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, Literal, NamedTuple, TypeAlias

from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.prices.entries import Entry
from livekit_exporter.prices.units import EXACT

Quantities: TypeAlias = Mapping[str, Decimal]
"""Billed quantities by unit, as `units` names them."""

STAGES: Final = ("stt", "llm", "tts", "realtime")
"""Stages in which one model can replace another; the telephony leg of a call cannot be chosen."""

CHEAPER_SHARE: Final = Decimal("0.1")
"""Least saving that is worth the trial: list prices of two sources differ by less."""

_PUBLISHER: Final = re.compile(r"(?:[a-z]+\.)+")
_WORD: Final = re.compile(r"[^-_.:/ ]+")
_VERSION: Final = re.compile(r"v?\d+(?:p\d+)?")


class Alternative(NamedTuple):
    """A cheaper model.

    Args:
        entry: Its prices.
        kind: Another version of the same line, or another line of the family.
        more: Further ones of that kind that are cheaper still.
    """

    entry: Entry
    kind: Literal["line", "family"]
    more: int


def line(entry: Entry) -> tuple[str, ...]:
    """Split a model's name into words without versions; sizes, such as `70b`, are words."""
    name = entry.id.rpartition("/")[2].lower()
    name = _PUBLISHER.sub("", name, count=1) if _PUBLISHER.match(name) else name
    words = _WORD.findall(name)
    return tuple(word for word in words if not _VERSION.fullmatch(word)) or tuple(words)


def cheaper(
    catalogue: Catalogue, entry: Entry, billed: Quantities, at: float
) -> Alternative | None:
    """Find the nearest cheaper model, first among versions of the same line.

    Args:
        catalogue: Prices to search.
        entry: The model in use.
        billed: Its billed quantities, which decide what is cheaper for this use.
        at: Time of the prices, Unix seconds.
    """
    if entry.stage not in STAGES or entry.free:
        return None
    now = _cost(catalogue, entry, billed, at)
    if not now:
        return None
    words = line(entry)
    costs = [
        (cost, other)
        for other in catalogue.entries.values()
        if other.provider == entry.provider and _alike(entry, other)
        if (cost := _cost(catalogue, other, billed, at)) is not None
        if cost <= now * (1 - CHEAPER_SHARE)
    ]
    same = [(cost, other) for cost, other in costs if line(other) == words]
    kind: Literal["line", "family"] = "line" if same else "family"
    found = same or [(cost, other) for cost, other in costs if line(other)[0] == words[0]]
    if not found:
        return None
    # A model at nearly the same price is the least likely to be worse.
    _, nearest = max(found, key=lambda each: (each[0], each[1].id))
    return Alternative(nearest, kind, len(found) - 1)


def _alike(entry: Entry, other: Entry) -> bool:
    """True if both are of one stage and billing unit, and the other's price is reliable."""
    return (
        other.id != entry.id
        and other.stage == entry.stage
        and bool(other.tariffs)
        and other.tariffs[0].basis == entry.tariffs[0].basis
        and other.tariffs[0].blocks[0].confidence != "low"
    )


def _cost(catalogue: Catalogue, entry: Entry, billed: Quantities, at: float) -> Decimal | None:
    """Compute the cost at base prices; `None` where one of them is not known."""
    prices = catalogue.prices_of(entry, at)
    if prices is None:
        return None
    total = Decimal(0)
    for unit, quantity in billed.items():
        rate = prices.rates.get(unit)
        if rate is None:
            return None
        total = EXACT.add(total, EXACT.multiply(quantity, rate))
    return total
