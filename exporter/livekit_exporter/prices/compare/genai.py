"""The price list of the package genai-prices, at one instant."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from livekit_exporter.prices.compare.price_list import (
    SECOND,
    Key,
    Listed,
    PriceList,
    PriceListError,
)
from livekit_exporter.prices.units import BASIS_UNIT, EXACT, TOKEN_UNIT

if TYPE_CHECKING:
    from genai_prices.types import MatchLogic, ModelPrice, Provider

KIND: Final = "genai-prices"

# Their provider and ours, where both are the same seller.
_PROVIDERS: Final = {
    "anthropic": "anthropic",
    "aws": "aws",
    "azure": "azure",
    "baseten": "baseten",
    "cerebras": "cerebras",
    "deepseek": "deepseek",
    "elevenlabs": "elevenlabs",
    "fireworks": "fireworks",
    "google": "google",
    "groq": "groq",
    "mistral": "mistral",
    "openai": "openai",
    "ovhcloud": "ovhcloud",
    "perplexity": "perplexity",
    "together": "together",
    "x-ai": "xai",
}

# Their price, our unit, and how many of it their figure is for.
_UNITS: Final = {
    "input_mtok": (TOKEN_UNIT["input", "text"], 1_000_000),
    "cache_read_mtok": (TOKEN_UNIT["cached_input", "text"], 1_000_000),
    "cache_write_mtok": (TOKEN_UNIT["cache_write", "text"], 1_000_000),
    "output_mtok": (TOKEN_UNIT["output", "text"], 1_000_000),
    "input_audio_mtok": (TOKEN_UNIT["input", "audio"], 1_000_000),
    "cache_audio_read_mtok": (TOKEN_UNIT["cached_input", "audio"], 1_000_000),
    "cache_audio_write_mtok": (TOKEN_UNIT["cache_write", "audio"], 1_000_000),
    "output_audio_mtok": (TOKEN_UNIT["output", "audio"], 1_000_000),
    "input_image_mtok": (TOKEN_UNIT["input", "image"], 1_000_000),
    "cache_image_read_mtok": (TOKEN_UNIT["cached_input", "image"], 1_000_000),
    "cache_image_write_mtok": (TOKEN_UNIT["cache_write", "image"], 1_000_000),
    "output_image_mtok": (TOKEN_UNIT["output", "image"], 1_000_000),
    "input_mchars": (BASIS_UNIT["characters"], 1_000_000),
    "audio_hours": (SECOND, 3600),
}


def read(at: datetime) -> PriceList:
    """Read the prices of the installed package.

    Args:
        at: The instant whose dated and time-of-day prices are taken, with a time zone.

    Raises:
        PriceListError: The package is not installed, or has changed beyond recognition.
    """
    try:
        from genai_prices.data import providers  # noqa: PLC0415 - optional, and 0.3 s
    except ImportError as error:
        raise PriceListError(
            f"cannot read {KIND} ({error}); install it with: pip install {KIND}"
        ) from error
    return PriceList(KIND, f"{KIND} {version(KIND)}", tuple(listed(providers, at)))


def listed(providers: "Iterable[Provider]", at: datetime) -> Iterator[Listed]:
    """Take the models of the sellers that we know out of a list.

    A model is known by its id and by what its declaration calls equal to it.  Prefixes,
    parts and patterns of names, and other sellers to fall back to, are left alone.
    """
    for provider in providers:
        seller = _PROVIDERS.get(provider.id)
        if seller is None:
            continue
        for model in provider.models:
            prices = _prices(model.get_prices(at))
            if prices:
                names = dict.fromkeys((model.id, *_equal(model.match)))
                yield Listed(seller, tuple(names), prices)


def _equal(match: "MatchLogic") -> Iterator[str]:
    from genai_prices.types import ClauseEquals, ClauseOr  # noqa: PLC0415 - optional

    if isinstance(match, ClauseEquals):
        yield match.equals
    elif isinstance(match, ClauseOr):
        for clause in match.or_:
            yield from _equal(clause)


def _prices(figures: "ModelPrice") -> dict[Key, Decimal]:
    from genai_prices.types import TieredPrices  # noqa: PLC0415 - optional

    prices: dict[Key, Decimal] = {}
    for name, (unit, per) in _UNITS.items():
        figure = getattr(figures, name, None)
        if isinstance(figure, TieredPrices):
            prices[unit, 0] = EXACT.divide(figure.base, Decimal(per))
            for tier in figure.tiers:
                prices[unit, tier.start] = EXACT.divide(tier.price, Decimal(per))
        elif figure is not None:
            prices[unit, 0] = EXACT.divide(figure, Decimal(per))
    return prices
