"""Dated prices of an entry: tokens by kind and context, time, characters, hours of the day."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, ClassVar, Final, NamedTuple, Self, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_core import InitErrorDetails, PydanticCustomError

from livekit_exporter.prices.compiled import PerMillion
from livekit_exporter.prices.entries import second_of_day
from livekit_exporter.prices.files.located import Path
from livekit_exporter.prices.files.words import (
    Amount,
    ConfidenceWord,
    Count,
    Day,
    TimeOfDay,
    Written,
    amount,
    count,
    remedy,
    time_of_day,
    valid,
)
from livekit_exporter.prices.units import BASES, KINDS, Basis, Kind

_DAY_SECONDS: Final = 86400
SECTIONS: Final = ("per_1m", "audio_per_1m", "image_per_1m")
Said: TypeAlias = Mapping[str, object]
"""A table of a price file, as it was written."""


def table(value: object) -> Said:
    """A table that was written, empty where something else was."""
    return value if isinstance(value, dict) else {}


def tables(value: object) -> list[Said]:
    """A list of tables that was written, empty where something else was."""
    return [table(item) for item in value] if isinstance(value, list) else []


def priced(entry: Said) -> Iterator[tuple[Path, Said]]:
    """Yield the tables of an entry that hold prices of its basis or its fallback's, and the way."""
    for way, tariff in (((), entry), (("fallback",), table(entry.get("fallback")))):
        for number, block in enumerate(tables(tariff.get("prices"))):
            at: Path = (*way, "prices", number)
            yield at, block
            for place, hours in enumerate(tables(block.get("time_of_day"))):
                yield (*at, "time_of_day", place), hours


class Fault(NamedTuple):
    """A mistake that values of a table make together.

    Args:
        text: The message.
        at: Keys and positions that lead from the table to where it shows.
        kind: Word for the mistake, as pydantic has one for each of its own.
    """

    text: str
    at: Path = ()
    kind: str = "fault"

    def error(self) -> InitErrorDetails:
        """Return the mistake as one of pydantic's."""
        return {"type": PydanticCustomError(self.kind, self.text), "loc": self.at, "input": None}


