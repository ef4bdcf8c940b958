"""Sums of a period's usage by model and agent, as advice needs them.

Every event is priced again with the prices in force, because the ledger keeps its cost but
not the billed quantities and rates.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NamedTuple

from livekit_exporter.ledger.rows import UsageRow
from livekit_exporter.prices import pricing, rules
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.prices.entries import Entry
from livekit_exporter.prices.pricing import Part, Quote, Source
from livekit_exporter.prices.units import EXACT
from livekit_exporter.record import Usage, at_least_one

_ZERO: Final = Decimal(0)


class UsedModel(NamedTuple):
    """A model with its stage and provider."""

    stage: str
    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


@dataclass(slots=True)
class ModelUsage:
    """The usage of one model by one agent.

    Args:
        usd: What it cost.
        unpriced: Requests without a price, and what they used: `tokens`, `characters`
            and `seconds`.
        prompts: Requests with input tokens.
        asked: Input tokens, cached ones included.
        cached: Of these, tokens from the cache.
        input_usd: What the input tokens cost.
        cacheable_usd: What would be saved if all input had come from the cache.
        billed: What was billed, by unit.
        minimum_seconds: Seconds billed that nobody used: minimums and rounding.
        minimum_usd: What they cost.
        used_seconds: Seconds used, of the same requests.
        wasted: US dollars that nobody heard, by reason.
    """

    usd: Decimal = _ZERO
    unpriced: int = 0
    tokens: int = 0
    characters: int = 0
    seconds: float = 0.0
    prompts: int = 0
    asked: int = 0
    cached: int = 0
    input_usd: Decimal = _ZERO
    cacheable_usd: Decimal = _ZERO
    billed: dict[str, Decimal] = field(default_factory=dict)
    minimum_seconds: Decimal = _ZERO
    minimum_usd: Decimal = _ZERO
    used_seconds: Decimal = _ZERO
    wasted: dict[str, Decimal] = field(default_factory=dict)


@dataclass(slots=True)
class Tallies:
    """All usage of a period.

    Args:
        usd: Reported cost.
        first: Time of the first event, Unix seconds.
        by_agent: By model and agent.
        entries: The prices of each model, as its label path says which.
    """

    usd: Decimal = _ZERO
    first: float | None = None
    by_agent: dict[tuple[UsedModel, str], ModelUsage] = field(default_factory=dict)
    entries: dict[UsedModel, Entry] = field(default_factory=dict)


def tallied(rows: Iterable[UsageRow], catalogue: Catalogue) -> Tallies:
    """Sum rows of reported usage."""
    found = Tallies()
    for row in rows:
        if row.source != "reported":
            continue
        found.first = row.at if found.first is None else min(found.first, row.at)
        model = UsedModel(row.stage, row.provider, row.model)
        tally = found.by_agent.get((model, row.agent))
        if tally is None:
            tally = found.by_agent[model, row.agent] = ModelUsage()
        if row.cost_usd is not None:
            usd = rules.exact(row.cost_usd)
            found.usd += usd
            tally.usd += usd
        if row.waste_reason is not None and row.wasted_usd:
            held = tally.wasted.get(row.waste_reason, _ZERO)
            tally.wasted[row.waste_reason] = held + rules.exact(row.wasted_usd)
        if row.status == "unpriced":
            _unpriced(tally, row)
            continue
        entry = catalogue.find(row.stage, row.reported_provider, row.model, row.label)
        priced = quote(entry, row)
        if entry is not None and priced.source is not None:
            found.entries.setdefault(model, entry)
            _billed(tally, row, priced.parts, priced.source)
    return found


def quote(entry: Entry | None, row: UsageRow) -> Quote:
    """Price a usage row again by an entry, at the time of the row."""
    return pricing.price_by(
        entry,
        usage=row.usage,
        at=row.at,
        streamed=row.streamed,
        connection=row.connection,
        request_seconds=row.request_seconds,
    )


def _unpriced(tally: ModelUsage, row: UsageRow) -> None:
    usage = row.usage
    asked = rules.asked_tokens(usage)
    tally.unpriced += at_least_one(row.requests)
    tally.tokens += asked + rules.answered_tokens(usage, asked)
    tally.characters += usage.characters
    tally.seconds += usage.audio_seconds + usage.connection_seconds


def _billed(tally: ModelUsage, row: UsageRow, parts: Iterable[Part], source: Source) -> None:
    for part in parts:
        tally.billed[part.unit] = tally.billed.get(part.unit, _ZERO) + part.quantity
        if source.basis == "tokens":
            continue
        used = rules.exact(rules.reported(source.basis, row.usage, row.request_seconds))
        if part.quantity > used:
            tally.minimum_seconds += part.quantity - used
            tally.minimum_usd += EXACT.multiply(part.quantity - used, part.unit_price)
            tally.used_seconds += used
    if source.basis == "tokens":
        _prompt(tally, row.usage, source)


def _prompt(tally: ModelUsage, usage: Usage, source: Source) -> None:
    """Add the input of one request, and the saving if all of it came from the cache."""
    buckets = {
        bucket: tokens
        for bucket, tokens in rules.token_buckets(usage).items()
        if bucket[0] != "output"
    }
    if not buckets:
        return
    tier = next(tier for tier in source.charges.tiers if tier.over == source.over)
    tally.prompts += 1
    for (kind, modality), tokens in buckets.items():
        rate = tier.rates[kind, modality]
        cached = tier.rates.get(("cached_input", modality), rate)
        tally.asked += tokens
        tally.input_usd += tokens * rate
        if kind == "cached_input":
            tally.cached += tokens
        elif kind == "input" and cached < rate:
            tally.cacheable_usd += tokens * (rate - cached)
