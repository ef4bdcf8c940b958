"""Reads usage without a price, beside a sidecar that goes on writing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import func, select

from livekit_exporter.ledger import schema
from livekit_exporter.ledger.backends.locate import reading
from livekit_exporter.ledger.expressions import REQUESTS
from livekit_exporter.ledger.rows import QUANTITIES
from livekit_exporter.record import Model, Usage, UsageReported

_STREAMED: Final = {"yield_per": 1000}


class Seen(NamedTuple):
    """All usage of one model that has no price."""

    model: Model
    """As the plugin reports it."""
    requests: int
    since: float
    """Unix time of the first of it."""
    last: float
    usage: Usage
    """Sums."""


def models(where: Path | str) -> list[Seen]:
    """Sum up usage without a price by model.

    Raises:
        LedgerError: It is missing, or cannot be read.
    """
    rows = schema.usage.c
    named = (rows.stage, rows.reported_provider, rows.model, rows.label)
    query = (
        select(
            *named,
            func.sum(REQUESTS),
            func.min(rows.at),
            func.max(rows.at),
            *(func.sum(rows[name]) for name in QUANTITIES),
        )
        .where(rows.status == "unpriced")
        .group_by(*named)
    )
    with reading(where) as connection:
        return [
            Seen(
                Model(stage=stage, provider=provider, model=model, label=label),
                requests, since, last, Usage(**dict(zip(QUANTITIES, sums, strict=True))),
            )
            for stage, provider, model, label, requests, since, last, *sums in connection.execute(
                query
            )
        ]  # fmt: skip


def reports(where: Path | str, model: Model) -> Iterator[UsageReported]:
    """Stream reports of a model's usage without a price, as the agent wrote them.

    Raises:
        LedgerError: It is missing, or cannot be read.
    """
    rows = schema.usage.c
    query = select(
        rows.session, rows.at, rows.requests, rows.streamed, rows.connection, rows.request_seconds,
        *(rows[name] for name in QUANTITIES),
    ).where(
        rows.status == "unpriced",
        rows.stage == model.stage,
        rows.reported_provider == model.provider,
        rows.model == model.model,
        rows.label == model.label,
    )  # fmt: skip
    with reading(where) as connection:
        rows_of_it = connection.execute(query, execution_options=_STREAMED)
        for session, at, requests, streamed, opened, seconds, *quantities in rows_of_it:
            yield UsageReported(
                session=session,
                at=at,
                stage=model.stage,
                provider=model.provider,
                model=model.model,
                label=model.label,
                requests=requests,
                streamed=streamed,
                connection=opened,
                request_seconds=seconds,
                usage=Usage(**dict(zip(QUANTITIES, quantities, strict=True))),
            )
