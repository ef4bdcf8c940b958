"""Cost: what is spent, on what, against which budget."""

from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries

from grafana.src import board, colours, money, thresholds, variables
from grafana.src.panels import (
    About,
    AnyPanel,
    Column,
    Line,
    bars,
    dashed,
    graph,
    stack,
    stat,
    table,
)
from grafana.src.queries import (
    SHOWN,
    counted,
    increase,
    matchers,
    mean,
    or_zero,
    per_hour,
    quantile,
    rate,
    ratio,
    series,
    total,
)
from livekit_exporter import contract

_FORECAST: Final = f"sum(job_instance:{contract.PERIOD_COST.name}:forecast_month{{{matchers(())}}})"
_BILLED: Final = "Billed"
_BUDGET: Final = "Budget"
_HEADING: Final = "Heading for"
_MODEL: Final = {"stage": "Stage", "provider": "Provider", "model": "Model"}
_MILLION: Final = 1e6


def dashboard() -> Dashboard:
    """Build the dashboard, from the budget down to the price of a unit."""
    return board.board(
        board.COST,
        "LiveKit agents: cost",
        "What is spent, on what, against which budget?",
        since="now-6h",
        choices=(
            variables.job(),
            variables.agent(),
            variables.provider(),
            variables.model(),
        ),
        sections=(_budgets(), _where(), _calls(), _waste(), _prices()),
    )


def _budgets() -> board.Section:
    return board.Section(
        100,
        "Against the budget",
        (
            *_spend(),
            *_budgets_over_time(),
        ),
    )


def _spend() -> Sequence[AnyPanel]:
    return (
        money.spend_today(101),
        money.day_budget_used(102),
        stat(
            About(
                103,
                "Spend this month",
                "What have the chosen agents cost since the first of the month?",
                "Exact, from the ledger, in the exporter's time zone; without what is estimated.",
            ),
            money.TO_THE_CENT,
            money.spent("month"),
        ).decimals(2),
        stat(
            About(
                104,
                "Month heading for",
                "What will vendors bill for the month, if it goes on like the past day?",
                "All agents, reported and estimated cost: the month so far, and the rest of it"
                " at the pace of the last 24 hours.",
            ),
            "currencyUSD",
            _FORECAST,
        ),
        stat(
            About(
                105,
                "Of month's budget",
                "Is the month heading over its budget?",
                "Above 100 % a ticket is opened: raise the budget or lower the cost while"
                " there is time. Reported and estimated cost. No number: no budget is set.",
            ),
            "percentunit",
            f"{_FORECAST} / {_allowed('month')}",
            limit=thresholds.MONTH_BUDGET,
        ),
        money.spend_per_hour(106),
    )


def _budgets_over_time() -> Sequence[AnyPanel]:
    return (
        _against(
            About(
                107,
                "Today",
                "Will the day's budget last?",
                "A ticket is opened where the line meets 80 % of the budget, somebody is called"
                " where it meets the budget. All agents, reported and estimated cost; falls to"
                " zero at midnight in the exporter's time zone.",
            ),
            [
                Line(_BILLED, money.billed("day")),
                Line("80 %", f"{thresholds.DAY_BUDGET.ticket:g} * {_allowed('day')}"),
                Line(_BUDGET, _allowed("day")),
            ],
        ),
        _against(
            About(
                108,
                "This month",
                "Will the month's budget last?",
                "Bad is a forecast above the budget. All agents, reported and estimated cost.",
            ),
            [
                Line(_BILLED, money.billed("month")),
                Line(_HEADING, _FORECAST),
                Line(_BUDGET, _allowed("month")),
            ],
        ),
    )


def _allowed(period: str) -> str:
    return total(series(contract.BUDGET, period=period))


def _against(about: About, lines: list[Line]) -> TimeSeries:
    panel = graph(about, "currencyUSD", lines, colour={_BILLED: colours.QUANTILE["p95"]})
    for name, colour in (
        (_HEADING, colours.QUANTILE["p99"]),
        ("80 %", colours.WORSE),
        (_BUDGET, colours.BAD),
    ):
        if name in {line.name for line in lines}:
            dashed(panel, name, colour)
    return panel


