"""Turns LiveKit's session events into records; metrics are read by `raw_metrics`.

Verified against livekit-agents 1.2.12 to 1.8.9.  Fields are read by name rather than by
class, because versions differ, and because a recorded event must read like a live one.
Nothing here imports LiveKit.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from livekit_exporter.agent.fields import (
    Moment,
    UnreadableError,
    between,
    measured,
    text,
    timestamp,
)
from livekit_exporter.agent.raw_metrics import RawMetrics
from livekit_exporter.record import (
    AvailabilityChanged,
    MessageAdded,
    Model,
    Record,
    RequestFailed,
    SessionClosed,
    Stage,
    ToolCalled,
)

_OTHER_ITEMS: Final = (
    "agent_handoff",
    "agent_config_update",
    "function_call",
    "function_call_output",
)
_ERROR_STAGES: Final[Mapping[object, Stage]] = {
    "llm_error": "llm",
    "stt_error": "stt",
    "tts_error": "tts",
    "realtime_model_error": "realtime",
    "interruption_detection_error": "interruption",
}


class RawMessage:
    """The fields of a conversation item, picked on the event loop, to be read by another thread.

    The text of a message is measured there and dropped.

    Args:
        item: LiveKit's item.
        moment: State of the call when it was added.

    Raises:
        UnreadableError: The object has no fields.
    """

    __slots__ = ("_fields", "_moment", "_records")

    def __init__(self, item: object, moment: Moment) -> None:
        try:
            self._fields = dict(vars(item))
        except TypeError:
            raise UnreadableError("unknown_item") from None
        self._moment = moment
        self._records: tuple[Record, ...] | None = None

    def records(self) -> tuple[Record, ...]:
        """Read the records, at most one; the first thread that asks does the work.

        Raises:
            UnreadableError: The item is of an unknown kind.
        """
        # In this order: another thread may store the records, and then drop the fields.
        fields = self._fields
        records = self._records
        if records is None:
            records = self._records = _read_item(fields, self._moment)
            self._fields = {}
        return records


# Any: the values are checked one by one.
def _read_item(fields: Mapping[str, Any], moment: Moment) -> tuple[Record, ...]:
    get, kind, role = fields.get, fields.get("type"), fields.get("role")
    if kind in _OTHER_ITEMS:
        return ()
    if kind != "message":
        raise UnreadableError("unknown_item")
    if role not in ("user", "assistant"):
        return ()
    rejected: list[str] = []
    # A plain mapping, since 1.3.1; an older SDK does not measure on messages.
    report = get("metrics")
    values: Mapping[str, object] = report if isinstance(report, dict) else {}
    message = MessageAdded(
        session=moment.session,
        at=moment.now,
        role=role,
        message=text(get("id")),
        speech=moment.speech if role == "assistant" else None,
        persona=moment.persona,
        trace=moment.trace,
        characters=sum(len(part) for part in _strings(get("content"))),
        interrupted=bool(get("interrupted", False)),
        spoken_seconds=between(
            values.get("started_speaking_at"), values.get("stopped_speaking_at")
        ),
        measured=isinstance(report, dict),
        latency_seconds=measured(values.get("e2e_latency"), rejected),
        first_token_seconds=measured(values.get("llm_node_ttft"), rejected),
        first_byte_seconds=measured(values.get("tts_node_ttfb"), rejected),
        requests=tuple(map(text, _strings(values.get("provider_request_ids")))),
        rejected=tuple(rejected),
    )
    return (message,)


def _strings(values: object) -> list[str]:
    return [part for part in values if isinstance(part, str)] if isinstance(values, list) else []


def _read_error(event: object, moment: Moment) -> tuple[Record, ...]:
    error = getattr(event, "error", None)
    kind = getattr(error, "type", None)
    stage = _ERROR_STAGES.get(kind) if isinstance(kind, str) else None
    if stage is None:
        raise UnreadableError("unknown_error")
    source = getattr(event, "source", None)
    failure = RequestFailed(
        session=moment.session,
        at=timestamp(getattr(event, "created_at", None), moment.now),
        stage=stage,
        provider=_text(source, "provider"),
        model=_text(source, "model"),
        label=_text(source, "label") or _text(error, "label"),
        persona=moment.persona,
        trace=moment.trace,
        recoverable=bool(getattr(error, "recoverable", False)),
        error=_error_class(error),
    )
    return (failure,)


def _read_tools(event: object, moment: Moment) -> tuple[Record, ...]:
    calls = getattr(event, "function_calls", None)
    outputs = getattr(event, "function_call_outputs", None)
    if not isinstance(calls, list):
        raise UnreadableError("malformed_tools")
    # Older SDKs leave the output out for a tool that asked for no reply.
    failed = {
        _text(output, "call_id"): bool(getattr(output, "is_error", False))
        for output in (outputs if isinstance(outputs, list) else ())
    }
    return tuple(
        ToolCalled(
            session=moment.session,
            at=timestamp(getattr(event, "created_at", None), moment.now),
            tool=_text(call, "name"),
            speech=moment.speech,
            persona=moment.persona,
            trace=moment.trace,
            failed=failed.get(_text(call, "call_id"), False),
        )
        for call in calls
    )


def _read_availability(event: object, moment: Moment, stage: Stage) -> tuple[Record, ...]:
    component = getattr(event, stage, None)
    change = AvailabilityChanged(
        session=moment.session,
        at=moment.now,
        stage=stage,
        provider=_text(component, "provider"),
        model=_text(component, "model"),
        label=_text(component, "label"),
        persona=moment.persona,
        trace=moment.trace,
        available=bool(getattr(event, "available", False)),
    )
    return (change,)


def _read_close(event: object, moment: Moment) -> tuple[Record, ...]:
    # Before 1.1.0 there is no reason.
    reason = getattr(event, "reason", None)
    closed = SessionClosed(
        session=moment.session,
        at=timestamp(getattr(event, "created_at", None), moment.now),
        reason=text(getattr(reason, "value", reason)) or "unknown",
        error=_error_class(getattr(event, "error", None)),
        trace=moment.trace,
    )
    return (closed,)


def _text(source: object, name: str) -> str:
    return text(getattr(source, name, None))


def _error_class(error: object) -> str:
    """Name the class of the exception in one of LiveKit's errors; its text may name people."""
    cause = getattr(error, "error", None)
    return type(cause).__name__ if isinstance(cause, BaseException) else ""


