"""Prices of the catalogue at one instant, unit by unit."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.prices.compare.price_list import Key
from livekit_exporter.prices.units import BASIS_UNIT, TOKEN_UNIT


@dataclass(frozen=True, slots=True)
class Charged:
    """Charges of one entry."""

    prices: Mapping[Key, Decimal]
    """USD per unit; among them what follows from other prices, as cached input from input."""
    since: Mapping[str, date | None]
    """By unit, since when; `None` for prices without a start."""


def charged(catalogue: Catalogue, at: float) -> dict[str, Charged]:
    """Prices in force by entry id; the one place that knows how the catalogue keeps them.

    Args:
        catalogue: Where prices are looked up.
        at: Unix time.
    """
    found = {}
    for entry in catalogue.entries.values():
        prices: dict[Key, Decimal] = {}
        since: dict[str, date | None] = {}
        for tariff in entry.tariffs:
            block = tariff.block_at(at)
            if block is None:
                continue
            charges = block.charges_at(at)
            here = {
                (TOKEN_UNIT[bucket], max(tier.over, 0)): usd
                for tier in charges.tiers
                for bucket, usd in tier.rates.items()
            }
            if charges.rate is not None:
                here[BASIS_UNIT[tariff.basis], 0] = charges.rate.unit_price
            prices |= here
            since |= dict.fromkeys((unit for unit, _ in here), block.valid_from)
        if prices:
            found[entry.id] = Charged(prices, since)
    return found
