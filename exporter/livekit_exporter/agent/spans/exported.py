"""`enriched`: costs go onto LiveKit's spans where they are exported, off the event loop.

The spans have ended by then, so each that gets something is exported as a copy with more
attributes.  What a call used is kept by a follower of its journal, on the writer's thread,
until an exporter of the process asks for it; the event loop does nothing for it.
"""

import json
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import reduce
from typing import Final, NamedTuple

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from livekit_exporter.agent.journal import Journal
from livekit_exporter.agent.prices import Prices
from livekit_exporter.agent.rate_limited_log import problems
from livekit_exporter.agent.spans import costs
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
    Attributes,
    SpanNames,
    of_request,
    of_rest,
    of_session,
    of_turn,
)
from livekit_exporter.agent.spans.costs import SpanCost
from livekit_exporter.agent.spans.totals import Totals
from livekit_exporter.record import (
    MessageAdded,
    Record,
    SessionClosed,
    SessionStarted,
    TurnCommitted,
    UsageReported,
)

_LIVEKITS: Final = frozenset((SESSION, TURN, JOB, *REQUESTS))
_FLUSH_SECONDS: Final = 1.0
_CALLS_AT_HAND: Final = 256
"""Calls of a process that are kept for their spans, which a sampler may never let through."""


class _Request(NamedTuple):
    """A provider request as a span knows it."""

    stage: str
    name: str
    """Its id."""
    at: float | None
    """When its metrics were made."""


class _Charge(NamedTuple):
    """What one event reported of a request."""

    cost: SpanCost
    at: float


class CallCharges:
    """What a call used, for its spans; a `journal.Follower`.

    Args:
        started: The call.
        prices: Prices in force.
        journal: Its journal.
    """

    def __init__(self, started: SessionStarted, prices: Prices, journal: Journal) -> None:
        self.started = started
        self.trace = started.trace
        """Trace id, once it is known."""
        self.totals = Totals()
        self.units: dict[str, int] = {}
        """Cost by stage, in `ATTO`."""
        self.lock = threading.Lock()
        self._prices = prices
        self._journal = journal
        self._charges: dict[tuple[str, str], list[_Charge]] = {}
        with _lock:
            _idle.add(self)
            if _exporting:
                self.follow()

    def follow(self) -> None:
        """Take in the call's records from now on, and stay until its spans are exported."""
        _idle.discard(self)
        _calls[self.started.session] = self
        if len(_calls) > _CALLS_AT_HAND:
            _calls.popitem(last=False)
        self._journal.follow(self)

    def take(self, record: Record) -> None:
        """A record of the call."""
        with self.lock:
            self.trace = self.trace or getattr(record, "trace", None)
            match record:
                case UsageReported():
                    self._use(record)
                case TurnCommitted():
                    self.totals.commit(record)
                case MessageAdded():
                    self.totals.hear(record)
                case SessionClosed():
                    for leg in self._prices.legs(self.started, record.at):
                        self._use(leg)

    def end(self) -> None:
        """That was the last one; what is known stays until it was exported."""

    def catch_up(self, seconds: float) -> None:
        """Wait until everything that was heard is taken in, so many seconds at most."""
        if self._journal.closing:
            self._journal.close(seconds)
        else:
            self._journal.flush(seconds)

    def of(self, request: _Request) -> list[_Charge]:
        """What was reported of a request up to its metrics, which are the last that its span has.

        A stream of speech reports for every segment, and providers may repeat their ids.
        """
        charges = self._charges.get((request.stage, request.name), [])
        if any(charge.at == request.at for charge in charges):
            return [charge for charge in charges if charge.at <= (request.at or 0.0)]
        # The clock of its metrics was none.
        return list(charges) if request.name else []

    def _use(self, record: UsageReported) -> None:
        cost = costs.of_record(record, self._prices)
        if cost is None:
            return
        self.totals.use(cost, record.speech)
        self.units[cost.stage] = self.units.get(cost.stage, 0) + cost.atto
        if cost.stage in METRICS:
            charge = _Charge(cost, record.at)
            self._charges.setdefault((cost.stage, record.request), []).append(charge)


