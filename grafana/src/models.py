"""Models: side by side, for choosing one."""

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from grafana.src import board, thresholds, variables
from grafana.src.panels import About, AnyPanel, Column, Line, graph, table
from grafana.src.queries import (
    ANY,
    RATE,
    SHOWN,
    change,
    counted,
    increase,
    quantile,
    rate,
    ratio,
    share,
    total,
)
from livekit_exporter import contract

_MODEL: Final = ("provider", "model")
_NAMES: Final = {"provider": "Provider", "model": "Model"}
_LEGEND: Final = "{{provider}}/{{model}}"


def dashboard() -> Dashboard:
    """A table for each stage, then the same over time."""
    return board.board(
        board.MODELS,
        "LiveKit agents: models",
        "Which model is cheaper, quicker, more reliable, for the same work?",
        since="now-6h",
        choices=(
            variables.job(),
            variables.agent(),
            variables.provider(),
            variables.model(),
        ),
        sections=(
            board.Section(100, "Language models", (_language_models(), *_over_time())),
            board.Section(200, "Speech to speech", (_speech_to_speech(),)),
            board.Section(300, "Speech to text", (_speech_to_text(),)),
            board.Section(400, "Text to speech", (_text_to_speech(),)),
            board.Section(500, "How reliable are they?", _reliability()),
        ),
    )


def per_turn(stage: str, window: str) -> str:
    """Cost of a turn with a model.

    Turns have no model: an agent that falls back answers with two.  So its turns count for
    a model by the model's part of the requests.
    """
    agents = ("job", "agent")
    answered = total(change(contract.TURNS, window=window), *agents)
    asked = change(contract.REQUESTS, window=window, stage=stage)
    asked_of_all = change(contract.REQUESTS, window=window, stage=stage, provider=ANY, model=ANY)
    turns = total(
        f"{total(asked, *agents, *_MODEL)}"
        f" / on (job, agent) group_left () ({total(asked_of_all, *agents)} > 0)"
        f" * on (job, agent) group_left () {answered}",
        *_MODEL,
    )
    return ratio(total(change(contract.COST, window=window, stage=stage), *_MODEL), turns)


def _requests(stage: str) -> Column:
    # A model that was declared and never asked has nothing to compare.
    return Column("Requests", f"{counted(contract.REQUESTS, *_MODEL, stage=stage)} > 0", "short")


def _of_asked(expression: str, stage: str) -> str:
    """Leave out models that were declared and never asked."""
    asked = total(increase(contract.REQUESTS, stage=stage), *_MODEL)
    return f"{expression} and on (provider, model) ({asked} > 0)"


def _errors(stage: str) -> Column:
    failed = share(contract.REQUEST_ERRORS, contract.REQUESTS, *_MODEL, window=SHOWN, stage=stage)
    return Column("Errors", failed, "percentunit", thresholds.PROVIDER_ERRORS)


def _cut_off(stage: str) -> Column:
    cancelled = share(
        contract.REQUESTS_CANCELLED, contract.REQUESTS, *_MODEL, window=SHOWN, stage=stage
    )
    return Column("Cut off", cancelled, "percentunit")


def _cost_of_a_turn(stage: str) -> Column:
    return Column("Per turn", per_turn(stage, SHOWN), "currencyUSD")


def _share_of_cached(stage: str) -> Column:
    cached, read = (
        total(increase(contract.TOKENS, stage=stage, kind=kind), *_MODEL)
        for kind in ("cached_input", "input|cached_input|cache_write")
    )
    return Column("Cached", ratio(cached, read), "percentunit")


def _tokens(title: str, stage: str, kind: str) -> Column:
    tokens = total(increase(contract.TOKENS, stage=stage, kind=kind), *_MODEL)
    asked = total(increase(contract.REQUESTS, stage=stage), *_MODEL)
    return Column(title, ratio(tokens, asked), "short")


def _language_models() -> AnyPanel:
    return table(
        About(
            101,
            "Language models",
            "Which language model answers quicker, cheaper and without errors?",
            "Over the time shown, dearest first. 'Per turn' is cost, 'begins' is the wait for the"
            " first token. Compare models of one agent: prompts differ. Orange is over the"
            " limit of an alert.",
            more=board.COST,
        ),
        _NAMES,
        [
            _requests("llm"),
            _cost_of_a_turn("llm"),
            Column("Begins p50", quantile(0.5, contract.LLM_TTFT, *_MODEL, window=SHOWN), "s"),
            Column(
                "Begins p95",
                quantile(0.95, contract.LLM_TTFT, *_MODEL, window=SHOWN),
                "s",
                thresholds.LLM_TTFT,
            ),
            Column(
                "Tokens/s",
                # The metric has no stage; these are the models that answer as language models.
                f"{quantile(0.5, contract.TOKENS_PER_SECOND, *_MODEL, window=SHOWN)}"
                f" and {total(increase(contract.LLM_TTFT, '_count'), *_MODEL)}",
                "short",
            ),
            _errors("llm"),
            _cut_off("llm"),
            _tokens("Tokens in", "llm", "input|cached_input|cache_write"),
            _tokens("Tokens out", "llm", "output"),
            _share_of_cached("llm"),
        ],
        sort="Per turn",
        height=6,
    )


