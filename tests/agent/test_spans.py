"""Costs find their spans: by request, whatever ids, threads and versions do."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("livekit.agents", reason="needs livekit-agents: pip install -e '.[agent]'")

from livekit.agents import Agent, AgentSession, telemetry
from livekit.agents.metrics import LLMMetrics, RealtimeModelMetrics, STTMetrics, TTSMetrics
from livekit.agents.metrics.base import Metadata
from livekit.agents.telemetry.utils import record_realtime_metrics
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracerProvider

from livekit_exporter import SpanNames, attach, enrich_spans
from livekit_exporter.agent.normalize import Heard
from livekit_exporter.agent.prices import Prices
from livekit_exporter.agent.spans import live as module
from livekit_exporter.agent.spans.live import CallSpans
from livekit_exporter.record import (
    MessageAdded,
    SessionClosed,
    SessionStarted,
    Usage,
    UsageReported,
)
from tests.agent.speech import ScriptedLLM
from tests.sidecars import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opentelemetry.trace import Span

COST = "gen_ai.usage.cost"
OPENAI = Metadata(model_name="gpt-4.1-mini", model_provider="api.openai.com")
OF_ONE = 0.00044
"""1000 input tokens of which 400 were cached, 100 output tokens."""


class Traced:
    """A provider with costs, and LiveKit's spans as a session opens them."""

    def __init__(self, names: SpanNames | None = None) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        if names is None:
            enrich_spans(self.provider)
        else:
            enrich_spans(self.provider, names=names)
        self.tracer = self.provider.get_tracer("livekit-agents")

    def open(self, name: str, parent: Span | None = None, **attributes: str) -> Span:
        context = None if parent is None else trace.set_span_in_context(parent)
        return self.tracer.start_span(name, context=context, attributes=attributes)

    def session(self) -> tuple[Span, Span, Span]:
        session = self.open("agent_session")
        turn = self.open("agent_turn", session, **{"lk.speech_id": "speech_1"})
        return session, turn, self.open("llm_node", turn)

    def ended(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def costs(self) -> list[float]:
        return [
            float(str(span.attributes[COST]))
            for span in self.exporter.get_finished_spans()
            if span.attributes and COST in span.attributes
        ]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """What a test enriched is not enriched for the next one."""
    before = telemetry.tracer._tracer_provider
    yield
    module._enriched.clear()
    telemetry.tracer.set_provider(before)
    assert not module._sessions, "every span is let go of"
    module._jobs.clear()


@pytest.fixture
def call() -> CallSpans:
    """Of a call that has begun, once a provider is enriched."""
    return begun("s-1")


def begun(session: str) -> CallSpans:
    call = CallSpans(session, Prices())
    call.take(SessionStarted(session=session, at=time.time(), agent="a"))
    return call


def llm(request: str = "r-1", **changed: object) -> LLMMetrics:
    values: dict[str, Any] = {
        "label": "",
        "request_id": request,
        "timestamp": time.time(),
        "duration": 1.0,
        "ttft": 0.3,
        "cancelled": False,
        "prompt_tokens": 1000,
        "prompt_cached_tokens": 400,
        "completion_tokens": 100,
        "total_tokens": 1100,
        "tokens_per_second": 10.0,
        "speech_id": "speech_1",
        "metadata": OPENAI,
        **changed,
    }
    return LLMMetrics(**values)


def reported(span: Span, metrics: LLMMetrics | TTSMetrics) -> None:
    """Put on a span what LiveKit puts there before it emits."""
    name = "lk.llm_metrics" if isinstance(metrics, LLMMetrics) else "lk.tts_metrics"
    span.set_attribute(name, metrics.model_dump_json())
    if isinstance(metrics, LLMMetrics) and metrics.request_id:
        span.set_attribute("gen_ai.response.id", metrics.request_id)


def hear(call: CallSpans, metrics: object, inside: Span, speech: str | None = None) -> None:
    wait_until(lambda: call._biller.ready, "the prices")
    with trace.use_span(inside):
        call.hear(Heard(metrics, "s-1", time.time(), None, speech))


def speech(characters: int, request: str = "t-1") -> TTSMetrics:
    return TTSMetrics(
        label="",
        request_id=request,
        timestamp=time.time(),
        ttfb=0.1,
        duration=1.0,
        audio_duration=2.0,
        cancelled=False,
        characters_count=characters,
        streamed=True,
        metadata=Metadata(model_name="sonic-2", model_provider="Cartesia"),
    )


def end(*spans: Span) -> None:
    for span in spans:
        span.end()


def test_requests_are_told_apart_by_their_whole_id(call: CallSpans) -> None:
    """`r-1` is the beginning of `r-10`, and a quoted one is in the other's text."""
    traced = Traced()
    session, turn, node = traced.session()
    ids = ["r-1", "r-10", 'x","request_id":"r-1', "naïve\\r-1"]
    requests = {one: traced.open("llm_request", node) for one in ids}
    for number, one in enumerate(ids, 1):
        metrics = llm(one, completion_tokens=100 * number, total_tokens=0)
        requests[one].set_attribute("lk.llm_metrics", metrics.model_dump_json())
        hear(call, metrics, node)
    end(*requests.values(), node, turn, session)

    found = [span.attributes or {} for span in traced.ended("llm_request")]
    assert [json.loads(str(a["langfuse.observation.usage_details"]))["output"] for a in found] == [
        100,
        200,
        300,
        400,
    ]


def test_a_request_without_a_span_does_not_take_anothers(call: CallSpans) -> None:
    """Though its id is a part of that one's."""
    traced = Traced()
    session, turn, node = traced.session()
    request = traced.open("llm_request", node)
    request.set_attribute("lk.llm_metrics", llm("r-10").model_dump_json())
    hear(call, llm("r-1"), node)
    end(request, node, turn, session)

    assert traced.costs() == []


def test_a_session_does_not_charge_anothers_spans(call: CallSpans) -> None:
    """Two that share a model hear each other's requests, in the span of the one that asked."""
    traced = Traced()
    session, turn, node = traced.session()
    request = traced.open("llm_request", node)
    metrics = llm()
    reported(request, metrics)
    hear(call, metrics, node)
    hear(begun("s-2"), metrics, node)
    end(request, node, turn, session)

    assert traced.costs() == [pytest.approx(OF_ONE, abs=1e-15)]


@pytest.mark.parametrize("request_id", ["", "same"])
def test_requests_with_one_id_are_told_apart_by_their_time(
    call: CallSpans, request_id: str
) -> None:
    """A provider that numbers nothing, or a probe that runs beside the answer."""
    traced = Traced()
    session, turn, node = traced.session()
    first, second = traced.open("llm_request", node), traced.open("llm_request", node)
    one = llm(request_id, timestamp=time.time() - 1)
    other = llm(request_id, completion_tokens=200, total_tokens=1200)
    reported(first, one)
    reported(second, other)
    hear(call, one, node)
    hear(call, other, node)
    end(first, second, node, turn, session)

    used = [
        json.loads(str((span.attributes or {})["langfuse.observation.usage_details"]))["output"]
        for span in traced.ended("llm_request")
    ]
    assert used == [100, 200]


def test_a_stream_of_several_segments_adds_up(call: CallSpans) -> None:
    """Each segment reports, all on one span; each is counted once."""
    traced = Traced()
    session, turn, node = traced.session()
    request = traced.open("tts_request", node)
    for characters in (10, 20, 30):
        metrics = speech(characters)
        reported(request, metrics)
        hear(call, metrics, node)
    end(request, node, turn, session)

    ((span,),) = ([*traced.ended("tts_request")],)
    attributes = span.attributes or {}
    assert json.loads(str(attributes["langfuse.observation.usage_details"])) == {"input": 60}
    assert attributes["langfuse.observation.model.name"] == "sonic-2"
    assert attributes[COST] == pytest.approx(60 * 50 / 1e6, abs=1e-15)


def started() -> SessionStarted:
    return SessionStarted(session="s-1", at=time.time(), agent="a")


def a_minute() -> STTMetrics:
    """Of audio, 0.0048 USD."""
    return STTMetrics(
        label="",
        request_id="dg",
        timestamp=time.time(),
        duration=0.0,
        audio_duration=60.0,
        streamed=True,
        metadata=Metadata(model_name="nova-3", model_provider="Deepgram"),
    )


def test_what_has_no_span_is_on_the_sessions(call: CallSpans) -> None:
    """Speech-to-text, own records, a request whose span is not there."""
    traced = Traced()
    session, turn, node = traced.session()
    with trace.use_span(session):
        call.take(started())
    hear(call, a_minute(), session)
    hear(call, llm("elsewhere"), node)
    record = UsageReported(
        session="s-1",
        at=time.time(),
        stage="custom",
        provider="nobody",
        model="secret",
        usage=Usage(input_tokens=1),
    )
    call.take(record)
    with trace.use_span(session):
        call.take(SessionClosed(session="s-1", at=time.time(), reason="user_initiated"))
    end(node, turn, session)

    attributes = traced.ended("agent_session")[0].attributes or {}
    assert json.loads(str(attributes["langfuse.observation.cost_details"])) == {
        "stt": pytest.approx(0.0048),
        "llm": pytest.approx(OF_ONE),
        "custom": 0.0,
        "total": pytest.approx(0.0048 + OF_ONE),
    }
    assert attributes[COST] == pytest.approx(0.0048 + OF_ONE, abs=1e-15)
    assert attributes["livekit_exporter.session.cost_usd"] == attributes[COST]
    assert attributes["livekit_exporter.session.unpriced_requests"] == 1
    assert attributes["livekit_exporter.session.id"] == "s-1"


def realtime(request: str) -> RealtimeModelMetrics:
    return RealtimeModelMetrics(
        label="",
        request_id=request,
        timestamp=time.time(),
        duration=1.0,
        ttft=0.2,
        cancelled=False,
        input_tokens=100,
        output_tokens=50,
        total_tokens=150,
        tokens_per_second=50,
        input_token_details=RealtimeModelMetrics.InputTokenDetails(
            audio_tokens=100, text_tokens=0, image_tokens=0, cached_tokens=0
        ),
        output_token_details=RealtimeModelMetrics.OutputTokenDetails(
            audio_tokens=50, text_tokens=0, image_tokens=0
        ),
        metadata=Metadata(model_name="gpt-realtime", model_provider="api.openai.com"),
    )


@pytest.mark.parametrize("late", [False, True])
def test_a_realtime_answer_is_counted_once_also_when_it_reports_late(
    call: CallSpans,
    late: bool,  # noqa: FBT001
) -> None:
    """LiveKit opens a span for late figures and ends it before anybody hears of them."""
    traced = Traced()
    telemetry.set_tracer_provider(traced.provider)
    session, turn, _ = traced.session()
    answer = traced.open("realtime_inference", turn)
    other = traced.open("realtime_inference", turn)
    metrics = realtime("resp_1")
    if late:
        answer.end()
    record_realtime_metrics(answer, metrics)
    hear(call, metrics, session, speech="speech_1")
    with trace.use_span(session):
        call.take(SessionClosed(session="s-1", at=time.time(), reason="user_initiated"))
    end(*([] if late else [answer]), other, _, turn, session)

    (cost,) = traced.costs()
    assert cost == pytest.approx(100 * 32 / 1e6 + 50 * 64 / 1e6, abs=1e-15)
    assert len(traced.ended("realtime_metrics")) == late
    carrier = traced.ended("agent_session" if late else "realtime_inference")
    assert sum(COST in (span.attributes or {}) for span in carrier) == 1


def test_a_call_does_not_wait_until_the_prices_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is heard before is on the session's span: reading takes longer than a frame."""
    read, may_read = Prices.read, threading.Event()

    def slowly(prices: Prices) -> None:
        may_read.wait(10)
        read(prices)

    monkeypatch.setattr(Prices, "read", slowly)
    traced = Traced()
    call = CallSpans("s-1", Prices())
    call.take(started())
    session, turn, node = traced.session()
    request, metrics = traced.open("llm_request", node), llm()
    reported(request, metrics)

    with trace.use_span(node):
        call.hear(Heard(metrics, "s-1", time.time()))
        call.hear(Heard(a_minute(), "s-1", time.time()))
    assert not call._biller._cards, "nothing was priced on the event loop"
    may_read.set()
    wait_until(lambda: call._biller.ready, "the prices")
    for span in (request, node, turn):
        span.end()
    with trace.use_span(session):
        call.take(SessionClosed(session="s-1", at=time.time(), reason="user_initiated"))
    session.end()

    assert traced.costs() == [pytest.approx(OF_ONE + 0.0048, abs=1e-12)]


def test_what_comes_after_the_session_is_on_the_jobs_span_or_said(
    call: CallSpans, caplog: pytest.LogCaptureFixture
) -> None:
    """A trace that ended takes nothing; it is not lost in silence."""
    traced = Traced()
    job = traced.open("job_entrypoint")
    session = traced.open("agent_session", job)
    with trace.use_span(session):
        call.take(SessionClosed(session="s-1", at=time.time(), reason="user_initiated"))
    session.end()
    late = UsageReported(
        session="s-1",
        at=time.time(),
        stage="stt",
        provider="Deepgram",
        model="nova-3",
        streamed=True,
        usage=Usage(audio_seconds=60.0),
    )
    call.take(late)
    call.take(late)
    job.end()
    with caplog.at_level(logging.WARNING, logger="livekit_exporter"):
        call.take(late)

    assert traced.costs() == [pytest.approx(0.0096, abs=1e-15)]
    assert "0.0048 US dollars" in caplog.text


def test_an_unpriced_request_says_no_cost(call: CallSpans) -> None:
    """Not zero: nobody knows it."""
    traced = Traced()
    session, turn, node = traced.session()
    request = traced.open("llm_request", node)
    metrics = llm(metadata=Metadata(model_name="own", model_provider="own.example"))
    reported(request, metrics)
    hear(call, metrics, node)
    end(request, node, turn, session)

    attributes = traced.ended("llm_request")[0].attributes or {}
    assert COST not in attributes
    assert "langfuse.observation.cost_details" not in attributes
    assert attributes["langfuse.observation.model.name"] == "own"
    assert json.loads(str(attributes["langfuse.observation.usage_details"]))["output"] == 100


def test_names_can_be_chosen(call: CallSpans) -> None:
    """As another backend reads them; `None` leaves one out."""
    traced = Traced(
        SpanNames(
            cost="llm.cost.total",
            cost_details=None,
            usage_details=None,
            model="llm.model_name",
            kind="openinference.span.kind",
            kind_value="LLM",
            totals=None,
        )
    )
    session, turn, node = traced.session()
    request = traced.open("llm_request", node)
    metrics = llm()
    reported(request, metrics)
    hear(call, metrics, node)
    message = MessageAdded(session="s-1", at=time.time(), role="assistant", speech="speech_1")
    with trace.use_span(turn):
        call.take(message)
    end(request, node, turn, session)

    attributes = dict(traced.ended("llm_request")[0].attributes or {})
    del attributes["lk.llm_metrics"], attributes["gen_ai.response.id"]
    assert attributes == {
        "llm.cost.total": pytest.approx(OF_ONE, abs=1e-15),
        "llm.model_name": "gpt-4.1-mini",
        "openinference.span.kind": "LLM",
    }
    assert dict(traced.ended("agent_turn")[0].attributes or {}) == {"lk.speech_id": "speech_1"}


def test_two_sessions_of_a_process_keep_their_costs_apart() -> None:
    """In one trace, too: the job's span is the parent of both."""
    traced = Traced()
    job = traced.open("job_entrypoint")
    calls = [begun(f"s-{number}") for number in (1, 2)]
    for number, call in enumerate(calls, 1):
        session = traced.open("agent_session", job)
        node = traced.open("llm_node", session)
        request = traced.open("llm_request", node)
        for _ in range(number):
            reported(request, metrics := llm())
            hear(call, metrics, node)
        with trace.use_span(session):
            call.take(SessionClosed(session="s", at=time.time(), reason="user_initiated"))
        end(request, node, session)
    job.end()

    totals = [
        (span.attributes or {})["livekit_exporter.session.cost_usd"]
        for span in traced.ended("agent_session")
    ]
    assert totals == [pytest.approx(OF_ONE, abs=1e-15), pytest.approx(2 * OF_ONE, abs=1e-15)]


def test_spans_may_end_on_any_thread(call: CallSpans) -> None:
    """A thread that ends spans while their costs are looked for breaks nothing."""
    traced = Traced()
    session, turn, node = traced.session()
    requests = [traced.open("llm_request", node) for _ in range(400)]
    for number, request in enumerate(requests):
        reported(request, llm(f"r-{number}"))
    thread = threading.Thread(target=end, args=requests)
    thread.start()
    for number in range(400):
        hear(call, llm(f"r-{number}"), node)
    thread.join()
    with trace.use_span(session):
        call.take(SessionClosed(session="s-1", at=time.time(), reason="user_initiated"))
    end(node, turn, session)

    assert math.fsum(traced.costs()) == pytest.approx(400 * OF_ONE, abs=1e-9)


async def test_nothing_that_fails_reaches_the_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistake of ours costs the trace its cost, and the caller nothing."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    enrich_spans(provider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry.set_tracer_provider(provider)
    session: AgentSession[None] = AgentSession(llm=ScriptedLLM())
    call = attach(session, data_dir=tmp_path)
    failing = call._spans
    failing._biller.of = None  # type: ignore[method-assign,assignment]  # a bug of ours
    await session.start(Agent(instructions="Be brief."))
    answered = bool((await session.run(user_input="hi")).events)
    await session.aclose()

    assert answered
    assert "a cost is missing on the spans" in caplog.text


def test_a_provider_without_processors_is_said_and_left_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenTelemetry's default provider traces nothing."""
    monkeypatch.setattr(module._complaints, "_said_at", float("-inf"))
    enrich_spans(NoOpTracerProvider())

    assert "NoOpTracerProvider takes no span processors" in caplog.text
    assert not CallSpans("s", Prices()).on


async def _text_call(root: Path, *, enriched: bool, late: bool = False) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    if enriched and not late:
        enrich_spans(provider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry.set_tracer_provider(provider)
    session: AgentSession[None] = AgentSession(llm=ScriptedLLM())
    call = attach(session, data_dir=root, user="u")
    call.record(provider="api.openai.com", model="gpt-4.1-mini", stage="llm", input_tokens=1000)
    if enriched and late:
        enrich_spans(provider)
    await session.start(Agent(instructions="Be brief."))
    for question in ("Where is my order?", "And when?"):
        await session.run(user_input=question)
    cost = call.cost
    await session.aclose()
    if enriched:
        costs = [(span.attributes or {}).get(COST, 0) for span in exporter.get_finished_spans()]
        assert math.fsum(float(str(one)) for one in costs) == pytest.approx(float(cost), abs=1e-15)
    return exporter


OURS = ("livekit_exporter.", "langfuse.observation.", COST)


@pytest.mark.parametrize("late", [False, True], ids=["before attach", "after attach"])
async def test_no_span_is_added_and_none_of_livekits_attributes_changed(
    tmp_path: Path,
    late: bool,  # noqa: FBT001
) -> None:
    """The same call with and without: what it said about people is as it was."""
    without = await _text_call(tmp_path / "without", enriched=False)
    alone = [span.name for span in without.get_finished_spans()]
    with_costs = await _text_call(tmp_path / "with", enriched=True, late=late)

    spans = with_costs.get_finished_spans()
    assert Counter(span.name for span in spans) == Counter(alone)
    for name in set(alone):
        keys = [
            {
                key
                for span in exporter.get_finished_spans()
                if span.name == name
                for key in span.attributes or {}
                if not key.startswith(OURS)
            }
            for exporter in (without, with_costs)
        ]
        assert keys[0] == keys[1], name
    personal = [
        sorted(
            (span.name, key, str(value))
            for span in exporter.get_finished_spans()
            for key, value in (span.attributes or {}).items()
            if "pii" in key.split(".") and "chat_ctx" not in key
        )
        for exporter in (without, with_costs)
    ]
    assert personal[0] == personal[1] != []
    assert not any(
        key.startswith(OURS)
        for span in without.get_finished_spans()
        for key in span.attributes or {}
        if key != "langfuse.observation.completion_start_time"
    )


async def test_costs_stay_where_personal_data_is_taken_off(tmp_path: Path) -> None:
    """A provider that may not export conversations exports their costs."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    enrich_spans(provider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry.set_tracer_provider(provider, allow_pii=False)
    session: AgentSession[None] = AgentSession(llm=ScriptedLLM())
    attach(session, data_dir=tmp_path)
    await session.start(Agent(instructions="Be brief."))
    await session.run(user_input="hi")
    await session.aclose()
    await asyncio.sleep(0)

    spans = exporter.get_finished_spans()
    (request,) = (span for span in spans if span.name == "llm_request")
    assert (request.attributes or {})[COST] == pytest.approx(OF_ONE, abs=1e-15)
    assert not any("pii" in key.split(".") for span in spans for key in span.attributes or {})
