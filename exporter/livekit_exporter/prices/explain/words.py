"""A price in words: what an entry charges, by which rule, and what that makes of an example.

Pure, and derived from the entry alone: nothing here knows a vendor.  Amounts are in the
units of the vendors' pages, so that a person can hold the two side by side.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final, Literal, NamedTuple, TypeAlias

from livekit_exporter.prices import pricing
from livekit_exporter.prices.catalogue import UNKNOWN, Catalogue
from livekit_exporter.prices.entries import Block, Charges, Entry, Provider, Rate, Tariff, Tier
from livekit_exporter.prices.pricing import Quote
from livekit_exporter.prices.units import EXACT, KINDS, MODALITIES, Basis, Bucket, Kind, Modality
from livekit_exporter.record import Stage, Usage

When: TypeAlias = Literal["past", "in force", "coming"]

_KIND: Final[Mapping[Kind, str]] = {
    "input": "input",
    "cached_input": "cached",
    "cache_write": "written",
    "output": "output",
}
_ENDS: Final[Sequence[Kind]] = ("input", "output")
_BILLED: Final[Mapping[Basis, str]] = {
    "tokens": "tokens",
    "audio_time": "seconds of audio",
    "characters": "characters",
    "session_time": "seconds of an open session",
    "call_time": "seconds of a call leg",
    "request_time": "seconds of a whole request",
}
_SECONDS: Final = {1: "second", 60: "minute", 3600: "hour"}
_PLAUSIBLE: Final[Mapping[Basis, tuple[str, Usage, float | None]]] = {
    "audio_time": ("a minute of audio", Usage(audio_seconds=60.0), None),
    "characters": ("180 characters", Usage(characters=180), None),
    "session_time": ("a session of 90 seconds", Usage(connection_seconds=90.0), None),
    "call_time": ("a call of 90 seconds", Usage(connection_seconds=90.0), None),
    "request_time": ("a request of 1.5 seconds", Usage(output_tokens=200), 1.5),
}
_MILLION: Final = Decimal(1_000_000)
_SHOWN_DECIMALS: Final = 12


class PriceLine(NamedTuple):
    """One line of a price list."""

    usd: Mapping[str, Decimal]
    """US dollars for each `per`: by kind of token, of any other basis under its name."""
    per: str
    """`1M tokens`, `1M characters`, `hour`, `minute`, `second`."""
    modality: str = ""
    """Of the tokens; empty where one price holds for all."""
    over: int = -1
    """Input tokens that it holds above, -1 for every request that no other line is for."""

    def __str__(self) -> str:
        """The amounts, without what they are for."""
        if self.per != "1M tokens":
            return amount(*self.usd.values())
        prices = ((word, self.usd.get(kind)) for kind, word in _KIND.items())
        amounts = ", ".join(f"{word} {amount(usd)}" for word, usd in prices if usd is not None)
        above = f"above {self.over:,}: " if self.over >= 0 else ""
        return f"{above}{self.modality}{' ' if self.modality else ''}{amounts}"


class Example(NamedTuple):
    """A plausible request with its cost."""

    said: str
    quote: Quote


def amount(value: Decimal) -> str:
    """A number as a person writes it, cut after twelve decimals."""
    text = f"{value:f}"
    whole, point, decimals = text.partition(".")
    if len(decimals.rstrip("0")) > _SHOWN_DECIMALS:
        return f"{whole}.{decimals[:_SHOWN_DECIMALS]}…"
    return f"{whole}{point}{decimals}"


def printable(text: str) -> str:
    """Text without what would steer a terminal or break a line; names come from outside."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def when(block: Block, tariff: Tariff, at: float) -> When:
    """Say whether prices are coming, in force or past at a Unix time."""
    if block.starts_at > at:
        return "coming"
    return "in force" if block is tariff.block_at(at) else "past"


def lines(charges: Charges, basis: Basis) -> list[PriceLine]:
    """List the charges, the base tier first."""
    if charges.rate is not None:
        return [_rate(charges.rate, basis)]
    return [line for tier in reversed(charges.tiers) for line in _tier(tier)]


def _rate(rate: Rate, basis: Basis) -> PriceLine:
    name = basis.removesuffix("_time")
    if basis == "characters":
        return PriceLine({name: _for(rate, _MILLION)}, "1M characters")
    if rate.per in _SECONDS:
        return PriceLine({name: rate.usd}, _SECONDS[int(rate.per)])
    return PriceLine({name: _for(rate, Decimal(60))}, "minute")


