"""What a metrics event costs the event loop of a call.

One event every 2 ms inside asyncio, and the handlers take turns: in a tight loop, with
warm caches, each would look five to twenty times cheaper.
"""

import asyncio
import gc
import itertools
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from bench.figures import Answer, Quote, micros, percentile, ratio
from livekit_exporter import Budget, attach, data_directory, enrich_spans

if TYPE_CHECKING:
    from livekit.agents import MetricsCollectedEvent
    from livekit.agents.metrics import LLMMetrics
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

    from livekit_exporter.agent.attach import Call

_Handle: TypeAlias = "Callable[[MetricsCollectedEvent], None]"
_Source: TypeAlias = "Callable[[], MetricsCollectedEvent]"

_GAP_SECONDS: Final = 0.002
_HANG_SECONDS: Final = 0.2
_LEFT_SECONDS: Final = 1.5
_WARM_UP_EVENTS: Final = 20
_LABELS: Final = {
    "agent": "reception",
    "stage": "llm",
    "provider": "openai",
    "model": "gpt-4o-mini",
}

OURS: Final = "livekit-exporter"
OURS_ON_SPANS: Final = "livekit-exporter, cost on the request's span"
SPAN: Final = "a request's span, start and end"
SPAN_WATCHED: Final = "the same, watched by livekit-exporter"
BUDGETED: Final = "livekit-exporter with a budget"
OURS_EMITTED: Final = "livekit-exporter, through session.emit"
EMPTY_EMITTED: Final = "empty handler, through session.emit"
PROMETHEUS: Final = "prometheus_client, 6 inc + 2 observe"
OPENTELEMETRY: Final = "OpenTelemetry SDK, 6 add + 2 record"
EMPTY: Final = "empty handler"
HEALTHY: Final = "healthy disk"
HUNG: Final = "each write hangs 200 ms"


class _Events:
    """Real LiveKit events, each an object of its own with a request id of its own."""

    def __init__(self, speech: str) -> None:
        self._speech = speech
        self._numbers = itertools.count()

    def __call__(self) -> "MetricsCollectedEvent":
        from livekit.agents import MetricsCollectedEvent
        from livekit.agents.metrics import LLMMetrics
        from livekit.agents.metrics.base import Metadata

        return MetricsCollectedEvent(
            metrics=LLMMetrics(
                label="livekit.plugins.openai.llm.LLM",
                request_id=f"chatcmpl-{next(self._numbers):024d}",
                timestamp=time.time(),
                duration=1.31,
                ttft=0.42,
                cancelled=False,
                completion_tokens=87,
                prompt_tokens=1412,
                prompt_cached_tokens=1024,
                total_tokens=1499,
                tokens_per_second=66.4,
                speech_id=self._speech,
                metadata=Metadata(model_name="gpt-4o-mini", model_provider="api.openai.com"),
            )
        )


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

    def heard(self, events: _Source) -> _Source:
        """The same events, each with a span that has everything but its cost."""

        def event() -> "MetricsCollectedEvent":
            from livekit.agents.telemetry import gen_ai
            from opentelemetry import context, trace

            if self._request is not None:
                self._request.end()
            context.attach(self._inside or context.Context())
            made = events()
            metrics = _llm(made)
            self._request = self._tracer.start_span("llm_request")
            # What `LLMStream` does before it emits.
            gen_ai.set_request_attributes(
                self._request,
                operation="chat",
                provider="openai",
                model=_LABELS["model"],
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
                model=_LABELS["model"],
                finish_reasons=["stop"],
                time_to_first_chunk=metrics.ttft,
            )
            return made

        return event

    def request(self, _: object) -> None:
        """Start and end a request's span."""
        self._tracer.start_span("llm_request", context=self._inside).end()


