"""`enriched`: puts costs on LiveKit's spans where they are exported, off the event loop.

The spans have ended by then, so each that gets a cost is exported as a copy with more attributes.
`charges` keeps the costs on the journal writer's thread; the event loop does nothing for them.
"""

import json
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import reduce
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

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
from livekit_exporter.agent.spans.charges import (
    CALLS_AT_HAND,
    CallCharges,
    SpanRequest,
    traced_calls,
)
from livekit_exporter.agent.spans.costs import SpanCost

_LIVEKITS: Final = frozenset((SESSION, TURN, JOB, *REQUESTS))
_FLUSH_SECONDS: Final = 1.0


def enriched(exporter: SpanExporter, *, names: SpanNames = NAMES) -> SpanExporter:
    """Put costs on the spans that LiveKit's tracer provider hands to an exporter.

    Give it to a `BatchSpanProcessor` in place of the exporter itself, before the session
    starts.

    Args:
        exporter: Exports the spans with their costs.
        names: Names of the attributes.

    Raises:
        TypeError: It is not an exporter.
    """
    if not all(callable(getattr(exporter, name, None)) for name in ("export", "shutdown")):
        raise TypeError(
            f"enriched needs a SpanExporter such as OTLPSpanExporter(), not {exporter!r}"
        )
    traced_calls.export()
    return _Exporter(exporter, names)


class _Carried:
    """The costs of one call that spans carried through one exporter."""

    def __init__(self, call: CallCharges) -> None:
        self.call = call
        self.span: int | None = None
        """Span id of its session, once a turn named it."""
        self.charged: set[int] = set()
        self.on_requests: dict[str, int] = {}
        self.rest: dict[str, int] | None = None
        """Carried by the session's span: everything that no request's span carried."""

    def request(self, request: SpanRequest) -> SpanCost | None:
        """Take the cost of a request that no span carried so far."""
        charges = [charge for charge in self.call.of(request) if id(charge) not in self.charged]
        if not charges or self.rest is not None:
            return None
        self.charged.update(map(id, charges))
        cost = reduce(costs.together, (charge.cost for charge in charges))
        self.on_requests[cost.stage] = self.on_requests.get(cost.stage, 0) + cost.atto
        return cost

    def left(self) -> dict[str, int]:
        """Sum the cost by stage that no span carried so far."""
        rest = self.rest or {}
        left = {
            stage: units - self.on_requests.get(stage, 0) - rest.get(stage, 0)
            for stage, units in self.call.by_stage().items()
        }
        return {stage: units for stage, units in left.items() if units}


class _Exporter(SpanExporter):
    """Exports copies of LiveKit's spans with their costs, other spans as they are."""

    def __init__(self, exporter: SpanExporter, names: SpanNames) -> None:
        self._exporter = exporter
        self._names = names
        self._carried: OrderedDict[str, _Carried] = OrderedDict()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export spans; called by one thread at a time."""
        try:
            spans = self._with_costs(spans)
        except Exception as error:  # noqa: BLE001 - spans without costs are better than none
            problems.warning("spans are exported without their costs", error=error)
        return self._exporter.export(spans)

    def shutdown(self) -> None:
        """Shut down, and log the costs that came too late for any span."""
        for carried in self._carried.values():
            late = 0 if carried.rest is None else sum(carried.left().values())
            if late:
                problems.warning(
                    "%s US dollars were reported after the spans of session %s had ended;"
                    " the ledger has them, the trace has not",
                    late / 1e18,
                    carried.call.session,
                )
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the exporter; nothing waits here."""
        return self._exporter.force_flush(timeout_millis)

    def _with_costs(self, spans: Sequence[ReadableSpan]) -> Sequence[ReadableSpan]:
        if not any(span.name in _LIVEKITS for span in spans):
            return spans
        calls = traced_calls.recent()
        # Together: a disk that hangs must not hold the exporter up once for every call.
        until = time.monotonic() + _FLUSH_SECONDS
        for call in calls:
            call.catch_up(max(0.0, until - time.monotonic()))
            self._carried.setdefault(call.session, _Carried(call))
        while len(self._carried) > CALLS_AT_HAND:
            self._carried.popitem(last=False)
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
        for carried in self._nearest(request):
            with carried.call.lock:
                cost = carried.request(request)
            if cost is not None:
                said |= of_request(names, cost)
                model = model or cost.model
                break
        if names.model is not None and isinstance(model, str):
            said[names.model] = model
        return said

    def _nearest(self, request: SpanRequest) -> list[_Carried]:
        """Sort calls, those first that had metrics of that very moment."""
        if request.at is None and not request.name:
            return []
        return sorted(
            self._carried.values(),
            key=lambda carried: all(charge.at != request.at for charge in carried.call.of(request)),
        )

    def _of_turn(self, span: ReadableSpan) -> Attributes:
        speech = (span.attributes or {}).get(SPEECH)
        if not isinstance(speech, str):
            return {}
        for carried in self._carried.values():
            with carried.call.lock:
                turn = carried.call.account.reply(speech)
                if turn is not None and turn.spoken:
                    carried.span = carried.span or (
                        None if span.parent is None else span.parent.span_id
                    )
                    return of_turn(self._names, turn)
        return {}

    def _of_session(self, span: ReadableSpan) -> Attributes:
        context = span.context
        of_trace = [carried for carried in self._of_trace(span) if carried.rest is None]
        own = [carried for carried in of_trace if context and carried.span == context.span_id]
        # A call that never answered is known by its trace alone.
        carried = next(iter(own or [carried for carried in of_trace if carried.span is None]), None)
        if carried is None:
            return {}
        with carried.call.lock:
            rest = carried.left()
            carried.rest = rest
            return {
                **of_rest(self._names, rest),
                **of_session(self._names, carried.call.session, carried.call.account),
            }

    def _of_job(self, span: ReadableSpan) -> Attributes:
        late: dict[str, int] = {}
        for carried in self._of_trace(span):
            with carried.call.lock:
                left = carried.left()
                carried.rest = dict(carried.rest or {})
                for stage, units in left.items():
                    carried.rest[stage] = carried.rest.get(stage, 0) + units
                    late[stage] = late.get(stage, 0) + units
        return of_rest(self._names, late)

    def _of_trace(self, span: ReadableSpan) -> list[_Carried]:
        context = span.context
        if context is None:
            return []
        trace = f"{context.trace_id:032x}"
        return [carried for carried in self._carried.values() if carried.call.trace == trace]


def _request(stage: str, known: Mapping[str, object]) -> SpanRequest:
    """Read the request of a span off the metrics that LiveKit put there, or off its response."""
    text, metrics = known.get(METRICS[stage]), None
    # A provider may cut attributes at a length, and JSON with them.
    with suppress(ValueError):
        metrics = json.loads(text) if isinstance(text, str) else None
    if not isinstance(metrics, dict):
        metrics = {}
    names = (metrics.get("request_id"), known.get(RESPONSE))
    name = next((name for name in names if isinstance(name, str)), "")
    at = metrics.get("timestamp")
    return SpanRequest(stage, name, at if isinstance(at, float) else None)


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
        """Events that the original had no room for."""
        return self._span.dropped_events

    @property
    def dropped_links(self) -> int:
        """Links that the original had no room for."""
        return self._span.dropped_links
