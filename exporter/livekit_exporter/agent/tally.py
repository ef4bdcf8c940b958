"""The running usage and cost of one call, for the agent itself.

The sidecar's figure is the one that counts; this one prices the same records with
the same catalogue, so the two agree.
"""

from contextlib import suppress
from dataclasses import fields
from decimal import Decimal

from livekit_exporter.agent.events import RawMessage
from livekit_exporter.agent.fields import UnreadableError
from livekit_exporter.agent.prices import Prices
from livekit_exporter.agent.raw_metrics import RawMetrics
from livekit_exporter.calls.turns import Conversation
from livekit_exporter.record import MessageAdded, Model, Record, Usage, UsageReported


def add(left: Usage, right: Usage) -> Usage:
    """Sum of two usages, quantity by quantity."""
    return Usage(
        **{
            spec.name: getattr(left, spec.name) + getattr(right, spec.name)
            for spec in fields(Usage)
        }
    )


class Tally:
    """Sums up the records of one session.  Used on the session's event loop only.

    Args:
        prices: Prices in force.
    """

    def __init__(self, prices: Prices) -> None:
        self._prices = prices
        self._conversation = Conversation()
        self._turns = 0
        self._heard: list[RawMetrics | RawMessage] = []
        self._reported: list[UsageReported] = []
        self._summed = 0
        self._usage: dict[Model, Usage] = {}
        self._priced = 0
        self._cost = Decimal(0)

    def take(self, record: Record | RawMetrics | RawMessage) -> None:
        """Remember what a record says of usage and turns; events are read when somebody asks."""
        if isinstance(record, (RawMetrics, RawMessage)):
            self._heard.append(record)
        elif isinstance(record, UsageReported):
            self._reported.append(record)
        elif isinstance(record, MessageAdded) and self._conversation.hear(record):
            self._turns += 1

    def _read(self) -> None:
        heard, self._heard = self._heard, []
        for event in heard:
            with suppress(UnreadableError):  # the journal counts it
                for record in event.records():
                    self.take(record)

    @property
    def turns(self) -> int:
        """Turns answered so far."""
        self._read()
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
        self._read()
        for record in self._reported[self._priced :]:
            self._cost += self._prices.quote(record).cost
        self._priced = len(self._reported)
        return self._cost