_READERS: Final[Mapping[str, Callable[[object, Moment], tuple[Record, ...]]]] = {
    # A component emits the bare metrics, a session wraps them in an event.
    "metrics_collected": lambda event, moment: RawMetrics(
        getattr(event, "metrics", event), *moment
    ).records(),
    "conversation_item_added": lambda event, moment: RawMessage(
        getattr(event, "item", None), moment
    ).records(),
    "function_tools_executed": _read_tools,
    "error": _read_error,
    "close": _read_close,
    "llm_availability_changed": partial(_read_availability, stage="llm"),
    "stt_availability_changed": partial(_read_availability, stage="stt"),
    "tts_availability_changed": partial(_read_availability, stage="tts"),
}

EVENTS: Final = frozenset(_READERS)
"""Names of the events that `read_event` knows."""


def read_event(name: str, event: object, moment: Moment) -> tuple[Record, ...]:
    """Turn an event of a session or a component into records; none if it says nothing new.

    Args:
        name: One of `EVENTS`.
        event: LiveKit's event object.
        moment: State of the call when the event arrived.

    Raises:
        UnreadableError: The event is of an unknown kind, or a billed quantity is no number.
    """
    return _READERS[name](event, moment)


def declared_model(component: object, stage: Stage) -> Model | None:
    """Read the model that a component declares; `None` if it declares none (before 1.2.12)."""
    provider, model = _text(component, "provider"), _text(component, "model")
    if not provider and not model:
        return None
    return Model(stage=stage, provider=provider, model=model, label=_text(component, "label"))
