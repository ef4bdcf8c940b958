"""Dated prices of an entry: tokens by kind and context, time, characters, hours of the day."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, ClassVar, Final, Self, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

from livekit_exporter.prices.compiled import PerMillion
from livekit_exporter.prices.entries import second_of_day
from livekit_exporter.prices.files.words import (
    Amount,
    ConfidenceWord,
    Count,
    Day,
    FaultError,
    FaultsError,
    TimeOfDay,
    Written,
)
from livekit_exporter.prices.units import KINDS, Basis, Kind

_DAY_SECONDS: Final = 86400
SECTIONS: Final = ("per_1m", "audio_per_1m", "image_per_1m")


class Part(BaseModel):
    """A table of a price file."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def report(faults: list[FaultError]) -> None:
    """Raise what was found, all of it at once.

    Raises:
        FaultsError: There is something.
    """
    if faults:
        raise FaultsError(faults)


class TokenPrices(Part):
    """USD per million tokens of one modality."""

    input: Amount | None = None
    """USD per million input tokens."""
    cached_input: Amount | None = None
    """USD per million tokens read from a cache; the input price when left out."""
    cache_write: Amount | None = None
    """USD per million tokens written to a cache; the input price when left out."""
    output: Amount | None = None
    """USD per million output tokens, thinking included."""

    @model_validator(mode="after")
    def _cached_is_cheaper(self) -> Self:
        if self.cached_input and self.input and Decimal(self.cached_input) > Decimal(self.input):
            raise FaultError(
                f"'cached_input' {self.cached_input} is above 'input' {self.input};"
                " are the two swapped?",
                "cached_input",
            )
        return self

    def given(self) -> PerMillion:
        """Prices by kind of token, in the order of the kinds."""
        prices: dict[Kind, str | None] = {kind: getattr(self, kind) for kind in KINDS}
        return {kind: price for kind, price in prices.items() if price is not None}


class AllTokenPrices(TokenPrices):
    """USD per million tokens of every modality that has no prices of its own."""

    input: Amount
    """USD per million input tokens."""
    output: Amount
    """USD per million output tokens, thinking included."""


class TokenCharges(Part):
    """Prices of tokens."""

    per_1m: AllTokenPrices
    """USD per million tokens, for all modalities that have no prices of their own."""
    audio_per_1m: TokenPrices | None = None
    """USD per million audio tokens; what is not listed then has no price."""
    image_per_1m: TokenPrices | None = None
    """USD per million image tokens; what is not listed then has no price."""

    def sections(self) -> dict[str, PerMillion]:
        """Prices by section, without sections that list none."""
        found = {name: getattr(self, name) for name in SECTIONS}
        return {name: section.given() for name, section in found.items() if section is not None}

    def lacking(self, other: "TokenCharges") -> Iterator[tuple[str, str]]:
        """Sections and kinds that these charges list and others do not."""
        theirs = other.sections()
        for section, prices in self.sections().items():
            for kind in prices:
                if kind not in theirs.get(section, {}):
                    yield section, kind


class ContextTier(TokenCharges):
    """Token prices of a whole request with much input."""

    over: Count
    """Input tokens, cached ones included; the threshold itself is priced below."""


class _TieredTokens(TokenCharges):
    above_input_tokens: tuple[ContextTier, ...] = ()
    """Prices of the whole request once its input is over a threshold."""

    @model_validator(mode="after")
    def _tiers_are_complete(self) -> Self:
        faults, last = [], 0
        for number, tier in enumerate(self.above_input_tokens):
            at = ("above_input_tokens", number)
            if tier.over <= last:
                faults.append(FaultError(f"tier over {tier.over} does not come after {last}", *at))
            last = tier.over
            faults += [
                FaultError(
                    f"tier over {tier.over} lacks '{kind}' of '{section}', which the base has", *at
                )
                for section, kind in self.lacking(tier)
            ]
        report(faults)
        return self


class _Rate(Part):
    """One price for a quantity, under one of the keys that its basis knows."""

    PER: ClassVar[Mapping[str, int]]
    """Units that the price of each key is for."""
    CREDITS: ClassVar[str]
    """Key of a price in the vendor's credits."""

    @classmethod
    def price_keys(cls) -> tuple[str, ...]:
        """Keys that the price can stand under."""
        return (*cls.PER, cls.CREDITS)

    def given(self) -> list[str]:
        """Keys that have a price."""
        return [key for key in self.price_keys() if getattr(self, key) is not None]

    @property
    def in_credits(self) -> bool:
        """True for a price in the vendor's credits."""
        return getattr(self, self.CREDITS) is not None

    @model_validator(mode="after")
    def _one_price(self) -> Self:
        given = self.given()
        if len(given) != 1:
            said = f"{' and '.join(given)} are given" if given else "there is no price"
            raise FaultError(
                f"{said}; give exactly one of {', '.join(self.price_keys())}", *given[1:2]
            )
        return self


