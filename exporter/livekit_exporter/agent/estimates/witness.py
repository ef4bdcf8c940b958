"""LiveKit's spans as a second witness of a call, where its events are silent.

Every attempt at a provider has a span.  A processor on whatever tracer provider LiveKit
uses picks sizes and lengths off the spans of replies as they end, for `estimator` to read
on the journal's thread.  Texts are measured here and never kept.

Where nobody traces, LiveKit's spans are made by a provider of ours that exports nothing,
for as long as a metered call lasts.  It is one that LiveKit and OpenTelemetry take for
none: whoever sets a real provider, before or later, has it used from then on.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple, Protocol
from weakref import WeakSet

from livekit.agents import telemetry
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import sampling
from opentelemetry.util.types import Attributes, AttributeValue

from livekit_exporter.agent.complaints import Complaints
from livekit_exporter.agent.estimates.estimator import Attempt, Estimator, RequestEnded, Spoken
from livekit_exporter.agent.normalize import text
from livekit_exporter.record import Record

_REQUESTS: Final[Mapping[str, Spoken]] = {"llm_request": "llm", "tts_request": "tts"}
_ATTEMPTS: Final = frozenset({"llm_request_run", "tts_request_run"})
_METRICS: Final = {"llm": "lk.llm_metrics", "tts": "lk.tts_metrics"}

# Their names before and since LiveKit marked what may name people.
_PROMPT: Final = ("lk.pii.chat_ctx", "lk.chat_ctx")
_REPLY: Final = ("lk.pii.response.text", "lk.response.text")
_CALLS: Final = ("lk.pii.response.function_calls", "lk.response.function_calls")
_CUT: Final = '"cancelled":true'
_OUTPUT: Final = "gen_ai.output.messages"
_SENTENCE_ENDS: Final = (". ", "! ", "? ")
_INPUT: Final = ("lk.pii.input_text", "lk.input_text")

_NO_CALLS: Final = len("[]")
_LIVE_LIMIT: Final = 4096
"""Spans under way at once; one that never ends must not stay for ever."""


class Description(NamedTuple):
    """What the records of a call's spans say of it."""

    session: str
    persona: str | None
    trace: str | None


class Ended:
    """Spans that ended, to be read on the journal's thread."""

    __slots__ = ("records",)

    def __init__(self, records: Callable[[], Sequence[Record]]) -> None:
        self.records = records


class Watched(Protocol):
    """A call whose spans are read."""

    @property
    def estimator(self) -> Estimator | None:
        """Who reads them."""
        ...

    def spans_ended(self, ended: Ended) -> None:
        """Something of it ended; called where its spans end, which is the event loop."""
        ...

    def is_heard(self, speech: str) -> bool:
        """Whether a reply is meant for the caller, rather than made ahead of their turn."""
        ...

    def describe(self) -> Description:
        """What to say of the call."""
        ...


@dataclass(slots=True)
class _Live:
    """A span under way.

    Args:
        step: Of a span in the making or the speaking of a text, the step of the reply.
        newest: Of a reply, its newest step.
        speaks: In the speaking of a text.
        attempts: Of a request, the spans of its tries so far.
    """

    span: sdk.Span
    name: str
    parent: "_Live | None"
    speech: str | None
    step: "_Live | None" = None
    newest: "_Live | None" = None
    speaks: bool = False
    attempts: list[sdk.ReadableSpan] = field(default_factory=list)