def _for(rate: Rate, quantity: Decimal) -> Decimal:
    """US dollars for a quantity, without the zeros that the arithmetic leaves."""
    return EXACT.divide(EXACT.multiply(rate.usd, quantity), rate.per).normalize(EXACT)


def _tier(tier: Tier) -> Iterable[PriceLine]:
    listed = {modality: _listed(tier, modality) for modality in MODALITIES}
    same = len({tuple(usd.items()) for usd in listed.values()}) == 1
    for modality, usd in listed.items():
        if usd:
            yield PriceLine(usd, "1M tokens", "" if same else modality, tier.over)
        if same:
            return


def _listed(tier: Tier, modality: Modality) -> dict[str, Decimal]:
    """Prices of one modality; cached and written tokens where they differ from input."""
    usd: dict[str, Decimal] = {}
    for kind in KINDS:
        rate = tier.rates.get((kind, modality))
        if rate is not None and (kind in _ENDS or rate != tier.rates.get(("input", modality))):
            usd[kind] = EXACT.scaleb(rate, 6)
    return usd


def rule(entry: Entry, at: float) -> list[str]:
    """Explain in sentences how an entry bills, with the prices at a Unix time.

    Before the first price, those that will come are told.
    """
    if entry.free:
        return [f"Nobody bills it ({entry.free}): its usage costs nothing, and is not unpriced."]
    first, *others = entry.tariffs
    said = [*_tariff_rule(entry, first, at)]
    for tariff in others:
        said.append(
            f"A request that reports no {_BILLED[first.basis]} is billed by"
            f" {_BILLED[tariff.basis]}."
        )
        said += _tariff_rule(entry, tariff, at)
    bases = " and no ".join(_BILLED[tariff.basis] for tariff in entry.tariffs)
    if first.basis == "session_time":
        said.append("A report of tokens alone costs nothing.")
    else:
        said.append(f"A request that reports usage, but no {bases}, has no price.")
    return said + _dated(entry, at)


def _tariff_rule(entry: Entry, tariff: Tariff, at: float) -> list[str]:
    charges = (tariff.block_at(at) or tariff.blocks[-1]).charges_at(at)
    if tariff.basis == "tokens":
        return _token_rule(charges.tiers)
    said = [f"{_BILLED[tariff.basis].capitalize()} are billed, and nothing else that is reported."]
    if tariff.basis == "characters":
        said.append("Characters are Unicode code points, blanks and punctuation included.")
    if tariff.basis == "audio_time" and entry.min_seconds:
        least = amount(entry.min_seconds)
        said.append(f"A request that is no stream is billed for at least {least} seconds.")
    if tariff.basis == "call_time" and entry.round_up_seconds:
        said.append(f"A leg is rounded up once to whole steps of {entry.round_up_seconds} seconds.")
    return said


def _token_rule(tiers: Sequence[Tier]) -> list[str]:
    *higher, base = tiers
    said = []
    cached, written = (_own_price(base, kind) for kind in ("cached_input", "cache_write"))
    if cached:
        said.append(f"Cached tokens are inside of the prompt, not beside it, and cost {cached}.")
    else:
        said.append("Cached tokens cost what other input costs.")
    if written:
        said.append(f"Tokens written to the cache are inside of the prompt and cost {written}.")
    else:
        said.append("Tokens written to the cache cost what other input costs.")
    said.append("Output includes thinking tokens.")
    said.extend(
        f"A request above {tier.over:,} input tokens, cached ones included, is priced at the"
        " higher tier as a whole."
        for tier in reversed(higher)
    )
    return [*said, *_modality_rule(base)]


def _own_price(tier: Tier, kind: Kind) -> str:
    """Price of cached or written tokens in words, empty where they cost what input costs."""
    rates = {m: tier.rates[kind, m] for m in MODALITIES if (kind, m) in tier.rates}
    if all(rate == tier.rates.get(("input", modality)) for modality, rate in rates.items()):
        return ""
    prices = {modality: amount(EXACT.scaleb(rate, 6)) for modality, rate in rates.items()}
    if len(set(prices.values())) == 1:
        return f"{prices['text']} per 1M"
    return f"{', '.join(f'{usd} ({modality})' for modality, usd in prices.items())} per 1M"


def _modality_rule(tier: Tier) -> list[str]:
    if len({tuple(_listed(tier, modality).items()) for modality in MODALITIES}) == 1:
        return ["Text, audio and images cost the same."]
    missing = []
    for modality in MODALITIES:
        kinds = [kind for kind in _ENDS if (kind, modality) not in tier.rates]
        whole = len(kinds) == len(_ENDS)
        missing += [f"{modality} tokens"] if whole else [f"{modality} {kind}" for kind in kinds]
    said = ["Text, audio and images have prices of their own."]
    if missing:
        said.append(f"A request with {' or '.join(missing)} has no price.")
    return said


