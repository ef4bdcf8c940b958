"""LiveKit's session events become records; the module that knows its fields.

Verified against livekit-agents 1.2.12 to 1.8.9.  Fields are read with `getattr`,
because versions differ, and by name rather than by class, because a recorded event
must read like a live one.  Nothing here imports LiveKit.

LiveKit marks what it did not measure with a number: -1 for a first token or byte
that never came, 0.0 for an end of speech that nobody saw.  Those become `None`,
and the record says so in `rejected`.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Final, NamedTuple

from livekit_exporter.record import (
    LARGEST_QUANTITY,
    LONGEST_TEXT,
    AvailabilityChanged,
    MessageAdded,
    Model,
    Record,
    RequestFailed,
    SessionClosed,
    Stage,
    ToolCalled,
    TurnCommitted,
    Usage,
    UsageReported,
)

CLOCK_TOLERANCE_SECONDS: Final = 3600.0
"""A timestamp farther from the clock is none: one plugin reports a monotonic clock."""


class UnreadableError(Exception):
    """An event that cannot be turned into a record.

    Args:
        reason: Closed set of words, counted in `livekit_exporter_records_rejected_total`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Moment(NamedTuple):
    """What the collector knows of the call when an event arrives."""

    session: str
    now: float
    persona: str | None = None
    speech: str | None = None
    trace: str | None = None


def text(value: object) -> str:
    """A name or an id as a journal can carry it; empty where it is no text."""
    if not isinstance(value, str):
        return ""
    value = value[:LONGEST_TEXT]
    if value.isascii() and "\0" not in value:
        return value
    # Neither half a surrogate pair nor a NUL can be stored everywhere.
    return value.encode(errors="replace").decode().replace("\0", "?")


def _text(source: object, name: str) -> str:
    return text(getattr(source, name, None))


def _speech(metrics: object, moment: Moment) -> str | None:
    return _text(metrics, "speech_id") or moment.speech


def _number(value: object) -> float | None:
    """A finite number, or `None`; booleans and text are none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _count(source: object, name: str) -> int:
    """A counted quantity; one that this version of the SDK does not have is zero.

    Raises:
        UnreadableError: It is no count, so what the event says about money is not known.
    """
    value = getattr(source, name, 0)
    number = _number(value)
    if number is None or not 0 <= number <= LARGEST_QUANTITY or number != int(number):
        raise UnreadableError("malformed_quantity")
    return int(number)


def _optional_count(source: object, name: str) -> int:
    """A count that the SDK declares as one or `None`, which is zero.

    Raises:
        UnreadableError: It is something else.
    """
    return 0 if getattr(source, name, None) is None else _count(source, name)


def _amount(source: object, name: str) -> float:
    """A billed duration in seconds; one that this version of the SDK does not have is zero.

    Raises:
        UnreadableError: It is no duration.
    """
    number = _number(getattr(source, name, 0.0))
    if number is None or not 0 <= number <= LARGEST_QUANTITY:
        raise UnreadableError("malformed_quantity")
    return number


def _measured(value: object, rejected: list[str], sentinel: str = "negative") -> float | None:
    """A measured duration in seconds; what is no measurement is named in `rejected`."""
    if value is None:
        return None
    number = _number(value)
    if number is None:
        rejected.append("not_a_number")
        return None
    if number < 0:
        rejected.append(sentinel if number == -1 else "negative")
        return None
    return number


def _delay(source: object, name: str, rejected: list[str]) -> float | None:
    """An end-of-utterance delay: exactly zero means that the end of speech was not seen."""
    seconds = _measured(getattr(source, name, None), rejected)
    if seconds == 0:
        rejected.append("end_of_speech_unknown")
        return None
    return seconds


def _time(source: object, name: str, moment: Moment) -> float:
    number = _number(getattr(source, name, None))
    if number is None or abs(number - moment.now) > CLOCK_TOLERANCE_SECONDS:
        return moment.now
    return number


def _positive(source: object, name: str) -> float | None:
    """A duration that LiveKit leaves at zero when it did not measure it."""
    number = _number(getattr(source, name, None))
    return number if number is not None and number > 0 else None


def _between(values: Mapping[str, object], begun: str, ended: str) -> float | None:
    """Seconds from one time to another, `None` where one of them is not known."""
    first, last = _number(values.get(begun)), _number(values.get(ended))
    if first is None or last is None or not 0 <= last - first <= CLOCK_TOLERANCE_SECONDS:
        return None
    return last - first


def _llm(metrics: object, moment: Moment) -> UsageReported:
    rejected: list[str] = []
    cancelled = bool(getattr(metrics, "cancelled", False))
    metadata = getattr(metrics, "metadata", None)
    return UsageReported(
        session=moment.session,
        at=_time(metrics, "timestamp", moment),
        stage="llm",
        provider=_text(metadata, "model_provider"),
        model=_text(metadata, "model_name"),
        label=_text(metrics, "label"),
        request=_text(metrics, "request_id"),
        speech=_speech(metrics, moment),
        persona=moment.persona,
        trace=moment.trace,
        cancelled=cancelled,
        usage=Usage(
            input_tokens=_count(metrics, "prompt_tokens"),
            cached_input_tokens=_count(metrics, "prompt_cached_tokens"),
            cache_write_tokens=_count(metrics, "cache_creation_tokens"),
            output_tokens=_count(metrics, "completion_tokens"),
            total_tokens=_count(metrics, "total_tokens"),
        ),
        first_seconds=_measured(getattr(metrics, "ttft", None), rejected, "no_first_token"),
        request_seconds=None
        if cancelled
        else _measured(getattr(metrics, "duration", None), rejected),
        tokens_per_second=None if cancelled else _positive(metrics, "tokens_per_second"),
        rejected=tuple(rejected),
    )


def _decision(metrics: object, moment: Moment) -> UsageReported:
    """A decision model's request; LiveKit gives it the fields of neither LLM nor realtime."""
    rejected: list[str] = []
    metadata = getattr(metrics, "metadata", None)
    return UsageReported(
        session=moment.session,
        at=_time(metrics, "timestamp", moment),
        stage="llm",
        provider=_text(metadata, "model_provider"),
        model=_text(metadata, "model_name"),
        label=_text(metrics, "label"),
        request=_text(metrics, "request_id"),
        persona=moment.persona,
        trace=moment.trace,
        usage=Usage(
            input_tokens=_optional_count(metrics, "input_tokens"),
            output_tokens=_optional_count(metrics, "output_tokens"),
        ),
        request_seconds=_measured(getattr(metrics, "duration", None), rejected),
        rejected=tuple(rejected),
    )