class _Attached:
    """A real session with our collector, in the middle of a reply."""

    def __init__(self, root: Path, budget: Budget | None = None) -> None:
        from livekit.agents import AgentSession, SpeechCreatedEvent
        from livekit.agents.voice import SpeechHandle

        self.root = root
        self.session: AgentSession[None] = AgentSession()
        self.call: Call = attach(self.session, agent=_LABELS["agent"], budget=budget, data_dir=root)
        speech = SpeechHandle.create()
        self.session.emit(
            "speech_created",
            SpeechCreatedEvent(user_initiated=False, source="generate_reply", speech_handle=speech),
        )
        self.events = _Events(speech.id)
        # What emit calls; there is no public way to ask for it.
        (self.handle,) = self.session._events["metrics_collected"]  # noqa: SLF001

    def written(self) -> int:
        """Usage records on file.

        Raises:
            TimeoutError: Not everything got there.
        """
        if not self.call.flush(30):
            raise TimeoutError("the journal was not written within 30 s")
        files = data_directory.journals(self.root).glob("*.jsonl")
        lines = [json.loads(line) for path in files for line in path.read_bytes().splitlines()]
        return sum(line["kind"] == "usage" for line in lines)


def measure(*, quick: bool) -> list[Answer]:
    """Handlers side by side, then ours on a disk that hangs."""
    events = 100 if quick else 2000
    # Left over from importing LiveKit; an agent that runs has been through it.
    gc.collect()
    with tempfile.TemporaryDirectory() as folder:
        answers = asyncio.run(_measure(Path(folder), events))
        # Those sessions are over: the next one is alone in its process, as in a job.
        gc.collect()
        # Last: from here on every call of this process looks for spans.
        return [*answers, asyncio.run(_on_spans(Path(folder) / "spans", events))]


async def _measure(root: Path, events: int) -> list[Answer]:
    budgeted = await _with_a_budget(root / "budgeted", events)
    # One session, as a job process has.
    ours = _Attached(root / "ours")
    source = ours.events
    compared = await _in_turns(
        {
            EMPTY: (source, lambda _: None),
            PROMETHEUS: (source, _prometheus()),
            OPENTELEMETRY: (source, _opentelemetry()),
            OURS: (source, ours.handle),
            EMPTY_EMITTED: (source, _empty_session()),
            OURS_EMITTED: (
                source,
                lambda event: ours.session.emit("metrics_collected", event),
            ),
        },
        events,
    )
    healthy, hung = _Attached(root / "healthy"), _Attached(root / "hung")
    with _hanging_disk(data_directory.journals(hung.root)):
        disks = await _in_turns(
            {HEALTHY: (healthy.events, healthy.handle), HUNG: (hung.events, hung.handle)}, events
        )
        put = events + _WARM_UP_EVENTS
        written = await asyncio.to_thread(hung.written)
    assert written == put, f"{put} events, {written} records on file"
    return [_comparison(compared, events), _budget(budgeted, events), _stall(disks, put, written)]


async def _with_a_budget(root: Path, events: int) -> dict[str, list[int]]:
    """A session that adds up what it spends, alone in the process like one without."""
    from livekit.agents import CloseEvent, CloseReason

    ours = _Attached(root, Budget(session_usd=1_000_000, on_unpriced="stop"))
    spent = await _in_turns(
        {PROMETHEUS: (ours.events, _prometheus()), BUDGETED: (ours.events, ours.handle)}, events
    )
    put = events + _WARM_UP_EVENTS
    written = await asyncio.to_thread(ours.written)
    assert written == put, f"{put} events, {written} records on file"
    # Its subscription ends a second later, so that the next session is in nobody's company.
    ours.session.emit("close", CloseEvent(reason=CloseReason.USER_INITIATED))
    await asyncio.sleep(_LEFT_SECONDS)
    return spent


async def _on_spans(root: Path, events: int) -> Answer:
    from opentelemetry.sdk.trace import TracerProvider

    alone, watched = TracerProvider(), TracerProvider()
    enrich_spans(watched)
    ours, plain, traced = _Attached(root), _Traced(alone), _Traced(watched)
    heard = traced.heard(ours.events)
    spent = await _in_turns(
        {
            EMPTY: (heard, lambda _: None),
            PROMETHEUS: (heard, _prometheus()),
            OURS_ON_SPANS: (heard, ours.handle),
            SPAN: (heard, plain.request),
            SPAN_WATCHED: (heard, traced.request),
        },
        events,
    )
    return _enriched(spent, events)