class TimeRate(_Rate):
    """A price for time."""

    PER: ClassVar[Mapping[str, int]] = {"per_second": 1, "per_minute": 60, "per_hour": 3600}
    CREDITS: ClassVar[str] = "credits_per_second"

    per_second: Amount | None = None
    """USD per second."""
    per_minute: Amount | None = None
    """USD per minute."""
    per_hour: Amount | None = None
    """USD per hour."""
    credits_per_second: Amount | None = None
    """Credits per second; the provider says what credits cost."""


class CharacterRate(_Rate):
    """A price for characters."""

    PER: ClassVar[Mapping[str, int]] = {"per_1k_chars": 1000, "per_1m_chars": 1_000_000}
    CREDITS: ClassVar[str] = "credits_per_char"

    per_1k_chars: Amount | None = None
    """USD per thousand characters (Unicode code points)."""
    per_1m_chars: Amount | None = None
    """USD per million characters (Unicode code points)."""
    credits_per_char: Amount | None = None
    """Credits per character; the provider says what credits cost."""


def price_keys(basis: Basis) -> tuple[str, ...]:
    """Keys that a price of a basis can be written with."""
    if basis == "tokens":
        return (*SECTIONS, "above_input_tokens")
    return (CharacterRate if basis == "characters" else TimeRate).price_keys()


class _Hours(Part):
    start: Annotated[TimeOfDay, Field(alias="from")]
    """First minute of the hours, as '16:30', UTC."""
    until: TimeOfDay
    """First minute after the hours, as '00:30', UTC; may lie behind midnight."""

    @property
    def said(self) -> str:
        """The hours, for messages."""
        return f"hours from {self.start} until {self.until}"

    def spans(self) -> list[tuple[int, int]]:
        """Seconds of the day, in two parts where they reach over midnight."""
        first, last = second_of_day(self.start), second_of_day(self.until)
        return [(first, last)] if first < last else [(first, _DAY_SECONDS), (0, last)]

    @model_validator(mode="after")
    def _some_hours(self) -> Self:
        if self.start == self.until:
            raise FaultError(f"{self.said} are none, or the whole day")
        return self


class TokenHours(_TieredTokens, _Hours):
    """Token prices in some hours of every day."""


class TimeHours(TimeRate, _Hours):
    """A price for time in some hours of every day."""


class CharacterHours(CharacterRate, _Hours):
    """A price for characters in some hours of every day."""


class _Block(Part):
    valid_from: Day | None = None
    """In force from midnight UTC of this day, as 2027-01-01."""
    source: Written
    """Where the price was read: a page, a contract."""
    checked: Day
    """Day on which the source was read, as 2026-10-21."""
    confidence: ConfidenceWord | None = None
    """medium or low where the sources disagree or are weak; high when left out."""
    time_of_day: tuple[_Hours, ...] = ()
    """Hours of every day, UTC, in which other prices hold."""

    @model_validator(mode="after")
    def _hours_are_apart(self) -> Self:
        faults = []
        taken: list[tuple[int, int]] = []
        for number, hours in enumerate(self.time_of_day):
            at = ("time_of_day", number)
            spans = hours.spans()
            if any(
                begin < other_end and other < end
                for begin, end in spans
                for other, other_end in taken
            ):
                faults.append(FaultError(f"{hours.said} overlap with those before", *at))
            taken += spans
            faults += [FaultError(text, *at) for text in self._lacking(hours)]
        report(faults)
        return self

    def _lacking(self, hours: _Hours) -> Iterator[str]:
        """Prices that some hours would leave out."""
        if not isinstance(self, TokenBlock) or not isinstance(hours, TokenHours):
            return
        pairs = zip(
            (self, *self.above_input_tokens), (hours, *hours.above_input_tokens), strict=False
        )
        for base, other in pairs:
            for section, kind in base.lacking(other):
                yield f"{hours.said} lack '{kind}' of '{section}', which the block has"


class TokenBlock(_TieredTokens, _Block):
    """Token prices from a day on."""

    time_of_day: tuple[TokenHours, ...] = ()
    """Hours of every day, UTC, in which other prices hold."""


class TimeBlock(TimeRate, _Block):
    """A price for time from a day on."""

    time_of_day: tuple[TimeHours, ...] = ()
    """Hours of every day, UTC, in which other prices hold."""


class CharacterBlock(CharacterRate, _Block):
    """A price for characters from a day on."""

    time_of_day: tuple[CharacterHours, ...] = ()
    """Hours of every day, UTC, in which other prices hold."""


Block: TypeAlias = TokenBlock | TimeBlock | CharacterBlock
