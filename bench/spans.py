"""What costs on LiveKit's spans add to one event that has a span."""

import asyncio
import gc
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.figures import Answer
from bench.loop import (
    COLUMNS,
    EMPTY,
    MODEL,
    OPENTELEMETRY,
    PROMETHEUS,
    WARM_UP_EVENTS,
    Attached,
    Source,
    in_turns,
    llm_of,
    opentelemetry,
    prometheus,
    quote,
    rows,
)
from livekit_exporter import Budget, enrich_spans, enriched

if TYPE_CHECKING:
    from livekit.agents import MetricsCollectedEvent
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

_COST: Final = "gen_ai.usage.cost"

OURS: Final = "livekit-exporter, budget, cost on the request's span"
EXPORTED: Final = "livekit-exporter, budget, cost on the exported span"
SPAN: Final = "a request's span, start and end"
SPAN_WATCHED: Final = "the same, watched by livekit-exporter"


def measure(*, quick: bool) -> list[Answer]:
    """Handlers side by side: costs on exported spans, then on live ones."""
    events = 100 if quick else 2000
    answers = []
    for question in (_exported, _live):
        gc.collect()
        with tempfile.TemporaryDirectory() as folder:
            answers.append(asyncio.run(question(Path(folder), events)))
    return answers


async def _exported(root: Path, events: int) -> Answer:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    memory, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(enriched(memory)))
    ours, traced = Attached(root, _budget()), _Traced(provider)
    heard = traced.heard(ours.events)
    spent = await in_turns(
        {
            PROMETHEUS: (heard, prometheus()),
            OPENTELEMETRY: (heard, opentelemetry()),
            EXPORTED: (heard, ours.handle),
        },
        events,
    )
    traced.end()
    await ours.leave()
    await asyncio.to_thread(provider.shutdown)
    costs = [_COST in (span.attributes or {}) for span in memory.get_finished_spans()]
    put = events + WARM_UP_EVENTS
    assert costs.count(True) == put, f"{put} events, {costs.count(True)} spans with a cost"
    return Answer(
        question="What costs on exported spans add to one event",
        method=(
            f"The same, {events} events for each handler, while the span of the request is open"
            f" and carries what LiveKit puts there.  Of {put} requests that ours heard, so many"
            " were exported with their cost."
        ),
        columns=(*COLUMNS, "p50 to prometheus_client"),
        rows=rows(spent, PROMETHEUS),
        quotes=[
            quote(
                "handler with a budget and costs on exported spans, one LLM event, p50 (p99)",
                spent[EXPORTED],
                "prometheus_client in one process",
                spent[PROMETHEUS],
            ),
            quote("the same", spent[EXPORTED], "OpenTelemetry SDK", spent[OPENTELEMETRY]),
        ],
    )


async def _live(root: Path, events: int) -> Answer:
    from opentelemetry.sdk.trace import TracerProvider

    alone, watched = TracerProvider(), TracerProvider()
    enrich_spans(watched)
    ours, plain, traced = Attached(root, _budget()), _Traced(alone), _Traced(watched)
    heard = traced.heard(ours.events)
    spent = await in_turns(
        {
            EMPTY: (heard, lambda _: None),
            PROMETHEUS: (heard, prometheus()),
            OURS: (heard, ours.handle),
            SPAN: (heard, plain.request),
            SPAN_WATCHED: (heard, traced.request),
        },
        events,
    )
    await ours.leave()
    return Answer(
        question="What costs on live spans add to one event",
        method=(
            f"The same, {events} events for each handler, with `enrich_spans` in place of"
            " `enriched`.  Nothing is exported."
        ),
        columns=(*COLUMNS, "p50 to prometheus_client"),
        rows=rows(spent, PROMETHEUS),
        quotes=[
            quote(
                "the same with costs on live spans",
                spent[OURS],
                "prometheus_client in one process",
                spent[PROMETHEUS],
            ),
            quote(
                "start and end of a request's span that is watched",
                spent[SPAN_WATCHED],
                "OpenTelemetry SDK alone",
                spent[SPAN],
            ),
        ],
    )


def _budget() -> Budget:
    return Budget(session_usd=1_000_000, on_unpriced="stop")


class _Traced:
    """Requests whose span is open, each heard in the span that LiveKit is in then."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import trace

        self._tracer = provider.get_tracer("livekit-agents")
        self._request: Span | None = None
        self._inside: Context | None = None
        for name in ("agent_session", "agent_turn", "llm_node"):
            span = self._tracer.start_span(name, context=self._inside)
            self._inside = trace.set_span_in_context(span)

    def heard(self, events: Source) -> Source:
        """The same events, each with a span that has everything but its cost."""

        def event() -> "MetricsCollectedEvent":
            from livekit.agents.telemetry import gen_ai
            from opentelemetry import context, trace

            if self._request is not None:
                self._request.end()
            context.attach(self._inside or context.Context())
            made = events()
            metrics = llm_of(made)
            self._request = self._tracer.start_span("llm_request")
            # What `LLMStream` does before it emits.
            gen_ai.set_request_attributes(
                self._request,
                operation="chat",
                provider="openai",
                model=MODEL,
                stream=True,
            )
            self._tracer.start_span(
                "llm_request_run", context=trace.set_span_in_context(self._request)
            ).end()
            self._request.set_attribute("lk.llm_metrics", metrics.model_dump_json())
            gen_ai.set_usage_attributes(self._request, metrics)
            gen_ai.set_response_attributes(
                self._request,
                response_id=metrics.request_id,
                model=MODEL,
                finish_reasons=["stop"],
                time_to_first_chunk=metrics.ttft,
            )
            return made

        return event

    def end(self) -> None:
        """End the last request."""
        if self._request is not None:
            self._request.end()

    def request(self, _: object) -> None:
        """Start and end a request's span."""
        self._tracer.start_span("llm_request", context=self._inside).end()
