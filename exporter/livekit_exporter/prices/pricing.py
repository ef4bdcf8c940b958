"""Prices one event: usage, the entry in force, exact decimals.  Pure.

Costs are computed per event and never from sums, because context tiers, minimum
seconds and price dates belong to one request.  The figure is the list price; free
tiers, discounts, taxes and commitments are not in it.
"""

import math
from decimal import Decimal
from typing import Final, Literal, NamedTuple, TypeAlias

from livekit_exporter.prices import rules
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.prices.entries import Block, Charges, Entry
from livekit_exporter.prices.units import BASIS_UNIT, EXACT, TOKEN_UNIT, Basis
from livekit_exporter.record import Usage, UsageReported

Status: TypeAlias = Literal["priced", "unpriced", "nothing_to_bill"]

Why: TypeAlias = Literal[
    "",
    "no_entry",
    "other_usage",
    "before_first_price",
    "no_rate",
    "impossible_usage",
    "no_usage",
    "connection",
    "free",
]
"""Why an event has no cost, or none above zero; `WHY` says each in words."""

WHY: Final[dict[Why, str]] = {
    "": "",
    "no_entry": "no entry of the catalogue prices this model",
    "other_usage": "the event reports nothing of what the entry bills",
    "before_first_price": "the entry's first price came later",
    "no_rate": "the entry has no price for one of the kinds of usage",
    "impossible_usage": "a quantity is negative, absurd or no number",
    "no_usage": "the event reports no usage",
    "connection": "a connection was opened, which costs nothing",
    "free": "the entry says that nobody bills it",
}


VENDOR: Final = "vendor"
"""Price id of a cost that the provider itself reported."""


class Part(NamedTuple):
    """One line of a quote; `cost` is `quantity` times `unit_price`, in USD."""

    quantity: Decimal
    """What is billed, after minimum and rounding."""
    unit: str
    unit_price: Decimal
    """USD per unit.  Rounded at the fortieth digit where an hour's price does not divide."""
    cost: Decimal


class Source(NamedTuple):
    """Prices of an entry that were used, so that a person can check them."""

    basis: Basis
    block: Block
    charges: Charges
    over: int = -1
    """Input tokens that the context tier begins above, -1 for the base tier."""


class Quote(NamedTuple):
    """The cost of an event.

    `unpriced` is usage without a price: its cost is not known, and 0 here only
    because there is nothing to add.  `nothing_to_bill` is an event without usage.
    """

    status: Status
    cost: Decimal = Decimal(0)
    """USD, exact; see `units.EXACT`."""
    price_id: str | None = None
    """Entry that gave the price."""
    parts: tuple[Part, ...] = ()
    source: Source | None = None
    why: Why = ""

    @property
    def free(self) -> bool:
        """True where the catalogue says that it costs nothing; an unknown price is not free."""
        return self.status == "priced" and not self.cost

    @property
    def output_cost(self) -> Decimal:
        """USD of the part that grows with what the model says; 0 for speech synthesis."""
        return sum((part.cost for part in self.parts if part.unit.startswith("output")), Decimal(0))


_NOTHING: Final = Quote("nothing_to_bill", why="no_usage")
_CONNECTION: Final = Quote("nothing_to_bill", why="connection")
_NO_USAGE: Final = Usage()