_calls: "Final[OrderedDict[str, CallCharges]]" = OrderedDict()
_idle: "Final[weakref.WeakSet[CallCharges]]" = weakref.WeakSet()
"""Calls whose spans nobody exports with costs so far."""
_lock: Final = threading.Lock()
_exporting = False
"""Whether an exporter of this process puts costs on spans."""


def enriched(exporter: SpanExporter, *, names: SpanNames = NAMES) -> SpanExporter:
    """Have costs on the spans that LiveKit's tracer provider hands to an exporter.

    Give it to a `BatchSpanProcessor` in place of the exporter itself, before the session
    starts.

    Args:
        exporter: Where the spans go.
        names: Names of the attributes.

    Raises:
        TypeError: It is no exporter.
    """
    if not all(callable(getattr(exporter, name, None)) for name in ("export", "shutdown")):
        raise TypeError(
            f"enriched needs a SpanExporter such as OTLPSpanExporter(), not {exporter!r}"
        )
    global _exporting  # noqa: PLW0603 - of calls, a process knows them all
    with _lock:
        if not _exporting:
            _exporting = True
            for call in list(_idle):
                call.follow()
    return _Exporter(exporter, names)


class _Told:
    """What an exporter has told of one call."""

    def __init__(self, call: CallCharges) -> None:
        self.call = call
        self.span: int | None = None
        """Span id of its session, once a turn named it."""
        self.charged: set[int] = set()
        self.on_requests: dict[str, int] = {}
        self.rest: dict[str, int] | None = None
        """Told with the session's span: what is on no request's."""

    def request(self, request: _Request) -> SpanCost | None:
        """What a request cost that nobody was told of."""
        charges = [charge for charge in self.call.of(request) if id(charge) not in self.charged]
        if not charges or self.rest is not None:
            return None
        self.charged.update(map(id, charges))
        cost = reduce(costs.together, (charge.cost for charge in charges))
        self.on_requests[cost.stage] = self.on_requests.get(cost.stage, 0) + cost.atto
        return cost

    def untold(self) -> dict[str, int]:
        """Cost by stage that is on no span so far."""
        told = self.rest or {}
        left = {
            stage: units - self.on_requests.get(stage, 0) - told.get(stage, 0)
            for stage, units in self.call.units.items()
        }
        return {stage: units for stage, units in left.items() if units}


