"""Queries and panels about money that more than one dashboard has."""

from typing import Final

from grafana.src import colours, thresholds
from grafana.src.panels import About, AnyPanel, Line, stack, stat
from grafana.src.queries import ANY, RATE, change, per_hour, rate, ratio, series, total
from livekit_exporter import contract

TO_THE_CENT: Final = "currency:financial:$"
"""Unit of exact sums; Grafana's other one shortens them to thousands and millions."""


def spent(period: str, *by: str) -> str:
    """Cost of the chosen agents in a period, as reported: exact, without estimates."""
    return total(series(contract.PERIOD_COST, period=period, source="reported"), *by)


def billed(period: str, *by: str) -> str:
    """Cost that budgets count: reported, and the estimate of what vendors bill beyond it."""
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


def spend_today(number: int, *, more: str | None = None) -> AnyPanel:
    """Draw the exact cost of the day so far."""
    return stat(
        About(
            number,
            "Spend today",
            "What have the chosen agents cost since midnight?",
            "Exact, from the ledger, in the exporter's time zone. Requests without a"
            " price are not in it, nor is what is estimated.",
            more=more,
        ),
        TO_THE_CENT,
        spent("day"),
    ).decimals(2)


def day_budget_used(number: int, *, more: str | None = None) -> AnyPanel:
    """Draw the part of the day's budget that is used up, of the exporter nearest to its own."""
    return stat(
        About(
            number,
            "Day's budget used",
            "How much of the day's budget is used up, by all agents?",
            "The exporter nearest to its budget. Reported and estimated cost, since"
            " vendors bill both. A ticket is opened at 80 %, somebody is called at 100 %."
            " No number: no budget is set.",
            more=more,
        ),
        "percentunit",
        f"max({budget_used('day')})",
        limit=thresholds.DAY_BUDGET,
    )


def spend_per_hour(number: int, *, more: str | None = None) -> AnyPanel:
    """Draw the pace of spending."""
    return stat(
        About(
            number,
            "Spend per hour",
            "At what pace is money spent now?",
            "Bad is a pace that the number of calls does not explain.",
            more=more,
        ),
        "currencyUSD",
        per_hour(total(rate(contract.COST))),
    )


def spend_per_hour_by_stage(number: int, *, more: str | None = None) -> AnyPanel:
    """Draw the pace of spending, stage upon stage."""
    return stack(
        About(
            number,
            "Spend per hour, by stage",
            "Which stage does the money go to?",
            "Bad is a stage that grows while the number of calls does not.",
            more=more,
        ),
        "currencyUSD",
        [Line("{{stage}}", per_hour(total(rate(contract.COST), "stage")))],
        colour=colours.STAGE,
    )


def prices_checked(number: int, *, span: int = 4) -> AnyPanel:
    """Draw the days since the least recently checked price in use was looked up."""
    return stat(
        About(
            number,
            "Prices checked",
            "How long ago was the least recently checked price in use looked up?",
            "Above 90 days a ticket is opened: compare with the provider's page.",
        ),
        "suffix: days",
        f"round((time() - min({series(contract.PRICES_OLDEST_CHECK)})) / 86400)",
        limit=thresholds.PRICES_STALE,
        span=span,
    )
