"""`enrich_spans`: what requests, turns and a call cost, on LiveKit's own spans.

A span processor remembers LiveKit's spans while they are open.  When the usage of a
request is heard its span is one of them, is found by the request's id, and gets the
cost; no span is added.  What has no span of its own - speech-to-text, platform legs, an
agent's own records, a realtime answer whose figures come late - is summed up on the
session's span, so that the costs of all spans of a call are the cost of the call.
"""

import json
import threading
import weakref
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor

from livekit_exporter.agent.complaints import Complaints
from livekit_exporter.agent.normalize import Added, Heard, UnreadableError
from livekit_exporter.agent.prices import Prices
from livekit_exporter.agent.spans.attributes import (
    JOB,
    METRICS,
    MODEL,
    NAMES,
    REQUESTS,
    RESPONSE,
    SESSION,
    SPEECH,
    TURN,
    SpanNames,
    of_request,
    of_rest,
    of_session,
    of_turn,
    too_late,
)
from livekit_exporter.agent.spans.bill import NOTHING, Bill, Biller, together
from livekit_exporter.agent.spans.totals import Totals, Turn
from livekit_exporter.record import (
    MessageAdded,
    ModelsDeclared,
    Record,
    SessionClosed,
    SessionStarted,
    TurnCommitted,
    UsageReported,
)

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

_ATTEMPTS: Final = {"llm_request_run": "llm", "tts_request_run": "tts"}
_STAGES: Final[Mapping[object, str]] = {
    "llm_metrics": "llm",
    "tts_metrics": "tts",
    "realtime_model_metrics": "realtime",
}


class _Holder:
    """A span that sums up what has none: of a session, or of the job around it."""

    def __init__(self, span: "Span", names: SpanNames) -> None:
        self.span = span
        self.names = names
        self.units: dict[str, int] = {}

    def hold(self, units: Mapping[str, int]) -> bool:
        """Say that it holds this much by stage; `False` when the span has ended."""
        if not self.span.is_recording():
            return False
        self.units = dict(units)
        self.span.set_attributes(of_rest(self.names, units))
        return True


class _Session(_Holder):
    """The open spans of one session."""

    def __init__(self, span: "Span", names: SpanNames, job: _Holder | None) -> None:
        super().__init__(span, names)
        self.trace: int = span.get_span_context().trace_id
        self.job = job
        self.requests: dict[str, dict[int, Span]] = {stage: {} for stage in METRICS}
        self.turns: dict[int, Span] = {}
        self.named: set[int] = set()
        self.charged: dict[int, Bill] = {}
        self.call: CallSpans | None = None

    def name(self, own: int, stage: str) -> None:
        """Put the model's name on the span of a request, now that an attempt begins.

        Before its usage is heard: then there is enough to do.
        """
        span = self.requests[stage].get(own)
        if span is None or own in self.named or self.names.model is None:
            return
        model = (span.attributes or {}).get(MODEL)
        if isinstance(model, str):
            span.set_attribute(self.names.model, model)
            self.named.add(own)

    def charge(self, requests: "dict[int, Span]", heard: Heard, bill: Bill) -> bool:
        """Put a cost on the open span of the request that metrics are about.

        Args:
            requests: The open spans of its stage.
            heard: The metrics.
            bill: What they cost.

        Returns:
            Whether there is one.
        """
        stage, model = bill[:2]
        request = heard.fields.get("request_id")
        key, others = 0, False
        # Another thread may end spans meanwhile.
        for own, span in tuple(requests.items()):
            attributes = span.attributes or {}
            try:
                same = attributes[RESPONSE] == request
            except KeyError:
                same = _is_of(attributes, stage, request)
            if same:
                others = key != 0
                key = own
        if others:
            # Ids are the provider's, who may repeat them.
            key = _latest(requests, stage, heard) or key
        if not key:
            return False
        before = self.charged.get(key)
        if before is not None:
            # A stream of speech reports once for every segment.
            bill = together(before, bill)
        self.charged[key] = bill
        said = of_request(self.names, bill)
        if key not in self.named and self.names.model is not None:
            said[self.names.model] = model
        requests[key].set_attributes(said)
        return True