def _stt(metrics: object, moment: Moment) -> UsageReported:
    rejected: list[str] = []
    streamed = bool(getattr(metrics, "streamed", True))
    metadata = getattr(metrics, "metadata", None)
    request = _text(metrics, "request_id")
    acquired = _positive(metrics, "acquire_time")
    usage = Usage(
        input_tokens=_count(metrics, "input_tokens"),
        output_tokens=_count(metrics, "output_tokens"),
        total_tokens=_count(metrics, "total_tokens"),
        input_audio_tokens=_count(metrics, "input_audio_tokens"),
        audio_seconds=_amount(metrics, "audio_duration"),
    )
    connection = not request and acquired is not None and usage == Usage()
    return UsageReported(
        session=moment.session,
        at=_time(metrics, "timestamp", moment),
        stage="stt",
        provider=_text(metadata, "model_provider"),
        model=_text(metadata, "model_name"),
        label=_text(metrics, "label"),
        request=request,
        persona=moment.persona,
        trace=moment.trace,
        streamed=streamed,
        connection=connection,
        usage=usage,
        # LiveKit reports 0.0 for a stream: by definition no length of a request.
        request_seconds=None
        if streamed
        else _measured(getattr(metrics, "duration", None), rejected),
        acquire_seconds=acquired,
        requests=0 if connection else 1,
        rejected=tuple(rejected),
    )


def _tts(metrics: object, moment: Moment) -> UsageReported:
    rejected: list[str] = []
    cancelled = bool(getattr(metrics, "cancelled", False))
    metadata = getattr(metrics, "metadata", None)
    return UsageReported(
        session=moment.session,
        at=_time(metrics, "timestamp", moment),
        stage="tts",
        provider=_text(metadata, "model_provider"),
        model=_text(metadata, "model_name"),
        label=_text(metrics, "label"),
        request=_text(metrics, "request_id"),
        speech=_speech(metrics, moment),
        persona=moment.persona,
        trace=moment.trace,
        cancelled=cancelled,
        usage=Usage(
            input_tokens=_count(metrics, "input_tokens"),
            output_tokens=_count(metrics, "output_tokens"),
            output_audio_tokens=_count(metrics, "output_tokens"),
            characters=_count(metrics, "characters_count"),
            audio_seconds=_amount(metrics, "audio_duration"),
        ),
        first_seconds=_measured(getattr(metrics, "ttfb", None), rejected, "no_first_byte"),
        request_seconds=None
        if cancelled
        else _measured(getattr(metrics, "duration", None), rejected),
        acquire_seconds=_positive(metrics, "acquire_time"),
        rejected=tuple(rejected),
    )


