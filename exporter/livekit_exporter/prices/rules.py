"""The billing rules: how reported usage becomes billed quantities.  Pure.

Each rule is one function.  What vendors bill was read on their pages; what the fields
of LiveKit's metrics hold was read in livekit-agents and its plugins, 1.8.9.
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Final

from livekit_exporter.prices.entries import Tier
from livekit_exporter.prices.units import Basis, Bucket
from livekit_exporter.record import LARGEST_QUANTITY, Usage

_quantities: Final = attrgetter(*Usage.__slots__)


def is_possible(usage: Usage) -> bool:
    """True where every quantity can have been counted for one request.

    A negative, endless or absurd one is a mistake of whoever reported it, and then
    nothing that the event says about money can be trusted.
    """
    quantities = _quantities(usage)
    return (
        min(quantities) >= 0
        and max(quantities) <= LARGEST_QUANTITY
        # Neither comparison above is reliable where one is not a number.
        and not math.isnan(usage.audio_seconds + usage.connection_seconds)
    )


def asked_tokens(usage: Usage) -> int:
    """Input tokens of a request, cached and written ones included.

    `prompt_tokens` of every plugin contains them.  Older Bedrock plugins left them out:
    a whole that is smaller than its parts is raised to them, and nothing is negative.
    """
    cached = max(usage.cached_input_tokens, usage.cached_audio_tokens + usage.cached_image_tokens)
    audio = max(usage.input_audio_tokens, usage.cached_audio_tokens)
    image = max(usage.input_image_tokens, usage.cached_image_tokens)
    return max(usage.input_tokens, cached + usage.cache_write_tokens, audio + image)


def answered_tokens(usage: Usage, asked: int) -> int:
    """Output tokens of a request, thinking tokens included.

    Google's plugin leaves thinking tokens out of the completion; they are in the total,
    and Google bills them as output.  For the others the total adds nothing.
    """
    return max(
        usage.output_tokens,
        usage.total_tokens - asked,
        usage.output_audio_tokens + usage.output_image_tokens,
    )


def token_buckets(usage: Usage) -> dict[Bucket, int]:
    """Take the tokens of a request apart into exclusive buckets.

    Cached and written tokens of no stated modality are text as far as there is text:
    a prompt begins with its instructions, and no audio becomes cheap on a guess.

    Args:
        usage: Token counts as the provider sums them.

    Returns:
        Tokens by (kind, modality); buckets without tokens are left out.
    """
    asked = asked_tokens(usage)
    answered = answered_tokens(usage, asked)
    if not (
        usage.input_audio_tokens
        or usage.input_image_tokens
        or usage.cached_audio_tokens
        or usage.cached_image_tokens
        or usage.output_audio_tokens
        or usage.output_image_tokens
    ):
        return _text_buckets(usage, asked, answered)
    cached_audio, cached_image = usage.cached_audio_tokens, usage.cached_image_tokens
    audio = max(usage.input_audio_tokens, cached_audio)
    image = max(usage.input_image_tokens, cached_image)
    cached = max(usage.cached_input_tokens, cached_audio + cached_image)

    # Each line takes its tokens out of what the lines before it left.
    text, audio, image = asked - audio - image, audio - cached_audio, image - cached_image
    read = _take(cached - cached_audio - cached_image, text, audio, image)
    text, audio, image = text - read[0], audio - read[1], image - read[2]
    wrote = _take(usage.cache_write_tokens, text, audio, image)

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
        ("output", "text"): answered - usage.output_audio_tokens - usage.output_image_tokens,
        ("output", "audio"): usage.output_audio_tokens,
        ("output", "image"): usage.output_image_tokens,
    }
    return {bucket: tokens for bucket, tokens in split.items() if tokens}


def _text_buckets(usage: Usage, asked: int, answered: int) -> dict[Bucket, int]:
    """The same where all is text, which most requests are."""
    cached, written = usage.cached_input_tokens, usage.cache_write_tokens
    buckets: dict[Bucket, int] = {}
    if asked > cached + written:
        buckets["input", "text"] = asked - cached - written
    if cached:
        buckets["cached_input", "text"] = cached
    if written:
        buckets["cache_write", "text"] = written
    if answered:
        buckets["output", "text"] = answered
    return buckets


def _take(tokens: int, text: int, audio: int, image: int) -> tuple[int, int, int]:
    """Take tokens of no stated modality from text, then audio, then image."""
    from_text = min(tokens, text)
    from_audio = min(tokens - from_text, audio)
    return from_text, from_audio, min(tokens - from_text - from_audio, image)


def context_tier(tiers: Sequence[Tier], asked: int) -> Tier | None:
    """Prices of the whole request, by its input tokens; the threshold itself is the lower tier.

    Args:
        tiers: Highest first, as `Charges` has them.
        asked: Input tokens, cached ones included.
    """
    for tier in tiers:
        if asked > tier.over:
            return tier
    return None


def reported(basis: Basis, usage: Usage, request_seconds: float | None) -> float:
    """Quantity of a basis in an event, in its unit; the other fields are not billed.

    Several plugins fill two: Mistral seconds and tokens, OpenAI's speech characters and
    tokens.  The vendor bills one, and the entry says which.
    """
    if basis == "audio_time":
        return usage.audio_seconds
    if basis == "characters":
        return usage.characters
    if basis == "request_time":
        return request_seconds or 0.0
    return usage.connection_seconds


def exact(quantity: float) -> Decimal:
    """The number as it is written in the journal, not the binary fraction behind it."""
    return Decimal(quantity if isinstance(quantity, int) else float.__repr__(quantity))


def at_least(seconds: Decimal, minimum: Decimal, *, streamed: bool) -> Decimal:
    """Seconds of a request that is billed for a minimum; a part of a stream is no request."""
    return seconds if streamed else max(seconds, minimum)


def rounded_up(seconds: Decimal, step: int) -> Decimal:
    """Seconds of a call leg, rounded up once to a whole number of steps; 0 rounds nothing."""
    if not step:
        return seconds
    return Decimal(-(-math.ceil(seconds) // step) * step)
