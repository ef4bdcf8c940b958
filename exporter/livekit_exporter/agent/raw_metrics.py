"""Turns LiveKit's metrics into records: usage of requests, and ends of turns.

Verified against livekit-agents 1.2.12 to 1.8.9.  Fields are read by name with a default,
because versions differ, and because a recorded event must read like a live one.  Nothing
here imports LiveKit.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from livekit_exporter.agent.fields import (
    UnreadableError,
    amount,
    count,
    delay,
    measured,
    positive,
    text,
    timestamp,
)
from livekit_exporter.agent.heard import heard
from livekit_exporter.record import Phase, Record, Stage, TurnCommitted, Usage, UsageReported


class RawMetrics:
    """The fields of a metrics object, picked on the event loop, to be read by another thread.

    Reading costs several times what picking does, and the event loop moves the caller's audio.
    The fields are copied at once, because another handler may change the object.

    Args:
        metrics: LiveKit's metrics object.
        session: Session id.
        now: Clock when the event arrived, Unix seconds.
        persona: Id of the agent that holds the call.
        speech: Id of the reply under way, for metrics that name none.
        trace: OpenTelemetry trace id.

    Raises:
        UnreadableError: The object has no fields.
    """

    __slots__ = ("_records", "current_speech", "fields", "now", "persona", "session", "trace")

    def __init__(
        self,
        metrics: object,
        session: str,
        now: float,
        persona: str | None = None,
        speech: str | None = None,
        trace: str | None = None,
    ) -> None:
        try:
            self.fields: Mapping[str, object] = dict(vars(metrics))
        except TypeError:
            raise UnreadableError("unknown_metrics") from None
        self.session = session
        self.now = now
        self.persona = persona
        self.current_speech = speech
        self.trace = trace
        self._records: tuple[Record, ...] | None = None

    def records(self) -> tuple[Record, ...]:
        """Read the records, at most one; the first thread that asks does the work.

        Raises:
            UnreadableError: The metrics are of an unknown kind, or a billed quantity is no number.
        """
        if self._records is None:
            self.note()
            kind = self.fields.get("type")
            read = _READERS.get(kind) if isinstance(kind, str) else None
            if read is None:
                raise UnreadableError("unknown_metrics")
            record = read(self)
            if isinstance(record, UsageReported):
                record = self._placed(record)
            self._records = () if record is None else (record,)
        return self._records

    def note(self) -> None:
        """Let a span that carries a copy of these metrics be recognised."""
        get = self.fields.get
        heard.note(get("type"), get("request_id"), get("timestamp"))

    def _placed(self, record: UsageReported) -> UsageReported:
        """Say where a record belongs: here, to the session."""
        return record


class PlacedMetrics(RawMetrics):
    """Metrics of what is not the session's own, or comes after it.

    A class of its own: what the session itself uses, which is nearly all, carries no more.

    Args:
        raw: The metrics.
        phase: When they were used; outside of the session they are part of no reply.
        stage: Where their usage belongs, if not where metrics of their kind do.
    """

    __slots__ = ("_phase", "_stage")

    def __init__(self, raw: RawMetrics, phase: Phase, stage: Stage | None = None) -> None:
        self.fields = raw.fields
        self.session, self.now, self.persona = raw.session, raw.now, raw.persona
        self.current_speech, self.trace = raw.current_speech, raw.trace
        self._records = None
        self._phase, self._stage = phase, stage

    def _placed(self, record: UsageReported) -> UsageReported:
        if self._phase != "call":
            record = replace(record, phase=self._phase, speech=None)
        return record if self._stage is None else replace(record, stage=self._stage)


def _report(raw: RawMetrics, stage: Stage) -> "partial[UsageReported]":
    """Begin a usage record with the fields that all metrics have."""
    get, metadata = raw.fields.get, raw.fields.get("metadata")
    return partial(
        UsageReported,
        session=raw.session,
        at=timestamp(get("timestamp"), raw.now),
        stage=stage,
        provider=text(getattr(metadata, "model_provider", None)),
        model=text(getattr(metadata, "model_name", None)),
        label=text(get("label")),
        request=text(get("request_id")),
        persona=raw.persona,
        trace=raw.trace,
    )


def _llm(raw: RawMetrics) -> UsageReported:
    get = raw.fields.get
    rejected: list[str] = []
    cancelled = bool(get("cancelled", False))
    return _report(raw, "llm")(
        speech=text(get("speech_id")) or raw.current_speech,
        cancelled=cancelled,
        usage=Usage(
            input_tokens=count(get("prompt_tokens", 0)),
            cached_input_tokens=count(get("prompt_cached_tokens", 0)),
            cache_write_tokens=count(get("cache_creation_tokens", 0)),
            output_tokens=count(get("completion_tokens", 0)),
            total_tokens=count(get("total_tokens", 0)),
        ),
        first_seconds=measured(get("ttft"), rejected, "no_first_token"),
        request_seconds=None if cancelled else measured(get("duration"), rejected),
        tokens_per_second=None if cancelled else positive(get("tokens_per_second")),
        rejected=tuple(rejected),
    )


def _decision(raw: RawMetrics) -> UsageReported:
    """Read a decision model's request; its fields are neither those of an LLM nor of realtime."""
    get = raw.fields.get
    # LiveKit declares both as a number or `None`.
    asked, answered = get("input_tokens"), get("output_tokens")
    rejected: list[str] = []
    return _report(raw, "llm")(
        usage=Usage(
            input_tokens=0 if asked is None else count(asked),
            output_tokens=0 if answered is None else count(answered),
        ),
        request_seconds=measured(get("duration"), rejected),
        rejected=tuple(rejected),
    )