def _realtime(metrics: object, moment: Moment) -> UsageReported:
    rejected: list[str] = []
    cancelled = bool(getattr(metrics, "cancelled", False))
    metadata = getattr(metrics, "metadata", None)
    asked = getattr(metrics, "input_token_details", None)
    cached = getattr(asked, "cached_tokens_details", None)
    answered = getattr(metrics, "output_token_details", None)
    request = _text(metrics, "request_id")
    acquired = _positive(metrics, "acquire_time")
    usage = Usage(
        input_tokens=_count(metrics, "input_tokens"),
        cached_input_tokens=_count(asked, "cached_tokens"),
        output_tokens=_count(metrics, "output_tokens"),
        total_tokens=_count(metrics, "total_tokens"),
        input_audio_tokens=_count(asked, "audio_tokens"),
        input_image_tokens=_count(asked, "image_tokens"),
        cached_audio_tokens=_count(cached, "audio_tokens"),
        cached_image_tokens=_count(cached, "image_tokens"),
        output_audio_tokens=_count(answered, "audio_tokens"),
        output_image_tokens=_count(answered, "image_tokens"),
        connection_seconds=_amount(metrics, "session_duration"),
    )
    connection = not request and acquired is not None and usage == Usage()
    # The time-billed models report their session once, when it closes: no request of its own.
    closing = request == "session_close"
    return UsageReported(
        session=moment.session,
        at=_time(metrics, "timestamp", moment),
        stage="realtime",
        provider=_text(metadata, "model_provider"),
        model=_text(metadata, "model_name"),
        label=_text(metrics, "label"),
        request=request,
        speech=moment.speech,
        persona=moment.persona,
        trace=moment.trace,
        cancelled=cancelled,
        streamed=closing,
        connection=connection,
        usage=usage,
        first_seconds=None
        if connection or closing
        else _measured(getattr(metrics, "ttft", None), rejected, "no_first_token"),
        request_seconds=None if cancelled or closing else _positive(metrics, "duration"),
        acquire_seconds=acquired,
        tokens_per_second=None if cancelled else _positive(metrics, "tokens_per_second"),
        requests=0 if connection or closing else 1,
        rejected=tuple(rejected),
    )


def _inference(metrics: object, moment: Moment, stage: Stage) -> UsageReported | None:
    """LiveKit's own small models: requests are counted since the last event, nothing is priced."""
    requests = _count(metrics, "num_requests")
    if not requests:
        return None
    rejected: list[str] = []
    metadata = getattr(metrics, "metadata", None)
    return UsageReported(
        session=moment.session,
        at=_time(metrics, "timestamp", moment),
        stage=stage,
        provider=_text(metadata, "model_provider"),
        model=_text(metadata, "model_name"),
        persona=moment.persona,
        trace=moment.trace,
        requests=requests,
        request_seconds=_measured(getattr(metrics, "total_duration", None), rejected),
        rejected=tuple(rejected),
    )


def _interruption(metrics: object, moment: Moment) -> UsageReported | None:
    return _inference(metrics, moment, "interruption")


def _turn_detection(metrics: object, moment: Moment) -> UsageReported | None:
    return _inference(metrics, moment, "turn_detection")


def _end_of_utterance(metrics: object, moment: Moment) -> TurnCommitted:
    rejected: list[str] = []
    metadata = getattr(metrics, "metadata", None)
    return TurnCommitted(
        session=moment.session,
        at=_time(metrics, "timestamp", moment),
        provider=_text(metadata, "model_provider"),
        model=_text(metadata, "model_name"),
        speech=_text(metrics, "speech_id") or None,
        persona=moment.persona,
        trace=moment.trace,
        eou_delay_seconds=_delay(metrics, "end_of_utterance_delay", rejected),
        transcription_delay_seconds=_delay(metrics, "transcription_delay", rejected),
        callback_seconds=_positive(metrics, "on_user_turn_completed_delay"),
        rejected=tuple(rejected),
    )


