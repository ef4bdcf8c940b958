"""The dated prices of an entry: one billing basis, its blocks, its context tiers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from livekit_exporter.prices.compiled import (
    CompiledBlock,
    CompiledCharges,
    CompiledTariff,
    CompiledTier,
    CompiledWindow,
    PerMillion,
)
from livekit_exporter.prices.entries import second_of_day
from livekit_exporter.prices.files.located import Located, Table
from livekit_exporter.prices.files.page import WHY_REQUIRED, Page, remedy
from livekit_exporter.prices.units import BASES, EXACT, KINDS, Basis, Kind

BLOCK_KEYS: Final = ("valid_from", "source", "checked", "confidence", "time_of_day")
WINDOW_KEYS: Final = ("from", "until")
SECTION_KEYS: Final = ("per_1m", "audio_per_1m", "image_per_1m")
TIER_KEYS: Final = ("over", *SECTION_KEYS)
_TOKEN_KEYS: Final = (*SECTION_KEYS, "above_input_tokens")

_TIME_PER: Final = {"per_second": 1, "per_minute": 60, "per_hour": 3600}
_PER: Final[Mapping[Basis, Mapping[str, int]]] = {
    "tokens": {},
    "audio_time": _TIME_PER,
    "session_time": _TIME_PER,
    "call_time": _TIME_PER,
    "request_time": _TIME_PER,
    "characters": {"per_1k_chars": 1000, "per_1m_chars": 1_000_000},
}
_CREDITS: Final[Mapping[Basis, str]] = {
    "audio_time": "credits_per_second",
    "session_time": "credits_per_second",
    "call_time": "credits_per_second",
    "request_time": "credits_per_second",
    "characters": "credits_per_char",
}


@dataclass(frozen=True, slots=True)
class Credits:
    """Price of a provider's credits in USD per million, with its provenance."""

    usd_per_1m: Decimal
    source: str
    checked: str


def tariff(table: Table, page: Page, price: Credits | None) -> CompiledTariff | None:
    """Read `basis` and `prices` of an entry or of its fallback.

    Args:
        table: Where they stand.
        page: Where mistakes are noted.
        price: Price of the provider's credits, where it has one.
    """
    basis: Basis | None = page.required(table, "basis", page.basis)
    nodes = page.required(table, "prices", page.items)
    if basis is None or nodes is None:
        return None
    if not nodes:
        page.wrong(table.lines["prices"], f"'prices'{WHY_REQUIRED['prices']}")
    blocks: list[CompiledBlock] = []
    last = ""
    for number, node in enumerate(nodes):
        block = _block(node, basis, page, price)
        if block is None:
            continue
        start = block.get("valid_from", "")
        if number and not start:
            page.wrong(node.line, "'valid_from' is missing; only the first block may do without")
        elif number and start <= last:
            page.wrong(
                node.line,
                f"'valid_from' {start} does not come after {last or 'the block before'};"
                " order the blocks by date, oldest first",
            )
        last = start or last
        blocks.append(block)
    return {"basis": basis, "prices": blocks}


def _block(node: Located, basis: Basis, page: Page, price: Credits | None) -> CompiledBlock | None:
    table = page.table(node, "a block of prices")
    if table is None:
        return None
    _keys(table, (*BLOCK_KEYS, *price_keys(basis)), basis, page)
    source = page.required(table, "source", page.text)
    checked = page.required(table, "checked", page.day)
    block: CompiledBlock = {"source": source or "", "checked": checked or ""}
    if "valid_from" in table.values:
        start = page.day(table.values["valid_from"], "'valid_from'")
        if start is not None:
            block["valid_from"] = start
    if "confidence" in table.values:
        confidence = page.confidence(table.values["confidence"], "'confidence'")
        if confidence is not None:
            block["confidence"] = confidence
    charges = _charges(table, basis, page, price)
    if "tiers" in charges:
        block["tiers"] = charges["tiers"]
    if "usd" in charges:
        block["usd"], block["per"] = charges["usd"], charges["per"]
    windows = _windows(table, charges, basis, page, price)
    if windows:
        block["time_of_day"] = windows
    if price is not None and any(key in table.values for key in _CREDITS.values()):
        block["source"] = f"{block['source']}; {price.source}"
        block["checked"] = min(block["checked"], price.checked)
    return block


def _charges(table: Table, basis: Basis, page: Page, price: Credits | None) -> CompiledCharges:
    if basis == "tokens":
        return {"tiers": _tiers(table, page)}
    return _rate(table, basis, page, price)


def _windows(
    table: Table, base: CompiledCharges, basis: Basis, page: Page, price: Credits | None
) -> list[CompiledWindow]:
    """Read the hours of the day that have prices of their own; they may reach over midnight."""
    windows: list[CompiledWindow] = []
    if "time_of_day" not in table.values:
        return windows
    taken: list[tuple[int, int]] = []
    for node in page.items(table.values["time_of_day"], "'time_of_day'") or ():
        hours = page.table(node, "hours of a day")
        if hours is None:
            continue
        _keys(hours, (*WINDOW_KEYS, *price_keys(basis)), basis, page)
        start = page.required(hours, "from", page.time_of_day)
        end = page.required(hours, "until", page.time_of_day)
        charges = _charges(hours, basis, page, price)
        if start is None or end is None:
            continue
        first, last = second_of_day(start), second_of_day(end)
        if first == last:
            page.wrong(hours.line, f"hours from {start} until {end} are none, or the whole day")
            continue
        spans = [(first, last)] if first < last else [(first, 86400), (0, last)]
        if any(begin < other_end and other < stop for begin, stop in spans
               for other, other_end in taken):  # fmt: skip
            page.wrong(hours.line, f"hours from {start} until {end} overlap with those before")
        taken += spans
        _same_prices(base, charges, f"hours from {start} until {end}", hours, page)
        windows.append({"from": start, "until": end, **charges})
    return windows


