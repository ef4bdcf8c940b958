"""What one event costs: usage, the entry in force, exact decimals.  Pure.

Costs are computed per event and never from sums, because context tiers, minimum
seconds and price dates belong to one request.  The figure is the list price; free
tiers, discounts, taxes and commitments are not in it.
"""

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from livekit_exporter.prices.catalogue import Catalogue, Entry, Tariff
from livekit_exporter.prices.units import BASIS_UNIT, EXACT, TOKEN_UNIT, Basis, Bucket
from livekit_exporter.record import Usage

Status: TypeAlias = Literal["priced", "unpriced", "nothing_to_bill"]


@dataclass(frozen=True, slots=True)
class Part:
    """One line of a quote; `cost` is `quantity` times `unit_price`, in USD."""

    quantity: Decimal
    """What is billed, after minimum and rounding."""
    unit: str
    unit_price: Decimal
    """USD per unit.  Rounded at the fortieth digit where an hour's price does not divide."""
    cost: Decimal


@dataclass(frozen=True, slots=True)
class Quote:
    """What an event costs.

    `unpriced` is usage without a price: its cost is not known, and 0 here only
    because there is nothing to add.  `nothing_to_bill` is an event without usage.
    """

    status: Status
    cost: Decimal = Decimal(0)
    """USD, exact; see `units.EXACT`."""
    price_id: str | None = None
    """Entry that gave the price."""
    parts: tuple[Part, ...] = ()


_UNPRICED: Final = Quote("unpriced")
_NOTHING: Final = Quote("nothing_to_bill")
_NO_USAGE: Final = Usage()


def _take(tokens: int, text: int, audio: int, image: int) -> tuple[int, int, int]:
    """Take tokens of no stated modality from text, then audio, then image."""
    from_text = min(tokens, text)
    from_audio = min(tokens - from_text, audio)
    return from_text, from_audio, min(tokens - from_text - from_audio, image)


def token_buckets(usage: Usage) -> dict[Bucket, int]:
    """Take the tokens of a request apart into exclusive buckets.

    A whole that is smaller than its parts is raised to them, so that no bucket is
    negative: input tokens add up to the largest of the reported input, cached plus
    written, and the modalities; output tokens to the largest of the reported output,
    total minus input (thinking tokens that a vendor leaves out) and the modalities.
    Cached and written tokens of no stated modality are text as far as there is text:
    a prompt begins with its instructions, and no audio becomes cheap on a guess.

    Args:
        usage: Token counts as the provider sums them; a negative count is zero.

    Returns:
        Tokens by (kind, modality); buckets without tokens are left out.
    """
    cached_audio = max(usage.cached_audio_tokens, 0)
    cached_image = max(usage.cached_image_tokens, 0)
    audio = max(usage.input_audio_tokens, cached_audio)
    image = max(usage.input_image_tokens, cached_image)
    cached = max(usage.cached_input_tokens, cached_audio + cached_image)
    written = max(usage.cache_write_tokens, 0)
    asked = max(usage.input_tokens, cached + written, audio + image)

    output_audio = max(usage.output_audio_tokens, 0)
    output_image = max(usage.output_image_tokens, 0)
    answered = max(usage.output_tokens, usage.total_tokens - asked, output_audio + output_image)

    # Each line takes its tokens out of what the lines before it left.
    text, audio, image = asked - audio - image, audio - cached_audio, image - cached_image
    read = _take(cached - cached_audio - cached_image, text, audio, image)
    text, audio, image = text - read[0], audio - read[1], image - read[2]
    wrote = _take(written, text, audio, image)

    split: dict[Bucket, int] = {
        ("input", "text"): text - wrote[0],
        ("input", "audio"): audio - wrote[1],
        ("input", "image"): image - wrote[2],
        ("cached_input", "text"): read[0],
        ("cached_input", "audio"): cached_audio + read[1],
        ("cached_input", "image"): cached_image + read[2],
        ("cache_write", "text"): wrote[0],
        ("cache_write", "audio"): wrote[1],
        ("cache_write", "image"): wrote[2],
        ("output", "text"): answered - output_audio - output_image,
        ("output", "audio"): output_audio,
        ("output", "image"): output_image,
    }
    return {bucket: tokens for bucket, tokens in split.items() if tokens}


