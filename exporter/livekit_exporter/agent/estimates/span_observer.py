"""Observes LiveKit's spans, which show attempts that no event reports.

Every attempt at a provider has a span.  A processor on whatever tracer provider LiveKit
uses picks the spans of replies as they end, and the journal's thread reads their sizes and
lengths for the `Estimator`.  Texts are measured there and never kept.

LiveKit puts the metrics of every finished request on its span, also where nobody listens to
the component.  Those that no event has brought are metered from there.

Where nobody traces, LiveKit's spans are made by a provider of ours that exports nothing,
as long as a metered call lasts; see `silent_provider`.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Final, NamedTuple, Protocol
from weakref import WeakSet, WeakValueDictionary

from livekit.agents import get_job_context, telemetry
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.sdk import trace as sdk
from opentelemetry.util.types import Attributes

from livekit_exporter.agent.estimates.estimator import Estimator
from livekit_exporter.agent.estimates.requests import (
    Attempt,
    EndedRequest,
    SpokenStage,
    parse_metrics,
    read_metrics,
)
from livekit_exporter.agent.estimates.silent_provider import Observer, SilentProvider
from livekit_exporter.agent.fields import text
from livekit_exporter.agent.heard import heard
from livekit_exporter.agent.rate_limited_log import problems
from livekit_exporter.agent.raw_metrics import PlacedMetrics, RawMetrics
from livekit_exporter.record import Model, Phase, Record

_REQUESTS: Final[Mapping[str, SpokenStage]] = {"llm_request": "llm", "tts_request": "tts"}
_ROOTS: Final = frozenset({"agent_turn", *_REQUESTS})
_ATTEMPTS: Final = frozenset({"llm_request_run", "tts_request_run"})
_METRICS: Final = {"llm": "lk.llm_metrics", "tts": "lk.tts_metrics"}

# Names of attributes before and since LiveKit marked those that may name people.
_PROMPT: Final = ("lk.pii.chat_ctx", "lk.chat_ctx")
_REPLY: Final = ("lk.pii.response.text", "lk.response.text")
_TOOL_CALLS: Final = ("lk.pii.response.function_calls", "lk.response.function_calls")
_INPUT: Final = ("lk.pii.input_text", "lk.input_text")
_OUTPUT: Final = "gen_ai.output.messages"
_CANCELLED: Final = '"cancelled":true'
_SENTENCE_ENDS: Final = (". ", "! ", "? ")

_NO_TOOL_CALLS: Final = len("[]")
_OPEN_LIMIT: Final = 4096
"""Open spans that are kept at once; one that never ends must not stay for ever."""


class RawSpan:
    """A span that ended, to be read on the journal's thread."""

    __slots__ = ("records",)

    def __init__(self, records: Callable[[], Sequence[Record]]) -> None:
        self.records = records


class ObservedCall(Protocol):
    """A call whose spans are read."""

    @property
    def session_id(self) -> str:
        """Id of its session."""
        ...

    @property
    def persona(self) -> str | None:
        """Id of the agent that holds it."""
        ...

    @property
    def trace(self) -> str | None:
        """Its trace id, if it is exported."""
        ...

    @property
    def ctx(self) -> object:
        """Context of its job; `None` without one."""
        ...

    def is_heard(self, speech: str) -> bool:
        """Return true for a reply to the caller; false for one generated speculatively."""
        ...

    @property
    def phase(self) -> Phase:
        """The place of usage at the moment that is no part of a reply."""
        ...

    def put(self, event: RawSpan) -> None:
        """Queue a span that ended; called on the event loop."""
        ...


@dataclass(slots=True)
class _OpenSpan:
    """A span that has not ended.

    Args:
        step: For a span that generates or speaks a text, the step of the reply.
        newest: For a reply, its newest step.
        speaks: True inside of the speaking of a text.
        attempts: For a request, the spans of its attempts so far.
        call: For a request beside all replies, the call that makes it.
    """

    span: sdk.Span
    name: str
    parent: "_OpenSpan | None"
    speech: str | None
    step: "_OpenSpan | None" = None
    newest: "_OpenSpan | None" = None
    speaks: bool = False
    attempts: list[sdk.ReadableSpan] = field(default_factory=list)
    call: ObservedCall | None = None

    def key(self) -> int:
        """Return the id of the span."""
        span_id: int = self.span.context.span_id
        return span_id

    def reply(self) -> "_OpenSpan":
        """Return the span of the reply that it is part of."""
        top = self
        while top.parent is not None:
            top = top.parent
        return top