async def _in_turns(
    variants: Mapping[str, tuple[_Source, _Handle]], events: int
) -> dict[str, list[int]]:
    """Nanoseconds of every event; each round gives every handler one, in random order."""
    chance = random.Random(1)  # noqa: S311 - an order, not a secret
    spent: dict[str, list[int]] = {name: [] for name in variants}
    for number in range(_WARM_UP_EVENTS + events):
        for name in chance.sample(list(variants), len(variants)):
            source, handle = variants[name]
            event = source()
            begun = time.perf_counter_ns()
            handle(event)
            took = time.perf_counter_ns() - begun
            if number >= _WARM_UP_EVENTS:
                spent[name].append(took)
            await asyncio.sleep(_GAP_SECONDS)
    return spent


@contextmanager
def _hanging_disk(folder: Path) -> Iterator[None]:
    """Let every write to a file in a folder take 200 ms longer, as a stalled disk would."""
    write = os.write

    def hang(descriptor: int, data: bytes) -> int:
        if Path(f"/proc/self/fd/{descriptor}").readlink().parent == folder:
            time.sleep(_HANG_SECONDS)
        return write(descriptor, data)

    os.write = hang  # type: ignore[assignment]
    try:
        yield
    finally:
        os.write = write


def _empty_session() -> _Handle:
    from livekit import rtc
    from livekit.agents import AgentSession

    session: AgentSession[None] = AgentSession()
    # Not `session.on`: that warns that this event is deprecated.
    rtc.EventEmitter.on(session, "metrics_collected", lambda _: None)  # type: ignore[arg-type]
    return lambda event: session.emit("metrics_collected", event)


def _prometheus() -> _Handle:
    """What a careful user of the library writes: children looked up once."""
    from prometheus_client import CollectorRegistry, Counter, Histogram

    registry = CollectorRegistry()
    requests, asked, cached, answered, total, usd = (
        Counter(name, name, _LABELS, registry=registry).labels(**_LABELS)
        for name in ("requests", "asked", "cached", "answered", "tokens", "usd")
    )
    first, whole = (
        Histogram(name, name, _LABELS, registry=registry).labels(**_LABELS)
        for name in ("first_seconds", "request_seconds")
    )

    def handle(event: "MetricsCollectedEvent") -> None:
        metrics = _llm(event)
        requests.inc()
        asked.inc(metrics.prompt_tokens)
        cached.inc(metrics.prompt_cached_tokens)
        answered.inc(metrics.completion_tokens)
        total.inc(metrics.total_tokens)
        usd.inc(0.0001)
        first.observe(metrics.ttft)
        whole.observe(metrics.duration)

    return handle