def _where() -> board.Section:
    return board.Section(
        200,
        "Where does it go?",
        (
            money.spend_per_hour_by_stage(201),
            stack(
                About(
                    202,
                    "Spend per hour, by model",
                    "Which model does the money go to?",
                    "Bad is an expensive model where a fallback should be rare.",
                    more=board.MODELS,
                ),
                "currencyUSD",
                [
                    Line(
                        "{{provider}}/{{model}}",
                        per_hour(total(rate(contract.COST), "provider", "model")),
                    )
                ],
            ),
            _models(),
        ),
    )


def _models() -> AnyPanel:
    shown = increase(contract.COST)
    return table(
        About(
            203,
            "Models",
            "What did each model cost in the time shown?",
            "Trend figures, from counters: the exact sums are above and in the ledger. Per"
            " 1 000 is the cost of so many requests; unpriced ones are missing from it, and"
            " those without usage, which a vendor may bill all the same.",
            more=board.MODELS,
        ),
        _MODEL,
        [
            Column("Requests", counted(contract.REQUESTS, *_MODEL), "short"),
            Column("Cost", _by_model(shown), "currencyUSD"),
            Column(
                "Share",
                f"{_by_model(shown)} / on () group_left () {total(shown)}",
                "percentunit",
                bar=True,
            ),
            Column(
                "Per 1 000",
                "1000 * " + ratio(_by_model(shown), _by_model(increase(contract.REQUESTS))),
                "currencyUSD",
            ),
            Column(
                "Unpriced",
                counted(contract.UNPRICED_REQUESTS, *_MODEL),
                "short",
                thresholds.UNPRICED,
            ),
            Column("Without usage", counted(contract.REQUESTS_WITHOUT_USAGE, *_MODEL), "short"),
            Column("Free", counted(contract.FREE_REQUESTS, *_MODEL), "short"),
        ],
        sort="Cost",
    )


def _by_model(expression: str) -> str:
    return total(expression, *_MODEL)


def _calls() -> board.Section:
    return board.Section(
        300,
        "What does a call cost?",
        (
            *_averages(),
            *_costs_of_calls(),
        ),
    )


def _averages() -> Sequence[AnyPanel]:
    return (
        stat(
            About(
                304,
                "Cost of a call",
                "What does a call cost on average?",
                "Of the calls that ended in the time shown.",
            ),
            "currencyUSD",
            mean(contract.SESSION_COST, window=SHOWN),
            span=6,
        ),
        stat(
            About(
                305,
                "Dearest 5 % of calls",
                "What do the dearest calls cost at least?",
                "Far above the average: look at the bars above, then for those calls in the"
                " ledger.",
            ),
            "currencyUSD",
            quantile(0.95, contract.SESSION_COST, window=SHOWN),
            span=6,
        ),
        stat(
            About(
                306,
                "Length of a call",
                "How long does a call last on average?",
                "Longer calls cost more without anything being wrong.",
            ),
            "s",
            mean(contract.SESSION_SECONDS, window=SHOWN),
            span=6,
        ),
        stat(
            About(
                307,
                "Calls",
                "How many calls ended in the time shown?",
                "Of fewer than twenty, averages say little.",
            ),
            "short",
            counted(contract.SESSION_COST, suffix="_count"),
            span=6,
        ),
    )


def _costs_of_calls() -> Sequence[AnyPanel]:
    return (
        graph(
            About(
                301,
                "Cost of a minute of call",
                "What does a minute cost, with which agent?",
                "A step up after a release is a longer prompt or another model; a ticket is"
                " opened when the last hour is 30 % above the day before.",
            ),
            "currencyUSD",
            [Line("{{agent}}", money.per_call_minute("agent"))],
        ),
        graph(
            About(
                302,
                "Cost of a turn",
                "What does an answer cost, with which agent?",
                "Rising with the length of calls is normal: the whole conversation goes into"
                " each request. Rising without it is not.",
            ),
            "currencyUSD",
            [Line("{{agent}}", mean(contract.TURN_COST, "agent"))],
        ),
        graph(
            About(
                308,
                "Cost of a call, by agent",
                "What does a call cost, with which agent?",
                "Hold it against the cost of a minute: where that is level, calls got longer.",
            ),
            "currencyUSD",
            [Line("{{agent}}", mean(contract.SESSION_COST, "agent"))],
        ),
        bars(
            About(
                303,
                "Calls by cost in USD",
                "Do all calls cost about the same?",
                "Calls in the time shown that cost up to so many dollars. A second hump, or"
                " bars far down, are calls that do not end or tools that loop.",
            ),
            "short",
            Line("{{le}} USD", total(increase(contract.SESSION_COST, "_bucket"), "le")),
            buckets=True,
            span=12,
        ),
    )