class SpanObserver(Observer):
    """Observes the spans of replies on one provider or several; never raises into them."""

    def __init__(self) -> None:
        self._open: dict[int, _OpenSpan] = {}

    def find(self, span_id: int) -> _OpenSpan | None:
        """Find an observed span that has not ended."""
        return self._open.get(span_id)

    def reads(self, name: str) -> bool:
        """Return true if a span of that name, made by the current task, would be observed."""
        return name in _ROOTS or trace.get_current_span().get_span_context().span_id in self._open

    def observe(self, provider: trace.TracerProvider) -> None:
        """Read the spans of a provider from now on, if it makes any."""
        if isinstance(provider, sdk.TracerProvider) and provider not in _providers:
            _providers.add(provider)
            provider.add_span_processor(self)

    @property
    def open_spans(self) -> int:
        """Number of observed spans that have not ended."""
        return len(self._open)

    def on_start(self, span: sdk.Span, parent_context: otel.Context | None = None) -> None:  # noqa: ARG002 - OpenTelemetry's signature
        """Notice a span that begins, if it is part of an observed reply."""
        try:
            self._start(span)
        except Exception as error:  # noqa: BLE001  # LiveKit's spans start in the call
            problems.warning("a span could not be read, the call goes on", error=error)

    def on_end(self, span: sdk.ReadableSpan) -> None:
        """Queue a span that ended, if it is part of an observed reply."""
        if span.context is None:
            return
        begun = self._open.pop(span.context.span_id, None)
        if begun is None:
            return
        try:
            self._end(begun, span)
        except Exception as error:  # noqa: BLE001  # LiveKit's spans end in the call
            problems.warning("a span could not be read, the call goes on", error=error)

    def _start(self, span: sdk.Span) -> None:
        parent = None if span.parent is None else self._open.get(span.parent.span_id)
        if parent is None:
            begun = None
            if span.name == "agent_turn" and (_observed or _watched):
                begun = _OpenSpan(span, span.name, None, None)
            elif span.name in _REQUESTS and _watched:
                begun = _OpenSpan(span, span.name, None, None, call=_caller())
            if begun is not None:
                self._open[span.context.span_id] = begun
                if len(self._open) > _OPEN_LIMIT:
                    del self._open[next(iter(self._open))]
            return
        speech = parent.speech
        if parent.name == "agent_turn":
            # A speculative reply that is thrown away hands its span to the next one.
            speech = _text(parent.span.attributes, "lk.speech_id") or None
        begun = _OpenSpan(span, span.name, parent, speech, parent.step, speaks=parent.speaks)
        if span.name == "llm_node":
            begun.step = begun
            begun.reply().newest = begun
        elif span.name == "tts_node":
            newest = begun.reply().newest
            begun.step = newest if newest is not None and newest.speech == speech else None
            begun.speaks = True
        self._open[span.context.span_id] = begun

    def _end(self, begun: _OpenSpan, span: sdk.ReadableSpan) -> None:
        if begun.name in _ATTEMPTS:
            if begun.parent is not None:
                begun.parent.attempts.append(span)
            return
        speech = begun.speech or ""
        stage = _REQUESTS.get(begun.name)
        observed = _observed.get(speech)
        if observed is None:
            if stage is not None:
                self._end_beside(begun, span, stage)
            return
        call, estimator = observed
        # An ended span does not change, so the journal's thread can read it.
        if begun.name == "llm_node":
            call.put(RawSpan(partial(_step_ended, begun, span, estimator)))
        elif stage is not None and (begun.step is not None or begun.speaks):
            moment = _Moment(
                call.session_id, time.time(), call.persona, call.trace, call.is_heard(speech)
            )
            call.put(RawSpan(partial(_request_ended, begun, span, stage, moment, estimator)))

    def read_unended(self, call: ObservedCall) -> None:
        """Read the spans of a call's requests that nobody ends.

        Before 1.8 a judge leaves its stream open, and with it the span of a request that has
        long had its answer.
        """
        for begun in list(self._open.values()):
            stage = _REQUESTS.get(begun.name)
            if stage is not None and begun.reply().call is call:
                self._end_beside(begun, begun.span, stage)

    def _end_beside(self, begun: _OpenSpan, span: sdk.ReadableSpan, stage: SpokenStage) -> None:
        """Queue a request that is part of no reply of a metered session."""
        call = begun.reply().call or _caller()
        if call is not None:
            moment = _Moment(call.session_id, time.time(), call.persona, call.trace, heard=True)
            call.put(RawSpan(partial(_unreported, span, stage, moment, None, call.phase)))