class FilePart(BaseModel):
    """A table of a price file."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="wrap")
    @classmethod
    def _all_at_once(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        # pydantic looks at a whole only once all its parts are right: a second mistake would
        # show after the first is mended.
        faults = list(cls._faults(table(value)))
        part = None
        try:
            part = handler(value)
        except ValidationError as error:
            found = [
                Fault(details["msg"], details["loc"], details["type"])
                for details in error.errors(include_url=False)
                if details["type"] != "extra_forbidden"
            ]
            faults = [*found, *faults]
        if faults or part is None:
            raise ValidationError.from_exception_data(cls.__name__, [f.error() for f in faults])
        return part

    @classmethod
    def _keys(cls) -> list[str]:
        """Keys that the table can have."""
        return [info.alias or name for name, info in cls.model_fields.items()]

    @classmethod
    def _faults(cls, said: Said) -> Iterator[Fault]:
        """Yield the mistakes of the table as a whole."""
        known = cls._keys()
        for key in said:
            if key not in known:
                yield Fault(cls._unknown(key), (key,), "unknown_key")

    @classmethod
    def _unknown(cls, key: str) -> str:
        """Say what is wrong with a key that the table cannot have."""
        return f"key '{key}' is not known; {remedy(key, cls._keys())}"


class TokenPrices(FilePart):
    """USD per million tokens of one modality."""

    input: Amount | None = None
    """USD per million input tokens."""
    cached_input: Amount | None = None
    """USD per million tokens read from a cache; the input price when left out."""
    cache_write: Amount | None = None
    """USD per million tokens written to a cache; the input price when left out."""
    output: Amount | None = None
    """USD per million output tokens, thinking included."""

    @classmethod
    def _faults(cls, said: Said) -> Iterator[Fault]:
        yield from super()._faults(said)
        cached, full = valid(amount, said.get("cached_input")), valid(amount, said.get("input"))
        if cached and full and Decimal(cached) > Decimal(full):
            text = f"'cached_input' {cached} is above 'input' {full}; are the two swapped?"
            yield Fault(text, ("cached_input",))

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


class TokenCharges(FilePart):
    """Prices of tokens."""

    per_1m: AllTokenPrices
    """USD per million tokens, for all modalities that have no prices of their own."""
    audio_per_1m: TokenPrices | None = None
    """USD per million audio tokens; what is not listed then has no price."""
    image_per_1m: TokenPrices | None = None
    """USD per million image tokens; what is not listed then has no price."""


def _lacking(base: Said, other: Said) -> Iterator[str]:
    """Name the token prices that one table lists and another does not."""
    for section in SECTIONS:
        theirs = table(other.get(section))
        listed = table(base.get(section))
        for kind in KINDS:
            if kind in listed and kind not in theirs:
                yield f"'{kind}' of '{section}'"


class ContextTier(TokenCharges):
    """Token prices of a whole request with much input."""

    over: Count
    """Input tokens, cached ones included; the threshold itself is priced below."""


class _TieredTokens(TokenCharges):
    above_input_tokens: tuple[ContextTier, ...] = ()
    """Prices of the whole request once its input is over a threshold."""

    @classmethod
    def _faults(cls, said: Said) -> Iterator[Fault]:
        yield from super()._faults(said)
        last = 0
        for number, tier in enumerate(tables(said.get("above_input_tokens"))):
            at, over = ("above_input_tokens", number), valid(count, tier.get("over"))
            if over is None:
                continue
            if over <= last:
                yield Fault(f"tier over {over} does not come after {last}", at)
            last = over
            for price in _lacking(said, tier):
                yield Fault(f"tier over {over} lacks {price}, which the base has", at)


class _Rate(FilePart):
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

    @classmethod
    def _faults(cls, said: Said) -> Iterator[Fault]:
        yield from super()._faults(said)
        given = [key for key in cls.price_keys() if key in said]
        if len(given) != 1:
            found = f"{' and '.join(given)} are given" if given else "there is no price"
            text = f"{found}; give exactly one of {', '.join(cls.price_keys())}"
            yield Fault(text, tuple(given[1:2]))


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


class _OfABasis(FilePart):
    @classmethod
    def _unknown(cls, key: str) -> str:
        """Name the basis that a misplaced price belongs to, which says more than 'not known'."""
        owner = next((basis for basis in BASES if key in price_keys(basis)), None)
        if owner is None:
            return super()._unknown(key)
        own = [name for basis in BASES for name in price_keys(basis) if name in cls.model_fields]
        return (
            f"'{key}' is a price for '{owner}', but the basis is '{{basis}}';"
            f" an entry bills one basis, use {' or '.join(dict.fromkeys(own))}"
        )


class _Hours(_OfABasis):
    start: Annotated[TimeOfDay, Field(alias="from")]
    """First minute of the hours, as '16:30', UTC."""
    until: TimeOfDay
    """First minute after the hours, as '00:30', UTC; may lie behind midnight."""

    @classmethod
    def _faults(cls, said: Said) -> Iterator[Fault]:
        yield from super()._faults(said)
        start, until = _from_until(said)
        if start is not None and start == until:
            yield Fault(f"hours from {start} until {until} are none, or the whole day")


def _from_until(hours: Said) -> tuple[str | None, str | None]:
    return valid(time_of_day, hours.get("from")), valid(time_of_day, hours.get("until"))


class TokenHours(_TieredTokens, _Hours):
    """Token prices in some hours of every day."""


class TimeHours(TimeRate, _Hours):
    """A price for time in some hours of every day."""


class CharacterHours(CharacterRate, _Hours):
    """A price for characters in some hours of every day."""


class _Block(_OfABasis):
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

    @classmethod
    def _faults(cls, said: Said) -> Iterator[Fault]:
        yield from super()._faults(said)
        taken: list[tuple[int, int]] = []
        for number, hours in enumerate(tables(said.get("time_of_day"))):
            at, (start, until) = ("time_of_day", number), _from_until(hours)
            if start is None or until is None or start == until:
                continue
            spans = _spans(start, until)
            if any(
                begin < other_end and other < end
                for begin, end in spans
                for other, other_end in taken
            ):
                yield Fault(f"hours from {start} until {until} overlap with those before", at)
            taken += spans
            tiers, others = (
                [part, *tables(part.get("above_input_tokens"))] for part in (said, hours)
            )
            for base, other in zip(tiers, others, strict=False):
                for price in _lacking(base, other):
                    yield Fault(
                        f"hours from {start} until {until} lack {price}, which the block has", at
                    )


def _spans(start: str, until: str) -> list[tuple[int, int]]:
    """Seconds of the day, in two parts where the hours reach over midnight."""
    first, last = second_of_day(start), second_of_day(until)
    return [(first, last)] if first < last else [(first, _DAY_SECONDS), (0, last)]


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
