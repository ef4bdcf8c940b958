"""The cost of every request of a call, kept until an exporter of the process asks for it."""

import threading
import weakref
from collections import OrderedDict
from typing import Final, NamedTuple

from livekit_exporter.agent.account import LiveAccount
from livekit_exporter.agent.journal import Journal
from livekit_exporter.agent.spans import costs
from livekit_exporter.agent.spans.attributes import METRICS
from livekit_exporter.agent.spans.costs import SpanCost
from livekit_exporter.record import Record, SessionStarted, UsageReported

CALLS_AT_HAND: Final = 256
"""Calls of a process that are kept for their spans, which a sampler may never let through."""


class SpanRequest(NamedTuple):
    """A provider request as its span describes it.

    Args:
        stage: Stage of the request.
        name: Its id.
        at: Unix time at which its metrics were made.
    """

    stage: str
    name: str
    at: float | None


class Charge(NamedTuple):
    """One report of usage for a request."""

    cost: SpanCost
    at: float


class CallCharges:
    """Keeps the costs of one call for its spans; a `journal.Follower` behind its account.

    It follows the journal only once an exporter of the process puts costs on spans.

    Args:
        started: The call.
        account: Its account.
        journal: Its journal.
    """

    def __init__(self, started: SessionStarted, account: LiveAccount, journal: Journal) -> None:
        self.session = started.session
        self.trace = started.trace
        """Trace id, once it is known."""
        self.account = account.sums
        self.lock = account.lock
        self._live = account
        self._journal = journal
        self._charges: dict[tuple[str, str], list[Charge]] = {}
        traced_calls.add(self)

    def follow(self) -> None:
        """Keep the costs of the call's records from now on."""
        self._live.want_costs()
        self._journal.follow(self)

    def take(self, record: Record) -> None:
        """Keep the cost of a record of usage."""
        quote = self._live.quote(record) if isinstance(record, UsageReported) else None
        with self.lock:
            self.trace = self.trace or getattr(record, "trace", None)
            if isinstance(record, UsageReported) and quote is not None:
                cost = costs.of_record(record, quote)
                if cost is not None and cost.stage in METRICS:
                    charges = self._charges.setdefault((cost.stage, record.request), [])
                    charges.append(Charge(cost, record.at))

    def end(self) -> None:
        """Do nothing: the costs stay until they are exported."""

    def catch_up(self, seconds: float) -> None:
        """Wait until everything that was put is taken in, so many seconds at most."""
        if not self._journal.closed:
            self._journal.flush(seconds)

    def of(self, request: SpanRequest) -> list[Charge]:
        """List the reports for a request up to its metrics, which are the last on its span.

        A stream of speech reports for every segment, and providers may repeat their ids.
        """
        charges = self._charges.get((request.stage, request.name), [])
        if any(charge.at == request.at for charge in charges):
            return [charge for charge in charges if charge.at <= (request.at or 0.0)]
        # The timestamp of its metrics was implausible, so the record has another.
        return list(charges) if request.name else []

    def by_stage(self) -> dict[str, int]:
        """Sum the cost by stage, in 1e-18 USD."""
        parts: dict[str, int] = {}
        for model, spent in self.account.spent.items():
            parts[model.stage] = parts.get(model.stage, 0) + spent.atto
        return parts


class TracedCalls:
    """Knows the calls of the process, for every exporter that puts costs on spans.

    Without such an exporter it keeps no call alive.
    """

    def __init__(self) -> None:
        self.exporting = False
        """An exporter of this process puts costs on spans."""
        self._followed: OrderedDict[str, CallCharges] = OrderedDict()
        self._idle: weakref.WeakSet[CallCharges] = weakref.WeakSet()
        self._lock = threading.Lock()

    def add(self, call: CallCharges) -> None:
        """Add a call that begins."""
        with self._lock:
            self._idle.add(call)
            if self.exporting:
                self._follow(call)

    def export(self) -> None:
        """Follow all calls from now on: an exporter asks for their costs."""
        with self._lock:
            self.exporting = True
            for call in list(self._idle):
                self._follow(call)

    def recent(self) -> list[CallCharges]:
        """List the calls whose costs are kept, the oldest first."""
        with self._lock:
            return list(self._followed.values())

    def reset(self) -> None:
        """Forget all calls and all exporters, as in a new process."""
        with self._lock:
            self.exporting = False
            self._followed.clear()
            self._idle.clear()

    def __len__(self) -> int:
        """Count the calls it knows."""
        return len(self._followed) + len(self._idle)

    def _follow(self, call: CallCharges) -> None:
        self._idle.discard(call)
        self._followed[call.session] = call
        if len(self._followed) > CALLS_AT_HAND:
            self._followed.popitem(last=False)
        call.follow()


traced_calls: Final = TracedCalls()