def _stt(raw: RawMetrics) -> UsageReported:
    get = raw.fields.get
    rejected: list[str] = []
    streamed = bool(get("streamed", True))
    acquired = positive(get("acquire_time"))
    usage = Usage(
        input_tokens=count(get("input_tokens", 0)),
        output_tokens=count(get("output_tokens", 0)),
        total_tokens=count(get("total_tokens", 0)),
        input_audio_tokens=count(get("input_audio_tokens", 0)),
        audio_seconds=amount(get("audio_duration", 0.0)),
    )
    connection = _is_connection(raw, acquired, usage)
    return _report(raw, "stt")(
        streamed=streamed,
        connection=connection,
        usage=usage,
        # LiveKit reports 0.0 for a stream, which is no length of a request.
        request_seconds=None if streamed else measured(get("duration"), rejected),
        acquire_seconds=acquired,
        requests=0 if connection else 1,
        rejected=tuple(rejected),
    )


def _tts(raw: RawMetrics) -> UsageReported:
    get = raw.fields.get
    rejected: list[str] = []
    cancelled = bool(get("cancelled", False))
    output = count(get("output_tokens", 0))
    return _report(raw, "tts")(
        speech=text(get("speech_id")) or raw.current_speech,
        cancelled=cancelled,
        usage=Usage(
            input_tokens=count(get("input_tokens", 0)),
            output_tokens=output,
            output_audio_tokens=output,
            characters=count(get("characters_count", 0)),
            audio_seconds=amount(get("audio_duration", 0.0)),
        ),
        first_seconds=measured(get("ttfb"), rejected, "no_first_byte"),
        request_seconds=None if cancelled else measured(get("duration"), rejected),
        acquire_seconds=positive(get("acquire_time")),
        rejected=tuple(rejected),
    )


