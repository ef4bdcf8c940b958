"""The catalogue as Langfuse's model definitions, as far as Langfuse can say it.

Langfuse knows a model by its name alone and multiplies each kind of usage by one price.
What is billed by time, by the hour of the day or by the size of the request, and what
two providers sell under one name at two prices, is left out and named.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import cache
from typing import Final, NamedTuple

from livekit_exporter.prices.catalogue import DATE_MARK, Catalogue
from livekit_exporter.prices.entries import Block, Entry
from livekit_exporter.prices.units import Basis, Bucket

CHARACTERS: Final = "input"
"""Kind of usage that characters for a voice are."""

_UNITS: Final[Mapping[Basis, str]] = {"tokens": "TOKENS", "characters": "CHARACTERS"}
_NAMES: Final[Mapping[str, str]] = {
    "input": "input",
    "cached_input": "input_cached",
    "cache_write": "input_cache_creation",
    "output": "output",
}
_DATE: Final = (
    "20[0-9]{2}(?:-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01]))"
)
_SPECIAL: Final = re.compile(r"([.^$*+?()\[\]{}|\\])")


class LeftOut(NamedTuple):
    """An entry without a definition."""

    entry: str
    why: str


def usage_name(bucket: Bucket) -> str:
    """Kind of usage that the tokens of one price are; everything asked begins with `input`."""
    kind, modality = bucket
    name = _NAMES[kind]
    if modality == "text":
        return f"{name}_tokens" if kind == "cached_input" else name
    return f"{name}_{modality}_tokens"


def definitions(catalogue: Catalogue) -> tuple[list[dict[str, object]], list[LeftOut]]:
    """Bodies for `POST /api/public/models`, and what has none."""
    made: list[dict[str, object]] = []
    left: list[LeftOut] = []
    entries = sorted(catalogue.entries.values(), key=lambda entry: entry.id)
    for entry in entries:
        why = _why_not(entry) or _rival(entry, entries)
        if why:
            left.append(LeftOut(entry.id, why))
        else:
            made += _of(entry, [entry, *_twins(entry, entries)], entries)
    return made, left


def _why_not(entry: Entry) -> str:
    """Why Langfuse cannot bill like an entry; empty where it can."""
    if entry.free:
        return "nobody bills it"
    if len(entry.tariffs) > 1:
        return "billed by one of two units, whichever is reported"
    (tariff,) = entry.tariffs
    if tariff.basis not in _UNITS:
        return "billed by time"
    if any(block.windows for block in tariff.blocks):
        return "billed by the hour of the day"
    if any(len(block.charges.tiers) > 1 for block in tariff.blocks):
        return "billed by the size of the request"
    return "" if entry.match else "no model is named"


def _rival(entry: Entry, entries: Iterable[Entry]) -> str:
    """Why the name alone does not say who bills; empty where it does."""
    for other in entries:
        if other is entry or _shelf(other) == _shelf(entry) or not _overlap(entry, other):
            continue
        if _why_not(other) or prices_of(other) != prices_of(entry):
            return f"`{other.id}` has the same name and another price"
        if other.id < entry.id:
            return f"has the name and the price of `{other.id}`"
    return ""


def _twins(entry: Entry, entries: Iterable[Entry]) -> Iterator[Entry]:
    """Entries that are left out because this one has their name and their price."""
    for other in entries:
        if other.id > entry.id and _shelf(other) != _shelf(entry) and _overlap(entry, other):
            yield other


def _shelf(entry: Entry) -> tuple[str, str]:
    return entry.provider, entry.stage


def _samples(pattern: str) -> tuple[str, ...]:
    """Names that a declared model stands for."""
    if DATE_MARK in pattern:
        return tuple(pattern.replace(DATE_MARK, date) for date in ("2026-01-31", "20260131"))
    return (f"{pattern[:-1]}x",) if pattern.endswith("*") else (pattern,)


def _body(pattern: str) -> str:
    before, mark, after = pattern.partition(DATE_MARK)
    if mark:
        return _SPECIAL.sub(r"\\\1", before) + _DATE + _SPECIAL.sub(r"\\\1", after)
    if pattern.endswith("*"):
        return _SPECIAL.sub(r"\\\1", pattern[:-1]) + ".+"
    return _SPECIAL.sub(r"\\\1", pattern)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(_body(pattern))


def _stands_for(pattern: str, other: str) -> bool:
    return any(_compiled(pattern).fullmatch(name) for name in _samples(other))


def _overlap(entry: Entry, other: Entry) -> bool:
    return any(
        _stands_for(mine, theirs) or _stands_for(theirs, mine)
        for mine in entry.match
        for theirs in other.match
    )


def match_pattern(sold: Iterable[Entry], entries: Iterable[Entry]) -> str:
    """Regular expression of a model's names, and of no other model's.

    Args:
        sold: The entries that price it, one or more, alike.
        entries: All of them.
    """
    own = dict.fromkeys(pattern for entry in sold for pattern in entry.match)
    shelves = {_shelf(entry) for entry in sold}
    closer = sorted(
        {
            _body(theirs)
            for other in entries
            if _shelf(other) in shelves
            for theirs in other.match
            if theirs not in own
            and any(_stands_for(mine, theirs) and mine.endswith("*") for mine in own)
            # Of two beginnings the longer one is closer.
            and not any(_stands_for(theirs, mine) for mine in own)
        }
    )
    but = f"(?!(?:{'|'.join(closer)})$)" if closer else ""
    return f"^{but}(?:{'|'.join(map(_body, own))})$"


def _of(
    entry: Entry, sold: Iterable[Entry], entries: Iterable[Entry]
) -> Iterator[dict[str, object]]:
    (tariff,) = entry.tariffs
    pattern = match_pattern(list(sold), entries)
    for block in reversed(tariff.blocks):
        definition: dict[str, object] = {
            "modelName": entry.id,
            "matchPattern": pattern,
            "unit": _UNITS[tariff.basis],
            "pricingTiers": [
                {
                    "name": "Standard",
                    "isDefault": True,
                    "priority": 0,
                    "conditions": [],
                    "prices": {name: float(usd) for name, usd in _rates(block).items()},
                }
            ],
        }
        if block.valid_from is not None:
            definition["startDate"] = f"{block.valid_from}T00:00:00Z"
        yield definition


def _rates(block: Block) -> dict[str, Decimal]:
    """USD per unit, by kind of usage."""
    charges = block.charges
    if charges.rate is not None:
        return {CHARACTERS: charges.rate.unit_price}
    return {usage_name(bucket): usd for bucket, usd in charges.tiers[-1].rates.items()}


def prices_of(entry: Entry) -> object:
    """List the prices of an entry by basis and day, to be compared with another's."""
    return [
        (tariff.basis, [(block.starts_at, _rates(block)) for block in tariff.blocks])
        for tariff in entry.tariffs
    ]
