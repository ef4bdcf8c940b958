"""Costs on exported spans: each once, whatever comes late, twice or not at all."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("livekit.agents", reason="needs livekit-agents: pip install -e '.[agent]'")

from livekit.agents import Agent, AgentSession, telemetry
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from livekit_exporter import SpanNames, attach, enriched
from livekit_exporter.agent.account import LiveAccount
from livekit_exporter.agent.journal import Journal
from livekit_exporter.agent.prices import Prices
from livekit_exporter.agent.spans.charges import CallCharges, traced_calls
from livekit_exporter.record import (
    MessageAdded,
    SessionClosed,
    SessionStarted,
    Usage,
    UsageReported,
)
from tests.agent.speech import ScriptedLLM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opentelemetry.trace import Span

COST = "gen_ai.usage.cost"
DETAILS = "langfuse.observation.cost_details"
OF_ONE = 0.00044
"""1000 input tokens of which 400 were cached, 100 output tokens."""
A_MINUTE = 0.0048


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    traced_calls.reset()
    telemetry.tracer.set_provider(trace.get_tracer_provider())


class Traced:
    """A provider with one exporter or two, and a call that is metered besides."""

    def __init__(self, root: Path, *, exporters: int = 1, names: SpanNames | None = None) -> None:
        self.memories = [InMemorySpanExporter() for _ in range(exporters)]
        self.provider = TracerProvider()
        for memory in self.memories:
            exporter = enriched(memory) if names is None else enriched(memory, names=names)
            self.provider.add_span_processor(SimpleSpanProcessor(exporter))
        self.tracer = self.provider.get_tracer("livekit-agents")
        self.root = root

    def call(self, session: str, inside: Span) -> Journal:
        """A call whose session has that span."""
        account = LiveAccount(Prices())
        journal = Journal(self.root, session, followers=[account])
        started = SessionStarted(
            session=session,
            at=time.time(),
            agent="a",
            trace=f"{inside.get_span_context().trace_id:032x}",
        )
        CallCharges(started, account, journal)
        journal.put(started)
        return journal

    def open(self, name: str, parent: Span | None = None, **attributes: str) -> Span:
        context = None if parent is None else trace.set_span_in_context(parent)
        return self.tracer.start_span(name, context=context, attributes=attributes)

    def request(self, parent: Span, record: UsageReported, name: str = "llm_request") -> Span:
        metrics = {"request_id": record.request, "timestamp": record.at}
        return self.open(name, parent, **{f"lk.{record.stage}_metrics": json.dumps(metrics)})

    def ended(self, name: str, exporter: int = 0) -> list[dict[str, Any]]:
        spans = self.memories[exporter].get_finished_spans()
        return [dict(span.attributes or {}) for span in spans if span.name == name]


def used(request: str = "r-1", **changed: object) -> UsageReported:
    values: dict[str, Any] = {
        "session": "s-1",
        "at": time.time(),
        "stage": "llm",
        "provider": "api.openai.com",
        "model": "gpt-4.1-mini",
        "request": request,
        "speech": "speech_1",
        "usage": Usage(
            input_tokens=1000, cached_input_tokens=400, output_tokens=100, total_tokens=1100
        ),
        **changed,
    }
    return UsageReported(**values)


def spoken(characters: int, at: float) -> UsageReported:
    usage = Usage(characters=characters)
    return used(stage="tts", provider="Cartesia", model="sonic-2", usage=usage, at=at)


def a_minute() -> UsageReported:
    return used(
        "",
        stage="stt",
        provider="Deepgram",
        model="nova-3",
        speech=None,
        usage=Usage(audio_seconds=60.0),
    )


def closed() -> SessionClosed:
    return SessionClosed(session="s-1", at=time.time(), reason="user_initiated")


def test_a_call_and_its_parts(tmp_path: Path) -> None:
    """A request, a reply and the session, and two exporters that get the same."""
    traced = Traced(tmp_path, exporters=2)
    session = traced.open("agent_session")
    call, record = traced.call("s-1", session), used()
    turn = traced.open("agent_turn", session, **{"lk.speech_id": "speech_1"})
    request = traced.request(turn, record)
    other = traced.open("function_tool", turn)
    call.put(a_minute())
    call.put(MessageAdded(session="s-1", at=time.time(), role="user", characters=9))
    call.put(record)
    request.end()
    other.end()
    call.put(
        MessageAdded(
            session="s-1", at=time.time(), role="assistant", speech="speech_1", characters=20
        )
    )
    turn.end()
    call.put(closed())
    session.end()

    for exporter in (0, 1):
        (of_request,) = traced.ended("llm_request", exporter)
        assert of_request[COST] == pytest.approx(OF_ONE, abs=1e-15)
        assert json.loads(of_request["langfuse.observation.usage_details"]) == {
            "input": 600,
            "input_cached_tokens": 400,
            "output": 100,
        }
        assert of_request["langfuse.observation.type"] == "generation"
        assert of_request["langfuse.observation.model.name"] == "gpt-4.1-mini"
        (of_turn,) = traced.ended("agent_turn", exporter)
        assert of_turn["livekit_exporter.turn.number"] == 1
        assert of_turn["livekit_exporter.turn.cost_usd"] == pytest.approx(OF_ONE + A_MINUTE)
        (of_session,) = traced.ended("agent_session", exporter)
        assert of_session[COST] == pytest.approx(A_MINUTE)
        assert json.loads(of_session[DETAILS]) == {
            "stt": pytest.approx(A_MINUTE),
            "total": pytest.approx(A_MINUTE),
        }
        assert of_session["livekit_exporter.session.cost_usd"] == pytest.approx(OF_ONE + A_MINUTE)
        assert of_session["livekit_exporter.session.id"] == "s-1"
        assert traced.ended("function_tool", exporter) == [{}]


def test_a_stream_of_several_segments_is_one_request(tmp_path: Path) -> None:
    """LiveKit leaves the metrics of the last one on the span."""
    traced = Traced(tmp_path)
    session = traced.open("agent_session")
    call, now = traced.call("s-1", session), time.time()
    first, last = (spoken(10, now + number) for number in (0, 1))
    call.put(first)
    call.put(last)
    traced.request(session, last, "tts_request").end()

    (both,) = traced.ended("tts_request")
    assert json.loads(both["langfuse.observation.usage_details"]) == {"input": 20}


def test_requests_with_one_id_are_told_apart_by_their_time(tmp_path: Path) -> None:
    """Ids are the provider's, who may repeat them; both have ended when they are exported."""
    traced = Traced(tmp_path)
    session = traced.open("agent_session")
    call, now = traced.call("s-1", session), time.time()
    one = used("same", at=now, usage=Usage(output_tokens=100, total_tokens=100))
    two = used("same", at=now + 1, usage=Usage(output_tokens=200, total_tokens=200))
    call.put(one)
    call.put(two)
    traced.request(session, one).end()
    traced.request(session, two).end()

    details = [span["langfuse.observation.usage_details"] for span in traced.ended("llm_request")]
    assert [json.loads(text)["output"] for text in details] == [100, 200]


