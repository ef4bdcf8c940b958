"""Queries about money that more than one dashboard asks."""

from typing import Final

from grafana.src.queries import ANY, RATE, change, ratio, series, total
from livekit_exporter import contract

TO_THE_CENT: Final = "currency:financial:$"
"""Unit of exact sums; Grafana's other one shortens them to thousands and millions."""

PRICES_CHECKED_DAYS: Final = (
    f"round((time() - min({series(contract.PRICES_OLDEST_CHECK)})) / 86400)"
)
"""Days since the least recently checked price in use was looked up."""


def spent(period: str, *by: str) -> str:
    """What the chosen agents cost in a period, as reported: exact, without estimates."""
    return total(series(contract.PERIOD_COST, period=period, source="reported"), *by)


def billed(period: str, *by: str) -> str:
    """What budgets count: reported cost, and what vendors bill beyond it as estimated."""
    # A budget is for all agents, whichever are chosen.
    return total(series(contract.PERIOD_COST, period=period, agent=ANY), *by)


def budget_used(period: str) -> str:
    """Part of the budget that is used up, by exporter: each has a budget of its own."""
    exporter = ("job", "instance")
    allowed = total(series(contract.BUDGET, period=period), *exporter)
    return f"{billed(period, *exporter)} / {allowed}"


def per_call_minute(*by: str, window: str = RATE) -> str:
    """Cost of a minute, of calls that ended: cost and length are both known then."""
    minutes = ratio(
        total(change(contract.SESSION_COST, "_sum", window), *by),
        total(change(contract.SESSION_SECONDS, "_sum", window), *by),
    )
    return f"60 * {minutes}"


def wasted_share(*by: str, window: str = RATE) -> str:
    """Part of the cost that nobody heard."""
    return ratio(
        total(change(contract.WASTED_COST, window=window), *by),
        total(change(contract.COST, window=window), *by),
    )


def unreported_share(*by: str, window: str = RATE) -> str:
    """Part of what vendors bill that no event reports."""
    estimated = change(contract.ESTIMATED_COST, window=window)
    # `or` takes all of both: only estimates have a reason.
    return ratio(
        total(estimated, *by),
        total(f"{change(contract.COST, window=window)} or {estimated}", *by),
    )