class _Processor(sdk.SpanProcessor):
    """Watches the spans of replies on one provider or several; never raises into them."""

    def __init__(self) -> None:
        self._live: dict[int, _Live] = {}
        self._complaints = Complaints()

    def on_start(self, span: sdk.Span, parent_context: otel.Context | None = None) -> None:  # noqa: ARG002 - OpenTelemetry's signature
        try:
            self._start(span)
        except Exception as error:  # noqa: BLE001  # LiveKit's spans start in the call
            self._complaints.say("a span could not be read, the call goes on", error=error)

    def on_end(self, span: sdk.ReadableSpan) -> None:
        if span.context is None:
            return
        live = self._live.pop(span.context.span_id, None)
        if live is None:
            return
        try:
            self._end(live, span)
        except Exception as error:  # noqa: BLE001  # LiveKit's spans end in the call
            self._complaints.say("a span could not be read, the call goes on", error=error)

    def _start(self, span: sdk.Span) -> None:
        parent = None if span.parent is None else self._live.get(span.parent.span_id)
        if parent is None:
            if span.name == "agent_turn" and _watched:
                self._live[span.context.span_id] = _Live(span, span.name, None, None)
                if len(self._live) > _LIVE_LIMIT:
                    del self._live[next(iter(self._live))]
            return
        speech = parent.speech
        if parent.name == "agent_turn":
            # A reply made ahead that is thrown away hands its span to the next one.
            speech = _text(parent.span.attributes, "lk.speech_id") or None
        live = _Live(span, span.name, parent, speech, parent.step, speaks=parent.speaks)
        if span.name == "llm_node":
            live.step = live
            _turn(live).newest = live
        elif span.name == "tts_node":
            newest = _turn(live).newest
            live.step = newest if newest is not None and newest.speech == speech else None
            live.speaks = True
        self._live[span.context.span_id] = live

    def _end(self, live: _Live, span: sdk.ReadableSpan) -> None:
        if live.name in _ATTEMPTS:
            if live.parent is not None:
                live.parent.attempts.append(span)
            return
        stage = _REQUESTS.get(live.name)
        if stage is None and live.name != "llm_node":
            return
        call = _watched.get(live.speech or "")
        estimator = None if call is None else call.estimator
        if call is None or estimator is None:
            return
        # Read by the writer: an ended span stays as it is.
        if stage is None:
            call.spans_ended(Ended(partial(_step_ended, live, span, estimator)))
        elif live.step is not None or live.speaks:
            moment = _Moment(call.describe(), time.time(), call.is_heard(live.speech or ""))
            call.spans_ended(Ended(partial(_request_ended, live, span, stage, moment, estimator)))


class _Moment(NamedTuple):
    """What was so when a request ended: who held the call, the time, whether a caller listens."""

    call: Description
    at: float
    heard: bool


def _step_ended(live: _Live, span: sdk.ReadableSpan, estimator: Estimator) -> Sequence[Record]:
    said = span.attributes
    # Without a call of a tool they are an empty list.
    called = (_length(said, _CALLS) or 0) > _NO_CALLS
    key = live.span.context.span_id
    return estimator.step(key, _length(said, _REPLY), called=called)


def _request_ended(
    live: _Live, span: sdk.ReadableSpan, stage: Spoken, moment: _Moment, estimator: Estimator
) -> Sequence[Record]:
    said, step = span.attributes or {}, live.step
    session, persona, traced = moment.call
    asked = None if stage == "tts" or step is None else _length(step.span.attributes, _PROMPT)
    metrics = _raw(said, _METRICS[stage])
    ended = RequestEnded(
        stage=stage,
        session=session,
        at=moment.at,
        step=None if step is None else step.span.context.span_id,
        provider=_text(said, "gen_ai.provider.name"),
        model=_text(said, "gen_ai.request.model"),
        label=_text(said, "lk.tts.label"),
        speech=live.speech,
        persona=persona,
        trace=traced,
        metrics=metrics,
        written=_written(said) if metrics is not None and _CUT in metrics else None,
        finished=_length(said, _INPUT) is not None,
        streamed=said.get("lk.tts.streaming") is not False,
        recovery_probe=said.get("lk.fallback.recovery") is True,
        heard=moment.heard,
        prompt_characters=asked or 0,
        attempts=tuple(map(_attempt, live.attempts)),
    )
    return estimator.request(ended)


def _written(said: Attributes) -> tuple[int, int] | None:
    """Length of what a model had written, also where it was cut off, and of its whole sentences.

    LiveKit leaves it out where the capture of content is switched off.
    """
    raw = _raw(said, _OUTPUT)
    # A provider may have a limit on the length of attributes.
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        reply = "".join(
            part.get("content") or ""
            for message in json.loads(raw or "")
            for part in message["parts"]
            if part.get("type") == "text"
        )
        return len(reply), max(reply.rfind(end) for end in _SENTENCE_ENDS) + 1
    return None


def _turn(live: _Live) -> _Live:
    """The reply that a span is part of."""
    while live.parent is not None:
        live = live.parent
    return live


def _attempt(span: sdk.ReadableSpan) -> Attempt:
    said = span.attributes
    error = _text(said, "exception.type") or _text(said, "error.type")
    if not error and span.status.status_code is trace.StatusCode.ERROR:
        error = "unknown"
    begun, ended = span.start_time or 0, span.end_time or 0
    return Attempt(
        error=error.rpartition(".")[2],
        answered=bool(said and said.get("lk.provider_request_ids")),
        seconds=max(ended - begun, 0) / 1e9,
    )