class _Moment(NamedTuple):
    """State of the call when a request ended."""

    session: str
    at: float
    persona: str | None
    trace: str | None
    heard: bool


def _step_ended(begun: _OpenSpan, span: sdk.ReadableSpan, estimator: Estimator) -> Sequence[Record]:
    attributes = span.attributes
    # Without a tool call they are an empty list.
    called_tool = (_length(attributes, _TOOL_CALLS) or 0) > _NO_TOOL_CALLS
    return estimator.step_ended(begun.key(), _length(attributes, _REPLY), called_tool=called_tool)


def _request_ended(
    begun: _OpenSpan,
    span: sdk.ReadableSpan,
    stage: SpokenStage,
    moment: _Moment,
    estimator: Estimator,
) -> Sequence[Record]:
    attributes, step = span.attributes or {}, begun.step
    unreported = _unreported(span, stage, moment, begun.speech, "call")
    prompt = None if stage == "tts" or step is None else _length(step.span.attributes, _PROMPT)
    metrics = _raw(attributes, _METRICS[stage])
    model = Model(
        stage=stage,
        provider=_text(attributes, "gen_ai.provider.name"),
        model=_text(attributes, "gen_ai.request.model"),
        label=_text(attributes, "lk.tts.label"),
    )
    request = EndedRequest(
        session=moment.session,
        at=moment.at,
        step=None if step is None else step.key(),
        model=model,
        speech=begun.speech,
        persona=moment.persona,
        trace=moment.trace,
        metrics=read_metrics(metrics, model),
        written=_written(attributes) if metrics is not None and _CANCELLED in metrics else None,
        finished=_length(attributes, _INPUT) is not None,
        streamed=attributes.get("lk.tts.streaming") is not False,
        recovery_probe=attributes.get("lk.fallback.recovery") is True,
        heard=moment.heard,
        prompt_characters=prompt or 0,
        attempts=tuple(map(_attempt, begun.attempts)),
    )
    return [*unreported, *estimator.request_ended(request)]


def _unreported(
    span: sdk.ReadableSpan, stage: SpokenStage, moment: _Moment, speech: str | None, phase: Phase
) -> Sequence[Record]:
    """Read the usage on a span that no event has reported.

    A component that is neither the session's nor known to us emits to nobody: a judge's, an
    answering-machine detection's, one that a node of the agent keeps to itself.
    """
    metrics = parse_metrics(_raw(span.attributes, _METRICS[stage]))
    if metrics is None or not heard.claim(metrics):
        return ()
    raw = RawMetrics(metrics, moment.session, moment.at, moment.persona, speech, moment.trace)
    return PlacedMetrics(raw, phase).records()


def _written(attributes: Attributes) -> tuple[int, int] | None:
    """Measure the text that a model had written, and its whole sentences.

    LiveKit leaves it out if the capture of content is switched off.
    """
    raw = _raw(attributes, _OUTPUT)
    # A provider may limit the length of attributes, which leaves half a JSON.
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        reply = "".join(
            part.get("content") or ""
            for message in json.loads(raw or "")
            for part in message["parts"]
            if part.get("type") == "text"
        )
        return len(reply), max(reply.rfind(end) for end in _SENTENCE_ENDS) + 1
    return None


def _attempt(span: sdk.ReadableSpan) -> Attempt:
    attributes = span.attributes
    error = _text(attributes, "exception.type") or _text(attributes, "error.type")
    if not error and span.status.status_code is trace.StatusCode.ERROR:
        error = "unknown"
    begun, ended = span.start_time or 0, span.end_time or 0
    return Attempt(
        error=error.rpartition(".")[2],
        answered=bool(attributes and attributes.get("lk.provider_request_ids")),
        seconds=max(ended - begun, 0) / 1e9,
    )