def test_a_request_without_usage_has_no_cost_and_one_without_a_price_says_none(
    tmp_path: Path,
) -> None:
    """Zero would be a claim."""
    traced = Traced(tmp_path)
    session = traced.open("agent_session")
    call, record = traced.call("s-1", session), used("r-2", model="nobody-knows")
    call.put(record)
    traced.request(session, used("r-1")).end()
    traced.request(session, record).end()
    call.put(closed())
    session.end()

    silent, unpriced = traced.ended("llm_request")
    assert COST not in silent
    assert COST not in unpriced
    assert json.loads(unpriced["langfuse.observation.usage_details"])["output"] == 100
    (whole,) = traced.ended("agent_session")
    assert whole["livekit_exporter.session.unpriced_requests"] == 1
    assert COST not in whole


def test_what_comes_after_the_session_is_on_the_jobs_span_or_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The tail of speech-to-text, and a request whose span ended with nothing else."""
    traced = Traced(tmp_path)
    job = traced.open("job_entrypoint")
    session = traced.open("agent_session", job)
    call, record = traced.call("s-1", session), used()
    straggler = traced.request(session, record)
    call.put(record)
    call.put(closed())
    session.end()
    straggler.end()
    call.put(a_minute())
    job.end()
    call.put(a_minute())
    call.close(5.0)
    with caplog.at_level(logging.WARNING, logger="livekit_exporter"):
        traced.provider.shutdown()

    assert traced.ended("agent_session")[0][COST] == pytest.approx(OF_ONE)
    assert COST not in traced.ended("llm_request")[0]
    assert traced.ended("job_entrypoint")[0][COST] == pytest.approx(A_MINUTE)
    assert "0.0048 US dollars were reported after the spans of session s-1" in caplog.text


def test_two_sessions_of_a_trace_keep_their_costs_apart(tmp_path: Path) -> None:
    """Told apart by their turns; a turn names its session."""
    traced = Traced(tmp_path)
    job = traced.open("job_entrypoint")
    spans = {}
    for number in (1, 2):
        name, speech = f"s-{number}", f"speech_{number}"
        session = spans[name] = traced.open("agent_session", job)
        call = traced.call(name, session)
        for _ in range(number):
            call.put(a_minute())
        call.put(
            MessageAdded(
                session=name, at=time.time(), role="assistant", speech=speech, characters=5
            )
        )
        traced.open("agent_turn", session, **{"lk.speech_id": speech}).end()
    for name in ("s-2", "s-1"):
        spans[name].end()
    job.end()

    costs = [
        (span["livekit_exporter.session.id"], span[COST]) for span in traced.ended("agent_session")
    ]
    assert costs == [("s-2", pytest.approx(2 * A_MINUTE)), ("s-1", pytest.approx(A_MINUTE))]
    assert COST not in traced.ended("job_entrypoint")[0]


def test_an_exporter_may_be_made_after_the_call_began(tmp_path: Path) -> None:
    """As long as nothing was used."""
    account = LiveAccount(Prices())
    journal = Journal(tmp_path, "s-1", followers=[account])
    started = SessionStarted(session="s-1", at=time.time(), agent="a")
    charges = CallCharges(started, account, journal)
    journal.put(started)
    traced, record = Traced(tmp_path), used()
    journal.put(record)
    traced.request(traced.open("agent_session"), record).end()

    assert charges.by_stage()["llm"]
    assert traced.ended("llm_request")[0][COST] == pytest.approx(OF_ONE)


def test_calls_whose_spans_nobody_exports_are_not_kept(tmp_path: Path) -> None:
    """A worker makes them by the thousand."""
    account = LiveAccount(Prices())
    journal = Journal(tmp_path, "s-1", followers=[account])
    started = SessionStarted(session="s-1", at=time.time(), agent="a")
    charges = CallCharges(started, account, journal)
    journal.put(started)
    journal.put(used())
    assert journal.flush(5.0)

    assert not charges.by_stage()
    del charges
    assert not traced_calls


@pytest.mark.parametrize("text", ['{"request_id": "r-1", "timest', "[]", "7", '{"request_id": 3}'])
def test_metrics_that_were_cut_off_fall_back_on_the_response(tmp_path: Path, text: str) -> None:
    """A provider may have a limit on the length of attributes."""
    traced = Traced(tmp_path)
    session = traced.open("agent_session")
    call = traced.call("s-1", session)
    call.put(used())
    odd = {"lk.llm_metrics": text, "gen_ai.response.id": "r-1"}
    traced.open("llm_request", session, **odd).end()

    assert traced.ended("llm_request")[0][COST] == pytest.approx(OF_ONE)


def test_what_a_span_lost_is_still_said() -> None:
    """And everything else of it stays as it was."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(span_limits=SpanLimits(max_span_attributes=1, max_events=1))
    provider.add_span_processor(SimpleSpanProcessor(enriched(memory)))
    span = provider.get_tracer("livekit-agents", "1.8").start_span(
        "llm_request", attributes={"a": 1, "b": 2}
    )
    for number in range(3):
        span.add_event(str(number))
    span.end()

    (kept,) = memory.get_finished_spans()
    assert isinstance(kept, ReadableSpan)
    assert (kept.dropped_attributes, kept.dropped_events, kept.dropped_links) == (1, 2, 0)
    assert kept.attributes == {"b": 2, "langfuse.observation.type": "generation"}
    assert kept.instrumentation_scope is not None
    assert kept.instrumentation_scope.version == "1.8"
    assert [event.name for event in kept.events] == ["2"]
    assert kept.context == span.get_span_context()