def _same_prices(
    base: CompiledCharges, charges: CompiledCharges, what: str, table: Table, page: Page
) -> None:
    for tier, other in zip(base.get("tiers", []), charges.get("tiers", []), strict=False):
        for section, missing in _missing(tier, other):
            page.wrong(table.line, f"{what} lack '{missing}' of '{section}', which the block has")


def _keys(table: Table, known: tuple[str, ...], basis: Basis, page: Page) -> None:
    """Name the basis that a misplaced price belongs to, which says more than 'not known'."""
    for key in table.values:
        if key in known:
            continue
        owner = next((other for other in BASES if key in price_keys(other)), None)
        if owner is not None:
            page.wrong(
                table.lines[key],
                f"'{key}' is a price for '{owner}', but the basis is '{basis}';"
                f" an entry bills one basis, use {' or '.join(price_keys(basis))}",
            )
        else:
            page.wrong(table.lines[key], f"key '{key}' is not known; {remedy(key, known)}")


def price_keys(basis: Basis) -> tuple[str, ...]:
    """Keys that a price of this basis may be written with."""
    if basis == "tokens":
        return _TOKEN_KEYS
    return (*_PER[basis], _CREDITS[basis])


def _rate(table: Table, basis: Basis, page: Page, price: Credits | None) -> CompiledCharges:
    given = [key for key in price_keys(basis) if key in table.values]
    if len(given) != 1:
        said = f"{' and '.join(given)} are given" if given else "there is no price"
        page.wrong(
            table.lines[given[1]] if given else table.line,
            f"{said}; give exactly one of {', '.join(price_keys(basis))}",
        )
        return {}
    key = given[0]
    amount = page.amount(table.values[key], f"'{key}'")
    if amount is None:
        return {}
    if key in _PER[basis]:
        return {"usd": amount, "per": _PER[basis][key]}
    if price is None:
        page.wrong(
            table.lines[key],
            f"'{key}' needs a price for credits; give the provider 'usd_per_1m_credits'",
        )
        return {}
    usd = EXACT.multiply(Decimal(amount), price.usd_per_1m)
    return {"usd": f"{usd:f}", "per": 1_000_000}


def _tiers(table: Table, page: Page) -> list[CompiledTier]:
    base = _tier(table, page)
    tiers = [base]
    if "above_input_tokens" not in table.values:
        return tiers
    last = 0
    for node in page.items(table.values["above_input_tokens"], "'above_input_tokens'") or ():
        above = page.table(node, "a tier")
        if above is None:
            continue
        page.known_keys(above, TIER_KEYS)
        over = page.required(above, "over", page.count)
        tier = _tier(above, page)
        if over is None:
            continue
        if over <= last:
            page.wrong(above.lines["over"], f"tier over {over} does not come after {last}")
        last = over
        for section, missing in _missing(base, tier):
            page.wrong(
                above.line,
                f"tier over {over} lacks '{missing}' of '{section}', which the base has",
            )
        tier["over"] = over
        tiers.append(tier)
    return tiers


def _missing(base: CompiledTier, tier: CompiledTier) -> Iterable[tuple[str, str]]:
    pairs: tuple[tuple[str, PerMillion, PerMillion], ...] = (
        ("per_1m", base["per_1m"], tier["per_1m"]),
        ("audio_per_1m", base.get("audio_per_1m", {}), tier.get("audio_per_1m", {})),
        ("image_per_1m", base.get("image_per_1m", {}), tier.get("image_per_1m", {})),
    )
    for section, listed, repeated in pairs:
        for kind in listed:
            if kind not in repeated:
                yield section, kind


def _tier(table: Table, page: Page) -> CompiledTier:
    tier: CompiledTier = {"per_1m": _section(table, "per_1m", page)}
    node = table.values.get("per_1m")
    if node is None:
        page.wrong(table.line, f"'per_1m' is missing{WHY_REQUIRED['per_1m']}")
    elif isinstance(node, Table):
        for kind in ("input", "output"):
            if kind not in node.values:
                page.wrong(node.line, f"'per_1m' lacks '{kind}'; write 0 where it is free")
    audio = _section(table, "audio_per_1m", page)
    image = _section(table, "image_per_1m", page)
    if audio:
        tier["audio_per_1m"] = audio
    if image:
        tier["image_per_1m"] = image
    return tier


def _section(table: Table, key: str, page: Page) -> PerMillion:
    if key not in table.values:
        return {}
    section = page.table(table.values[key], f"'{key}'")
    if section is None:
        return {}
    page.known_keys(section, KINDS)
    prices: PerMillion = {}
    for kind in KINDS:
        if kind in section.values:
            amount = page.amount(section.values[kind], f"'{kind}' of '{key}'")
            if amount is not None:
                prices[kind] = amount
    _cache_price(section, prices, page)
    return prices


def _cache_price(section: Table, prices: PerMillion, page: Page) -> None:
    cached: Kind = "cached_input"
    if (
        cached in prices
        and "input" in prices
        and Decimal(prices[cached]) > Decimal(prices["input"])
    ):
        page.wrong(
            section.lines[cached],
            f"'cached_input' {prices[cached]} is above 'input' {prices['input']};"
            " are the two swapped?",
        )
