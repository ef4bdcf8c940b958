"""Which entries somebody asks for, and an entry as JSON."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Final, NamedTuple

from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.prices.entries import Block, Charges, Entry, Tariff
from livekit_exporter.prices.explain import words as explain
from livekit_exporter.prices.files.words import STAGES
from livekit_exporter.prices.units import Basis

# A longer name than any model has; comparing it would take minutes.
_LONGEST_NAME: Final = 200
_GUESSES: Final = 3


class Wanted(NamedTuple):
    """What somebody wants to see, `None` for everything."""

    provider: str | None = None
    """Canonical id."""
    stage: str | None = None
    model: str | None = None
    """Part of a name, without regard to case."""

    def has(self, provider: str, stage: str, names: Iterable[str]) -> bool:
        """Whether that is wanted which has these."""
        part = (self.model or "").lower()
        return (
            self.provider in (None, provider)
            and self.stage in (None, stage)
            and any(part in name.lower() for name in names)
        )


def ordered(entries: Iterable[Entry]) -> list[Entry]:
    """Entries in the order of a call's stages, then by id."""
    return sorted(entries, key=lambda entry: (STAGES.index(entry.stage), entry.id))


def chosen(catalogue: Catalogue, wanted: Wanted) -> list[Entry]:
    """The entries that somebody wants to see."""
    return ordered(
        entry
        for entry in catalogue.entries.values()
        if wanted.has(entry.provider, entry.stage, (entry.id, *entry.match))
    )


def named(catalogue: Catalogue, name: str) -> list[Entry]:
    """The entry of this id, else every entry that prices a model of this name."""
    entry = catalogue.entries.get(name)
    if entry is not None:
        return [entry]
    found = (
        catalogue.find(stage, provider, name)
        for provider in catalogue.providers
        for stage in STAGES
    )
    return ordered({entry.id: entry for entry in found if entry is not None}.values())


def meant(name: str, catalogue: Catalogue) -> str:
    """Up to three ids or models that somebody may have meant, in words; empty for none."""
    models = (model for entry in catalogue.entries.values() for model in entry.match)
    known = list(dict.fromkeys([*catalogue.entries, *models]))
    name = name.lower()[:_LONGEST_NAME]
    close = get_close_matches(name, known, n=_GUESSES)
    close = close or sorted((word for word in known if name in word.lower()), key=len)[:_GUESSES]
    *others, last = [f"'{word}'" for word in close] or [""]
    return f"{', '.join(others)} or {last}" if others else last


def described(entry: Entry, at: float) -> dict[str, object]:
    """Everything that an entry says and what it charges at a Unix time, ready for JSON."""
    blocks = [(tariff, tariff.block_at(at)) for tariff in entry.tariffs]
    return {
        "id": entry.id,
        "stage": entry.stage,
        "provider": entry.provider,
        "match": list(entry.match),
        "free": entry.free or None,
        "min_seconds_per_request": str(entry.min_seconds) if entry.min_seconds else None,
        "round_up_seconds": entry.round_up_seconds or None,
        "at": datetime.fromtimestamp(at, UTC).isoformat(),
        "in_force": [
            {
                "basis": tariff.basis,
                "fallback": tariff is not entry.tariffs[0],
                "valid_from": _day(block),
                "time_of_day": block.charges_at(at).hours or None,
                "prices": _prices(block.charges_at(at), tariff.basis),
                **_provenance(block),
            }
            for tariff, block in blocks
            if block is not None
        ],
        "tariffs": [
            {
                "basis": tariff.basis,
                "fallback": tariff is not entry.tariffs[0],
                "blocks": [_block(block, tariff, at) for block in reversed(tariff.blocks)],
            }
            for tariff in entry.tariffs
        ],
    }


def explained(entry: Entry, catalogue: Catalogue, at: float) -> dict[str, object]:
    """The same with its provider, its rule in words and an example."""
    provider = catalogue.providers[entry.provider]
    example = explain.example(entry, at)
    return {
        **described(entry, at),
        "hosts": list(provider.hosts),
        "names": list(provider.names),
        "labels": list(provider.labels),
        "default": entry.id in provider.defaults.values(),
        "rule": explain.rule(entry, at),
        "example": {
            "request": example.said,
            "calculation": explain.calculation(example.quote),
            "total": explain.total(example.quote),
        },
    }


def _block(block: Block, tariff: Tariff, at: float) -> Mapping[str, object]:
    return {
        "valid_from": _day(block),
        "when": explain.when(block, tariff, at),
        "prices": _prices(block.charges, tariff.basis),
        "time_of_day": [
            {"hours": window.charges.hours, "prices": _prices(window.charges, tariff.basis)}
            for window in block.windows
        ],
        **_provenance(block),
    }


def _day(block: Block) -> str | None:
    return block.valid_from.isoformat() if block.valid_from else None


def _provenance(block: Block) -> Mapping[str, object]:
    return {
        "source": block.source,
        "checked": block.checked.isoformat(),
        "confidence": block.confidence,
    }


def _prices(charges: Charges, basis: Basis) -> list[Mapping[str, object]]:
    return [
        {
            "usd": {kind: f"{usd:f}" for kind, usd in line.usd.items()},
            "per": line.per,
            "modality": line.modality or None,
            "above_input_tokens": line.over if line.over >= 0 else None,
        }
        for line in explain.lines(charges, basis)
    ]