def test_names_can_be_chosen(tmp_path: Path) -> None:
    """`None` leaves one out."""
    names = SpanNames(
        cost="llm.cost.total", cost_details=None, usage_details=None, kind=None, totals=None
    )
    traced = Traced(tmp_path, names=names)
    session = traced.open("agent_session")
    call, record = traced.call("s-1", session), used()
    call.put(record)
    traced.request(session, record).end()
    session.end()

    (span,) = traced.ended("llm_request")
    assert span["llm.cost.total"] == pytest.approx(OF_ONE)
    assert not [name for name in span if name.startswith("langfuse") and "model" not in name]
    assert traced.ended("agent_session") == [{}]


@pytest.mark.parametrize("other", [None, "http://localhost:4318", TracerProvider()])
def test_what_is_no_exporter_is_refused_at_once(other: Any) -> None:  # noqa: ANN401 - any mistake
    """And not for every span, in the log of a call."""
    with pytest.raises(TypeError, match="enriched needs a SpanExporter"):
        enriched(other)
    assert not traced_calls.exporting


async def test_a_real_call_does_nothing_for_it_on_its_event_loop(tmp_path: Path) -> None:
    """And its span has the cost."""
    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(enriched(memory)))
    telemetry.set_tracer_provider(provider)
    session = AgentSession[None](llm=ScriptedLLM())
    call = attach(session, data_dir=tmp_path)
    await session.start(Agent(instructions="Be brief."))
    await session.run(user_input="Where is my order?")
    await session.aclose()

    spans = memory.get_finished_spans()
    costs = [span.attributes[COST] for span in spans if COST in (span.attributes or {})]  # type: ignore[index]
    assert costs == [pytest.approx(float(call.cost), abs=1e-12)]


