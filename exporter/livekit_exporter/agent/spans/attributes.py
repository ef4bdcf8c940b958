"""The attributes that go onto LiveKit's spans, and LiveKit's own names of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from livekit_exporter.agent.spans.costs import ATTO, SpanCost
from livekit_exporter.calls.account import Account, TurnAccount, total
from livekit_exporter.calls.turns import plausible

Attributes: TypeAlias = dict[str, str | int | float | bool]

SESSION: Final = "agent_session"
TURN: Final = "agent_turn"
JOB: Final = "job_entrypoint"
REQUESTS: Final = {
    "llm_request": "llm",
    "tts_request": "tts",
    "realtime_inference": "realtime",
}
METRICS: Final = {
    "llm": "lk.llm_metrics",
    "tts": "lk.tts_metrics",
    "realtime": "lk.realtime_model_metrics",
}
RESPONSE: Final = "gen_ai.response.id"
MODEL: Final = "gen_ai.request.model"
SPEECH: Final = "lk.speech_id"
_ATTO: Final = float(ATTO)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanNames:
    """Names of the attributes; `None` leaves one out.

    Args:
        cost: US dollars, of a request, and on the session of everything without a span.
        cost_details: The same as JSON text, on the session by stage.
        usage_details: Usage as JSON text, each unit once.
        model: The model as the plugin names it.
        kind: Marks a span as a model's answer.
        kind_value: Value of that mark.
        totals: Prefix of the names of plain totals.  A name that a backend takes for a cost
            would count everything twice.
    """

    cost: str | None = "gen_ai.usage.cost"
    cost_details: str | None = "langfuse.observation.cost_details"
    usage_details: str | None = "langfuse.observation.usage_details"
    model: str | None = "langfuse.observation.model.name"
    kind: str | None = "langfuse.observation.type"
    kind_value: str = "generation"
    totals: str | None = "livekit_exporter"


NAMES: Final = SpanNames()


def of_request(names: SpanNames, cost: SpanCost) -> Attributes:
    """Describe a request: its usage, and its cost where it has a price."""
    said: Attributes = {}
    if names.usage_details is not None:
        said[names.usage_details] = f"{{{cost.usage}}}"
    if cost.priced and names.cost is not None:
        said[names.cost] = cost.atto / _ATTO
    if cost.priced and names.cost_details is not None:
        said[names.cost_details] = f'{{"total":{cost.atto}e-18}}'
    return said


def of_rest(names: SpanNames, units: Mapping[str, int]) -> Attributes:
    """Describe the costs by stage, in 1e-18 USD, that have no span of their own."""
    total = sum(units.values())
    said: Attributes = {}
    if not total:
        return said
    if names.cost is not None:
        said[names.cost] = total / _ATTO
    if names.cost_details is not None:
        parts = {stage: part / _ATTO for stage, part in units.items()}
        said[names.cost_details] = json.dumps({**parts, "total": total / _ATTO})
    if names.kind is not None:
        # Langfuse reads costs off spans of models' answers only.
        said[names.kind] = names.kind_value
    return said


def of_session(names: SpanNames, session: str, account: Account) -> Attributes:
    """Describe the whole call."""
    if names.totals is None:
        return {}
    about, spent = f"{names.totals}.session", total(account.spent.values())
    return {
        f"{about}.id": session,
        f"{about}.cost_usd": spent.atto / _ATTO,
        f"{about}.turns": account.turns,
        f"{about}.turns_interrupted": account.interrupted,
        f"{about}.unpriced_requests": spent.unpriced,
    }


def of_turn(names: SpanNames, turn: TurnAccount) -> Attributes:
    """Describe a reply, as far as it has come; only waits that were measured, in seconds."""
    if names.totals is None:
        return {}
    message = turn.message
    parts = {
        "number": turn.number or None,
        "latency_seconds": None if turn.derived else turn.latency_seconds,
        "eou_delay_seconds": turn.eou_delay_seconds,
        "transcription_delay_seconds": turn.transcription_delay_seconds,
        "callback_seconds": turn.callback_seconds,
        # LiveKit measures them on the message, the attempts of a fallback adapter included.
        "first_token_seconds": None if message is None else plausible(message.first_token_seconds),
        "first_byte_seconds": None if message is None else plausible(message.first_byte_seconds),
        "interrupted": turn.interrupted,
        "cost_usd": total(turn.spent.values()).atto / _ATTO,
    }
    about = f"{names.totals}.turn"
    return {f"{about}.{name}": value for name, value in parts.items() if value is not None}
