"""Latency: how long callers wait, and which stage makes them wait."""

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from grafana.src import board, colours, thresholds, variables
from grafana.src.panels import (
    About,
    AnyPanel,
    Column,
    Line,
    dashed,
    graph,
    heatmap,
    stack,
    stat,
    table,
)
from grafana.src.queries import (
    RATE,
    SHOWN,
    counted,
    increase,
    matchers,
    mean,
    quantile,
    rate,
    ratio,
    total,
    under,
)
from livekit_exporter import contract

_ACCEPTABLE: Final = 1 - (thresholds.SLOW_TURNS.ticket or 0)
_BURN_RATE: Final = "job:livekit_agent_slow_turns_per_turns:ratio_rate1h"

_HEARD: Final = "Heard by callers"
_END_OF_TURN: Final = "End of turn"
_LANGUAGE_MODEL: Final = "Language model"
_SYNTHESIS: Final = "Speech synthesis"
_SPEECH_TO_SPEECH: Final = "Speech to speech"
_OWN_CODE: Final = "Own code"
_PARTS: Final = {
    _END_OF_TURN: colours.STAGE["turn_detection"],
    _OWN_CODE: colours.STAGE["custom"],
    _LANGUAGE_MODEL: colours.STAGE["llm"],
    _SYNTHESIS: colours.STAGE["tts"],
    _SPEECH_TO_SPEECH: colours.STAGE["realtime"],
}


def dashboard() -> Dashboard:
    """Build the dashboard: what callers hear, then the stage, the model and the agent to blame."""
    return board.board(
        board.LATENCY,
        "LiveKit agents: latency",
        "How long do callers wait, and what makes them wait?",
        since="now-1h",
        choices=(
            variables.job(),
            variables.agent(),
            variables.provider(),
            variables.model(),
        ),
        sections=(_heard(), _parts(), _models(), _agents(), _details()),
    )


def _heard() -> board.Section:
    return board.Section(
        100,
        "What callers hear",
        (
            *_heard_quantiles(),
            stat(
                About(
                    104,
                    "Under 1.5 s",
                    "What part of the turns is quick enough?",
                    "The objective is 95 %.",
                ),
                "percentunit",
                under(thresholds.TURN_LATENCY.ticket or 0, contract.TURN_LATENCY),
                steps=((None, colours.WORSE), (_ACCEPTABLE, colours.GOOD)),
            ),
            stat(
                About(
                    105,
                    "Burn rate, 1 h",
                    "How many times faster than allowed are slow turns used up?",
                    "At 1 the month's allowance of 5 % lasts a month; at 14.4 it is gone in two"
                    " days and somebody is called. All agents of the job.",
                ),
                "none",
                f"max({_BURN_RATE}{{{matchers(())}}}) / {thresholds.SLOW_TURNS.ticket:g}",
                limit=thresholds.BURN_RATE,
            ).decimals(1),
            stat(
                About(
                    106,
                    "Turns",
                    "How many answers are the figures made of?",
                    "In the time shown. Of fewer than a hundred, p99 is one caller.",
                ),
                "short",
                counted(contract.TURN_LATENCY, suffix="_count"),
            ),
            *_heard_over_time(),
        ),
    )


def _heard_quantiles() -> tuple[AnyPanel, ...]:
    return tuple(
        stat(
            About(
                number,
                f"Turn latency, {name}",
                f"How long is the silence that {people} hear?",
                reading,
            ),
            "s",
            quantile(q, contract.TURN_LATENCY),
            limit=limit,
        )
        for number, name, q, people, reading, limit in (
            (
                101,
                "p50",
                0.5,
                "most callers",
                "Above 0.8 s the conversation stops feeling like one.",
                None,
            ),
            (
                102,
                "p95",
                0.95,
                "callers in a bad turn",
                "A ticket is opened at 1.5 s, somebody is called at 3.5 s.",
                thresholds.TURN_LATENCY,
            ),
            (
                103,
                "p99",
                0.99,
                "callers in the worst turns",
                "Above 5 s callers ask whether anybody is there, or hang up.",
                None,
            ),
        )
    )


