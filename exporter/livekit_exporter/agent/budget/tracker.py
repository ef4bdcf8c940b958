"""Tracks the spend of a call and acts when it crosses a threshold of its budget.

A tracker follows the journal on the writer's thread, where all usage passes: of any agent, of
nested tasks, of replies that nobody heard, of `Call.record`.  The spend of other calls comes from
`lookups`, on the same thread, so nothing here is locked.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from livekit_exporter.agent.account import LiveAccount
from livekit_exporter.agent.budget.callbacks import Callbacks
from livekit_exporter.agent.budget.limits import DAYS, Budget, BudgetEvent
from livekit_exporter.agent.budget.lookups import Day, Lookups, sidecar_url
from livekit_exporter.agent.journal import Journal
from livekit_exporter.agent.rate_limited_log import problems
from livekit_exporter.calls.account import Billed, model_of
from livekit_exporter.record import (
    BudgetReached,
    Model,
    Record,
    Scope,
    SessionStarted,
    Threshold,
)

if TYPE_CHECKING:
    from livekit.agents import AgentSession


class Notes(Protocol):
    """Keeps a record of every threshold that is crossed."""

    def note(self, record: Record) -> None:
        """Write a record."""
        ...


class BudgetTracker:
    """Tracks one call, as a `journal.Follower` behind its account.

    Args:
        budget: Limits.
        scopes: Limits that this call has; a call without a user has none of a user's.
        session: The session.
        account: The call's account.
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
        account: LiveAccount,
        notes: Notes,
        tell: Callable[[BudgetEvent], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._limits = {scope: budget.limits[scope] for scope in scopes}
        self._warn_at = None if budget.warn_at is None else Decimal(str(budget.warn_at))
        self._on_unpriced = budget.on_unpriced
        self._session = session
        self._account = account
        self._notes = notes
        self._tell = tell
        self._clock = clock
        self._session_id = ""
        self._day: Day | None = None
        self._stale = True
        self._crossed: set[tuple[Scope, Threshold]] = set()
        account.want_costs()

    def take(self, record: Record) -> None:
        """Check the limits after a record with usage."""
        if isinstance(record, SessionStarted):
            self._session_id = record.session
        elif isinstance(record, Billed):
            if self._account.quote(record).status == "unpriced":
                self._act_on_unpriced(record)
            self._check()

    def end(self) -> None:
        """Do nothing: every threshold that was crossed has been told."""

    def learn(self, day: Day | None) -> None:
        """Take the spend of others, or `None` for a sidecar that did not answer."""
        self._stale = day is None
        if day is not None:
            self._day = day
        self._check()

    def _act_on_unpriced(self, record: Billed) -> None:
        if self._on_unpriced == "ignore":
            return
        threshold: Threshold = "limit" if self._on_unpriced == "stop" else "unpriced"
        model = self._account.prices.named(model_of(record))
        spend = self._account.sums.spend + self._legs(self._clock())
        self._cross("session", threshold, spend, stale=False, model=model)

    def _check(self) -> None:
        now = self._clock()
        legs = self._legs(now)
        for scope, limit in self._limits.items():
            if (scope, "limit") in self._crossed:
                continue
            spend, stale = self._spend(scope, now)
            spend += legs
            # One record may cross both: then the warning comes first.
            if self._warn_at is not None and spend >= limit * self._warn_at:
                self._cross(scope, "warn", spend, stale=stale)
            if spend >= limit:
                self._cross(scope, "limit", spend, stale=stale)

    def _spend(self, scope: Scope, now: float) -> tuple[Decimal, bool]:
        """Sum the spend of a scope without this call's legs; `True` where it may be more."""
        sums, day = self._account.sums, self._day
        if scope == "session":
            return sums.spend, False
        if day is None:
            return sums.spend, True
        if now >= day.end:
            # The sidecar's figure is yesterday's: only this call's spend since midnight is known.
            return sums.spend_since(day.end), True
        return day.spent.get(scope, Decimal(0)) + sums.spend_since(day.start), self._stale

    def _legs(self, now: float) -> Decimal:
        """Price the length of the call as if it ended now."""
        return sum((quote.cost for _, quote in self._account.legs(now)), Decimal(0))

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
                unpriced_requests=self._account.sums.unpriced,
                model=model,
            )
        )


class Owner(NamedTuple):
    """Names the call for budgets of a day.

    Args:
        session: Session id.
        user: User of the call.
        labels: Labels of the call.
    """

    session: str
    user: str | None
    labels: Mapping[str, str]


class Tracked(NamedTuple):
    """A budget that is tracked.

    Args:
        scopes: Its limits that this call has.
        callbacks: Calls back on the session's event loop.
        start: Asks for the spend of other calls, once the call is on record.
    """

    scopes: tuple[Scope, ...]
    callbacks: Callbacks
    start: Callable[[], None]


def track(
    budget: Budget,
    session: "AgentSession[Any]",
    owner: Owner,
    *,
    journal: Journal,
    account: LiveAccount,
    url: str | None,
    data_dir: Path,
) -> Tracked | None:
    """Track a budget, on the event loop of its session; `None` where there is no loop.

    Args:
        budget: Limits.
        session: The session; its loop is told until it closes.
        owner: Owner of the spend.
        journal: The call's journal.
        account: The call's account.
        url: Address of the sidecar, if the agent's author gave one.
        data_dir: The data directory, where a sidecar writes its address.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        problems.warning("the budget does not hold: attach was called outside of the event loop")
        return None
    unowned = budget.without_owner(owner.user, owner.labels)
    if unowned:
        problems.warning(
            "limits %s do not hold for this call: it names no user, or no label '%s'",
            ", ".join(f"{scope}_usd" for scope in unowned),
            budget.tenant_label,
        )
    scopes = tuple(scope for scope in budget.limits if scope not in unowned)
    callbacks = Callbacks(budget, loop)
    session.on("close", callbacks.close)
    tracker = BudgetTracker(
        budget, scopes, session, account=account, notes=journal, tell=callbacks.tell
    )
    journal.follow(tracker)
    if not any(scope in DAYS for scope in scopes):
        return Tracked(scopes, callbacks, lambda: None)
    question: dict[str, str] = {}
    if "user_day" in scopes:
        question["user"] = owner.user or ""
    if "tenant_day" in scopes:
        question["label"] = f"{budget.tenant_label}={owner.labels[budget.tenant_label]}"
    lookups = Lookups(
        journal,
        tracker.learn,
        owner.session,
        partial(sidecar_url, url, data_dir),
        question,
        budget.refresh_seconds,
    )
    journal.follow(lookups)
    return Tracked(scopes, callbacks, lookups.start)
