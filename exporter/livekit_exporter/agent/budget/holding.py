"""A call with a budget: who watches it, who is told, and who asks what others have spent."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from livekit_exporter.agent.budget.callbacks import Callbacks
from livekit_exporter.agent.budget.limits import DAYS, Budget
from livekit_exporter.agent.budget.lookups import Lookups, sidecar_url
from livekit_exporter.agent.budget.watch import Watch
from livekit_exporter.agent.journal import Journal
from livekit_exporter.agent.prices import Prices
from livekit_exporter.agent.rate_limited_log import problems
from livekit_exporter.record import Scope

if TYPE_CHECKING:
    from livekit.agents import AgentSession

Held: TypeAlias = tuple[tuple[Scope, ...], Callable[[], None]]
"""Scopes that are watched, and what begins once the call is on record."""


def hold(
    budget: Budget,
    session: "AgentSession[Any]",
    session_id: str,
    journal: Journal,
    prices: Prices,
    owners: tuple[str | None, Mapping[str, str]],
    where: tuple[str | None, Path],
) -> tuple[Callbacks | None, Held]:
    """Watch a budget, on the event loop of its session.

    Args:
        budget: What the call may spend.
        session: Whose loop is told, until it closes.
        session_id: Its id.
        journal: Its journal.
        prices: Prices in force.
        owners: User and labels of the call.
        where: The URL of the sidecar, where one was given, and the data directory.

    Returns:
        Who is told, and what is held; nobody where there is no loop.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        problems.warning("the budget does not hold: attach was called outside of the event loop")
        return None, ((), lambda: None)
    user, labels = owners
    unowned = budget.without_owner(user, labels)
    if unowned:
        problems.warning(
            "limits %s do not hold for this call: it names no user, or no label '%s'",
            ", ".join(f"{scope}_usd" for scope in unowned),
            budget.tenant_label,
        )
    scopes = tuple(scope for scope in budget.limits if scope not in unowned)
    callbacks = Callbacks(budget, loop)
    session.on("close", callbacks.close)
    watch = Watch(budget, scopes, session, prices=prices, notes=journal, tell=callbacks.tell)
    journal.follow(watch)
    if not any(scope in DAYS for scope in scopes):
        return callbacks, (scopes, lambda: None)
    question: dict[str, str] = {}
    if "user_day" in scopes:
        question["user"] = user or ""
    if "tenant_day" in scopes:
        question["label"] = f"{budget.tenant_label}={labels[budget.tenant_label]}"
    lookups = Lookups(
        journal,
        watch,
        session_id,
        partial(sidecar_url, *where),
        question,
        budget.refresh_seconds,
    )
    journal.follow(lookups)
    return callbacks, (scopes, lookups.start)
