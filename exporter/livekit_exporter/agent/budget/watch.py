"""Adds up what a call spends and notices when that crosses a threshold of its budget.

It follows the journal on the writer's thread, where all usage passes: of any agent, of
nested tasks, of replies that nobody heard, of `Call.record`.  What is known only about
other calls comes from `lookups`, on the same thread, so nothing here is locked.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Protocol

from livekit_exporter.agent.budget.limits import Budget, BudgetEvent
from livekit_exporter.agent.prices import Prices
from livekit_exporter.record import (
    BudgetReached,
    Model,
    Record,
    Scope,
    SessionStarted,
    Threshold,
    UsageEstimated,
    UsageReported,
)

if TYPE_CHECKING:
    from livekit.agents import AgentSession

_QUARTER_SECONDS: Final = 900
"""Midnight falls on one in every time zone."""


@dataclass(frozen=True, slots=True)
class Day:
    """What other calls have spent in the current day of the sidecar's time zone.

    Args:
        start: When it began, Unix seconds.
        end: When the next one begins.
        spent: US dollars by scope, this call's own not in it.
    """

    start: float
    end: float
    spent: Mapping[Scope, Decimal]


class Notes(Protocol):
    """Where it is written down that a threshold was crossed."""

    def note(self, record: Record) -> None:
        """Write it."""
        ...


class Watch:
    """Watches one call, as a `journal.Follower`.

    Args:
        budget: What may be spent.
        scopes: Which of its limits this call has; a call without a user has none of a user's.
        session: The session.
        prices: Prices in force.
        notes: The journal.
        tell: Gets each event, once for each scope and threshold.
        clock: Unix seconds.
    """

    def __init__(
        self,
        budget: Budget,
        scopes: tuple[Scope, ...],
        session: "AgentSession[Any]",
        *,
        prices: Prices,
        notes: Notes,
        tell: Callable[[BudgetEvent], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._limits = {scope: budget.limits[scope] for scope in scopes}
        self._warn_at = None if budget.warn_at is None else Decimal(str(budget.warn_at))
        self._on_unpriced = budget.on_unpriced
        self._session = session
        self._prices = prices
        self._notes = notes
        self._tell = tell
        self._clock = clock
        self._started: SessionStarted | None = None
        self._session_id = ""
        self._spent = Decimal(0)
        self._quarters: dict[int, Decimal] = {}
        self._unpriced = 0
        self._day: Day | None = None
        self._stale = True
        self._crossed: set[tuple[Scope, Threshold]] = set()

    def take(self, record: Record) -> None:
        """Count what a record says of usage."""
        match record:
            case SessionStarted():
                self._started, self._session_id = record, record.session
            case UsageReported():
                self._use(record)
            case UsageEstimated():
                # A vendor bills it, whoever reports it.
                self._use(record.as_reported())

    def end(self) -> None:
        """Nothing to do: whatever was crossed has been told."""

    def learn(self, day: Day | None) -> None:
        """Take what others have spent, or `None` for a sidecar that did not say."""
        self._stale = day is None
        if day is not None:
            self._day = day
        self._check()

    def _use(self, record: UsageReported) -> None:
        quote = self._prices.quote(record)
        if quote.status == "unpriced":
            self._unpriced += max(record.requests, 1)
            self._count_unpriced(record)
        elif quote.cost:
            self._spent += quote.cost
            quarter = int(record.at // _QUARTER_SECONDS)
            self._quarters[quarter] = self._quarters.get(quarter, Decimal(0)) + quote.cost
        self._check()

    def _count_unpriced(self, record: UsageReported) -> None:
        if self._on_unpriced == "ignore":
            return
        threshold: Threshold = "limit" if self._on_unpriced == "stop" else "unpriced"
        model = Model(
            stage=record.stage,
            provider=self._prices.provider(record),
            model=record.model or "unknown",
            label=record.label,
        )
        spend = self._spent + self._legs(self._clock())
        self._cross("session", threshold, spend, stale=False, model=model)

    def _check(self) -> None:
        now = self._clock()
        legs = self._legs(now)
        for scope, limit in self._limits.items():
            if (scope, "limit") in self._crossed:
                continue
            spend, stale = self._spend(scope, now)
            spend += legs
            # Both at once is a warning and then the limit.
            if self._warn_at is not None and spend >= limit * self._warn_at:
                self._cross(scope, "warn", spend, stale=stale)
            if spend >= limit:
                self._cross(scope, "limit", spend, stale=stale)

    def _spend(self, scope: Scope, now: float) -> tuple[Decimal, bool]:
        """Spend of a scope without this call's minutes, and whether it may be more."""
        day = self._day
        if scope == "session":
            return self._spent, False
        if day is None:
            return self._spent, True
        if now >= day.end:
            # What is known is yesterday's.
            return self._own(day.end), True
        return day.spent.get(scope, Decimal(0)) + self._own(day.start), self._stale

    def _own(self, since: float) -> Decimal:
        first = since // _QUARTER_SECONDS
        spent = (usd for quarter, usd in self._quarters.items() if quarter >= first)
        return sum(spent, Decimal(0))

    def _legs(self, now: float) -> Decimal:
        """What the call costs by its length if it ended now."""
        if self._started is None:
            return Decimal(0)
        legs = self._prices.legs(self._started, now)
        return sum((self._prices.quote(leg).cost for leg in legs), Decimal(0))

    def _cross(
        self,
        scope: Scope,
        threshold: Threshold,
        spend: Decimal,
        *,
        stale: bool,
        model: Model | None = None,
    ) -> None:
        if (scope, threshold) in self._crossed:
            return
        self._crossed.add((scope, threshold))
        limit = self._limits.get(scope)
        self._notes.note(
            BudgetReached(
                session=self._session_id,
                at=self._clock(),
                scope=scope,
                threshold=threshold,
                limit_usd=None if limit is None else float(limit),
                spend_usd=float(spend),
                stale=stale,
            )
        )
        self._tell(
            BudgetEvent(
                scope=scope,
                threshold=threshold,
                limit_usd=limit,
                spend_usd=spend,
                stale=stale,
                session_id=self._session_id,
                session=self._session,
                unpriced_requests=self._unpriced,
                model=model,
            )
        )
