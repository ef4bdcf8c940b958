"""Overview: can callers talk to the agents, what does it cost right now, is the meter healthy."""

from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from grafana.src import board, colours, money, thresholds, variables
from grafana.src.panels import About, AnyPanel, Column, Line, graph, stack, stat, table
from grafana.src.queries import (
    ALERTS,
    SHOWN,
    UP,
    counted,
    increase,
    mean,
    or_zero,
    ours,
    per_hour,
    quantile,
    rate,
    ratio,
    series,
    share,
    total,
    under,
)
from livekit_exporter import contract

_ACCEPTABLE: Final = 1 - (thresholds.SLOW_TURNS.ticket or 0)


def dashboard() -> Dashboard:
    """The first look, in the order in which somebody on call asks."""
    return board.board(
        board.OVERVIEW,
        "LiveKit agents: overview",
        "Can callers talk to the agents, what does it cost right now, is the meter healthy?",
        since="now-1h",
        choices=(
            variables.job(),
            variables.agent(),
            variables.provider(),
            variables.model(),
        ),
        sections=(_callers(), _cost(), _meter()),
    )


def _callers() -> board.Section:
    return board.Section(
        100,
        "Can callers talk to the agents?",
        (
            *_answers(),
            *_endings(),
            *_calls_over_time(),
            *_failures(),
        ),
    )


def _answers() -> Sequence[AnyPanel]:
    return (
        stat(
            About(
                101,
                "Calls now",
                "How many callers are on the line?",
                "Bad is zero at a time when people call: look at the workers, on the"
                " exporter's dashboard.",
                more=board.EXPORTER,
            ),
            "short",
            total(series(contract.ACTIVE_SESSIONS)),
        ),
        stat(
            About(
                102,
                "Turn latency, p95",
                "How long is the silence before the agent answers, at its worst 5 %?",
                "Above 1 s people start to talk over it; a ticket is opened at 1.5 s and"
                " somebody is called at 3.5 s.",
                more=board.LATENCY,
            ),
            "s",
            quantile(0.95, contract.TURN_LATENCY),
            limit=thresholds.TURN_LATENCY,
        ),
        stat(
            About(
                103,
                "Under 1.5 s",
                "What part of the turns is quick enough?",
                "The objective is 95 %; below it the month's allowance of slow turns runs out.",
                more=board.LATENCY,
            ),
            "percentunit",
            under(thresholds.TURN_LATENCY.ticket or 0, contract.TURN_LATENCY),
            steps=((None, colours.WORSE), (_ACCEPTABLE, colours.GOOD)),
        ),
    )


def _endings() -> Sequence[AnyPanel]:
    return (
        stat(
            About(
                104,
                "Talked over",
                "What part of the answers do callers interrupt?",
                "Above a quarter, answers are too slow, too long, or the agent takes noise"
                " for speech.",
                more=board.MODELS,
            ),
            "percentunit",
            share(contract.TURNS_INTERRUPTED, contract.TURNS),
            limit=thresholds.INTERRUPTIONS,
        ),
        stat(
            About(
                105,
                "Ended by an error",
                "What part of the calls in the time shown did an error end?",
                "These callers were hung up on. The graph of provider errors below names the"
                " stage.",
            ),
            "percentunit",
            _ended("error"),
            limit=thresholds.SESSIONS_FAILING,
        ),
        stat(
            About(
                106,
                "Lost",
                "What part of the calls in the time shown lost its process?",
                "The process died without a word: out of memory, killed, or the node is gone.",
                more=board.EXPORTER,
            ),
            "percentunit",
            _ended("lost"),
            limit=thresholds.SESSIONS_LOST,
        ),
    )


def _calls_over_time() -> Sequence[AnyPanel]:
    return (
        graph(
            About(
                107,
                "Turn latency",
                "How long is the silence before the agent answers?",
                "Dashed lines are the limits of p95. All three rising is load or a provider;"
                " p99 alone is single calls.",
                more=board.LATENCY,
            ),
            "s",
            [
                Line(name, quantile(number, contract.TURN_LATENCY))
                for name, number in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
            ],
            limit=thresholds.TURN_LATENCY,
            colour=colours.QUANTILE,
            exemplars=True,
        ),
        stack(
            About(
                108,
                "Calls going on",
                "Which agents are on the line?",
                "Bad is a sudden fall to zero, or a step that never comes down: calls that"
                " do not end.",
            ),
            "short",
            [Line("{{agent}}", total(series(contract.ACTIVE_SESSIONS), "agent"))],
        ),
    )


def _failures() -> Sequence[AnyPanel]:
    return (
        graph(
            About(
                109,
                "Provider errors",
                "Which stage fails?",
                "Failed attempts for every request. A ticket is opened where one model is"
                " above the line; callers hear pauses before that.",
                more=board.MODELS,
            ),
            "percentunit",
            [Line("{{stage}}", share(contract.REQUEST_ERRORS, contract.REQUESTS, "stage"))],
            limit=thresholds.PROVIDER_ERRORS,
            colour=colours.STAGE,
            span=8,
        ),
        stack(
            About(
                110,
                "How calls end",
                "Do calls end as they should?",
                "Red is bad: 'error' and 'lost' are callers who were cut off.",
            ),
            "suffix: /h",
            [
                Line(
                    "{{reason}}",
                    f"{per_hour(total(rate(contract.SESSIONS_CLOSED), 'reason'))} > 0",
                )
            ],
            colour=colours.REASON,
            span=8,
        ),
        graph(
            About(
                111,
                "Tool errors",
                "Which tools fail their agents?",
                "Above the line the system behind the tool needs a look; agents apologise"
                " and go on.",
            ),
            "percentunit",
            [Line("{{tool}}", share(contract.TOOL_ERRORS, contract.TOOL_CALLS, "tool"))],
            limit=thresholds.TOOL_ERRORS,
            span=8,
        ),
    )


