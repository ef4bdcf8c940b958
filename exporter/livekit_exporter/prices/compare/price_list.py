"""A public price list, as far as it can be held against the catalogue."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias

from livekit_exporter.prices.units import BASIS_UNIT, EXACT

Key: TypeAlias = tuple[str, int]
"""A unit, and the input tokens above which a request pays this price; 0 for every request."""

SECOND: Final = "second"
"""Unit of lists that do not say whether seconds are of audio or of a connection."""

SECONDS: Final = (BASIS_UNIT["audio_time"], BASIS_UNIT["session_time"])
"""What those are in the catalogue."""

# As many decimals as a price file may have.
_DECIMALS: Final = Decimal("1e-12")


class PriceListError(Exception):
    """A price list cannot be read; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One model of a list."""

    provider: str
    """Who sells it, as the catalogue calls them."""
    names: tuple[str, ...]
    """What the list calls it, names that it declares equal among them."""
    prices: Mapping[Key, Decimal]
    """USD per unit; a price that the list leaves out is missing."""


@dataclass(frozen=True, slots=True)
class PriceList:
    """Everything that a list says about providers that the catalogue knows."""

    kind: str
    """What the list is called, without its version."""
    name: str
    """The same with its version or file."""
    models: tuple[Listed, ...]
    skipped: int = 0
    """Models that were left out because a figure of theirs is no price."""
    rounds_seconds: bool = False
    """Whether prices per second are rounded to a few digits."""


def price_at(prices: Mapping[Key, Decimal], unit: str, over: int) -> Decimal | None:
    """USD per unit for requests with more than `over` input tokens."""
    tiers = [tier for listed, tier in prices if listed == unit and tier <= over]
    return prices[unit, max(tiers)] if tiers else None


def per(unit: str) -> int:
    """Units that a vendor's page states a price for: a minute, else a million."""
    return 60 if unit in SECONDS else 1_000_000


def stated(usd: Decimal, unit: str) -> Decimal:
    """A price per unit as a page states it, with as many decimals as a price file may have."""
    return EXACT.multiply(usd, Decimal(per(unit))).quantize(_DECIMALS, context=EXACT)
