"""Limits of a call's spend, and the event of one that is reached.

`Budget` is what the agent's author writes down, `BudgetEvent` what a callback gets.
`docs/budgets.md` says how exact a budget is.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from livekit_exporter.record import Model, Scope, Threshold

if TYPE_CHECKING:
    from livekit.agents import AgentSession

Unpriced: TypeAlias = Literal["ignore", "warn", "stop"]

DAYS: Final[tuple[Scope, ...]] = ("user_day", "tenant_day", "day")
"""Scopes that other calls spend in, too."""

_MOST_OFTEN_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetEvent:
    """A threshold was crossed.

    Args:
        scope: Whose spend.
        threshold: `warn`, `limit`, or `unpriced` for a model without a price.
        limit_usd: Limit of the scope in US dollars; `None` where an unpriced model is why and
            no limit was set.
        spend_usd: Spend of the scope by then in US dollars, reported and estimated.
        stale: The sidecar could not be asked lately, so others may have spent more.
        session_id: The call's id in ledger and journal.
        session: The AgentSession, for whoever wants to act on it.
        unpriced_requests: Requests of this call so far that are not in `spend_usd` because
            nobody knows what they cost.
        model: The model without a price, where one is why.
    """

    scope: Scope
    threshold: Threshold
    limit_usd: Decimal | None
    spend_usd: Decimal
    stale: bool
    session_id: str
    session: "AgentSession[Any]" = field(repr=False, compare=False)
    unpriced_requests: int = 0
    model: Model | None = None


BudgetCallback: TypeAlias = Callable[[BudgetEvent], object]
"""Plain or async; it runs on the session's event loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits in US dollars, at list prices.

    One object may serve any number of calls.

    Args:
        session_usd: For this call.
        user_day_usd: For the current day of the call's user.
        tenant_day_usd: For the current day of the call's tenant.
        day_usd: For the current day of all calls in the ledger.
        warn_at: Part of a limit at which the call is warned; `None` for no warnings.
        on_unpriced: What a model without a price does: nothing, a callback with the threshold
            `unpriced`, or what reaching the limit does.
        on_warn: Called for `warn` and `unpriced`.
        on_limit: Called for `limit`.
        tenant_label: The label of `attach` that names the tenant.
        refresh_seconds: How often the spend of other calls is asked for.

    Raises:
        ValueError: A value is out of its range; the message says which.
    """

    session_usd: Decimal | float | None = None
    user_day_usd: Decimal | float | None = None
    tenant_day_usd: Decimal | float | None = None
    day_usd: Decimal | float | None = None
    warn_at: float | None = 0.8
    on_unpriced: Unpriced = "warn"
    on_warn: BudgetCallback | None = None
    on_limit: BudgetCallback | None = None
    tenant_label: str = "tenant"
    refresh_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name in ("session_usd", "user_day_usd", "tenant_day_usd", "day_usd"):
            amount = getattr(self, name)
            if amount is not None and not _is_positive(amount):
                raise ValueError(f"{name} is {amount!r}; it must be US dollars above 0, or None")
        if self.warn_at is not None and not (_is_positive(self.warn_at) and self.warn_at <= 1):
            raise ValueError(
                f"warn_at is {self.warn_at!r}; it must be a part of the limit above 0 and up to 1,"
                " or None"
            )
        if self.on_unpriced not in get_args(Unpriced):
            raise ValueError(
                f"on_unpriced is {self.on_unpriced!r}; it must be 'ignore', 'warn' or 'stop'"
            )
        if not (_is_positive(self.refresh_seconds) and self.refresh_seconds >= _MOST_OFTEN_SECONDS):
            raise ValueError(
                f"refresh_seconds is {self.refresh_seconds!r};"
                f" it must be at least {_MOST_OFTEN_SECONDS}"
            )
        for name in ("on_warn", "on_limit"):
            callback = getattr(self, name)
            if callback is not None and not callable(callback):
                raise ValueError(f"{name} is {callback!r}; it must be callable")

    @property
    def limits(self) -> Mapping[Scope, Decimal]:
        """Limits that are set, in US dollars."""
        amounts: dict[Scope, Decimal | float | None] = {
            "session": self.session_usd,
            "user_day": self.user_day_usd,
            "tenant_day": self.tenant_day_usd,
            "day": self.day_usd,
        }
        # By way of text: 0.1 is meant, not the double next to it.
        return {
            scope: Decimal(str(amount)) for scope, amount in amounts.items() if amount is not None
        }

    def without_owner(self, user: str | None, labels: Mapping[str, str]) -> tuple[Scope, ...]:
        """Scopes with a limit that a call cannot have: it names no user, or no tenant."""
        named: dict[Scope, bool] = {
            "user_day": bool(user),
            "tenant_day": bool(labels.get(self.tenant_label)),
        }
        return tuple(scope for scope in self.limits if not named.get(scope, True))


def _is_positive(amount: object) -> bool:
    return (
        isinstance(amount, int | float | Decimal)
        and not isinstance(amount, bool)
        and math.isfinite(amount)
        and amount > 0
    )
