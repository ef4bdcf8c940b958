"""Costs on LiveKit's spans, as a tracing backend receives them: once, and all of them."""

from __future__ import annotations

import asyncio
import json
import math
import re
import sqlite3
from collections import Counter
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("livekit.agents", reason="needs livekit-agents: pip install -e '.[agent]'")

from livekit.agents import telemetry
from livekit.agents.telemetry import tracer
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from livekit_exporter import enriched, files
from livekit_exporter.agent.spans.charges import traced_calls
from livekit_exporter.demo.call import run_call
from livekit_exporter.demo.script import CallScript, call_script
from livekit_exporter.demo.truth import Truth
from tests.demo.eventful import EVENTFUL, SPEED
from tests.otlp import COST, Received, Receiver
from tests.sidecars import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from livekit import rtc
    from livekit.agents import AgentSession

    from tests.conftest import Serve

METRICS = ("lk.llm_metrics", "lk.tts_metrics", "lk.realtime_model_metrics")
REALTIME = call_script(1, 1)
SENTENCES = call_script(1, 4)
LEGS = "platform:\n  legs:\n    livekit/agent-session: all\n    twilio/us-inbound-local: all\n"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as one:
        yield one
    tracer.set_provider(trace.get_tracer_provider())
    traced_calls.reset()


class _Afterwards(Truth):
    """Does something between `attach` and the start of the session."""

    def __init__(self, path: Path, then: Callable[[], None]) -> None:
        super().__init__(path, call=0)
        self._then = then

    def listen(
        self, session: AgentSession[Any], component: rtc.EventEmitter[Any] | None, name: str
    ) -> None:
        super().listen(session, component, name)
        self._then()


def billed(data_dir: Path) -> list[tuple[str, str, float]]:
    """Stage, request id and cost of every usage that the ledger has a price for."""
    with closing(sqlite3.connect(files.ledger(data_dir))) as ledger:
        return list(
            ledger.execute(
                "SELECT stage, request, cost_usd FROM usage"
                " WHERE cost_usd IS NOT NULL AND source = 'reported'"
            )
        )


def check(spans: list[Received], rows: list[tuple[str, str, float]]) -> None:
    """Every request with usage carries its own cost, once; together they are the ledger's."""
    assert {span.scope for span in spans} == {"livekit-agents"}
    assert not any(span.repeated for span in spans)
    assert len({span.trace for span in spans}) == 1
    carried = Counter[str]()
    for span in spans:
        if span.name in ("agent_session", "job_entrypoint"):
            continue
        metrics = [span.attributes[name] for name in METRICS if name in span.attributes]
        if span.cost is None:
            continue
        assert metrics, f"a cost on {span.name}, which has no metrics"
        request = json.loads(str(metrics[0]))["request_id"]
        carried[request] += span.cost  # type: ignore[assignment]  # dollars, not a count
        assert json.loads(str(span.attributes["langfuse.observation.cost_details"])) == {
            "total": pytest.approx(span.cost, abs=1e-12)
        }
        assert span.attributes["langfuse.observation.type"] == "generation"
        assert span.attributes["langfuse.observation.model.name"]
        used = json.loads(str(span.attributes["langfuse.observation.usage_details"]))
        assert all(isinstance(amount, int) for amount in used.values())
    owed = Counter[str]()
    for stage, request, cost in rows:
        if stage in ("llm", "tts", "realtime") and cost:
            owed[request] += cost  # type: ignore[assignment]  # the same
    assert set(carried) == set(owed)
    for request, cost in owed.items():
        assert carried[request] == pytest.approx(cost, abs=1e-9), request
    everything = math.fsum(cost for _, _, cost in rows)
    assert math.fsum(span.cost or 0 for span in spans) == pytest.approx(everything, abs=1e-9)
    (session,) = (span for span in spans if span.name == "agent_session")
    assert session.attributes["livekit_exporter.session.cost_usd"] == pytest.approx(
        everything, abs=1e-9
    )