def _dated(entry: Entry, at: float) -> list[str]:
    said = []
    blocks = [block for tariff in entry.tariffs for block in tariff.blocks]
    if any(block.windows for block in blocks):
        said.append("Some hours of the day (UTC) have prices of their own.")
    coming = sorted({str(block.valid_from) for block in blocks if block.starts_at > at})
    if coming:
        said.append(f"Other prices hold from {' and '.join(coming)} on (UTC).")
    first = entry.tariffs[0].blocks[-1].valid_from
    if first is not None:
        said.append(f"What happened before {first} has no price.")
    return said


def example(entry: Entry, at: float) -> Example:
    """Price a plausible request at a Unix time, by the code that prices calls."""
    said, usage, request_seconds = _plausible(entry, at)
    # A catalogue of this entry alone, found whatever it matches.
    default: dict[Stage, str] = {entry.stage: entry.id}
    alone = Catalogue("", [Provider(entry.provider, defaults=default)], [entry])
    quote = pricing.price(
        alone, stage=entry.stage, provider=entry.provider, model=UNKNOWN, label="",
        usage=usage, at=at, streamed=False, connection=False, request_seconds=request_seconds,
    )  # fmt: skip
    return Example(said, quote)


def _plausible(entry: Entry, at: float) -> tuple[str, Usage, float | None]:
    """A request in words and in numbers, and its length where that is billed."""
    if not entry.tariffs:
        return "a request", Usage(input_tokens=1000, output_tokens=200), None
    basis = entry.tariffs[0].basis
    if basis == "tokens":
        return *_plausible_tokens(entry, at), None
    if basis == "audio_time" and entry.min_seconds:
        short = float(entry.min_seconds) / 2
        return f"a request with {short:g} seconds of audio", Usage(audio_seconds=short), None
    return _PLAUSIBLE[basis]


def _plausible_tokens(entry: Entry, at: float) -> tuple[str, Usage]:
    """1,000 tokens of prompt and 200 of output, with audio in them where it has a price."""
    tariff = entry.tariffs[0]
    rates = (tariff.block_at(at) or tariff.blocks[-1]).charges_at(at).tiers[-1].rates
    # Speech is not cached, and neither is the text that becomes speech.
    cached = 0 if entry.stage in ("stt", "tts") else 400
    heard = 600 if _own_audio(rates, "input") else 0
    spoken = 150 if _own_audio(rates, "output") else 0
    said = (
        f"1,000 prompt tokens{_of_them([(heard, 'audio'), (cached, 'cached')])},"
        f" and 200 output tokens{_of_them([(spoken, 'audio')])}"
    )
    return said, Usage(
        input_tokens=1000,
        cached_input_tokens=cached,
        input_audio_tokens=heard,
        output_tokens=200,
        output_audio_tokens=spoken,
    )


def _own_audio(rates: Mapping[Bucket, Decimal], kind: Kind) -> bool:
    return rates.get((kind, "audio")) not in (None, rates.get((kind, "text")))


def _of_them(parts: Iterable[tuple[int, str]]) -> str:
    said = " and ".join(f"{tokens} {what}" for tokens, what in parts if tokens)
    return f" ({said})" if said else ""


def calculation(quote: Quote) -> list[str]:
    """Every part of a quote as quantity, price and cost, in the unit of the vendor's page."""
    source = quote.source
    said = []
    for part in quote.parts:
        usd, per = amount(EXACT.scaleb(part.unit_price, 6)), "1M"
        if source is not None and source.charges.rate is not None:
            line = _rate(source.charges.rate, source.basis)
            usd, per = str(line), line.per
        used = counted(f"{part.quantity.normalize(EXACT):,f}", part.unit)
        said.append(f"{used} x {usd} per {per} = {_cost(part.cost)}")
    return said


def counted(quantity: str, unit: str) -> str:
    """A quantity with its unit in words, as `180 characters`."""
    return f"{quantity} {unit.replace('_', ' ')}{'' if quantity == '1' else 's'}"


def total(quote: Quote) -> str:
    """The cost in US dollars, or why there is none."""
    if quote.status == "unpriced":
        return f"no price: {pricing.WHY[quote.why]}"
    return f"{_cost(quote.cost)} USD"


def _cost(cost: Decimal) -> str:
    return amount(cost.normalize(EXACT))
