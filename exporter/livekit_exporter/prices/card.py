"""What one model costs, ready to be multiplied: an entry's prices as whole numbers.

A span is priced on the event loop that moves the caller's audio, where the way through
`pricing` is too long.  A card is made once from the same entry with the same rules, and
says what `pricing` says, to the last digit, or nothing: then `pricing` has to be asked.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from livekit_exporter.prices import rules
from livekit_exporter.prices.entries import Entry, Rate, Tier
from livekit_exporter.prices.units import EXACT, Basis, Bucket
from livekit_exporter.record import LARGEST_QUANTITY, Usage

ATTO: Final = 10**18
"""Costs are counted in units of 1e-18 USD: every listed price per token or character is a
whole number of them, so sums are exact and one division gives the nearest float."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Prices of one model from one time to another.

    Costs are in `ATTO`.  A method answers `None` where `pricing` has to be asked.

    Args:
        since: Unix time from which on they hold.
        until: Unix time from which on they do not.
        basis: What is billed; `None` where the catalogue has no price or nobody bills.
        priced: Whether there is a price, if only that it is free.
        rates: Per token.
        text: The rates of text, by kind: input, cached, written, output.
        ceiling: Most input tokens that they hold for.
        character: Per character.
        rate: Of time.
        min_seconds: Least audio that a request is billed for.
    """

    since: float = -math.inf
    until: float = math.inf
    basis: Basis | None = None
    priced: bool = True
    rates: Mapping[Bucket, int] = field(default_factory=dict)
    text: tuple[int, int, int, int] | None = None
    ceiling: float = math.inf
    character: int = 0
    rate: Rate | None = None
    min_seconds: Decimal = Decimal(0)

    def of_text(
        self, prompt: int, cached: int, written: int, completion: int, total: int
    ) -> tuple[int, int, int] | None:
        """A request of text: its cost, its input that was neither cached nor written, its output.

        Args:
            prompt: As the provider counts them, cached and written ones included.
            cached: Of them.
            written: Of them.
            completion: Answered tokens.
            total: The provider's total.
        """
        # `rules.asked_tokens`, `answered_tokens` and `_text_buckets`, without the objects.
        parts = cached + written
        asked = prompt if prompt > parts else parts  # noqa: FURB136 - a call costs more
        answered = total - asked
        if completion > answered:  # noqa: PLR1730 - the same
            answered = completion
        rates = self.text
        if rates is None or asked > self.ceiling:
            return None
        fresh = asked - parts
        cost = fresh * rates[0] + cached * rates[1] + written * rates[2] + answered * rates[3]
        return cost, fresh, answered

    def of_tokens(self, usage: Usage) -> tuple[int, dict[Bucket, int]] | None:
        """A request of any modality: its cost, and its tokens by what each costs."""
        buckets = rules.token_buckets(usage)
        if self.basis is None:
            return 0, buckets
        if self.basis != "tokens" or not buckets or rules.asked_tokens(usage) > self.ceiling:
            return None
        try:
            return sum(tokens * self.rates[bucket] for bucket, tokens in buckets.items()), buckets
        except KeyError:
            return None

    def of_seconds(self, seconds: float, *, streamed: bool) -> int | None:
        """Audio, of a request or of a part of a stream; above zero."""
        if self.basis is None:
            return 0
        rate = self.rate
        if rate is None or not 0 < seconds <= LARGEST_QUANTITY:
            return None
        billed = rules.at_least(rules.exact(seconds), self.min_seconds, streamed=streamed)
        return atto(EXACT.divide(EXACT.multiply(billed, rate.usd), rate.per))


def atto(usd: Decimal) -> int:
    """A cost in `ATTO`; what a price per hour leaves behind the last digit is rounded."""
    return int(EXACT.scaleb(usd, 18).to_integral_value(context=EXACT))


def of(entry: Entry | None, at: float) -> Card | None:
    """The card of an entry at a Unix time, `None` where it needs more than a multiplication.

    Args:
        entry: `None` where the catalogue has no price.
        at: Unix time.
    """
    if entry is None or entry.free:
        return Card(priced=entry is not None, text=(0, 0, 0, 0))
    tariff = entry.tariffs[0]
    block = tariff.block_at(at)
    if (
        block is None
        or block.windows
        # The length of a request is billed whether or not it reports anything.
        or any(tariff.basis in ("request_time", "call_time") for tariff in entry.tariffs)
    ):
        return None
    newer = (other.starts_at for other in tariff.blocks if other.starts_at > block.starts_at)
    since, until = block.starts_at, min(newer, default=math.inf)
    if tariff.basis == "tokens":
        return _of_tokens(block.charges.tiers, since, until)
    return _of_quantity(entry, tariff.basis, block.charges.rate, since, until)


def _of_quantity(
    entry: Entry, basis: Basis, rate: Rate | None, since: float, until: float
) -> Card | None:
    if rate is None:
        return None
    if basis == "audio_time":
        return Card(since=since, until=until, basis=basis, rate=rate, min_seconds=entry.min_seconds)
    character = _whole(EXACT.divide(rate.usd, rate.per))
    if basis != "characters" or character is None:
        return None
    return Card(since=since, until=until, basis=basis, character=character)


def _of_tokens(tiers: tuple[Tier, ...], since: float, until: float) -> Card | None:
    """The lowest tier; requests above it are left to `pricing`."""
    if not tiers:
        return None
    rates: dict[Bucket, int] = {}
    for bucket, usd in tiers[-1].rates.items():
        whole = _whole(usd)
        if whole is None:
            return None
        rates[bucket] = whole
    kinds = (
        rates.get(("input", "text")),
        rates.get(("cached_input", "text")),
        rates.get(("cache_write", "text")),
        rates.get(("output", "text")),
    )
    asked, cached, written, answered = kinds
    text = None
    if asked is not None and cached is not None and written is not None and answered is not None:
        text = (asked, cached, written, answered)
    return Card(
        since=since,
        until=until,
        basis="tokens",
        rates=rates,
        text=text,
        ceiling=tiers[-2].over if len(tiers) > 1 else math.inf,
    )


def _whole(usd: Decimal) -> int | None:
    units = EXACT.scaleb(usd, 18)
    return int(units) if units == units.to_integral_value(context=EXACT) else None
