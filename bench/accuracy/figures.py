"""Figures of a call: billed by vendors, reported by LiveKit's events, estimated by the exporter."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

from sqlalchemy import func, select

from bench.accuracy.bills import Bill
from bench.accuracy.call import Held
from livekit_exporter.ledger.backends.locate import reading
from livekit_exporter.ledger.schema import usage
from livekit_exporter.prices import catalogue
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.sidecar.config.settings import Config
from livekit_exporter.sidecar.ingest import Ingest
from livekit_exporter.sidecar.registry import Registry

STAGES: Final = ("llm", "tts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """Requests, quantities and US dollars: billed, reported or estimated."""

    requests: int = 0
    usd: float = 0.0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    characters: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Billed, reported and estimated amounts of one stage of a call, or of all of it.

    Args:
        billed: What the vendors wrote down.
        reported: What the ledger has of LiveKit's events.
        estimated: What the ledger has besides.
    """

    billed: Amount
    reported: Amount
    estimated: Amount

    @property
    def reported_share(self) -> float:
        """Share of the bill that events report, in US dollars; 1 where nothing was billed."""
        return self.reported.usd / self.billed.usd if self.billed.usd else 1.0

    @property
    def error(self) -> float:
        """Excess of reported and estimated cost together over the bill, as a share of it."""
        if not self.billed.usd:
            return 0.0
        return (self.reported.usd + self.estimated.usd) / self.billed.usd - 1


def add(parts: Iterable[Figures]) -> Figures:
    """Add up several stages or calls."""
    parts = list(parts)
    return Figures(
        billed=_sum([part.billed for part in parts]),
        reported=_sum([part.reported for part in parts]),
        estimated=_sum([part.estimated for part in parts]),
    )


def read(held: Held, data_dir: Path) -> dict[str, Figures]:
    """Take a call's journal into the ledger and read its figures, by stage.

    Args:
        held: The call.
        data_dir: Where its journal is.

    Raises:
        RuntimeError: The journal could not be taken in.
    """
    prices = catalogue.load()
    config = Config(data_dir=data_dir)
    ingest = Ingest(config, prices, Registry(config.metrics.labels))
    try:
        if not ingest.attempt():
            raise RuntimeError(f"{data_dir}: {ingest.problem()}")
    finally:
        ingest.close()
    reported, estimated = (_ledger(config, held.session, source) for source in _SOURCES)
    return {
        stage: Figures(
            billed=billed(
                [bill for bill in held.books.bills if bill.product.stage == stage], prices
            ),
            reported=reported.get(stage, Amount()),
            estimated=estimated.get(stage, Amount()),
        )
        for stage in STAGES
    }


def billed(bills: Sequence[Bill], prices: Catalogue) -> Amount:
    """The sum of bills."""
    return Amount(
        requests=len(bills),
        usd=float(sum((bill.cost(prices) for bill in bills), Decimal(0))),
        **{name: sum(getattr(bill, name) for bill in bills) for name in _QUANTITIES},
    )


_SOURCES: Final = ("reported", "estimated")
_QUANTITIES: Final = ("input_tokens", "cached_input_tokens", "output_tokens", "characters")


def _sum(amounts: Sequence[Amount]) -> Amount:
    return Amount(
        requests=sum(amount.requests for amount in amounts),
        usd=sum(amount.usd for amount in amounts),
        **{name: sum(getattr(amount, name) for amount in amounts) for name in _QUANTITIES},
    )


def _ledger(config: Config, session: str, source: str) -> dict[str, Amount]:
    question = (
        select(
            usage.c.stage,
            func.sum(usage.c.requests),
            func.coalesce(func.sum(usage.c.cost_usd), 0.0),
            *(func.sum(usage.c[name]) for name in _QUANTITIES),
        )
        .where(usage.c.session == session, usage.c.source == source, usage.c.connection.is_(False))
        .group_by(usage.c.stage)
    )
    with reading(config.ledger.where(config.data_dir)) as connection:
        return {
            stage: Amount(
                requests=int(requests),
                usd=float(usd),
                **{name: int(sum_) for name, sum_ in zip(_QUANTITIES, sums, strict=True)},
            )
            for stage, requests, usd, *sums in connection.execute(question)
        }