def _realtime(raw: RawMetrics) -> UsageReported:
    get = raw.fields.get
    rejected: list[str] = []
    cancelled = bool(get("cancelled", False))
    acquired = positive(get("acquire_time"))
    inputs, outputs = get("input_token_details"), get("output_token_details")
    cached = getattr(inputs, "cached_tokens_details", None)
    usage = Usage(
        input_tokens=count(get("input_tokens", 0)),
        cached_input_tokens=count(getattr(inputs, "cached_tokens", 0)),
        output_tokens=count(get("output_tokens", 0)),
        total_tokens=count(get("total_tokens", 0)),
        input_audio_tokens=count(getattr(inputs, "audio_tokens", 0)),
        input_image_tokens=count(getattr(inputs, "image_tokens", 0)),
        cached_audio_tokens=count(getattr(cached, "audio_tokens", 0)),
        cached_image_tokens=count(getattr(cached, "image_tokens", 0)),
        output_audio_tokens=count(getattr(outputs, "audio_tokens", 0)),
        output_image_tokens=count(getattr(outputs, "image_tokens", 0)),
        connection_seconds=amount(get("session_duration", 0.0)),
    )
    connection = _is_connection(raw, acquired, usage)
    # The models billed by time report their session once, when it closes: that is no request.
    closing = text(get("request_id")) == "session_close"
    first = None
    if not (connection or closing):
        first = measured(get("ttft"), rejected, "no_first_token")
    return _report(raw, "realtime")(
        speech=raw.current_speech,
        cancelled=cancelled,
        streamed=closing,
        connection=connection,
        usage=usage,
        first_seconds=first,
        request_seconds=None if cancelled or closing else positive(get("duration")),
        acquire_seconds=acquired,
        tokens_per_second=None if cancelled else positive(get("tokens_per_second")),
        requests=0 if connection or closing else 1,
        rejected=tuple(rejected),
    )


def _is_connection(raw: RawMetrics, acquired: float | None, usage: Usage) -> bool:
    """Return true if the metrics say that a connection was opened, and nothing else."""
    return not text(raw.fields.get("request_id")) and acquired is not None and usage == Usage()


def _inference(raw: RawMetrics, stage: Stage) -> UsageReported | None:
    """Read requests to LiveKit's own small models since the last event; nobody bills them."""
    requests = count(raw.fields.get("num_requests", 0))
    if not requests:
        return None
    rejected: list[str] = []
    return _report(raw, stage)(
        label="",
        request="",
        requests=requests,
        request_seconds=measured(raw.fields.get("total_duration"), rejected),
        rejected=tuple(rejected),
    )


def _end_of_utterance(raw: RawMetrics) -> TurnCommitted:
    get, metadata = raw.fields.get, raw.fields.get("metadata")
    rejected: list[str] = []
    return TurnCommitted(
        session=raw.session,
        at=timestamp(get("timestamp"), raw.now),
        provider=text(getattr(metadata, "model_provider", None)),
        model=text(getattr(metadata, "model_name", None)),
        speech=text(get("speech_id")) or None,
        persona=raw.persona,
        trace=raw.trace,
        eou_delay_seconds=delay(get("end_of_utterance_delay"), rejected),
        transcription_delay_seconds=delay(get("transcription_delay"), rejected),
        callback_seconds=positive(get("on_user_turn_completed_delay")),
        rejected=tuple(rejected),
    )


def _nothing(_: RawMetrics) -> None:
    """Skip metrics that have neither a cost nor a wait."""


_READERS: Final[Mapping[str, Callable[[RawMetrics], UsageReported | TurnCommitted | None]]] = {
    "llm_metrics": _llm,
    "decision_metrics": _decision,
    "stt_metrics": _stt,
    "tts_metrics": _tts,
    "realtime_model_metrics": _realtime,
    "eou_metrics": _end_of_utterance,
    "eot_inference_metrics": partial(_inference, stage="turn_detection"),
    "interruption_metrics": partial(_inference, stage="interruption"),
    "vad_metrics": _nothing,
    "avatar_metrics": _nothing,
}

# A tuple: the kind of an event that is not LiveKit's need not be hashable.
SILENT: Final = tuple(kind for kind, read in _READERS.items() if read is _nothing)
"""Kinds of metrics that become no record; voice activity detection emits one every second."""