def _ended(reason: str) -> str:
    return ratio(
        total(increase(contract.SESSIONS_CLOSED, reason=reason)),
        total(increase(contract.SESSIONS_CLOSED)),
    )


def _cost() -> board.Section:
    return board.Section(
        200,
        "What does it cost right now?",
        (
            *_spend(),
            *_prices_of_calls(),
            *_spend_over_time(),
        ),
    )


def _spend() -> Sequence[AnyPanel]:
    return (
        money.spend_today(201, more=board.COST),
        money.day_budget_used(202, more=board.COST),
        money.spend_per_hour(203, more=board.COST),
    )


def _prices_of_calls() -> Sequence[AnyPanel]:
    return (
        stat(
            About(
                204,
                "Cost of a call",
                "What does a call cost on average?",
                "Of the calls that ended in the time shown. A step up after a release is a"
                " longer prompt or another model.",
                more=board.COST,
            ),
            "currencyUSD",
            mean(contract.SESSION_COST, window=SHOWN),
        ),
        stat(
            About(
                205,
                "Cost of a minute",
                "What does a minute of call cost?",
                "Of the calls that ended in the time shown; comparable between short and"
                " long calls.",
                more=board.COST,
            ),
            "currencyUSD",
            money.per_call_minute(window=SHOWN),
        ),
        stat(
            About(
                206,
                "Wasted",
                "What part of the cost did nobody hear?",
                "Replies talked over or thrown away. Above a quarter, answering ahead of"
                " time costs more than it helps.",
                more=board.COST,
            ),
            "percentunit",
            money.wasted_share(window=SHOWN),
            limit=thresholds.WASTE,
        ),
    )


def _spend_over_time() -> Sequence[AnyPanel]:
    return (
        money.spend_per_hour_by_stage(207, more=board.COST),
        stack(
            About(
                208,
                "Spend today, by agent",
                "Which agent does the day's money go to?",
                "Exact, from the ledger, without what is estimated; begins again at the"
                " exporter's midnight.",
                more=board.COST,
            ),
            "currencyUSD",
            [Line("{{agent}}", money.spent("day", "agent"))],
        ),
    )


def _meter() -> board.Section:
    return board.Section(
        300,
        "Is the meter healthy?",
        (
            *_reach(),
            *_missing(),
            *_firing(),
        ),
    )


def _reach() -> Sequence[AnyPanel]:
    return (
        stat(
            About(
                301,
                "Exporters answering",
                "What part of the exporters can Prometheus reach?",
                "Below 100 % the calls on that host are not seen; journals keep them until"
                " the exporter is back.",
                more=board.EXPORTER,
            ),
            "percentunit",
            f"avg({ours(UP)})",
            steps=((None, colours.BAD), (1.0, colours.GOOD)),
        ),
        stat(
            About(
                302,
                "Newest record",
                "How long ago did an agent say something?",
                "Bad only while calls are going on: then agents do not reach the journal.",
                more=board.EXPORTER,
            ),
            "s",
            f"time() - max({series(contract.LAST_RECORD)})",
            limit=thresholds.NO_RECORDS,
        ),
        stat(
            About(
                303,
                "Journal lag",
                "How much is written by agents and not in the figures yet?",
                "Bad is more than a megabyte for minutes: figures are late.",
                more=board.EXPORTER,
            ),
            "decbytes",
            total(series(contract.JOURNAL_LAG)),
            limit=thresholds.JOURNAL_LAG,
        ),
    )


def _missing() -> Sequence[AnyPanel]:
    dropped = counted(contract.RECORDS_DROPPED)
    rejected = counted(contract.RECORDS_REJECTED, reason="!torn")
    return (
        stat(
            About(
                304,
                "Without a price",
                "How many requests in the time shown have no price?",
                "Any is bad: their cost is missing from every figure. The cost dashboard names"
                " the model.",
                more=board.COST,
            ),
            "short",
            or_zero(counted(contract.UNPRICED_REQUESTS)),
            limit=thresholds.UNPRICED,
        ),
        stat(
            About(
                305,
                "Records missing",
                "How many records in the time shown were dropped or not understood?",
                "Any is bad: what they said is in no figure.",
                more=board.EXPORTER,
            ),
            "short",
            or_zero(f"{dropped} + {rejected}"),
            limit=thresholds.RECORDS_DROPPED,
        ),
        stat(
            About(
                306,
                "Alerts firing",
                "Does anything need somebody?",
                "The table below names each alert.",
            ),
            "short",
            or_zero(f"count({ALERTS})"),
            steps=colours.ANY_IS_BAD,
        ),
    )


def _firing() -> Sequence[AnyPanel]:
    return (
        table(
            About(
                307,
                "Alerts",
                "What needs somebody?",
                "Pages first. docs/runbooks.md says what to do about each.",
            ),
            {"alertname": "Alert", "severity": "Severity", "where": "Where"},
            [Column("Firing", _alerts(), "short")],
            sort="Severity",
            ascending=True,
            height=6,
        ).no_value("No alert is firing"),
    )


def _alerts() -> str:
    """Alerts that fire, with what they are about in one label."""
    about = ("agent", "stage", "provider", "model", "tool", "reason", "instance")
    listed = ", ".join(f'"{label}"' for label in about)
    named = f'label_join({ALERTS}, "where", " ", {listed})'
    return f"count by (alertname, severity, where) ({named})"