def _raw(attributes: Attributes, name: str) -> str | None:
    value = None if attributes is None else attributes.get(name)
    return value if isinstance(value, str) else None


def _text(attributes: Attributes, name: str) -> str:
    return text(_raw(attributes, name))


def _length(attributes: Attributes, names: Sequence[str]) -> int | None:
    """Measure the text under the first of the names that is there."""
    for name in names:
        value = _raw(attributes, name)
        if value is not None:
            return len(value)
    return None


observer: Final = SpanObserver()
_providers: "WeakSet[trace.TracerProvider]" = WeakSet()
_observed: dict[str, tuple[ObservedCall, Estimator]] = {}
_watched: "WeakValueDictionary[int, ObservedCall]" = WeakValueDictionary()
_numbers: Final = count()
_current: ContextVar[ObservedCall | None] = ContextVar("current_call", default=None)
_lock = threading.Lock()
_replaced: trace.TracerProvider | None = None
"""The provider that ours stands in for, while it does."""


def observe(speech: str, call: ObservedCall, estimator: Estimator) -> None:
    """Read the spans of a reply from now on, whichever provider makes them.

    Args:
        speech: Id of the reply.
        call: The call that it is part of.
        estimator: Gets its requests, on the journal's thread.
    """
    _observed[speech] = (call, estimator)
    _see_spans()


def watch(call: ObservedCall) -> None:
    """Read the spans of requests that are part of no reply, until `unwatch`.

    They belong to the call that the task was made in, or that its job has, or else to the
    latest one.
    """
    _watched[next(_numbers)] = call
    _current.set(call)
    _see_spans()


def unwatch(call: ObservedCall, speeches: Iterable[str]) -> None:
    """Stop to read the spans of a call and of its replies."""
    for number, watched in list(_watched.items()):
        if watched is call:
            del _watched[number]
    forget(speeches)


def current_speech() -> str | None:
    """Return the id of the reply that the current task works on, as far as its span tells."""
    begun = observer.find(trace.get_current_span().get_span_context().span_id)
    return None if begun is None else begun.speech


def _caller() -> ObservedCall | None:
    """Return the call that a request of the current task belongs to."""
    current, calls = _current.get(), list(_watched.values())
    if current is not None and current in calls:
        return current
    with suppress(RuntimeError):
        ctx = get_job_context()
        ours = [call for call in calls if call.ctx is ctx]
        if ours:
            return ours[0]
    return calls[-1] if calls else None


def _see_spans() -> None:
    provider = livekit_provider()
    if provider is None or isinstance(provider, SilentProvider):
        return
    if isinstance(provider, trace.ProxyTracerProvider):
        # It stands for the global provider as soon as one is set.
        provider = trace.get_tracer_provider()
    if isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider)):
        _stand_in()
    else:
        observer.observe(provider)


def watched() -> tuple[ObservedCall, ...]:
    """List the calls whose spans are read."""
    return tuple(_watched.values())


def observed() -> tuple[str, ...]:
    """List the ids of the replies whose spans are read."""
    return tuple(_observed)


def forget(speeches: Iterable[str]) -> None:
    """Stop to read the spans of replies; without any left, LiveKit gets its provider back."""
    global _replaced  # noqa: PLW0603 - LiveKit has one provider in a process, too
    with _lock:
        for speech in speeches:
            _observed.pop(speech, None)
        if _observed or _watched or _replaced is None:
            return
        if isinstance(livekit_provider(), SilentProvider):
            telemetry.set_tracer_provider(_replaced)
        _replaced = None


def _stand_in() -> None:
    global _replaced  # noqa: PLW0603 - as above
    with _lock:
        provider = livekit_provider()
        if provider is None or isinstance(provider, SilentProvider):
            return
        _replaced = provider
        telemetry.set_tracer_provider(SilentProvider(observer))


def livekit_provider() -> trace.TracerProvider | None:
    """Return the provider that LiveKit uses; `None` if this version does not tell."""
    # There is a public way to set it and none to ask for it.
    provider = getattr(getattr(telemetry, "tracer", None), "_tracer_provider", None)
    return provider if isinstance(provider, trace.TracerProvider) else None