def _heard_over_time() -> tuple[AnyPanel, ...]:
    return (
        heatmap(
            About(
                107,
                "How turn latency is spread",
                "Do all callers wait, or only some?",
                "A second band above the first is one agent, model or node. Dots are single"
                " turns: they carry the call's session id, and the trace where there is one.",
            ),
            "s",
            total(increase(contract.TURN_LATENCY, "_bucket", RATE), "le"),
            scheme="Blues",
            exemplars=True,
        ),
        graph(
            About(
                108,
                "Turn latency",
                "Is it getting worse?",
                "Dashed lines are the limits of p95. All three rising is load or a provider;"
                " p99 alone is single calls, which the dots lead to.",
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
    )


def _parts() -> board.Section:
    # Means add up and quantiles do not.  A speech-to-speech agent has one part only, and
    # would drag the others' mean: the turns here are of agents with a language model.
    pipeline = f"and on (job, instance, agent) {rate(contract.LLM_TTFT, '_count', **_ALL_MODELS)}"
    heard = ratio(
        total(f"{rate(contract.TURN_LATENCY, '_sum')} {pipeline}"),
        total(f"{rate(contract.TURN_LATENCY, '_count')} {pipeline}"),
    )
    whole = dashed(
        stack(
            About(
                201,
                "Where the silence comes from",
                "Which part of an answer takes the time, on average?",
                "Bad is a part that grew. A gap below the dashed line is time that no stage"
                " reports: tools, a second request, the way to the caller. Agents with a language"
                " model only; calls that talk to the provider directly are in the graph beside.",
            ),
            "s",
            [
                Line(_END_OF_TURN, mean(contract.EOU_DELAY, **_ALL_MODELS)),
                Line(_OWN_CODE, mean(contract.TURN_CALLBACK)),
                Line(_LANGUAGE_MODEL, mean(contract.LLM_TTFT, **_ALL_MODELS)),
                Line(_SYNTHESIS, mean(contract.TTS_TTFB, **_ALL_MODELS)),
                Line(_HEARD, heard),
            ],
            colour=_PARTS,
        ),
        _HEARD,
        colours.NEUTRAL,
    )
    worst = graph(
        About(
            202,
            "Slowest 5 % of each part",
            "Which stage is to blame for bad turns?",
            "The line that rises with turn latency is the one. Each has a limit of its own, drawn"
            " below.",
        ),
        "s",
        [
            Line(_END_OF_TURN, quantile(0.95, contract.EOU_DELAY, **_ALL_MODELS)),
            Line(_LANGUAGE_MODEL, quantile(0.95, contract.LLM_TTFT)),
            Line(_SYNTHESIS, quantile(0.95, contract.TTS_TTFB)),
            Line(_SPEECH_TO_SPEECH, quantile(0.95, contract.REALTIME_TTFT)),
        ],
        colour=_PARTS,
    )
    return board.Section(200, "Which part takes the time?", (whole, worst))


_ALL_MODELS: Final = {"provider": ".+", "model": ".+"}
"""For parts beside one another: a model chosen at the top is of one stage, and would take the
others out."""


def _models() -> board.Section:
    by_model = ("provider", "model")
    return board.Section(
        300,
        "Which model?",
        (
            graph(
                About(
                    301,
                    "Language model, first token, p95",
                    "Which language model is slow to begin?",
                    "One model above the line is its provider or a longer prompt; all of them is"
                    " the network.",
                    more=board.MODELS,
                ),
                "s",
                [Line("{{provider}}/{{model}}", quantile(0.95, contract.LLM_TTFT, *by_model))],
                limit=thresholds.LLM_TTFT,
            ),
            graph(
                About(
                    302,
                    "Speech synthesis, first byte, p95",
                    "Which voice is slow to begin?",
                    "Above the line callers hear the pause before every sentence.",
                    more=board.MODELS,
                ),
                "s",
                [Line("{{provider}}/{{model}}", quantile(0.95, contract.TTS_TTFB, *by_model))],
                limit=thresholds.TTS_TTFB,
            ),
            graph(
                About(
                    303,
                    "Speech to speech, first audio, p95",
                    "Which speech-to-speech model is slow to begin?",
                    "There is no other stage: this is nearly all of the silence.",
                    more=board.MODELS,
                ),
                "s",
                [Line("{{provider}}/{{model}}", quantile(0.95, contract.REALTIME_TTFT, *by_model))],
                limit=thresholds.REALTIME_TTFT,
            ),
            graph(
                About(
                    304,
                    "End of turn, p95",
                    "How long does it take to decide that the caller has finished?",
                    "Near the endpointing delay of the agent's settings is normal; above the line"
                    " the detector waits for the longest it may.",
                ),
                "s",
                [Line("{{agent}}", quantile(0.95, contract.EOU_DELAY, "agent", **_ALL_MODELS))],
                limit=thresholds.EOU_DELAY,
            ),
        ),
    )


def _agents() -> board.Section:
    return board.Section(
        400,
        "Which agent?",
        (
            table(
                About(
                    401,
                    "Agents",
                    "Which agent lets callers wait, and by which part?",
                    "Slowest first, over the time shown; parts are their p95, first audio is that"
                    " of speech-to-speech models. Orange and red are over the limit of an alert."
                    " Empty is a part that the agent does not have.",
                ),
                {"agent": "Agent"},
                _agent_columns(),
                sort="p95",
                height=6,
            ),
        ),
    )


def _agent_columns() -> list[Column]:
    shown = {"window": SHOWN}
    return [
        Column(
            "Turns",
            counted(contract.TURN_LATENCY, "agent", suffix="_count"),
            "short",
        ),
        Column("p50", quantile(0.5, contract.TURN_LATENCY, "agent", **shown), "s"),
        Column(
            "p95",
            quantile(0.95, contract.TURN_LATENCY, "agent", **shown),
            "s",
            thresholds.TURN_LATENCY,
        ),
        Column("p99", quantile(0.99, contract.TURN_LATENCY, "agent", **shown), "s"),
        Column(
            "Over 1.5 s",
            "1 - "
            + under(
                thresholds.TURN_LATENCY.ticket or 0,
                contract.TURN_LATENCY,
                "agent",
                window=SHOWN,
            ),
            "percentunit",
            thresholds.SLOW_TURNS,
        ),
        Column(
            "End of turn",
            quantile(0.95, contract.EOU_DELAY, "agent", **shown, **_ALL_MODELS),
            "s",
            thresholds.EOU_DELAY,
        ),
        Column(
            "First token",
            quantile(0.95, contract.LLM_TTFT, "agent", **shown),
            "s",
            thresholds.LLM_TTFT,
        ),
        Column(
            "First byte",
            quantile(0.95, contract.TTS_TTFB, "agent", **shown),
            "s",
            thresholds.TTS_TTFB,
        ),
        Column(
            "First audio",
            quantile(0.95, contract.REALTIME_TTFT, "agent", **shown),
            "s",
            thresholds.REALTIME_TTFT,
        ),
    ]


def _details() -> board.Section:
    return board.Section(
        500,
        "What else takes time",
        (
            graph(
                About(
                    501,
                    "Transcription, p95",
                    "How long after the caller's last word is the transcript there?",
                    "It is part of the end of turn: above that, the transcript is what is waited"
                    " for.",
                ),
                "s",
                [
                    Line(
                        "{{provider}}/{{model}}",
                        quantile(0.95, contract.TRANSCRIPTION_DELAY, "provider", "model"),
                    )
                ],
                span=8,
            ),
            graph(
                About(
                    502,
                    "Agent's own code, mean",
                    "How long does on_user_turn_completed hold the answer up?",
                    "Every millisecond here is silence. Look-ups belong behind a tool or ahead of"
                    " the turn.",
                ),
                "s",
                [Line("{{agent}}", mean(contract.TURN_CALLBACK, "agent"))],
                span=8,
            ),
            graph(
                About(
                    503,
                    "Connections, p95",
                    "How long does it take to get a connection to a provider?",
                    "Normal at the start of a call. All through a call it means that connections"
                    " are not kept.",
                ),
                "s",
                [
                    Line(
                        "{{provider}} {{stage}}",
                        quantile(0.95, contract.CONNECTION_ACQUIRE, "provider", "stage"),
                    )
                ],
                span=8,
            ),
        ),
    )
