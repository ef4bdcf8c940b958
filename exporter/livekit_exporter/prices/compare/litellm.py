"""LiteLLM's price map, a JSON file of models by name."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

from livekit_exporter.prices.compare.price_list import (
    SECOND,
    Key,
    Listed,
    PriceList,
    PriceListError,
)
from livekit_exporter.prices.units import BASIS_UNIT, EXACT, TOKEN_UNIT

KIND: Final = "litellm"

# Their provider, ours, and what their names begin with.
_PROVIDERS: Final = {
    "anthropic": ("anthropic", ""),
    "aws_polly": ("aws", "aws_polly/"),
    "azure": ("azure", "azure/"),
    "baseten": ("baseten", "baseten/"),
    "bedrock": ("aws", ""),
    "bedrock_converse": ("aws", ""),
    "cerebras": ("cerebras", "cerebras/"),
    # What stands outside of this prefix is priced for recordings, and agents stream.
    "deepgram": ("deepgram", "deepgram/streaming/"),
    "deepseek": ("deepseek", "deepseek/"),
    "elevenlabs": ("elevenlabs", "elevenlabs/"),
    "fireworks_ai": ("fireworks", "fireworks_ai/"),
    "gemini": ("google", "gemini/"),
    "groq": ("groq", "groq/"),
    "mistral": ("mistral", "mistral/"),
    "nebius": ("nebius", "nebius/"),
    "openai": ("openai", ""),
    "ovhcloud": ("ovhcloud", "ovhcloud/"),
    "perplexity": ("perplexity", "perplexity/"),
    "sambanova": ("sambanova", "sambanova/"),
    "soniox": ("soniox", "soniox/"),
    "together_ai": ("together", "together_ai/"),
    "vertex_ai": ("google", "vertex_ai/"),
    "vertex_ai-language-models": ("google", ""),
    "xai": ("xai", "xai/"),
}

# What a voice agent calls; a model without a mode is taken.
_MODES: Final = (None, "chat", "responses", "realtime", "audio_transcription", "audio_speech")

# Left out: written audio tokens, where the map repeats the price of read ones, and seconds
# of output, which stand beside the seconds or tokens that are billed.
_UNITS: Final = {
    "input_cost_per_token": TOKEN_UNIT["input", "text"],
    "cache_read_input_token_cost": TOKEN_UNIT["cached_input", "text"],
    "cache_creation_input_token_cost": TOKEN_UNIT["cache_write", "text"],
    "output_cost_per_token": TOKEN_UNIT["output", "text"],
    "input_cost_per_audio_token": TOKEN_UNIT["input", "audio"],
    "cache_read_input_audio_token_cost": TOKEN_UNIT["cached_input", "audio"],
    "output_cost_per_audio_token": TOKEN_UNIT["output", "audio"],
    "input_cost_per_image_token": TOKEN_UNIT["input", "image"],
    "cache_read_input_image_token_cost": TOKEN_UNIT["cached_input", "image"],
    "output_cost_per_image_token": TOKEN_UNIT["output", "image"],
    "input_cost_per_character": BASIS_UNIT["characters"],
    "input_cost_per_second": SECOND,
}
_TIER: Final = re.compile(r"(?P<field>[a-z_]+)_above_(?P<thousands>[0-9]{1,6})k_tokens")

# USD per unit; beyond them a figure is a mistake, and no price file could hold it.
_CHEAPEST: Final = Decimal("1e-15")
_DEAREST: Final = Decimal(100)
_NONE: Final = Decimal(-1)


class _NoPriceError(Exception):
    """A figure that is none."""


def read(path: Path) -> PriceList:
    """Read a price map; models with a figure that is no price are left out and counted.

    Raises:
        PriceListError: It cannot be read, is no price map, or holds nothing to compare.
    """
    try:
        content = json.loads(
            path.read_bytes(), parse_float=_number, parse_int=_number, parse_constant=_number
        )
    except OSError as error:
        raise PriceListError(
            f"{path}: cannot read the price list: {error.strerror or error}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise PriceListError(f"{path}: no JSON: {error}") from error
    if not isinstance(content, dict):
        raise PriceListError(f"{path}: no price map; LiteLLM's holds models by name")
    models, skipped = [], 0
    for key, row in content.items():
        try:
            model = _listed(key, row)
        except _NoPriceError:
            skipped += 1
            continue
        if model is not None:
            models.append(model)
    if not models:
        raise PriceListError(
            f"{path}: no price in it can be compared; give a copy of LiteLLM's"
            " 'model_prices_and_context_window.json'"
        )
    return PriceList(KIND, f"{KIND}, {path.name}", tuple(models), skipped, rounds_seconds=True)


def _listed(key: str, row: object) -> Listed | None:
    """Read one model, `None` where it is none that we could know."""
    if not isinstance(row, Mapping):
        raise _NoPriceError
    seller = row.get("litellm_provider")
    known = _PROVIDERS.get(seller) if isinstance(seller, str) else None
    if known is None or row.get("mode") not in _MODES:
        return None
    provider, prefix = known
    if not key.startswith(prefix):
        return None
    prices = _prices(row)
    return Listed(provider, (key.removeprefix(prefix),), prices) if prices else None


def _prices(row: Mapping[str, object]) -> dict[Key, Decimal]:
    prices: dict[Key, Decimal] = {}
    for name, figure in row.items():
        tier = _TIER.fullmatch(name)
        unit = _UNITS.get(tier["field"] if tier else name)
        if unit is None or figure is None:
            continue
        if not isinstance(figure, Decimal) or (figure and not _CHEAPEST <= figure <= _DEAREST):
            raise _NoPriceError
        prices[unit, int(tier["thousands"]) * 1000 if tier else 0] = EXACT.plus(figure)
    return prices


def _number(text: str) -> Decimal:
    """A number as it is written; what cannot be one is a price that none can be."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return _NONE
    return number if number.is_finite() else _NONE