class _Exporter(SpanExporter):
    """Exports copies of LiveKit's spans with what they cost; others as they are."""

    def __init__(self, exporter: SpanExporter, names: SpanNames) -> None:
        self._exporter = exporter
        self._names = names
        self._told: OrderedDict[str, _Told] = OrderedDict()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export spans; called by one thread at a time."""
        try:
            spans = self._with_costs(spans)
        except Exception as error:  # noqa: BLE001 - spans without costs are better than none
            problems.warning("spans are exported without their costs", error=error)
        return self._exporter.export(spans)

    def shutdown(self) -> None:
        """Shut down, and say what came too late for any span."""
        for told in self._told.values():
            late = 0 if told.rest is None else sum(told.untold().values())
            if late:
                problems.warning(
                    "%s US dollars were reported after the spans of session %s had ended;"
                    " the ledger has them, the trace has not",
                    late / 1e18,
                    told.call.started.session,
                )
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the exporter; nothing waits here."""
        return self._exporter.force_flush(timeout_millis)

    def _with_costs(self, spans: Sequence[ReadableSpan]) -> Sequence[ReadableSpan]:
        if not any(span.name in _LIVEKITS for span in spans):
            return spans
        with _lock:
            calls = list(_calls.values())
        # Together: a disk that hangs must not hold the exporter up once for every call.
        until = time.monotonic() + _FLUSH_SECONDS
        for call in calls:
            call.catch_up(max(0.0, until - time.monotonic()))
            self._told.setdefault(call.started.session, _Told(call))
        while len(self._told) > _CALLS_AT_HAND:
            self._told.popitem(last=False)
        return [self._with(span) for span in spans]

    def _with(self, span: ReadableSpan) -> ReadableSpan:
        try:
            said = self._said_of(span)
        except Exception as error:  # noqa: BLE001 - one odd span must not cost the others theirs
            problems.warning("a span is exported without its cost", error=error)
            return span
        return _Copy(span, said) if said else span

    def _said_of(self, span: ReadableSpan) -> Attributes:
        said: Attributes = {}
        if span.name in REQUESTS:
            said = self._of_request(span)
        elif span.name == TURN:
            said = self._of_turn(span)
        elif span.name == SESSION:
            said = self._of_session(span)
        elif span.name == JOB:
            said = self._of_job(span)
        return said

    def _of_request(self, span: ReadableSpan) -> Attributes:
        names, known = self._names, span.attributes or {}
        request = _request(REQUESTS[span.name], known)
        said: Attributes = {} if names.kind is None else {names.kind: names.kind_value}
        model = known.get(MODEL)
        for told in self._nearest(request):
            with told.call.lock:
                cost = told.request(request)
            if cost is not None:
                said |= of_request(names, cost)
                model = model or cost.model
                break
        if names.model is not None and isinstance(model, str):
            said[names.model] = model
        return said

    def _nearest(self, request: _Request) -> list[_Told]:
        """Calls, those first that had metrics of that very moment."""
        if request.at is None and not request.name:
            return []
        return sorted(
            self._told.values(),
            key=lambda told: all(charge.at != request.at for charge in told.call.of(request)),
        )

    def _of_turn(self, span: ReadableSpan) -> Attributes:
        speech = (span.attributes or {}).get(SPEECH)
        if not isinstance(speech, str):
            return {}
        for told in self._told.values():
            with told.call.lock:
                turn = told.call.totals.spoken(speech)
                if turn is not None:
                    told.span = told.span or (None if span.parent is None else span.parent.span_id)
                    return of_turn(self._names, turn)
        return {}

    def _of_session(self, span: ReadableSpan) -> Attributes:
        context = span.context
        of_trace = [told for told in self._of_trace(span) if told.rest is None]
        own = [told for told in of_trace if context and told.span == context.span_id]
        # One that never answered is known by its trace alone.
        told = next(iter(own or [told for told in of_trace if told.span is None]), None)
        if told is None:
            return {}
        with told.call.lock:
            rest = told.untold()
            told.rest = rest
            return {
                **of_rest(self._names, rest),
                **of_session(self._names, told.call.started.session, told.call.totals),
            }

    def _of_job(self, span: ReadableSpan) -> Attributes:
        late: dict[str, int] = {}
        for told in self._of_trace(span):
            with told.call.lock:
                untold = told.untold()
                told.rest = dict(told.rest or {})
                for stage, units in untold.items():
                    told.rest[stage] = told.rest.get(stage, 0) + units
                    late[stage] = late.get(stage, 0) + units
        return of_rest(self._names, late)

    def _of_trace(self, span: ReadableSpan) -> list[_Told]:
        context = span.context
        if context is None:
            return []
        trace = f"{context.trace_id:032x}"
        return [told for told in self._told.values() if told.call.trace == trace]


def _request(stage: str, known: Mapping[str, object]) -> _Request:
    """What a span says of its request: the metrics that LiveKit put there, or its response."""
    text, metrics = known.get(METRICS[stage]), None
    # A provider may have a limit on the length of attributes.
    with suppress(ValueError):
        metrics = json.loads(text) if isinstance(text, str) else None
    if not isinstance(metrics, dict):
        metrics = {}
    names = (metrics.get("request_id"), known.get(RESPONSE))
    name = next((name for name in names if isinstance(name, str)), "")
    at = metrics.get("timestamp")
    return _Request(stage, name, at if isinstance(at, float) else None)


class _Copy(ReadableSpan):
    """An ended span with more attributes."""

    def __init__(self, span: ReadableSpan, said: Attributes) -> None:
        super().__init__(
            name=span.name,
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes={**(span.attributes or {}), **said},
            events=span.events,
            links=span.links,
            kind=span.kind,
            status=span.status,
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )
        self._span = span

    @property
    def dropped_attributes(self) -> int:
        """Attributes that the original had no room for."""
        return self._span.dropped_attributes

    @property
    def dropped_events(self) -> int:
        """The same of events."""
        return self._span.dropped_events

    @property
    def dropped_links(self) -> int:
        """The same of links."""
        return self._span.dropped_links
