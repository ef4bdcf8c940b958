"""Prices in memory: entries, their dated blocks, and their charges.

Built from the compiled form, which `schema` has checked.  Standard library only,
because prices are also read in the process that carries the call.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

from livekit_exporter.prices.compiled import (
    CompiledBlock,
    CompiledCharges,
    CompiledEntry,
    CompiledProvider,
    CompiledTariff,
    CompiledTier,
    CompiledWindow,
)
from livekit_exporter.prices.units import (
    EXACT,
    KINDS,
    MODALITIES,
    Basis,
    Bucket,
    Confidence,
)
from livekit_exporter.record import Stage

DAY_SECONDS: Final = 86400


@dataclass(frozen=True, slots=True)
class Tier:
    """USD per token, for requests with more than `over` input tokens."""

    over: int
    """-1 for the base tier."""
    rates: Mapping[Bucket, Decimal]
    """A bucket that is missing has no price."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A price for time or characters: `usd` for every `per` units, as the vendor lists it."""

    usd: Decimal
    per: Decimal
    unit_price: Decimal
    """USD per unit, rounded at the fortieth digit; costs are computed from `usd` and `per`."""


@dataclass(frozen=True, slots=True)
class Charges:
    """Charges at one time: token prices by tier, or a rate."""

    tiers: tuple[Tier, ...] = ()
    """Token prices, highest tier first."""
    rate: Rate | None = None
    """Price of any other basis."""
    hours: str = ""
    """The hours of a day (UTC) that this holds for, as `01:00-04:00`; empty for all others."""


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of every day, from the first second on and before the last one, UTC."""

    start: int
    """Second of the day."""
    end: int
    """Second of the day; before `start` where the window reaches over midnight."""
    charges: Charges

    def holds(self, second: float) -> bool:
        """True for a second of the day in these hours."""
        if self.start < self.end:
            return self.start <= second < self.end
        return second >= self.start or second < self.end


@dataclass(frozen=True, slots=True)
class Block:
    """Prices in force from one day on, and where they are from."""

    valid_from: date | None
    starts_at: float
    """Unix time of the first instant (UTC), minus infinity for prices without a start."""
    source: str
    checked: date
    """When the source was read."""
    confidence: Confidence
    charges: Charges
    windows: tuple[Window, ...] = ()

    def charges_at(self, at: float) -> Charges:
        """Charges at a Unix time in which this block is in force."""
        if self.windows:
            second = at % DAY_SECONDS
            for window in self.windows:
                if window.holds(second):
                    return window.charges
        return self.charges


@dataclass(frozen=True, slots=True)
class Tariff:
    """One billing basis with its dated prices, newest first."""

    basis: Basis
    blocks: tuple[Block, ...]

    def block_at(self, at: float) -> Block | None:
        """Prices in force at a Unix time, `None` before the first known ones."""
        for block in self.blocks:
            if at >= block.starts_at:
                return block
        return None


@dataclass(frozen=True, slots=True)
class Entry:
    """One priced thing: a provider's model in one stage."""

    id: str
    """`provider/name`, unique; names the price wherever a cost is kept."""
    stage: Stage
    match: tuple[str, ...]
    tariffs: tuple[Tariff, ...]
    """The billing basis, then the one for requests that report nothing of it."""
    min_seconds: Decimal = Decimal(0)
    """Least audio that a request which is no stream is billed for."""
    round_up_seconds: int = 0
    """Step to which a call leg is rounded up; 0 leaves it as it is."""
    free: str = ""
    """Why nobody bills it, for example `self-hosted`; such an entry has no tariffs."""

    @property
    def provider(self) -> str:
        """Canonical id of the provider."""
        return self.id.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider that bills, with its names in events."""

    id: str
    hosts: tuple[str, ...] = ()
    """Lower-case hosts without port; `*.example.com` stands for every host below."""
    names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    """Class paths of plugins that do not name their provider; may end in `*`."""
    defaults: Mapping[Stage, str] = field(default_factory=dict)
    """Entry ids for models that the plugin does not name."""


@dataclass(frozen=True, slots=True)
class Leg:
    """A platform price that calls have by their length."""

    entry: Entry
    when: Mapping[str, str]
    """Labels that the call must have, `agent` for its agent; none for every call."""


def second_of_day(text: str) -> int:
    """Second of the day of a time as `16:30`."""
    hours, _, minutes = text.partition(":")
    return (int(hours) * 60 + int(minutes)) * 60


def _tier(tier: CompiledTier) -> Tier:
    """Resolve listed prices into one rate per bucket.

    Without prices of their own for audio or images, one price holds for every
    modality.  Where a cached or written price is not listed, vendors charge the
    input price.
    """
    sections = {"text": tier["per_1m"]}
    if "audio_per_1m" in tier:
        sections["audio"] = tier["audio_per_1m"]
    if "image_per_1m" in tier:
        sections["image"] = tier["image_per_1m"]
    rates: dict[Bucket, Decimal] = {}
    for modality in MODALITIES:
        listed = sections.get(modality)
        if listed is None:
            if len(sections) > 1:
                continue
            listed = sections["text"]
        for kind in KINDS:
            price = listed.get(kind)
            if price is None and kind != "output":
                price = listed.get("input")
            if price is not None:
                rates[kind, modality] = EXACT.scaleb(Decimal(price), -6)
    return Tier(tier.get("over", -1), rates)


def _charges(charges: CompiledCharges, hours: str = "") -> Charges:
    rate = None
    if "usd" in charges:
        usd, per = Decimal(charges["usd"]), Decimal(charges["per"])
        rate = Rate(usd, per, EXACT.divide(usd, per))
    tiers = tuple(_tier(tier) for tier in reversed(charges.get("tiers", [])))
    return Charges(tiers, rate, hours)


def _window(window: CompiledWindow) -> Window:
    start, end = window["from"], window["until"]
    return Window(second_of_day(start), second_of_day(end), _charges(window, f"{start}-{end}"))


def _block(block: CompiledBlock) -> Block:
    start = block.get("valid_from")
    valid_from = date.fromisoformat(start) if start else None
    starts_at = (
        datetime(valid_from.year, valid_from.month, valid_from.day, tzinfo=UTC).timestamp()
        if valid_from
        else -math.inf
    )
    return Block(
        valid_from=valid_from,
        starts_at=starts_at,
        source=block["source"],
        checked=date.fromisoformat(block["checked"]),
        confidence=block.get("confidence", "high"),
        charges=_charges(block),
        windows=tuple(map(_window, block.get("time_of_day", ()))),
    )


def _tariff(tariff: CompiledTariff) -> Tariff:
    return Tariff(tariff["basis"], tuple(_block(block) for block in reversed(tariff["prices"])))


def entry(compiled: CompiledEntry) -> Entry:
    """Build an entry from its compiled form."""
    tariffs = [_tariff(tariff) for tariff in compiled["tariffs"]]
    return Entry(
        id=compiled["id"],
        stage=compiled["stage"],
        match=tuple(compiled["match"]),
        tariffs=tuple(tariffs),
        min_seconds=Decimal(compiled.get("min_seconds_per_request", "0")),
        round_up_seconds=compiled.get("round_up_seconds", 0),
        free=compiled.get("free", ""),
    )


def provider(name: str, compiled: CompiledProvider) -> Provider:
    """Build a provider from its compiled form."""
    return Provider(
        id=name,
        hosts=tuple(compiled.get("hosts", ())),
        names=tuple(compiled.get("names", ())),
        labels=tuple(compiled.get("labels", ())),
        defaults=compiled.get("defaults", {}),
    )
