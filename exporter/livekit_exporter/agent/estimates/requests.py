"""Requests to a vendor as their spans show them; texts are lengths here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from livekit_exporter.record import LARGEST_QUANTITY, Model

SpokenStage: TypeAlias = Literal["llm", "tts"]

_TAKEN_UP: Final = 0.3
"""Part of the usual time to a first token after which a vendor whose connection breaks is
assumed to have begun to work."""


class Attempt(NamedTuple):
    """One try of a request.

    Args:
        error: Class of the exception that ended it; empty if none did, or it was cut off.
        answered: The vendor had answered with an id.
        seconds: How long it ran.
    """

    error: str
    answered: bool
    seconds: float

    def is_billed(self, usual_wait: float) -> bool:
        """Assume that the vendor bills an attempt which it had begun to work on.

        No vendor documents what it bills for a broken request.  The assumption is that a
        refusal is free, and so is a connection that broke at once; a request that was cut off,
        that timed out, or that broke off when an answer was due, is billed.

        Args:
            usual_wait: Seconds to a first token as a rule, 0 if that is not known.
        """
        if not self.error or self.answered or "Timeout" in self.error:
            return True
        return "Connection" in self.error and 0 < usual_wait * _TAKEN_UP <= self.seconds


class SpanMetrics(NamedTuple):
    """Usage that LiveKit's metrics on a span report, as far as estimates need it."""

    model: Model
    request: str
    cancelled: bool
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    characters: int
    first_seconds: float | None
    seconds: float

    @property
    def has_usage(self) -> bool:
        """True if it reports what is billed."""
        return bool(self.input_tokens or self.output_tokens or self.characters)

    @property
    def answering_seconds(self) -> float:
        """Time from the first token to the last."""
        first = self.first_seconds
        return 0.0 if first is None else max(self.seconds - first, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRequest:
    """A provider request whose span ended.

    Args:
        step: Key of the step of the reply whose text it generates or speaks; `None` if there
            is none, as for `session.say`.
        model: The model; its span may name the provider differently than the plugin.
        metrics: The metrics that LiveKit put on the span; `None` if it put none there.
        written: Characters that the model had written, also if it was cut off, and how many of
            them are in whole sentences; `None` if the span does not say.
        finished: It ran to its end.
        streamed: Text was sent to it piece by piece.
        recovery_probe: A fallback adapter tried whether the provider is back.
        heard: Its reply was meant for the caller by then.
        prompt_characters: Length of the prompt.
        previous_prompt_characters: Length of the prompt before it, to the same model.
        attempts: Its attempts, the last one at the end.
    """

    session: str
    at: float
    step: int | None
    model: Model
    speech: str | None = None
    persona: str | None = None
    trace: str | None = None
    metrics: SpanMetrics | None = None
    written: tuple[int, int] | None = None
    finished: bool = False
    streamed: bool = True
    recovery_probe: bool = False
    heard: bool = True
    prompt_characters: int = 0
    previous_prompt_characters: int = 0
    attempts: tuple[Attempt, ...] = ()


def read_metrics(raw: str | None, model: Model) -> SpanMetrics | None:
    """Read the metrics that LiveKit put on a span as JSON.

    Args:
        raw: The JSON; `None` if the span has none.
        model: The model, as far as its metrics do not name it.

    Returns:
        `None` if there are none, or they cannot be read.
    """
    fields = _parse(raw)
    if fields is None:
        return None
    metadata = fields.get("metadata")
    names = metadata if isinstance(metadata, dict) else {}
    first = _number(fields, "ttft")
    return SpanMetrics(
        model=Model(
            stage=model.stage,
            provider=_text(names, "model_provider") or model.provider,
            model=_text(names, "model_name") or model.model,
            label=_text(fields, "label") or model.label,
        ),
        request=_text(fields, "request_id"),
        cancelled=fields.get("cancelled") is True,
        input_tokens=int(_number(fields, "prompt_tokens")),
        cached_input_tokens=int(_number(fields, "prompt_cached_tokens")),
        output_tokens=int(_number(fields, "completion_tokens")),
        characters=int(_number(fields, "characters_count")),
        first_seconds=first if first > 0 else None,
        seconds=_number(fields, "duration"),
    )


def parse_metrics(raw: str | None) -> SimpleNamespace | None:
    """Read the metrics on a span as the object that they were; `None` if they cannot be read."""
    fields = _parse(raw)
    if fields is None or not isinstance(fields.get("type"), str):
        return None
    metadata = fields.pop("metadata", None)
    names = SimpleNamespace(**metadata) if isinstance(metadata, dict) else None
    return SimpleNamespace(**fields, metadata=names)


def _parse(raw: str | None) -> "dict[str, Any] | None":
    try:
        fields = json.loads(raw or "null")
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _number(fields: Mapping[str, object], name: str) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if 0 <= value <= LARGEST_QUANTITY else 0.0


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""