def _opentelemetry() -> _Handle:
    """The SDK with a reader in memory: nothing is exported, which is in its favour."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    meter = MeterProvider([InMemoryMetricReader()]).get_meter("bench")
    requests, asked, cached, answered, total, usd = (
        meter.create_counter(name)
        for name in ("requests", "asked", "cached", "answered", "tokens", "usd")
    )
    first, whole = (
        meter.create_histogram(name, unit="s") for name in ("first_seconds", "request_seconds")
    )

    def handle(event: "MetricsCollectedEvent") -> None:
        metrics = _llm(event)
        requests.add(1, _LABELS)
        asked.add(metrics.prompt_tokens, _LABELS)
        cached.add(metrics.prompt_cached_tokens, _LABELS)
        answered.add(metrics.completion_tokens, _LABELS)
        total.add(metrics.total_tokens, _LABELS)
        usd.add(0.0001, _LABELS)
        first.record(metrics.ttft, _LABELS)
        whole.record(metrics.duration, _LABELS)

    return handle


def _comparison(spent: Mapping[str, list[int]], events: int) -> Answer:
    base = percentile(spent[PROMETHEUS], 50)
    ours = percentile(spent[OURS], 50)
    other = percentile(spent[OPENTELEMETRY], 50)
    return Answer(
        question="What one event costs the call's event loop",
        method=(
            f"One real `LLMMetrics` event every 2 ms in an asyncio loop, {events} for each"
            " handler, which take turns in random order: caches are as cold as in an agent."
            " What LiveKit's `emit` itself costs is the empty handler's line."
        ),
        columns=("handler", "p50 µs", "p99 µs", "max µs", "p50 to prometheus_client"),
        rows=[
            (
                name,
                micros(percentile(values, 50)),
                micros(percentile(values, 99)),
                micros(max(values)),
                ratio(percentile(values, 50), base),
            )
            for name, values in spent.items()
        ],
        quotes=[
            Quote(
                what="handler on the event loop, one event, p50 (p99)",
                measured=_both(spent[OURS]),
                against=f"prometheus_client in one process: {_both(spent[PROMETHEUS])}",
                ratio=ratio(ours, base),
            ),
            Quote(
                what="the same",
                measured=_both(spent[OURS]),
                against=f"OpenTelemetry SDK: {_both(spent[OPENTELEMETRY])}",
                ratio=ratio(ours, other),
            ),
        ],
    )


def _enriched(spent: Mapping[str, list[int]], events: int) -> Answer:
    base, ours = percentile(spent[PROMETHEUS], 50), percentile(spent[OURS_ON_SPANS], 50)
    alone, watched = percentile(spent[SPAN], 50), percentile(spent[SPAN_WATCHED], 50)
    return Answer(
        question="What costs on LiveKit's spans add",
        method=(
            f"The same, {events} events for each handler, while the span of the request is open"
            " and carries what LiveKit puts there.  Nothing is exported."
        ),
        columns=("handler", "p50 µs", "p99 µs", "max µs", "p50 to prometheus_client"),
        rows=[
            (
                name,
                micros(percentile(values, 50)),
                micros(percentile(values, 99)),
                micros(max(values)),
                ratio(percentile(values, 50), base),
            )
            for name, values in spent.items()
        ],
        quotes=[
            Quote(
                what="handler with the cost on the request's span, p50 (p99)",
                measured=_both(spent[OURS_ON_SPANS]),
                against=f"prometheus_client in one process: {_both(spent[PROMETHEUS])}",
                ratio=ratio(ours, base),
            ),
            Quote(
                what="start and end of a request's span that is watched",
                measured=_both(spent[SPAN_WATCHED]),
                against=f"OpenTelemetry SDK alone: {_both(spent[SPAN])}",
                ratio=ratio(watched, alone),
            ),
        ],
    )


def _budget(spent: Mapping[str, list[int]], events: int) -> Answer:
    base, ours = (percentile(spent[name], 50) for name in (PROMETHEUS, BUDGETED))
    return Answer(
        question="What one event costs the call's event loop when there is a budget",
        method=(
            f"The same with a session of its own, {events} events for each handler. Its usage is"
            " priced and added up on the journal's writer thread."
        ),
        columns=("handler", "p50 µs", "p99 µs", "max µs", "p50 to prometheus_client"),
        rows=[
            (
                name,
                micros(percentile(values, 50)),
                micros(percentile(values, 99)),
                micros(max(values)),
                ratio(percentile(values, 50), base),
            )
            for name, values in spent.items()
        ],
        quotes=[
            Quote(
                what="handler on the event loop with a budget, one event, p50 (p99)",
                measured=_both(spent[BUDGETED]),
                against=f"prometheus_client in one process: {_both(spent[PROMETHEUS])}",
                ratio=ratio(ours, base),
            )
        ],
    )


def _stall(spent: Mapping[str, list[int]], put: int, written: int) -> Answer:
    healthy, hung = (percentile(spent[name], 50) for name in (HEALTHY, HUNG))
    return Answer(
        question="What it costs while the disk hangs",
        method=(
            "Two sessions take turns; each write of the second one's journal takes 200 ms."
            f" It put {put} events, and {written} records are on file at the end."
        ),
        columns=("disk", "p50 µs", "p99 µs", "max µs", "p50 to healthy"),
        rows=[
            (
                name,
                micros(percentile(values, 50)),
                micros(percentile(values, 99)),
                micros(max(values)),
                ratio(percentile(values, 50), healthy),
            )
            for name, values in spent.items()
        ],
        quotes=[
            Quote(
                what="the same while every disk write hangs 200 ms, nothing lost",
                measured=_both(spent[HUNG]),
                against=f"healthy disk: {_both(spent[HEALTHY])}",
                ratio=ratio(hung, healthy),
            )
        ],
    )


def _both(values: list[int]) -> str:
    return f"{micros(percentile(values, 50))} ({micros(percentile(values, 99))}) µs"


def _llm(event: "MetricsCollectedEvent") -> "LLMMetrics":
    return event.metrics  # type: ignore[return-value]  # one kind of many, by construction