def _is_of(attributes: Mapping[str, object], stage: str, request: object) -> bool:
    """Whether the metrics that LiveKit put on a span are those of a request."""
    text = attributes.get(METRICS[stage])
    # With its quotes: one id may be the beginning of another.
    return isinstance(text, str) and (
        f'"request_id":"{request}"' in text
        or ("\\" in text and json.loads(text).get("request_id") == request)
    )


def _latest(requests: "dict[int, Span]", stage: str, heard: Heard) -> int | None:
    """Of several spans with one request id, the one whose metrics were made when these were."""
    for own, span in tuple(requests.items()):
        text = (span.attributes or {}).get(METRICS[stage])
        metrics = json.loads(text) if isinstance(text, str) else {}
        if all(metrics.get(name) == heard.fields.get(name) for name in ("request_id", "timestamp")):
            return own
    return None


# By span id: the session that an open span is in.
_sessions: Final[dict[int, _Session]] = {}
# By trace id: the span of the job, which begins before its session and ends after it.
_jobs: Final[dict[int, _Holder]] = {}
_enriched: "Final[weakref.WeakSet[trace.TracerProvider]]" = weakref.WeakSet()
_calls: "Final[weakref.WeakSet[CallSpans]]" = weakref.WeakSet()
_complaints: Final = Complaints()


class _Watch(SpanProcessor):
    """Remembers LiveKit's spans from their start to their end."""

    def __init__(self, names: SpanNames) -> None:
        self._names = names

    def on_start(self, span: "Span", parent_context: "Context | None" = None) -> None:
        """A span began."""
        del parent_context
        try:
            self._begun(span)
        except Exception as error:  # noqa: BLE001 - a span that is not watched must not end a call
            _complaints.say("a span is not watched, the call goes on", error=error)

    def on_end(self, span: "ReadableSpan") -> None:
        """A span ended."""
        try:
            _ended(span)
        except Exception as error:  # noqa: BLE001 - the same
            _complaints.say("a span is not let go of, the call goes on", error=error)

    def _begun(self, span: "Span") -> None:
        name, parent, context = span.name, span.parent, span.get_span_context()
        if name == SESSION:
            _sessions[context.span_id] = _Session(span, self._names, _jobs.get(context.trace_id))
            return
        if name == JOB:
            _jobs[context.trace_id] = _Holder(span, self._names)
            return
        session = None if parent is None else _sessions.get(parent.span_id)
        if parent is None or session is None:
            return
        _sessions[context.span_id] = session
        stage = REQUESTS.get(name)
        if stage is not None:
            session.requests[stage][context.span_id] = span
            if self._names.kind is not None:
                span.set_attribute(self._names.kind, self._names.kind_value)
        elif name in _ATTEMPTS:
            session.name(parent.span_id, _ATTEMPTS[name])
        elif name == TURN:
            session.turns[context.span_id] = span


def _ended(span: "ReadableSpan") -> None:
    context = span.get_span_context()
    if context is None:
        return
    session = _sessions.pop(context.span_id, None)
    if session is None:
        if span.name == JOB:
            _jobs.pop(context.trace_id, None)
        return
    stage = REQUESTS.get(span.name)
    if stage is not None:
        session.requests[stage].pop(context.span_id, None)
        session.charged.pop(context.span_id, None)
        session.named.discard(context.span_id)
    elif span.name == TURN:
        session.turns.pop(context.span_id, None)
    elif span.name == SESSION:
        for own, other in tuple(_sessions.items()):
            if other is session:
                _sessions.pop(own, None)