async def _traced_call(
    root: Path, *, costs: bool, allow_pii: bool = True
) -> tuple[ReadableSpan, ...]:
    memory, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(enriched(memory) if costs else memory))
    telemetry.set_tracer_provider(provider, allow_pii=allow_pii)
    session = AgentSession[None](llm=ScriptedLLM())
    attach(session, data_dir=root, user="u")
    await session.start(Agent(instructions="Be brief."))
    for question in ("Where is my order?", "And when?"):
        await session.run(user_input=question)
    await session.aclose()
    return memory.get_finished_spans()


def _keys(spans: tuple[ReadableSpan, ...]) -> Counter[tuple[str, str]]:
    """Names of spans and of LiveKit's attributes on them."""
    ours = ("livekit_exporter.", "langfuse.observation.", COST)
    return Counter(
        (span.name, key)
        for span in spans
        for key in ("", *(span.attributes or {}))
        if not key.startswith(ours)
    )


async def test_no_span_is_added_and_none_of_livekits_attributes_changed(tmp_path: Path) -> None:
    """The same call with costs and without."""
    without = await _traced_call(tmp_path / "without", costs=False)
    with_costs = await _traced_call(tmp_path / "with", costs=True)

    assert _keys(with_costs) == _keys(without)
    assert not any(COST in (span.attributes or {}) for span in without)
    assert any(COST in (span.attributes or {}) for span in with_costs)


async def test_costs_stay_where_personal_data_is_taken_off(tmp_path: Path) -> None:
    """A provider that may not export conversations exports their costs."""
    spans = await _traced_call(tmp_path, costs=True, allow_pii=False)

    requests = [span.attributes or {} for span in spans if span.name == "llm_request"]
    assert [request[COST] for request in requests] == [pytest.approx(OF_ONE, abs=1e-15)] * 2
    assert not any("pii" in key.split(".") for span in spans for key in span.attributes or {})
