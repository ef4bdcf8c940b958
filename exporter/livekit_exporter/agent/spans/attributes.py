"""What goes onto LiveKit's spans, and how LiveKit calls them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from livekit_exporter.agent.spans.costs import ATTO, SpanCost
from livekit_exporter.agent.spans.totals import Totals, Turn

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
        usage_details: What was used, as JSON text, each unit once.
        model: The model as the plugin names it.
        kind: Says that a span is to be shown as a model's answer.
        kind_value: What it says then.
        totals: What the names of plain totals begin with.  A name that a backend takes for a
            cost would count everything twice.
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
    """A request: its usage, and its cost where it has a price."""
    said: Attributes = {}
    if names.usage_details is not None:
        said[names.usage_details] = f"{{{cost.usage}}}"
    if cost.priced and names.cost is not None:
        said[names.cost] = cost.atto / _ATTO
    if cost.priced and names.cost_details is not None:
        said[names.cost_details] = f'{{"total":{cost.atto}e-18}}'
    return said


def of_rest(names: SpanNames, units: Mapping[str, int]) -> Attributes:
    """What has no span of its own, by stage, in `ATTO`; nothing where it costs nothing."""
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
        # Langfuse reads the cost of no span that is not a model's answer.
        said[names.kind] = names.kind_value
    return said


def of_session(names: SpanNames, session: str, totals: Totals) -> Attributes:
    """The whole call."""
    if names.totals is None:
        return {}
    about = f"{names.totals}.session"
    return {
        f"{about}.id": session,
        f"{about}.cost_usd": totals.units / _ATTO,
        f"{about}.turns": totals.turns,
        f"{about}.turns_interrupted": totals.interrupted,
        f"{about}.unpriced_requests": totals.unpriced,
    }


def of_turn(names: SpanNames, turn: Turn) -> Attributes:
    """A reply, as far as it has come; waits are in seconds, and there where they were measured."""
    if names.totals is None:
        return {}
    parts = {
        "number": turn.number or None,
        "latency_seconds": turn.latency_seconds,
        "eou_delay_seconds": turn.eou_delay_seconds,
        "transcription_delay_seconds": turn.transcription_delay_seconds,
        "callback_seconds": turn.callback_seconds,
        "first_token_seconds": turn.first_token_seconds,
        "first_byte_seconds": turn.first_byte_seconds,
        "interrupted": turn.interrupted,
        "cost_usd": turn.units / _ATTO,
    }
    about = f"{names.totals}.turn"
    return {f"{about}.{name}": value for name, value in parts.items() if value is not None}