def enrich_spans(tracer_provider: trace.TracerProvider, *, names: SpanNames = NAMES) -> None:
    """Put costs on the spans that LiveKit makes with a tracer provider.

    Call it once in the entrypoint, before `session.start`; before or after `attach`, and
    before or after exporters are added.  A second call for a provider changes nothing.
    Without it spans are left alone.

    Args:
        tracer_provider: The one that `livekit.agents.telemetry.set_tracer_provider` is given.
        names: Names of the attributes.
    """
    if tracer_provider in _enriched:
        return
    add = getattr(tracer_provider, "add_span_processor", None)
    if add is None:
        _complaints.say(
            f"no cost goes on spans: {type(tracer_provider).__name__} takes no span processors;"
            " give enrich_spans a TracerProvider of opentelemetry.sdk.trace"
        )
        return
    add(_Watch(names))
    _enriched.add(tracer_provider)
    for call in list(_calls):
        call.begin()


class CallSpans:
    """Puts the costs of one call on its spans.  Used on the session's event loop.

    Args:
        session: Session id.
        prices: Prices in force.
    """

    def __init__(self, session: str, prices: Prices) -> None:
        self.on = False
        """Whether there may be spans; before, only what a later one has to know is kept."""
        self._id = session
        self._prices = prices
        self._biller = Biller(prices)
        self._started: SessionStarted | None = None
        self._waiting: list[Heard | UsageReported | Added] = []
        self._session: _Session | None = None
        self._totals = Totals()
        self._new: list[tuple[Bill, str | None, bool]] = []
        self._rest: dict[str, int] = {}
        self._said: tuple[Turn, Span] | None = None
        self._ended = False
        self._complaints = Complaints()
        _calls.add(self)
        if _enriched:
            self.begin()

    def begin(self) -> None:
        """A tracer provider is enriched from now on."""
        self.on = True
        if self._started is not None:
            self._expect(self._started)

    def take(self, record: Record) -> None:
        """Take in what the call put into its journal.  Never raises."""
        try:
            self._tell(record)
        except Exception as error:  # noqa: BLE001 - a span without a cost must not end the call
            self._complain(error)

    def see(self, added: Added) -> None:
        """Take in an item of the conversation.  Never raises."""
        try:
            if added.role == "user":
                # Nothing to say before it is answered; by then the writer has read it.
                self._waiting.append(added)
                return
            for record in added.records():
                self._tell(record)
        except UnreadableError:
            pass  # the journal counts it
        except Exception as error:  # noqa: BLE001 - a span without a cost must not end the call
            self._complain(error)

    def hear(self, heard: Heard) -> None:
        """Take in metrics, in the span in which LiveKit emits them.  Never raises."""
        try:
            stage = _STAGES.get(heard.fields.get("type"))
            if stage is None or not self._biller.ready:
                # No request span waits for it, or reading the prices would hold up the call.
                self._waiting.append(heard)
            elif not self._charge(stage, heard):
                return
            if self._ended:
                self._say_session()
        except UnreadableError:
            pass  # the journal counts it
        except Exception as error:  # noqa: BLE001 - a span without a cost must not end the call
            self._complain(error)

    def _charge(self, stage: str, heard: Heard) -> bool:
        """Put the cost of a request on its span; whether it has to go elsewhere."""
        bill = self._biller.of(heard)
        if bill is NOTHING:
            return False
        session = self._session
        if session is None:
            session = self._find_session()
        on_span = session is not None and session.charge(session.requests[stage], heard, bill)
        self._new.append((bill, heard.speech, on_span))
        if on_span:
            self._say_turn()
        return not on_span

    def _complain(self, error: Exception) -> None:
        self._complaints.say("a cost is missing on the spans, the call goes on", error=error)

    def _tell(self, record: Record) -> None:
        match record:
            case SessionStarted():
                self._started = record
                if self.on:
                    self._expect(record)
            case ModelsDeclared() if self.on:
                self._expect(record)
            case UsageReported():
                self._waiting.append(record)
                if self._ended:
                    self._say_session()
            case MessageAdded() if self.on:
                self._message(record)
            case SessionClosed() if self.on:
                self._close(record)

    def _find_session(self) -> _Session | None:
        """The session's spans, from the span that its event came in."""
        context = trace.get_current_span().get_span_context()
        session = _sessions.get(context.span_id)
        if session is None:
            same = {other for other in tuple(_sessions.values()) if other.trace == context.trace_id}
            session = same.pop() if len(same) == 1 else None
        if session is None or session.call not in (None, self):
            return None
        session.call = self
        self._session = session
        return session

    def _add_up(self) -> None:
        """Take what was heard since the last time into the sums."""
        waiting, self._waiting = self._waiting, []
        for heard in waiting:
            with suppress(UnreadableError):  # the journal counts it
                self._read(heard)
        new, self._new = self._new, []
        for bill, speech, on_span in new:
            self._totals.use(bill, speech)
            if not on_span:
                self._rest[bill[0]] = self._rest.get(bill[0], 0) + bill[2]

    def _read(self, heard: Heard | UsageReported | Added) -> None:
        if isinstance(heard, Added):
            for record in heard.records():
                if isinstance(record, MessageAdded):
                    self._totals.hear(record)
        elif isinstance(heard, Heard) and heard.fields.get("type") == "eou_metrics":
            for record in heard.records():
                if isinstance(record, TurnCommitted):
                    self._totals.commit(record)
        elif self._biller.ready or self._ended:
            self._new.append((self._biller.of(heard), heard.speech, False))
        else:
            self._waiting.append(heard)

    def _message(self, record: MessageAdded) -> None:
        if self._session is None:
            self._find_session()
        self._add_up()
        turn = self._totals.hear(record)
        if turn is None or self._session is None:
            return
        span = _turn_of(self._session, record.speech)
        self._said = None if span is None else (turn, span)
        self._say_turn()

    def _close(self, record: SessionClosed) -> None:
        if self._session is None:
            self._find_session()
        self._ended = True
        if self._started is not None:
            self._waiting += self._prices.legs(self._started, record.at)
        self._say_session()

    def _say_session(self) -> None:
        session = self._session
        if session is None:
            return
        self._add_up()
        if not session.hold(self._rest):
            self._say_late(session)
            return
        session.span.set_attributes(of_session(session.names, self._id, self._totals))

    def _say_late(self, session: _Session) -> None:
        """What came after the session's span is on the job's, where there is one."""
        late = {
            stage: units - session.units.get(stage, 0)
            for stage, units in self._rest.items()
            if units != session.units.get(stage, 0)
        }
        job = session.job
        if not late:
            return
        if job is not None:
            units = dict(job.units)
            for stage, more in late.items():
                units[stage] = units.get(stage, 0) + more
            if job.hold(units):
                session.units = dict(self._rest)
                return
        self._complaints.say(too_late(sum(late.values()), self._id))

    def _say_turn(self) -> None:
        session = self._session
        if session is None or self._said is None:
            return
        turn, span = self._said
        if not span.is_recording():
            self._said = None
            return
        self._add_up()
        span.set_attributes(of_turn(session.names, turn))

    def _expect(self, record: SessionStarted | ModelsDeclared) -> None:
        """Have the prices read by another thread before the first request ends."""
        biller = self._biller

        def read() -> None:
            try:
                biller.expect(record.models, record.at)
            except Exception as error:  # noqa: BLE001 - whoever asks for a price says it again
                _complaints.say("the prices cannot be read, the call goes on", error=error)

        threading.Thread(target=read, name="livekit-exporter-prices", daemon=True).start()


def _turn_of(session: _Session, speech: str | None) -> "Span | None":
    for span in tuple(session.turns.values()):
        if speech is not None and (span.attributes or {}).get(SPEECH) == speech:
            return span
    return None
