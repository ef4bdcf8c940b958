"""The running usage and cost of one call, for the agent itself.

The sidecar's figure is the one that counts; this one prices the same records with
the same catalogue, so the two agree.  Prices are loaded when somebody asks for the
cost, not before: a call that nobody asks pays nothing for them.
"""

from contextlib import suppress
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from livekit_exporter import data_directory
from livekit_exporter.agent.normalize import Heard, UnreadableError
from livekit_exporter.record import MessageAdded, Model, Record, Usage, UsageReported
from livekit_exporter.turns import Conversation

if TYPE_CHECKING:
    from livekit_exporter.prices.catalogue import Catalogue


def add(left: Usage, right: Usage) -> Usage:
    """Sum of two usages, quantity by quantity."""
    return Usage(
        **{
            spec.name: getattr(left, spec.name) + getattr(right, spec.name)
            for spec in fields(Usage)
        }
    )


def _prices(data_dir: Path | None) -> "Catalogue":
    """The sidecar's prices, or the shipped ones where it has no others."""
    from livekit_exporter.prices import catalogue

    if data_dir is not None:
        with suppress(OSError, ValueError, KeyError):
            return catalogue.read(data_directory.prices(data_dir))
    return catalogue.load()


class Tally:
    """Sums up the records of one session.  Used on the session's event loop only.

    Args:
        data_dir: The data directory, for prices that its sidecar left there.
    """

    def __init__(self, data_dir: Path | None = None) -> None:
        self._prices: Catalogue | None = None
        self._data_dir = data_dir
        self._conversation = Conversation()
        self._turns = 0
        self._heard: list[Heard] = []
        self._reported: list[UsageReported] = []
        self._summed = 0
        self._usage: dict[Model, Usage] = {}
        self._priced = 0
        self._cost = Decimal(0)

    def take(self, record: Record | Heard) -> None:
        """Remember what a record says of usage and turns; metrics are read when somebody asks."""
        if isinstance(record, Heard):
            self._heard.append(record)
        elif isinstance(record, UsageReported):
            self._reported.append(record)
        elif isinstance(record, MessageAdded) and self._conversation.hear(record):
            self._turns += 1

    def _read(self) -> None:
        heard, self._heard = self._heard, []
        for metrics in heard:
            with suppress(UnreadableError):  # the journal counts it
                for record in metrics.records():
                    self.take(record)

    @property
    def turns(self) -> int:
        """Turns answered so far."""
        return self._turns

    @property
    def usage(self) -> dict[Model, Usage]:
        """Usage so far, by model."""
        self._read()
        for record in self._reported[self._summed :]:
            model = Model(
                stage=record.stage,
                provider=record.provider,
                model=record.model,
                label=record.label,
            )
            self._usage[model] = add(self._usage.get(model, Usage()), record.usage)
        self._summed = len(self._reported)
        return dict(self._usage)

    @property
    def cost(self) -> Decimal:
        """Priced cost so far in US dollars; usage without a price is not in it."""
        # Here and not above: loading prices is for those who ask.
        from livekit_exporter.prices import pricing

        if self._prices is None:
            self._prices = _prices(self._data_dir)
        prices = self._prices
        self._read()
        for record in self._reported[self._priced :]:
            self._cost += pricing.price_record(prices, record).cost
        self._priced = len(self._reported)
        return self._cost