def _waste() -> board.Section:
    return board.Section(
        400,
        "What did nobody hear, and what is missing?",
        (
            *_wasted(),
            *_unreported(),
        ),
    )


def _wasted() -> Sequence[AnyPanel]:
    return (
        stack(
            About(
                401,
                "Wasted per hour",
                "What do replies cost that nobody heard?",
                "'speculative': thrown away because the caller went on speaking; 'interrupted':"
                " talked over; 'recovery_probe': a fallback adapter tried a provider. Of the"
                " reported cost alone.",
            ),
            "currencyUSD",
            [Line("{{reason}}", per_hour(total(rate(contract.WASTED_COST), "reason")))],
            colour=colours.REASON,
            span=8,
        ),
        graph(
            About(
                402,
                "Wasted part of the cost",
                "With which agent does the most go to waste?",
                "Above the line, turn answering ahead of time off for that agent, or let it"
                " wait longer for the end of a turn.",
            ),
            "percentunit",
            [Line("{{agent}}", money.wasted_share("agent"))],
            limit=thresholds.WASTE,
            span=8,
        ),
        graph(
            About(
                403,
                "Requests without a price",
                "Which model's cost is missing?",
                "Any above zero: add the model to the price file; docs/prices.md says how.",
            ),
            "suffix: /h",
            [
                Line(
                    "{{provider}}/{{model}}",
                    per_hour(total(rate(contract.UNPRICED_REQUESTS), "provider", "model")),
                )
            ],
            limit=thresholds.UNPRICED,
            span=8,
        ),
    )


def _unreported() -> Sequence[AnyPanel]:
    return (
        stack(
            About(
                404,
                "Billed and not reported, per hour",
                "What do vendors bill that no event reports?",
                "Estimated from spans; in the budgets, in no figure called spend or cost."
                " 'interrupted': replies cut off; 'failed': attempts that broke or were given"
                " up. Rising without more calls: a provider that fails.",
            ),
            "currencyUSD",
            [Line("{{reason}}", per_hour(total(rate(contract.ESTIMATED_COST), "reason")))],
            colour=colours.REASON,
        ),
        graph(
            About(
                405,
                "Unreported part of the bill",
                "How much do the other figures leave out, with which agent?",
                "Estimated cost, as a part of reported and estimated. Above the line a ticket"
                " is opened: invoices will be that much higher than the spend shown.",
            ),
            "percentunit",
            [Line("{{agent}}", money.unreported_share("agent"))],
            limit=thresholds.UNREPORTED,
        ),
    )


def _prices() -> board.Section:
    return board.Section(
        500,
        "What are the prices?",
        (
            table(
                About(
                    501,
                    "Prices in force",
                    "Which prices are the figures made with?",
                    "US dollars for a million tokens or characters, and for a minute of audio or of"
                    " session. Wrong or negotiated ones are corrected in a price file of your own;"
                    " docs/prices.md says how.",
                ),
                _MODEL,
                [
                    _price("Input", _MILLION, unit="input_token"),
                    _price("Cached", _MILLION, unit="cached_input_token"),
                    _price("Output", _MILLION, unit="output_token"),
                    _price("Audio in", _MILLION, unit="input_audio_token", stage="realtime"),
                    _price(
                        "Audio cache", _MILLION, unit="cached_input_audio_token", stage="realtime"
                    ),
                    _price("Audio out", _MILLION, unit="output_audio_token", stage="realtime"),
                    _price("Characters", _MILLION, unit="character"),
                    _price("Audio min", 60, unit="audio_second"),
                    _price("Session min", 60, unit="connection_second"),
                ],
                sort="Stage",
                ascending=True,
            ),
            money.prices_checked(502, span=12),
            stat(
                About(
                    503,
                    "Without a price",
                    "How many requests in the time shown are missing from the cost?",
                    "Any is bad; the graph above names the model.",
                ),
                "short",
                or_zero(counted(contract.UNPRICED_REQUESTS)),
                limit=thresholds.UNPRICED,
                span=12,
            ),
        ),
    )


def _price(title: str, factor: float, **only: str) -> Column:
    cheapest = f"max by (stage, provider, model) ({series(contract.PRICE, **only)})"
    return Column(title, f"{factor:g} * {cheapest}", "currencyUSD")
