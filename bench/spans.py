"""Measure what costs on LiveKit's spans add to one event that has a span."""

import asyncio
import gc
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.figures import Answer
from bench.loop import (
    COLUMNS,
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
from livekit_exporter import Budget, enriched

if TYPE_CHECKING:
    from livekit.agents import MetricsCollectedEvent
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

_COST: Final = "gen_ai.usage.cost"

EXPORTED: Final = "livekit-exporter, budget, cost on the exported span"


def measure(*, quick: bool) -> list[Answer]:
    """Time handlers side by side while costs go onto exported spans."""
    gc.collect()
    with tempfile.TemporaryDirectory() as folder:
        return [asyncio.run(_exported(Path(folder), 100 if quick else 2000))]


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