@pytest.mark.parametrize("script", [EVENTFUL, REALTIME, SENTENCES], ids=["all", "realtime", "http"])
@pytest.mark.parametrize("when", ["before attach", "after attach"])
async def test_the_costs_on_a_calls_spans_are_the_calls_cost(
    script: CallScript, when: str, tmp_path: Path, data_dir: Path, serve: Serve, receiver: Receiver
) -> None:
    """Tools, a transfer, a fallback with its probe, interruptions, sentences, speech to speech.

    Two exporters put the costs there, one while the call goes on and one at its end.
    """
    config = tmp_path / "exporter.yaml"
    config.write_text(LEGS)
    sidecar = serve("--config", str(config))
    sidecar.wait_ready()
    provider = TracerProvider()

    def export() -> None:
        early, late = OTLPSpanExporter(receiver.url), OTLPSpanExporter(second.url)
        for exporter, milliseconds in ((early, 60_000), (late, 300)):
            provider.add_span_processor(
                BatchSpanProcessor(enriched(exporter), schedule_delay_millis=milliseconds)
            )
        telemetry.set_tracer_provider(provider)

    with Receiver() as second:
        if when != "after attach":
            export()
        truth = _Afterwards(
            tmp_path / "truth.jsonl", export if when == "after attach" else lambda: None
        )
        with truth:
            await run_call(script, data_dir=data_dir, truth=truth, speed=SPEED)
        await asyncio.to_thread(provider.shutdown)
    await asyncio.to_thread(
        wait_until, lambda: bool(list(files.calls(data_dir).glob("*/*.json"))), "the call"
    )

    rows = billed(data_dir)
    assert any(stage == "platform" for stage, _, _ in rows)
    check(receiver.spans, rows)
    check(second.spans, rows)
    by_name = Counter(span.name for span in receiver.spans)
    assert by_name["agent_session"] == 1
    turns = [span for span in receiver.spans if span.name == "agent_turn"]
    answered = [span for span in turns if "livekit_exporter.turn.number" in span.attributes]
    assert answered
    with closing(sqlite3.connect(files.ledger(data_dir))) as ledger:
        for span in answered:
            ((cost,),) = ledger.execute(
                "SELECT sum(cost_usd) FROM usage WHERE turn = ? AND source = 'reported'",
                (span.attributes["lk.speech_id"],),
            )
            assert span.attributes["livekit_exporter.turn.cost_usd"] == pytest.approx(
                cost, abs=1e-9
            )


@pytest.mark.parametrize("root_name", ["job_entrypoint", "agent_session"])
async def test_exemplars_have_the_id_of_the_exported_trace(
    root_name: str, tmp_path: Path, data_dir: Path, serve: Serve, receiver: Receiver
) -> None:
    """Also of a job, whose own span is the root: from a point on a graph to its trace."""
    sidecar = serve()
    sidecar.wait_ready()
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(enriched(OTLPSpanExporter(receiver.url))))
    telemetry.set_tracer_provider(provider)

    with (
        Truth(tmp_path / "truth.jsonl", call=0) as truth,
        tracer.start_as_current_span(root_name) if root_name == "job_entrypoint" else nullcontext(),
    ):
        await run_call(SENTENCES, data_dir=data_dir, truth=truth, speed=SPEED)
    await asyncio.to_thread(provider.shutdown)
    await asyncio.to_thread(
        wait_until, lambda: bool(list(files.calls(data_dir).glob("*/*.json"))), "the call"
    )

    (root,) = (span for span in receiver.spans if not span.parent)
    _, page = sidecar.get("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert root.name == root_name
    assert (COST in root.attributes) == (root_name == "agent_session")
    assert set(re.findall(r'trace_id="([0-9a-f]+)"', page)) == {root.trace}
    check(receiver.spans, billed(data_dir))
