"""LiveKit's spans are read, whoever makes them, and nobody notices."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("livekit.agents", reason="needs livekit-agents: pip install -e '.[agent]'")

from livekit.agents import telemetry
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bench.accuracy import scenarios
from bench.accuracy.call import hold, simulated
from livekit_exporter import attach, files
from livekit_exporter.agent.estimates import span_observer
from livekit_exporter.agent.estimates.silent_provider import SilentProvider
from livekit_exporter.agent.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from livekit.agents import AgentSession, ConversationItemAddedEvent

    from bench.accuracy.script import Scenario

SPEED = 12.0


def livekits() -> trace.TracerProvider:
    """The provider that LiveKit uses."""
    provider = span_observer.livekit_provider()
    assert provider is not None
    return provider


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    """LiveKit as it is when nobody traces, and no call of another test on its way out."""
    for call in span_observer.watched():
        span_observer.unwatch(call, ())
    span_observer.forget(span_observer.observed())
    telemetry.set_tracer_provider(trace.ProxyTracerProvider())
    yield
    telemetry.set_tracer_provider(trace.ProxyTracerProvider())


def traced() -> tuple[TracerProvider, InMemorySpanExporter]:
    """A provider as a user sets it up, and what it exports."""
    provider, exported = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    return provider, exported


async def held(
    data_dir: Path,
    scenario: Scenario = scenarios.CUT_LATE,
    before: Callable[[AgentSession[Any]], None] = lambda _: None,
    *,
    estimates: bool = True,
) -> list[dict[str, Any]]:
    """Lines of a call's journal."""

    def meter(session: AgentSession[Any], root: Path) -> str:
        before(session)
        call = attach(session, agent="a", data_dir=root, log=False, estimates=estimates)
        return call.session_id

    await hold(scenario, simulated(), data_dir, meter=meter, speed=SPEED)
    (file,) = files.journals(data_dir).glob("*.jsonl")
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def kinds(lines: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["kind"] == kind]


def shape(spans: Sequence[ReadableSpan]) -> list[tuple[str, tuple[str, ...]]]:
    """What was traced: names of spans and of what they say."""
    return sorted((span.name, tuple(sorted(span.attributes or {}))) for span in spans)


async def test_where_nobody_traces_spans_are_read_and_led_nowhere(data_dir: Path) -> None:
    """Their trace id, which no backend knows, is in no record; afterwards all is as before."""
    before = livekits()

    lines = await held(data_dir)

    cut = kinds(lines, "usage_estimated")
    assert sorted((line["stage"], line["reason"]) for line in cut) == [
        ("llm", "interrupted"),
        ("tts", "interrupted"),
    ]
    assert len(kinds(lines, "request_traced")) == 4
    assert not any("trace" in line for line in lines)
    assert kinds(lines, "collector") == []
    assert livekits() is before
    assert not span_observer.observed()
    assert not span_observer.observer.open_spans


async def test_without_estimates_nothing_is_done(data_dir: Path) -> None:
    """LiveKit makes no span, and its provider is the one that it was."""
    seen: set[trace.TracerProvider] = set()

    def look(session: AgentSession[Any]) -> None:
        session.on("speech_created", lambda _: seen.add(livekits()))
        session.on("agent_state_changed", lambda _: seen.add(livekits()))

    lines = await held(data_dir, before=look, estimates=False)

    assert kinds(lines, "usage_estimated") == kinds(lines, "request_traced") == []
    assert not any(isinstance(provider, SilentProvider) for provider in seen)
    assert len(seen) == 1


async def test_a_provider_set_before_attach_exports_what_it_would_without_us(
    tmp_path: Path,
) -> None:
    """The same spans with the same attributes, and the call has their trace id."""
    provider, alone = traced()
    telemetry.set_tracer_provider(provider)
    await held(tmp_path / "alone", scenarios.PLAIN, estimates=False)
    provider, exported = traced()
    telemetry.set_tracer_provider(provider)

    lines = await held(tmp_path / "read", scenarios.PLAIN)

    assert shape(exported.get_finished_spans()) == shape(alone.get_finished_spans())
    assert kinds(lines, "request_traced")
    ids = {f"{span.context.trace_id:032x}" for span in exported.get_finished_spans()}
    assert {line["trace"] for line in lines if "trace" in line} <= ids
    assert livekits() is provider


async def test_a_provider_set_in_the_middle_of_a_call_takes_over(data_dir: Path) -> None:
    """By LiveKit's own function, while ours is in place."""
    provider, exported = traced()
    replaced: list[trace.TracerProvider] = []

    def later(session: AgentSession[Any]) -> None:
        def switch(event: ConversationItemAddedEvent) -> None:
            if event.item.type == "message" and not replaced:
                replaced.append(livekits())
                telemetry.set_tracer_provider(provider)

        session.on("conversation_item_added", switch)

    lines = await held(data_dir, before=later)

    assert {"agent_turn", "llm_request", "tts_request"} <= {
        span.name for span in exported.get_finished_spans()
    }
    assert kinds(lines, "usage_estimated")
    assert [type(one) for one in replaced] == [SilentProvider]
    assert livekits() is provider


async def test_a_global_provider_set_in_the_middle_of_a_call_takes_over(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LiveKit asks for the global one only through the stand-in that ours replaced."""
    provider, exported = traced()

    def later(session: AgentSession[Any]) -> None:
        def switch(_: object) -> None:
            # OpenTelemetry lets it be set once in a process; this is what setting it does.
            monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)

        session.on("conversation_item_added", switch)

    lines = await held(data_dir, before=later)

    names = {span.name for span in exported.get_finished_spans()}
    assert {"agent_turn", "llm_node", "llm_request", "tts_request"} <= names
    assert kinds(lines, "usage_estimated")
    assert not isinstance(livekits(), SilentProvider)


async def test_a_span_that_cannot_be_read_harms_no_call(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Starting and ending: both happen inside of LiveKit's own code."""

    def broken(*_: object) -> None:
        raise TypeError("unreadable")

    monkeypatch.setattr(span_observer, "text", broken)
    lines = await held(data_dir, scenarios.PLAIN)
    monkeypatch.undo()
    monkeypatch.setattr(Subscription, "is_heard", broken)
    more = await held(data_dir / "more", scenarios.PLAIN)

    for said in (lines, more):
        assert len(kinds(said, "message")) == 6
        assert kinds(said, "request_traced") == []
    assert "a span could not be read, the call goes on" in caplog.text


async def test_two_calls_of_a_process_keep_their_spans_apart(tmp_path: Path) -> None:
    """And our provider stays until the last one is over."""
    one, two = await asyncio.gather(
        held(tmp_path / "one", scenarios.CUT_LATE), held(tmp_path / "two", scenarios.PLAIN)
    )

    assert len(kinds(one, "usage_estimated")) == 2
    assert kinds(two, "usage_estimated") == []
    assert len(kinds(two, "request_traced")) == 6
    assert not isinstance(livekits(), SilentProvider)


async def test_no_text_is_kept(data_dir: Path) -> None:
    """Sizes of prompts and replies are in the journal, their words are not."""
    lines = await held(data_dir)

    written = json.dumps(lines)
    assert max(line.get("prompt_characters", 0) for line in lines) > 1000
    for word in ("scratch", "workshop", "packaging", "warehouse"):
        assert word not in written
