"""The account of a running call: kept by the journal's writer, exact at once for the agent.

Everything that the job process says of usage and cost comes from here: the log, `Call`, budgets
and exported spans.  Each record is priced at most once, by whichever thread needs its cost
first, which is the writer as soon as anybody has asked for a cost.
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from copy import copy
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from livekit_exporter.agent.prices import Prices
from livekit_exporter.calls.account import Account, Billed, add, model_of, subtract
from livekit_exporter.record import (
    BudgetLookupFailed,
    MessageAdded,
    Model,
    Record,
    RequestTraced,
    SessionClosed,
    Usage,
    UsageEstimated,
    UsageMissing,
    UsageReported,
)

if TYPE_CHECKING:
    from livekit_exporter.prices.pricing import Quote

_LOSSES_KEPT: Final = 10_000
"""Lost records that may wait to be added up, as many as a journal's queue holds."""

_DERIVED: Final = (UsageEstimated, RequestTraced, UsageMissing, BudgetLookupFailed)
"""Records that the writer makes itself: nobody put them."""


class _Event(Protocol):
    """An event that is read after it was put."""

    def records(self) -> Sequence[Record]:
        """Read it; the same records each time."""
        ...


_Item: TypeAlias = "Record | _Event"


class LiveAccount:
    """Keeps the account of one call; the first `journal.Follower`, so that the others can read it.

    The writer takes records in, in order.  What was put and the writer has not reached yet is
    added where the agent asks, so that `Call.cost` is exact right after `Call.record`.

    Args:
        prices: Prices in force; they are read when the first cost is asked for.
    """

    def __init__(self, prices: Prices) -> None:
        self.prices = prices
        self.sums = Account()
        """What the writer has taken in.  Its followers read it on the writer's thread; other
        threads hold `lock`."""
        self.lock = threading.Lock()
        self._ahead: deque[_Item] = deque()
        self._quotes: dict[int, Quote] = {}
        """Quotes that were needed before the writer came, by the id of the item in `_ahead`."""
        self._costs_wanted = False
        self._record: Record | None = None
        self._quote: Quote | None = None
        self._legs_added = False
        self._lost: deque[_Item] = deque(maxlen=_LOSSES_KEPT)
        self._lost_usage: dict[Model, Usage] = {}
        self._unpriced_losses: list[UsageReported] = []
        self._lost_usd = Decimal(0)
        self._lost_usd_told = Decimal(0)

    def put(self, item: _Item) -> None:
        """Remember a record or an event until the writer comes to it.  Never waits."""
        self._ahead.append(item)

    def lose(self, item: _Item) -> None:
        """Take a record or an event that the journal does not write.

        It stays in `sums`, so that it counts for the budget.  It is in no ledger, so it is in
        neither `cost` nor `usage`.
        """
        self._lost.append(item)

    def newly_lost(self) -> Decimal:
        """Price what was lost since the last time, in US dollars."""
        with self.lock:
            self._price_losses()
            told, self._lost_usd_told = self._lost_usd_told, self._lost_usd
            return self._lost_usd - told

    def worth(self, records: Sequence[Record]) -> Decimal:
        """Price the usage in records, in US dollars."""
        reported = (record for record in records if isinstance(record, UsageReported))
        return sum((self.prices.quote(record).cost for record in reported), Decimal(0))

    def want_costs(self) -> None:
        """Price records as they come from now on; without it, when somebody asks for a cost."""
        self._costs_wanted = True

    def take(self, record: Record) -> None:
        """Take in the next record, on the writer's thread."""
        with self.lock:
            if self._costs_wanted:
                self._price_unquoted()
            quote = None if isinstance(record, _DERIVED) else self._reach(record)
            if quote is None and self._costs_wanted and isinstance(record, Billed):
                quote = self.prices.quote(record)
            self._record, self._quote = record, quote
            self.sums.take(record, quote)
            if isinstance(record, SessionClosed):
                # Spans are exported soon after.
                self._add_legs()

    def end(self) -> None:
        """Add what the call costs by its length, if it did not say that it closed."""
        with self.lock:
            self._add_legs()

    def quote(self, record: Billed) -> "Quote":
        """Give the quote of the record that followers are being told."""
        if record is not self._record:
            return self.prices.quote(record)
        if self._quote is None:
            with self.lock:
                self._price_unquoted()
        return self._quote or self.prices.quote(record)

    def legs(self, ended_at: float) -> "list[tuple[UsageReported, Quote]]":
        """Price the call by its length, as if it ended at a Unix time."""
        started = self.sums.started
        legs = [] if started is None else self.prices.legs(started, ended_at)
        return [(leg, self.prices.quote(leg)) for leg in legs]

    @property
    def turns(self) -> int:
        """Turns answered so far."""
        with self.lock:
            conversation = copy(self.sums.conversation)
            return self.sums.turns + sum(
                conversation.hear(record)
                for _, record in self._records_ahead()
                if isinstance(record, MessageAdded)
            )

    @property
    def usage(self) -> dict[Model, Usage]:
        """Reported usage so far, by model."""
        with self.lock:
            usage = dict(self.sums.usage)
            for _, record in self._records_ahead():
                if isinstance(record, UsageReported):
                    model = model_of(record)
                    usage[model] = add(usage.get(model, Usage()), record.usage)
            self._read_losses()
            for model, lost in self._lost_usage.items():
                usage[model] = subtract(usage.get(model, lost), lost)
            return usage

    @property
    def cost(self) -> Decimal:
        """Priced cost so far in US dollars, without what the call costs by its length."""
        with self.lock:
            self._costs_wanted = True
            self._price_unquoted()
            cost = self.sums.cost
            for item, record in self._records_ahead():
                if isinstance(record, UsageReported):
                    quote = self._quotes.get(id(item))
                    if quote is None:
                        quote = self._quotes[id(item)] = self.prices.quote(record)
                    cost += quote.cost
            self._price_losses()
            return cost - self._lost_usd

    def speech_of(self, turn: object) -> str | None:
        """Find the reply that was the answer of that number, from 1, among the latest ones."""
        with self.lock:
            return self.sums.speech_of(turn)

    def _records_ahead(self) -> Iterator[tuple[_Item, Record]]:
        # A copy: the event loop goes on putting.
        for item in tuple(self._ahead):
            for record in _read(item):
                yield item, record

    def _reach(self, record: Record) -> "Quote | None":
        """Forget what was put up to a record; its quote, if there is one.

        The journal refuses records when it is full.  They count for the agent nevertheless.
        """
        ahead = self._ahead
        if not (ahead and record in _read(ahead[0])):
            items = tuple(ahead)
            reached = next((n for n, item in enumerate(items) if record in _read(item)), None)
            if reached is None:
                return None
            for item in items[:reached]:
                ahead.popleft()
                for refused in _read(item):
                    self.sums.take(refused, self._quotes.pop(id(item), None))
        return self._quotes.pop(id(ahead.popleft()), None)

    def _price_unquoted(self) -> None:
        """Price what was taken in before anybody asked for a cost."""
        waiting, self.sums.unquoted = self.sums.unquoted, []
        for record in waiting:
            quote = self.prices.quote(record)
            self.sums.charge(record, quote)
            if record is self._record:
                self._quote = quote

    def _read_losses(self) -> None:
        while self._lost:
            for record in _read(self._lost.popleft()):
                if isinstance(record, UsageReported):
                    model = model_of(record)
                    lost = self._lost_usage.get(model, Usage())
                    self._lost_usage[model] = add(lost, record.usage)
                    self._unpriced_losses.append(record)

    def _price_losses(self) -> None:
        self._read_losses()
        lost, self._unpriced_losses = self._unpriced_losses, []
        self._lost_usd += self.worth(lost)

    def _add_legs(self) -> None:
        if self._costs_wanted and not self._legs_added:
            self._legs_added = True
            for leg, quote in self.legs(self.sums.ended_at):
                self.sums.add_leg(leg, quote)


def _read(item: _Item) -> Sequence[Record]:
    if isinstance(item, Record):
        return (item,)
    try:
        return item.records()
    except Exception:  # noqa: BLE001 - the journal counts it and says so
        return ()