def _unpriced(why: Why) -> Quote:
    return Quote("unpriced", why=why)


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
    request_seconds: float | None = None,
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
        request_seconds: Length of the whole request, for what is billed by it.

    Returns:
        The quote.  Usage of another kind than the entry bills is `unpriced`, never free.
    """
    return price_by(
        catalogue.find(stage, provider, model, label),
        usage=usage,
        at=at,
        streamed=streamed,
        connection=connection,
        request_seconds=request_seconds,
    )


def price_by(
    entry: Entry | None,
    *,
    usage: Usage,
    at: float,
    streamed: bool,
    connection: bool,
    request_seconds: float | None = None,
) -> Quote:
    """Price one event with this entry, whoever was asked.

    Args:
        entry: The prices; `None` where the catalogue has none for the event.
        usage: As of `price`, and the others too.
        at: When.
        streamed: The usage of a stream so far.
        connection: A connection was opened.
        request_seconds: Length of the whole request.
    """
    if connection:
        return _CONNECTION
    used = usage != _NO_USAGE
    if used and not rules.is_possible(usage):
        return _unpriced("impossible_usage")
    if entry is None:
        return _unpriced("no_entry") if used else _NOTHING
    return _billed(entry, usage, at, streamed=streamed, request_seconds=request_seconds) or (
        _unpriced("other_usage") if used else _NOTHING
    )


def price_record(catalogue: Catalogue, record: UsageReported) -> Quote:
    """Price a record of usage; see `price`.  What the provider itself said that it costs holds."""
    if record.cost_usd is not None:
        return Quote("priced", Decimal(repr(record.cost_usd)), VENDOR)
    return price(
        catalogue,
        stage=record.stage,
        provider=record.provider,
        model=record.model,
        label=record.label,
        usage=record.usage,
        at=record.at,
        streamed=record.streamed,
        connection=record.connection,
        request_seconds=record.request_seconds,
    )


def _billed(
    entry: Entry, usage: Usage, at: float, *, streamed: bool, request_seconds: float | None
) -> Quote | None:
    """Apply an entry to an event; `None` where it reports nothing that is billed."""
    if entry.free:
        return Quote("priced", price_id=entry.id, why="free") if usage != _NO_USAGE else None
    for tariff in entry.tariffs:
        block = tariff.block_at(at)
        prices = (block, block.charges_at(at)) if block is not None else None
        if tariff.basis == "tokens":
            quote = _tokens(entry, prices, usage)
        else:
            reported = rules.reported(tariff.basis, usage, request_seconds)
            quote = _quantity(entry, tariff.basis, prices, reported, streamed=streamed)
        if quote is not None:
            return quote
    # Models billed by the time of a session also report tokens, which cost nothing.
    return _NOTHING if entry.tariffs[0].basis == "session_time" else None


def _tokens(entry: Entry, prices: tuple[Block, Charges] | None, usage: Usage) -> Quote | None:
    """Price tokens by bucket; `None` without tokens."""
    buckets = rules.token_buckets(usage)
    if not buckets:
        return None
    if prices is None:
        return _unpriced("before_first_price")
    block, charges = prices
    tier = rules.context_tier(charges.tiers, rules.asked_tokens(usage))
    if tier is None:
        return _unpriced("no_rate")
    parts = []
    total = Decimal(0)
    for bucket, tokens in buckets.items():
        rate = tier.rates.get(bucket)
        if rate is None:
            return _unpriced("no_rate")
        quantity = Decimal(tokens)
        cost = EXACT.multiply(quantity, rate)
        total = EXACT.add(total, cost)
        parts.append(Part(quantity, TOKEN_UNIT[bucket], rate, cost))
    source = Source("tokens", block, charges, tier.over)
    return Quote("priced", total, entry.id, tuple(parts), source)


def _quantity(
    entry: Entry,
    basis: Basis,
    prices: tuple[Block, Charges] | None,
    reported: float,
    *,
    streamed: bool,
) -> Quote | None:
    """Price time or characters; `None` without any."""
    if reported == 0:
        return None
    if not 0 < reported < math.inf:
        return _unpriced("impossible_usage")
    if prices is None:
        return _unpriced("before_first_price")
    block, charges = prices
    rate = charges.rate
    if rate is None:
        return _unpriced("no_rate")
    quantity = rules.exact(reported)
    if basis == "audio_time":
        quantity = rules.at_least(quantity, entry.min_seconds, streamed=streamed)
    elif basis == "call_time":
        quantity = rules.rounded_up(quantity, entry.round_up_seconds)
    cost = EXACT.divide(EXACT.multiply(quantity, rate.usd), rate.per)
    part = Part(quantity, BASIS_UNIT[basis], rate.unit_price, cost)
    return Quote("priced", cost, entry.id, (part,), Source(basis, block, charges))
