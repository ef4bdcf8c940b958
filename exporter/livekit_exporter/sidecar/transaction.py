"""Collects what one commit changes: rows of the ledger and series of the page.

The loop opens a transaction, the meter fills it, the ledger commits its rows, and only
then the registry publishes its series.  A transaction that fails is dropped and leaves no
trace in either.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from operator import itemgetter
from typing import Final

from prometheus_client.samples import Exemplar

from livekit_exporter import contract
from livekit_exporter.calls.turns import LONGEST_LATENCY_SECONDS
from livekit_exporter.contract import Family, Kind
from livekit_exporter.ledger.rows import Batch, SessionRow
from livekit_exporter.sidecar.registry import Distribution, Labels, Registry, Value, zero

_MODEL_LABELS: Final = ("agent", "stage", "provider", "model")

_EXEMPLAR_CHARACTERS: Final = 128
_TRACE_CHARACTERS: Final = 32

_AGENT_FAMILIES: Final = tuple(
    family
    for family in contract.FAMILIES
    if family.labels == ("agent",) and family.kind is not Kind.GAUGE
)


class Transaction:
    """One commit: rows to write and series as they are after it.

    Args:
        registry: The page that the series are on.
    """

    def __init__(self, registry: Registry) -> None:
        self.rows = Batch()
        self.changed: defaultdict[Family, dict[Labels, Value]] = defaultdict(dict)
        self._published = registry.values

    def count(self, family: Family, labels: Labels = (), amount: float = 1.0) -> None:
        """Add to a counter."""
        changed = self.changed[family]
        value = changed.get(labels)
        if value is None:
            value = self._published[family].get(labels, 0.0)
        if not isinstance(value, Distribution):
            changed[labels] = value + amount

    def observe(
        self, family: Family, labels: Labels, amount: float, exemplar: Exemplar | None = None
    ) -> None:
        """Add an observation to a histogram."""
        value = self.init_at_zero(family, labels)
        if isinstance(value, Distribution):
            bucket = bisect_left(family.buckets, amount)
            value.counts[bucket] += 1
            value.total += amount
            if exemplar is not None:
                value.exemplars[bucket] = exemplar

    def init_at_zero(self, family: Family, labels: Labels = ()) -> Value:
        """Create a series at zero unless it exists, so that `rate()` sees its first increment.

        Returns:
            Its value in this transaction; changing a distribution changes the series.
        """
        changed = self.changed[family]
        value = changed.get(labels)
        if value is None:
            published = self._published[family].get(labels)
            if published is None:
                value = zero(family)
            else:
                value = published.copy() if isinstance(published, Distribution) else published
            changed[labels] = value
        return value


class CallSeries:
    """Changes series of one call, or of one model in it, under labels that were admitted.

    Every method takes the family and then the values of its labels beyond agent, stage,
    provider and model, such as a reason.

    Args:
        transaction: The commit.
        row: The call, for exemplars.
        model: Agent, stage, provider and model; the last three are empty where the families
            do not have them.
        own: Values of the operator's labels.
    """

    __slots__ = ("_own", "_row", "_transaction", "model")

    def __init__(
        self,
        transaction: Transaction,
        row: SessionRow,
        model: tuple[str, str, str, str],
        own: Labels,
    ) -> None:
        self._transaction = transaction
        self._row = row
        self._own = own
        self.model = model

    def of_model(self, provider: str, model: str) -> "CallSeries":
        """Return the series of another provider and model, whose names were admitted before."""
        agent, stage, _, _ = self.model
        return CallSeries(self._transaction, self._row, (agent, stage, provider, model), self._own)

    def count(self, family: Family, amount: float = 1.0, *more: str) -> None:
        """Add to a counter."""
        self._transaction.count(family, self._labels(family, more), amount)

    def observe(self, family: Family, amount: float) -> None:
        """Add an observation to a histogram."""
        self._transaction.observe(family, self._labels(family), amount)

    def observe_latency(self, family: Family, seconds: float | None, at: float) -> float | None:
        """Add a latency to a histogram, with the call as its exemplar.

        Args:
            family: The histogram.
            seconds: The latency; `None` where none was measured.
            at: When, Unix seconds.

        Returns:
            The latency, or `None` where it is none: the sidecar counts an impossible one among
            the rejected samples instead.
        """
        if seconds is None:
            return None
        if seconds < 0:
            self._transaction.count(contract.SAMPLES_REJECTED, ("negative",))
            return None
        if seconds > LONGEST_LATENCY_SECONDS:
            self._transaction.count(contract.SAMPLES_REJECTED, ("too_long",))
            return None
        shown = exemplar(seconds, at, self._row.session, self._row.trace)
        self._transaction.observe(family, self._labels(family), seconds, shown)
        return seconds

    def observe_rate(self, family: Family, per_second: float | None) -> None:
        """Add a token rate to a histogram, or count an impossible one as rejected."""
        if per_second is None:
            return
        if 0 < per_second <= contract.HIGHEST_TOKEN_RATE:
            self.observe(family, per_second)
        else:
            self._transaction.count(contract.SAMPLES_REJECTED, ("impossible_rate",))

    def init_at_zero(self, family: Family, *more: str) -> None:
        """Create a series at zero unless it exists."""
        self._transaction.init_at_zero(family, self._labels(family, more))

    def init_call(self) -> None:
        """Create the series that every agent has."""
        for family in _AGENT_FAMILIES:
            self.init_at_zero(family)
        for reason in contract.CLOSE_REASONS:
            self.init_at_zero(contract.SESSIONS_CLOSED, reason)

    def init_model(self) -> None:
        """Create the series that a model of this stage has."""
        stage = self.model[1]
        for family in contract.FAMILIES:
            if stage in family.init_at_zero:
                self.init_at_zero(family)
        for part in contract.TOKEN_PARTS.get(stage, ()):
            self.init_at_zero(contract.TOKENS, *part)
        for reason in contract.WASTE_REASONS.get(stage, ()):
            self.init_at_zero(contract.WASTED_COST, reason)
        for reason in contract.GAP_REASONS.get(stage, ()):
            self.init_at_zero(contract.ESTIMATED_COST, reason)
            self.init_at_zero(contract.ESTIMATED_REQUESTS, reason)

    def _labels(self, family: Family, more: tuple[str, ...] = ()) -> Labels:
        return _projection(family)(self.model) + more + self._own


def exemplar(amount: float, at: float, session: str, trace: str | None) -> Exemplar:
    """Name the call, and the trace, that an observation came from.

    The client library refuses exemplars over 128 characters in all, so ids are cut to fit.
    """
    labels = {"session_id": session}
    if trace:
        labels["trace_id"] = trace[:_TRACE_CHARACTERS]
    left = _EXEMPLAR_CHARACTERS - sum(map(len, labels)) - len(labels.get("trace_id", ""))
    labels["session_id"] = session[:left]
    return Exemplar(labels, amount, at)


@cache
def _projection(family: Family) -> Callable[[tuple[str, ...]], Labels]:
    """Return a function that picks a family's labels out of agent, stage, provider and model."""
    wanted = [at for at, name in enumerate(_MODEL_LABELS) if name in family.labels]
    if wanted == [0]:
        # One index would give its value rather than a tuple of it.
        return itemgetter(slice(0, 1))
    return itemgetter(*wanted)