def _nothing(_metrics: object, _moment: Moment) -> None:
    """Known, and of no cost and no wait: VAD inference and avatar start."""


_METRICS: Final[dict[str, Callable[[object, Moment], UsageReported | TurnCommitted | None]]] = {
    "llm_metrics": _llm,
    "decision_metrics": _decision,
    "stt_metrics": _stt,
    "tts_metrics": _tts,
    "realtime_model_metrics": _realtime,
    "eou_metrics": _end_of_utterance,
    "eot_inference_metrics": _turn_detection,
    "interruption_metrics": _interruption,
    "vad_metrics": _nothing,
    "avatar_metrics": _nothing,
}

# A tuple: what a stranger's event calls its kind need not be hashable.
SILENT: Final = tuple(kind for kind, read in _METRICS.items() if read is _nothing)
"""Kinds of metrics that say nothing; voice activity detection emits one every second."""


def _read_metrics(event: object, moment: Moment) -> tuple[Record, ...]:
    # A component hands out the bare metrics, a session wraps them in an event.
    metrics = getattr(event, "metrics", event)
    kind = getattr(metrics, "type", None)
    read = _METRICS.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise UnreadableError("unknown_metrics")
    record = read(metrics, moment)
    return () if record is None else (record,)


def _characters(item: object) -> int:
    """Length of a message's text; the text itself goes nowhere."""
    content = getattr(item, "content", None)
    if not isinstance(content, list):
        return 0
    return sum(len(part) for part in content if isinstance(part, str))


def _read_item(event: object, moment: Moment) -> tuple[Record, ...]:
    item = getattr(event, "item", None)
    kind = getattr(item, "type", None)
    if kind in ("agent_handoff", "agent_config_update", "function_call", "function_call_output"):
        return ()
    if kind != "message":
        raise UnreadableError("unknown_item")
    role = getattr(item, "role", None)
    if role not in ("user", "assistant"):
        return ()
    rejected: list[str] = []
    # A plain mapping, since 1.3.1; a message without it comes from an SDK that does not measure.
    report = getattr(item, "metrics", None)
    measured = isinstance(report, dict)
    values: dict[str, object] = report if isinstance(report, dict) else {}
    requests = values.get("provider_request_ids")
    message = MessageAdded(
        session=moment.session,
        at=moment.now,
        role=role,
        message=_text(item, "id"),
        speech=moment.speech if role == "assistant" else None,
        persona=moment.persona,
        trace=moment.trace,
        characters=_characters(item),
        interrupted=bool(getattr(item, "interrupted", False)),
        spoken_seconds=_between(values, "started_speaking_at", "stopped_speaking_at"),
        measured=measured,
        latency_seconds=_measured(values.get("e2e_latency"), rejected),
        first_token_seconds=_measured(values.get("llm_node_ttft"), rejected),
        first_byte_seconds=_measured(values.get("tts_node_ttfb"), rejected),
        requests=_texts(requests) if isinstance(requests, list) else (),
        rejected=tuple(rejected),
    )
    return (message,)


def _texts(values: Iterable[object]) -> tuple[str, ...]:
    return tuple(text(value) for value in values if isinstance(value, str))


_ERROR_STAGES: Final[dict[str, Stage]] = {
    "llm_error": "llm",
    "stt_error": "stt",
    "tts_error": "tts",
    "realtime_model_error": "realtime",
    "interruption_detection_error": "interruption",
}