def _raw(said: Attributes, name: str) -> str | None:
    value = None if said is None else said.get(name)
    return value if isinstance(value, str) else None


def _text(said: Attributes, name: str) -> str:
    return text(_raw(said, name))


def _length(said: Attributes, names: Sequence[str]) -> int | None:
    """Length of a text under its first name that is there."""
    for name in names:
        value = _raw(said, name)
        if value is not None:
            return len(value)
    return None


class _Silent(trace.NoOpTracerProvider):
    """Makes spans where nobody else does; they are recorded for us and exported to nobody."""

    def __init__(self, processor: sdk.SpanProcessor) -> None:
        # Recorded and not sampled: an exporter that is added leaves them alone, and no trace
        # id of theirs is handed on.  Looking for a resource would take longer than a frame.
        self._own = sdk.TracerProvider(
            sampler=sampling.StaticSampler(sampling.Decision.RECORD_ONLY),
            resource=Resource.get_empty(),
            shutdown_on_exit=False,
        )
        self._own.add_span_processor(processor)

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,  # noqa: ARG002 - OpenTelemetry's signature
        attributes: Mapping[str, AttributeValue] | None = None,  # noqa: ARG002
    ) -> trace.Tracer:
        own = self._own.get_tracer(instrumenting_module_name, instrumenting_library_version)
        return _SilentTracer(instrumenting_module_name, own)


class _SilentTracer(trace.Tracer):
    """Asks for every span whether somebody traces by now."""

    def __init__(self, name: str, own: trace.Tracer) -> None:
        self._name = name
        self._own = own

    def start_span(self, *args: object, **kwargs: object) -> trace.Span:
        provider = trace.get_tracer_provider()
        tracer = self._own
        if not isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider)):
            _watch(provider)
            tracer = provider.get_tracer(self._name)
        return tracer.start_span(*args, **kwargs)  # type: ignore[arg-type]

    @contextmanager
    def start_as_current_span(  # type: ignore[override]
        self,
        *args: object,
        end_on_exit: bool = True,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        **kwargs: object,
    ) -> Iterator[trace.Span]:
        span = self.start_span(
            *args,
            record_exception=record_exception,
            set_status_on_exception=set_status_on_exception,
            **kwargs,
        )
        with trace.use_span(
            span,
            end_on_exit=end_on_exit,
            record_exception=record_exception,
            set_status_on_exception=set_status_on_exception,
        ) as current:
            yield current


_processor = _Processor()
_providers: "WeakSet[trace.TracerProvider]" = WeakSet()
_watched: dict[str, Watched] = {}
_lock = threading.Lock()
_before: trace.TracerProvider | None = None
"""What LiveKit used before our own provider, while that is in its place."""


def watch(speech: str, call: Watched) -> None:
    """Read the spans of a reply from now on, whichever provider makes them."""
    _watched[speech] = call
    provider = _livekits()
    if provider is None or isinstance(provider, _Silent):
        return
    if isinstance(provider, trace.ProxyTracerProvider):
        # LiveKit's until somebody sets one; then it stands for that one.
        provider = trace.get_tracer_provider()
    if isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider)):
        _stand_in()
    else:
        _watch(provider)


def leave(speeches: Sequence[str]) -> None:
    """Forget the replies of a call that is over; the last one takes our provider with it."""
    global _before  # noqa: PLW0603 - LiveKit has one provider in a process, too
    with _lock:
        for speech in speeches:
            _watched.pop(speech, None)
        if _watched or _before is None:
            return
        if isinstance(_livekits(), _Silent):
            telemetry.set_tracer_provider(_before)
        _before = None


def _stand_in() -> None:
    global _before  # noqa: PLW0603 - as above
    with _lock:
        provider = _livekits()
        if provider is None or isinstance(provider, _Silent):
            return
        _before = provider
        telemetry.set_tracer_provider(_Silent(_processor))


def _watch(provider: trace.TracerProvider) -> None:
    if isinstance(provider, sdk.TracerProvider) and provider not in _providers:
        _providers.add(provider)
        provider.add_span_processor(_processor)


def _livekits() -> trace.TracerProvider | None:
    """The provider that LiveKit uses now; `None` where this version does not say."""
    # There is a public way to set it and none to ask for it.
    provider = getattr(getattr(telemetry, "tracer", None), "_tracer_provider", None)
    return provider if isinstance(provider, trace.TracerProvider) else None
