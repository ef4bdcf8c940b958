"""Surveys the ledger for usage without a price, beside a sidecar that goes on writing."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from livekit_exporter.ledger import schema
from livekit_exporter.ledger.backends.locate import reading
from livekit_exporter.ledger.expressions import REQUESTS
from livekit_exporter.ledger.read import USAGE
from livekit_exporter.ledger.reprice.call import quote
from livekit_exporter.ledger.rows import QUANTITIES, UsageRow, usage_row
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.prices.explain.listing import Wanted
from livekit_exporter.prices.explain.unpriced import Unpriced
from livekit_exporter.prices.pricing import Why
from livekit_exporter.record import Model, Usage, at_least_one


class Survey(NamedTuple):
    """Unpriced usage of the ledger under one catalogue."""

    unpriced: list[Unpriced]
    """The most used first."""
    settled: int
    """Rows that have a price now, or need none."""


class _Seen(NamedTuple):
    """Sums of the usage of one model, as the plugin names it, that has no price."""

    model: Model
    requests: int
    since: float
    last: float
    usage: Usage


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
    with reading(ledger) as connection:
        for seen in _models(connection):
            model = seen.model
            provider = catalogue.provider(model.provider, model.label)
            if not wanted.has(provider, model.stage, (model.model,)):
                continue
            if catalogue.find(model.stage, model.provider, model.model, model.label) is None:
                group = _group(found, model, provider, "no_entry", seen.since)
                group.add(seen.usage, seen.requests, seen.since, seen.last)
                continue
            for row in _rows(connection, model):
                now = quote(row, catalogue)
                if now.status == "unpriced":
                    group = _group(found, model, provider, now.why, row.at)
                    group.add(row.usage, at_least_one(row.requests), row.at, row.at)
                else:
                    settled += 1
    return Survey(sorted(found.values(), key=lambda group: -group.requests), settled)


def _models(connection: Connection) -> list[_Seen]:
    """Sum up usage without a price by model."""
    rows = schema.usage.c
    key = (rows.stage, rows.reported_provider, rows.model, rows.label)
    times = (func.min(rows.at), func.max(rows.at))
    quantities = (func.sum(rows[name]) for name in QUANTITIES)
    query = (
        select(*key, func.sum(REQUESTS), *times, *quantities)
        .where(rows.status == "unpriced")
        .group_by(*key)
    )
    return [
        _Seen(
            Model(stage=stage, provider=provider, model=model, label=label),
            requests, since, last, Usage(**dict(zip(QUANTITIES, sums, strict=True))),
        )
        for stage, provider, model, label, requests, since, last, *sums in connection.execute(query)
    ]  # fmt: skip


def _rows(connection: Connection, model: Model) -> Iterator[UsageRow]:
    """Stream the rows of a model without a price."""
    rows = schema.usage.c
    query = select(*USAGE).where(
        rows.status == "unpriced",
        rows.stage == model.stage,
        rows.reported_provider == model.provider,
        rows.model == model.model,
        rows.label == model.label,
    )
    streamed = connection.execute(query, execution_options={"yield_per": 1000})
    return map(usage_row, streamed)


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
