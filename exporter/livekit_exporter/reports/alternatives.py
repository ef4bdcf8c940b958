"""Cheaper models of the same provider, as the catalogue names them.  Pure.

The catalogue knows prices and names, not quality.  What can be told from a name is a
line (the same words, another version: `gpt-5.6-luna` and `gpt-6-luna`) and a family (the
same first word); whether the cheaper one is good enough, only a trial can tell.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final, Literal, NamedTuple, TypeAlias

from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.prices.entries import Entry
from livekit_exporter.prices.units import EXACT

Quantities: TypeAlias = Mapping[str, Decimal]
"""What was billed, by unit, as `units` calls them."""

STAGES: Final = ("stt", "llm", "tts", "realtime")
"""Where one model can stand in for another; which leg a call comes in by is no choice."""

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
    """Words of a model's name without its versions; sizes, such as `70b`, are words."""
    name = entry.id.rpartition("/")[2].lower()
    name = _PUBLISHER.sub("", name, count=1) if _PUBLISHER.match(name) else name
    words = _WORD.findall(name)
    return tuple(word for word in words if not _VERSION.fullmatch(word)) or tuple(words)


def cheaper(
    catalogue: Catalogue, entry: Entry, billed: Quantities, at: float
) -> Alternative | None:
    """The smallest step to a cheaper model, a newer or older one of the same line first.

    Args:
        catalogue: Where alternatives are looked for.
        entry: The model in use.
        billed: What was billed of it, to see what is cheaper for this use.
        at: Whose prices hold, Unix seconds.
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
        for cost in _known(_cost(catalogue, other, billed, at))
        if cost <= now * (1 - CHEAPER_SHARE)
    ]
    same = [(cost, other) for cost, other in costs if line(other) == words]
    kind: Literal["line", "family"] = "line" if same else "family"
    found = same or [(cost, other) for cost, other in costs if line(other)[0] == words[0]]
    if not found:
        return None
    # Whatever a price says of quality, the nearest one says the least.
    _, nearest = max(found, key=lambda each: (each[0], each[1].id))
    return Alternative(nearest, kind, len(found) - 1)


def _alike(entry: Entry, other: Entry) -> bool:
    """Whether both are billed by the same, in the same stage, and the price can be believed."""
    return (
        other.id != entry.id
        and other.stage == entry.stage
        and bool(other.tariffs)
        and other.tariffs[0].basis == entry.tariffs[0].basis
        and other.tariffs[0].blocks[0].confidence != "low"
    )


def _cost(catalogue: Catalogue, entry: Entry, billed: Quantities, at: float) -> Decimal | None:
    """What it comes to at base prices, `None` where one of them is not known."""
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


def _known(cost: Decimal | None) -> Iterator[Decimal]:
    if cost is not None:
        yield cost
