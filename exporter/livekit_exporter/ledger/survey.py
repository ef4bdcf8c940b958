"""Surveys the ledger for usage that has no price under the prices in force now."""

from pathlib import Path
from typing import NamedTuple

from livekit_exporter.ledger import unpriced
from livekit_exporter.prices import pricing
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.prices.explain.listing import Wanted
from livekit_exporter.prices.explain.unpriced import Unpriced
from livekit_exporter.prices.pricing import Why
from livekit_exporter.record import Model, at_least_one


class Survey(NamedTuple):
    """Unpriced usage of the ledger under one catalogue."""

    unpriced: list[Unpriced]
    """The most used first."""
    settled: int
    """Rows that have a price now, or need none."""


def survey(ledger: Path | str, catalogue: Catalogue, wanted: Wanted) -> Survey:
    """Sum up usage that has no price.

    Only models that have an entry by now are read row by row: the entry may bill some of
    what they report.

    Args:
        ledger: The ledger's file, or the URL of a PostgreSQL database.
        catalogue: Prices in force.
        wanted: Models to look at.

    Raises:
        LedgerError: It is missing, or cannot be read.
    """
    found: dict[tuple[str, ...], Unpriced] = {}
    settled = 0
    for seen in unpriced.models(ledger):
        model = seen.model
        provider = catalogue.provider(model.provider, model.label)
        if not wanted.has(provider, model.stage, (model.model,)):
            continue
        if catalogue.find(model.stage, model.provider, model.model, model.label) is None:
            group = _group(found, model, provider, "no_entry", seen.since)
            group.add(seen.usage, seen.requests, seen.since, seen.last)
            continue
        for record in unpriced.reports(ledger, model):
            quote = pricing.price_record(catalogue, record)
            if quote.status == "unpriced":
                group = _group(found, model, provider, quote.why, record.at)
                group.add(record.usage, at_least_one(record.requests), record.at, record.at)
            else:
                settled += 1
    return Survey(sorted(found.values(), key=lambda group: -group.requests), settled)


def _group(
    found: dict[tuple[str, ...], Unpriced], model: Model, provider: str, why: Why, at: float
) -> Unpriced:
    """Find the group of a model, or create it."""
    key = (model.stage, provider, model.model, model.label, why)
    if key not in found:
        found[key] = Unpriced(
            model.stage, provider, model.provider, model.model, model.label, why, at, at
        )
    return found[key]