def price(  # noqa: PLR0913 (an event is named by all of these)
    catalogue: Catalogue,
    *,
    stage: str,
    provider: str,
    model: str,
    label: str,
    usage: Usage,
    at: float,
    streamed: bool,
    connection: bool,
) -> Quote:
    """Price one event with the entry in force when it happened.

    Args:
        catalogue: Where prices are looked up.
        stage: Stage of the event.
        provider: As the plugin reports it.
        model: As the plugin reports it.
        label: Class path of the plugin, for plugins that do not name themselves.
        usage: What the provider counted.
        at: Unix time of the event, of its receipt where its own is implausible.
        streamed: The usage of a stream so far; minimums are per request and do not apply.
        connection: A connection was opened, which costs nothing.

    Returns:
        The quote.  Usage of another kind than the entry bills is `unpriced`, never free.
    """
    if connection:
        return _NOTHING
    entry = catalogue.find(stage, provider, model, label)
    if entry is None:
        return _NOTHING if usage == _NO_USAGE else _UNPRICED
    for tariff in entry.tariffs:
        parts = (
            _token_parts(tariff, usage, at)
            if tariff.basis == "tokens"
            else _rate_parts(entry, tariff, usage, at, streamed=streamed)
        )
        if parts is None:
            return _UNPRICED
        if parts:
            cost = parts[0].cost
            for part in parts[1:]:
                cost = EXACT.add(cost, part.cost)
            return Quote("priced", cost, entry.id, parts)
    # Models billed by the time of a session also report tokens, which cost nothing.
    if usage == _NO_USAGE or entry.tariffs[0].basis == "session_time":
        return _NOTHING
    return _UNPRICED


def _token_parts(tariff: Tariff, usage: Usage, at: float) -> tuple[Part, ...] | None:
    """Cost by bucket, empty without tokens, `None` where a bucket has no price."""
    buckets = token_buckets(usage)
    if not buckets:
        return ()
    block = tariff.block_at(at)
    if block is None:
        return None
    tier = block.tier(sum(n for (kind, _), n in buckets.items() if kind != "output"))
    if tier is None:
        return None
    parts = []
    for bucket, tokens in buckets.items():
        rate = tier.rates.get(bucket)
        if rate is None:
            return None
        quantity = Decimal(tokens)
        parts.append(Part(quantity, TOKEN_UNIT[bucket], rate, EXACT.multiply(quantity, rate)))
    return tuple(parts)


def _reported(basis: Basis, usage: Usage) -> float:
    if basis == "audio_time":
        return usage.audio_seconds
    if basis == "characters":
        return usage.characters
    return usage.connection_seconds


def _decimal(quantity: float) -> Decimal:
    """The number as it is written in the journal, not the binary fraction behind it."""
    return Decimal(quantity if isinstance(quantity, int) else float.__repr__(quantity))


def _rate_parts(
    entry: Entry, tariff: Tariff, usage: Usage, at: float, *, streamed: bool
) -> tuple[Part, ...] | None:
    """Cost of time or characters, empty without any, `None` where there is no price."""
    reported = _reported(tariff.basis, usage)
    if reported == 0:
        return ()
    block = tariff.block_at(at)
    if block is None or block.rate is None or not 0 < reported < math.inf:
        return None
    quantity = _decimal(reported)
    if tariff.basis == "audio_time" and not streamed and quantity < entry.min_seconds:
        quantity = entry.min_seconds
    if tariff.basis == "call_time" and entry.round_up_seconds:
        steps = -(-math.ceil(quantity) // entry.round_up_seconds)
        quantity = Decimal(steps * entry.round_up_seconds)
    rate = block.rate
    cost = EXACT.divide(EXACT.multiply(quantity, rate.usd), rate.per)
    return (Part(quantity, BASIS_UNIT[tariff.basis], rate.unit_price, cost),)