def _over_time() -> tuple[AnyPanel, ...]:
    return (
        graph(
            About(
                102,
                "First token, p50",
                "Which language model begins first, usually?",
                "Bad is a line that wanders: a provider with load problems.",
                more=board.LATENCY,
            ),
            "s",
            [Line(_LEGEND, quantile(0.5, contract.LLM_TTFT, *_MODEL))],
            span=8,
        ),
        graph(
            About(
                103,
                "Output tokens per second, p50",
                "Which model speaks faster than it is heard?",
                "Below about 10 tokens a second synthesis runs dry in the middle of a sentence.",
            ),
            "short",
            [Line(_LEGEND, quantile(0.5, contract.TOKENS_PER_SECOND, *_MODEL))],
            span=8,
        ),
        graph(
            About(
                104,
                "Cost of a turn",
                "Which language model is cheaper for the same work?",
                "Rising without a release: conversations get longer, or the cache misses.",
                more=board.COST,
            ),
            "currencyUSD",
            [Line(_LEGEND, per_turn("llm", RATE))],
            span=8,
        ),
    )


def _speech_to_speech() -> AnyPanel:
    return table(
        About(
            201,
            "Speech-to-speech models",
            "Which model that hears and speaks is quicker and cheaper?",
            "Over the time shown. Hold the cost of a turn against the sum of the three other"
            " tables. 'Begins' is the wait for the first audio.",
            more=board.COST,
        ),
        _NAMES,
        [
            _requests("realtime"),
            _cost_of_a_turn("realtime"),
            Column(
                "Begins p50",
                quantile(0.5, contract.REALTIME_TTFT, *_MODEL, window=SHOWN),
                "s",
            ),
            Column(
                "Begins p95",
                quantile(0.95, contract.REALTIME_TTFT, *_MODEL, window=SHOWN),
                "s",
                thresholds.REALTIME_TTFT,
            ),
            _errors("realtime"),
            _cut_off("realtime"),
            _tokens("Tokens in", "realtime", "input|cached_input|cache_write"),
            _tokens("Tokens out", "realtime", "output"),
            _share_of_cached("realtime"),
        ],
        sort="Per turn",
        height=5,
    )


def _speech_to_text() -> AnyPanel:
    heard = total(increase(contract.AUDIO_SECONDS, stage="stt"), *_MODEL)
    return table(
        About(
            301,
            "Speech-to-text models",
            "Which transcript comes sooner, and what does an hour of it cost?",
            "Over the time shown. 'Per hour' is the cost of an hour of audio, 'text' the wait for"
            " the transcript: a late one holds the whole answer up.",
            more=board.COST,
        ),
        _NAMES,
        [
            _requests("stt"),
            _cost_of_a_turn("stt"),
            Column(
                "Per hour",
                "3600 * " + ratio(total(increase(contract.COST, stage="stt"), *_MODEL), heard),
                "currencyUSD",
            ),
            Column("Audio", _of_asked(heard, "stt"), "s"),
            Column(
                "Text p50",
                quantile(0.5, contract.TRANSCRIPTION_DELAY, *_MODEL, window=SHOWN),
                "s",
            ),
            Column(
                "Text p95", quantile(0.95, contract.TRANSCRIPTION_DELAY, *_MODEL, window=SHOWN), "s"
            ),
            _errors("stt"),
        ],
        sort="Per turn",
        height=6,
    )


def _text_to_speech() -> AnyPanel:
    spoken = total(increase(contract.AUDIO_SECONDS, stage="tts"), *_MODEL)
    characters = total(increase(contract.CHARACTERS, stage="tts"), *_MODEL)
    cost = total(increase(contract.COST, stage="tts"), *_MODEL)
    return table(
        About(
            401,
            "Voices",
            "Which voice begins sooner, and what does a minute of it cost?",
            "Over the time shown. 'Per minute' is the cost of a minute of speech: it makes voices"
            " comparable that bill by character and by second. 'Begins' is the wait for the first"
            " byte.",
            more=board.COST,
        ),
        _NAMES,
        [
            _requests("tts"),
            _cost_of_a_turn("tts"),
            Column(
                "Per minute",
                f"60 * {ratio(cost, spoken)}",
                "currencyUSD",
            ),
            Column("Characters", _of_asked(characters, "tts"), "short"),
            Column("Begins p50", quantile(0.5, contract.TTS_TTFB, *_MODEL, window=SHOWN), "s"),
            Column(
                "Begins p95",
                quantile(0.95, contract.TTS_TTFB, *_MODEL, window=SHOWN),
                "s",
                thresholds.TTS_TTFB,
            ),
            _errors("tts"),
            _cut_off("tts"),
        ],
        sort="Per turn",
        height=6,
    )


def _reliability() -> tuple[AnyPanel, ...]:
    return (
        graph(
            About(
                501,
                "Errors",
                "Which model fails?",
                "Failed attempts for every request. Above the line a ticket is opened.",
            ),
            "percentunit",
            [Line(_LEGEND, share(contract.REQUEST_ERRORS, contract.REQUESTS, *_MODEL))],
            limit=thresholds.PROVIDER_ERRORS,
            span=8,
        ),
        graph(
            About(
                502,
                "Cut off",
                "Which model's answers are interrupted?",
                "Callers talk over what is late or long; a model that stands out is one of these.",
            ),
            "percentunit",
            [Line(_LEGEND, share(contract.REQUESTS_CANCELLED, contract.REQUESTS, *_MODEL))],
            span=8,
        ),
        graph(
            About(
                503,
                "Taken out of service",
                "Which provider do agents give up on?",
                "Times for every call. Above the line agents run on their second choice, at its"
                " price.",
            ),
            "short",
            [
                Line(
                    _LEGEND,
                    f"{total(rate(contract.FALLBACKS), *_MODEL)}"
                    f" / on () group_left () ({total(rate(contract.SESSIONS))} > 0)",
                )
            ],
            limit=thresholds.FALLBACKS,
            span=8,
        ),
    )