def _read_error(event: object, moment: Moment) -> tuple[Record, ...]:
    error = getattr(event, "error", None)
    kind = getattr(error, "type", None)
    stage = _ERROR_STAGES.get(kind) if isinstance(kind, str) else None
    if stage is None:
        raise UnreadableError("unknown_error")
    source = getattr(event, "source", None)
    cause = getattr(error, "error", None)
    failure = RequestFailed(
        session=moment.session,
        at=_time(event, "created_at", moment),
        stage=stage,
        provider=_text(source, "provider"),
        model=_text(source, "model"),
        label=_text(source, "label") or _text(error, "label"),
        persona=moment.persona,
        trace=moment.trace,
        recoverable=bool(getattr(error, "recoverable", False)),
        error=type(cause).__name__ if isinstance(cause, BaseException) else "",
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
            at=_time(event, "created_at", moment),
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
    error = getattr(event, "error", None)
    cause = getattr(error, "error", None)
    closed = SessionClosed(
        session=moment.session,
        at=_time(event, "created_at", moment),
        reason=text(getattr(reason, "value", reason)) or "unknown",
        error=type(cause).__name__ if isinstance(cause, BaseException) else "",
        trace=moment.trace,
    )
    return (closed,)


_EVENTS: Final[dict[str, Callable[[object, Moment], tuple[Record, ...]]]] = {
    "metrics_collected": _read_metrics,
    "conversation_item_added": _read_item,
    "function_tools_executed": _read_tools,
    "error": _read_error,
    "close": _read_close,
    "llm_availability_changed": partial(_read_availability, stage="llm"),
    "stt_availability_changed": partial(_read_availability, stage="stt"),
    "tts_availability_changed": partial(_read_availability, stage="tts"),
}

EVENTS: Final = frozenset(_EVENTS)
"""Names of the events that `read_event` knows."""


def read_event(name: str, event: object, moment: Moment) -> tuple[Record, ...]:
    """Turn an event of a session or a component into records; none where it says nothing new.

    Args:
        name: One of `EVENTS`.
        event: LiveKit's event object.
        moment: What the collector knows of the call.

    Raises:
        UnreadableError: The event is of an unknown kind, or a billed quantity is no number.
    """
    return _EVENTS[name](event, moment)


class Heard:
    """Metrics as the event loop heard them, to be read by another thread.

    Reading costs several times what hearing does, and the loop moves the caller's audio:
    here the fields are picked, all at once, and what the call knew at that moment.

    Args:
        metrics: LiveKit's metrics object.
        session: What the collector knows of the call, as in `Moment`, and the others too.
        now: When.
        persona: Who held the call.
        speech: Which reply was going on.

    Raises:
        UnreadableError: The object has no fields.
    """

    __slots__ = ("_persona", "_records", "_session", "_speech", "fields", "now")

    def __init__(
        self,
        metrics: object,
        session: str,
        now: float,
        persona: str | None = None,
        speech: str | None = None,
    ) -> None:
        try:
            self.fields = dict(vars(metrics))
        except TypeError:
            raise UnreadableError("unknown_metrics") from None
        self._session = session
        self.now = now
        self._persona = persona
        self._speech = speech
        self._records: tuple[Record, ...] | None = None

    @property
    def speech(self) -> str | None:
        """Which reply they belong to."""
        return text(self.fields.get("speech_id")) or self._speech

    def records(self) -> tuple[Record, ...]:
        """What they say; read by whichever thread asks first.

        Raises:
            UnreadableError: They are of an unknown kind, or a billed quantity is no number.
        """
        if self._records is None:
            event = SimpleNamespace(metrics=SimpleNamespace(**self.fields))
            moment = Moment(self._session, self.now, self._persona, self._speech)
            self._records = _read_metrics(event, moment)
        return self._records


class Added:
    """An item of the conversation as the event loop saw it, to be read by another thread.

    Its text is measured then, and let go.

    Args:
        item: LiveKit's item.
        moment: What the call knew at that moment.

    Raises:
        UnreadableError: The object has no fields.
    """

    __slots__ = ("_fields", "_moment", "_records", "role")

    def __init__(self, item: object, moment: Moment) -> None:
        try:
            self._fields = dict(vars(item))
        except TypeError:
            raise UnreadableError("unknown_item") from None
        self.role = self._fields.get("role")
        self._moment = moment
        self._records: tuple[Record, ...] | None = None

    def records(self) -> tuple[Record, ...]:
        """What it says; read by whichever thread asks first.

        Raises:
            UnreadableError: It is of an unknown kind.
        """
        records = self._records
        if records is None:
            event = SimpleNamespace(item=SimpleNamespace(**self._fields))
            records = self._records = _read_item(event, self._moment)
            self._fields = {}
        return records


def declared_model(component: object, stage: Stage) -> Model | None:
    """What a component says it is, `None` where it does not say (before 1.2.12)."""
    provider, model = _text(component, "provider"), _text(component, "model")
    if not provider and not model:
        return None
    return Model(stage=stage, provider=provider, model=model, label=_text(component, "label"))
