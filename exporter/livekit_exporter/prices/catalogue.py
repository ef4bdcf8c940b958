"""The price catalogue in memory: who is billed for an event, and which entry prices it.

`load` reads `compiled.json`, which is made from the YAML in `catalogue/`; YAML is
never parsed here, because this module also runs in the process that carries a call.

A price is found by declaration only: provider, then exact model, then a declared
dated snapshot, then a declared prefix, longest first, then the entry a provider
declares for models that a plugin does not name.  There is no near match: a model
that nobody declared has no price.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

from livekit_exporter.prices import entries
from livekit_exporter.prices.compiled import FILE_NAME, CompiledCatalogue
from livekit_exporter.prices.entries import Entry, Leg, Provider
from livekit_exporter.prices.units import BASIS_UNIT, TOKEN_UNIT

UNKNOWN: Final = "unknown"
"""What plugins report that do not name their provider or model."""

DATE_MARK: Final = "<date>"
"""Stands for the date of a snapshot, `2026-10-21` or `20261021`, in a declared model."""

_DATE: Final = re.compile(
    r"20[0-9]{2}(?:-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    r"|(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01]))"
)

# Credentials before the host, a port behind it.
_LOCATION: Final = re.compile(r"(?:.*@)?(?P<host>\[[0-9a-f:.]+\]|[^\s:@/]+)(?::[0-9]+)?")

# Model names come from outside; what was looked up is remembered up to here.
_REMEMBERED: Final = 4096


@dataclass(frozen=True, slots=True)
class PricesInForce:
    """Prices of an entry at one time."""

    rates: Mapping[str, Decimal]
    """USD by unit (`input_token`, `audio_second`, `character`, ...), base tier for tokens."""
    checked: date
    """When the least recently checked of them was checked."""


@dataclass(slots=True)
class _Shelf:
    """The entries of one provider and stage, by the ways a model may be declared."""

    exact: dict[str, Entry] = field(default_factory=dict)
    dated: list[tuple[str, str, Entry]] = field(default_factory=list)
    prefixes: list[tuple[str, Entry]] = field(default_factory=list)
    default: Entry | None = None

    def add(self, entry: Entry) -> None:
        for pattern in entry.match:
            if DATE_MARK in pattern:
                before, _, after = pattern.partition(DATE_MARK)
                self.dated.append((before, after, entry))
                self.dated.sort(key=lambda dated: -len(dated[0]))
            elif pattern.endswith("*"):
                self.prefixes.append((pattern[:-1], entry))
                self.prefixes.sort(key=lambda prefix: -len(prefix[0]))
            else:
                self.exact[pattern] = entry

    def find(self, model: str) -> Entry | None:
        entry = self.exact.get(model)
        if entry is not None:
            return entry
        for before, after, dated in self.dated:
            if (
                model.startswith(before)
                and model.endswith(after)
                and _DATE.fullmatch(model[len(before) : len(model) - len(after)])
            ):
                return dated
        for prefix, entry in self.prefixes:
            if len(model) > len(prefix) and model.startswith(prefix):
                return entry
        return self.default if model.strip().lower() in ("", UNKNOWN) else None


class Catalogue:
    """Prices by provider, stage and model.

    Lookups are remembered, so one catalogue should serve a whole process; it may be
    shared between threads.

    Args:
        version: Which prices these are, for people and for the ledger.
        providers: Every provider that entries belong to, and others that have no price.
        entries: Ids and, per provider and stage, declared models are unique.
        legs: Platform prices that calls have, as (entry id, condition).
    """

    __slots__ = ("_by_host", "_by_label", "_by_name", "_found", "_shelves", "_wildcards",
                 "entries", "legs", "providers", "version")  # fmt: skip

    def __init__(
        self,
        version: str,
        providers: Iterable[Provider],
        entries: Iterable[Entry],
        legs: Iterable[tuple[str, Mapping[str, str]]] = (),
    ) -> None:
        self.version = version
        self.providers = {provider.id: provider for provider in providers}
        self.entries = {entry.id: entry for entry in entries}
        self.legs = tuple(Leg(self.entries[price], when) for price, when in legs)
        self._by_name: dict[str, str] = {}
        self._by_host: dict[str, str] = {}
        self._wildcards: list[tuple[str, str]] = []
        self._by_label: list[tuple[str, str]] = []
        self._shelves: dict[tuple[str, str], _Shelf] = {}
        self._found: dict[tuple[str, str, str, str], Entry | None] = {}
        for entry in self.entries.values():
            self._shelves.setdefault((entry.provider, entry.stage), _Shelf()).add(entry)
        for provider in self.providers.values():
            self._index(provider)
        self._wildcards.sort(key=lambda wildcard: -len(wildcard[0]))
        self._by_label.sort(key=lambda label: -len(label[0]))

    def _index(self, provider: Provider) -> None:
        for name in (provider.id, *provider.names):
            self._by_name[name.lower()] = provider.id
        for host in provider.hosts:
            if host.startswith("*"):
                self._wildcards.append((host[1:], provider.id))
            else:
                self._by_host[host] = provider.id
        self._by_label.extend((label, provider.id) for label in provider.labels)
        for stage, entry in provider.defaults.items():
            self._shelves[provider.id, stage].default = self.entries[entry]

    def provider(self, provider: str, label: str = "") -> str:
        """Canonical id of a provider, fit for a metric label.

        Args:
            provider: A host, with or without port, or a display name, as a plugin reports it.
            label: Class path of the plugin, for plugins that do not name their provider.

        Returns:
            The declared id; for a provider that nobody declared its name in lower case
            without port, credentials or unprintable characters; `unknown` where nothing
            is known.  A customer's host below a declared wildcard is not in it.
        """
        name = " ".join("".join(c if c.isprintable() else " " for c in provider).lower().split())
        known = self._by_name.get(name)
        if known is not None:
            return known
        host = _host(name)
        known = self._by_host.get(host)
        if known is not None:
            return known
        for suffix, owner in self._wildcards:
            if host.endswith(suffix):
                return owner
        if host in ("", UNKNOWN):
            return self._labelled(label)
        return host

    def _labelled(self, label: str) -> str:
        for declared, owner in self._by_label:
            if label == declared or (declared.endswith("*") and label.startswith(declared[:-1])):
                return owner
        return UNKNOWN

    def find(self, stage: str, provider: str, model: str, label: str = "") -> Entry | None:
        """Entry that prices a model, `None` where none was declared for it.

        Args:
            stage: Stage of the event.
            provider: As the plugin reports it.
            model: As the plugin reports it; compared exactly.
            label: Class path of the plugin.
        """
        key = (stage, provider, model, label)
        try:
            return self._found[key]
        except KeyError:
            pass
        shelf = self._shelves.get((self.provider(provider, label), stage))
        entry = shelf.find(model) if shelf is not None else None
        if len(self._found) >= _REMEMBERED:
            self._found.clear()
        self._found[key] = entry
        return entry

    def prices_of(self, entry: Entry, at: float) -> PricesInForce | None:
        """Look up the prices of an entry at a Unix time, `None` before its first known price."""
        rates: dict[str, Decimal] = {}
        checked: list[date] = []
        for tariff in entry.tariffs:
            block = tariff.block_at(at)
            if block is None:
                continue
            checked.append(block.checked)
            charges = block.charges_at(at)
            if charges.rate is not None:
                rates[BASIS_UNIT[tariff.basis]] = charges.rate.unit_price
            elif charges.tiers:
                base = charges.tiers[-1].rates
                rates |= {TOKEN_UNIT[bucket]: usd for bucket, usd in base.items()}
        return PricesInForce(rates, min(checked)) if checked else None


def _host(name: str) -> str:
    """Host of a network location; anything else is returned as it is."""
    location = _LOCATION.fullmatch(name)
    return location["host"] if location is not None else name


def from_compiled(compiled: CompiledCatalogue) -> Catalogue:
    """Build a catalogue from its compiled form, which `schema` has checked."""
    return Catalogue(
        version=compiled["version"],
        providers=(entries.provider(*named) for named in compiled["providers"].items()),
        entries=map(entries.entry, compiled["entries"]),
        legs=((leg["price"], leg["when"]) for leg in compiled.get("legs", ())),
    )


def read(path: Path) -> Catalogue:
    """The catalogue in a compiled file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no JSON.
    """
    compiled: CompiledCatalogue = json.loads(path.read_bytes())
    return from_compiled(compiled)


@cache
def load() -> Catalogue:
    """The catalogue that ships with this package; read once per process.

    Raises:
        OSError: The package is damaged, `compiled.json` cannot be read.
        ValueError: It is no JSON.
    """
    text = resources.files(__package__).joinpath(FILE_NAME).read_bytes()
    compiled: CompiledCatalogue = json.loads(text)
    return from_compiled(compiled)
