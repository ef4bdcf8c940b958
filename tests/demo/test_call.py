"""Whole calls, in this process: what LiveKit hands out is what the providers wrote down."""

import asyncio
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import AgentSession, MetricsCollectedEvent, metrics

from livekit_exporter.demo.call import run_call
from livekit_exporter.demo.line import Line
from livekit_exporter.demo.script import CallScript, ScriptedTurn, call_script
from livekit_exporter.demo.truth import Truth, bills
from livekit_exporter.demo.tts import ElevenTurbo
from tests.demo.eventful import EVENTFUL, SPEED


class Witness(Truth):
    """A truth file that also keeps what LiveKit handed out."""

    def __init__(self, path: Path, *, call: int) -> None:
        super().__init__(path, call=call)
        self.handed_out: dict[int, metrics.AgentMetrics] = {}

    def listen(
        self, session: AgentSession[Any], component: rtc.EventEmitter[Any] | None, name: str
    ) -> None:
        """Listen twice: for the truth, and for the test."""
        super().listen(session, component, name)
        emitter: rtc.EventEmitter[Any] = session
        rtc.EventEmitter.on(emitter, "metrics_collected", self._keep_event)
        if component is not None:
            component.on("metrics_collected", self._keep)

    def _keep_event(self, event: MetricsCollectedEvent) -> None:
        self._keep(event.metrics)

    def _keep(self, report: metrics.AgentMetrics) -> None:
        self.handed_out[id(report)] = report


def billable(report: metrics.AgentMetrics) -> Counter[str]:
    """Quantities of a LiveKit report, by the names that the truth has for them."""
    if isinstance(report, metrics.LLMMetrics):
        return Counter(
            requests=1,
            input_tokens=report.prompt_tokens,
            cached_input_tokens=report.prompt_cached_tokens,
            output_tokens=report.completion_tokens,
        )
    if isinstance(report, metrics.TTSMetrics):
        return Counter(requests=1, characters=report.characters_count)
    if isinstance(report, metrics.STTMetrics):
        # Milliseconds, so that a sum does not depend on its order.
        return Counter(
            requests=bool(report.audio_duration), milliseconds=round(1000 * report.audio_duration)
        )
    if isinstance(report, metrics.RealtimeModelMetrics) and report.request_id:
        details = report.input_token_details
        cached = details.cached_tokens_details
        return Counter(
            requests=1,
            input_tokens=report.input_tokens,
            input_audio_tokens=details.audio_tokens,
            cached_input_tokens=details.cached_tokens,
            cached_audio_tokens=cached.audio_tokens if cached else 0,
            output_tokens=report.output_tokens,
            output_audio_tokens=report.output_token_details.audio_tokens,
        )
    return Counter()


def handed_out(witness: Witness) -> dict[str, Counter[str]]:
    """What LiveKit handed out, by model."""
    sums: dict[str, Counter[str]] = {}
    for report in witness.handed_out.values():
        quantities = +billable(report)
        if quantities:
            assert report.metadata is not None
            sums.setdefault(str(report.metadata.model_name), Counter()).update(quantities)
    return sums


def written_down(truth: Path) -> dict[str, Counter[str]]:
    """What the providers wrote down, by model."""
    sums: dict[str, Counter[str]] = {}
    for bill in bills(truth):
        quantities = Counter[str](requests=1)
        for name in (
            "input_tokens",
            "cached_input_tokens",
            "input_audio_tokens",
            "cached_audio_tokens",
            "output_tokens",
            "output_audio_tokens",
            "characters",
        ):
            quantities[name] = getattr(bill.quantities, name)
        quantities["milliseconds"] = round(1000 * bill.quantities.audio_seconds)
        sums.setdefault(bill.product.model, Counter()).update(+quantities)
    return sums


def records(data_dir: Path) -> list[dict[str, Any]]:
    """Everything in the journals."""
    return [
        json.loads(line)
        for journal in (data_dir / "journal").glob("*.jsonl")
        for line in journal.read_text().splitlines()
    ]


async def held(script: CallScript, directory: Path) -> tuple[Witness, Path]:
    """Hold a call to the last word that its speech-to-text has to say."""
    path = directory / f"truth-{script.number}.jsonl"
    with Witness(path, call=script.number) as witness:
        await run_call(
            script, data_dir=directory / f"data-{script.number}", truth=witness, speed=SPEED
        )
        # The exporter listens on for a second after the end of a session.
        await asyncio.sleep(1.5)
    return witness, path


async def test_truth_is_what_livekit_hands_out(tmp_path: Path) -> None:
    """For each kind of call: to the token, the character and the millisecond."""
    scripts = [call_script(1, number) for number in range(5)]

    calls = await asyncio.gather(*(held(script, tmp_path) for script in scripts))

    for witness, truth in calls:
        assert written_down(truth) == handed_out(witness)
    models = {model for _, truth in calls for model in written_down(truth)}
    assert len(models) == 7


async def test_everything_in_the_script_happens(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Failure and fallback, interruption, tool, transfer: LiveKit reports each of them."""
    witness, truth = await held(EVENTFUL, tmp_path)

    assert written_down(truth) == handed_out(witness)
    seen = records(tmp_path / "data-0")
    kinds = Counter(record["kind"] for record in seen)
    cancelled = [record for record in seen if record.get("cancelled")]
    personas = {record.get("persona") for record in seen if record["kind"] == "usage"}
    assert "llm" in {record["stage"] for record in cancelled}
    # Taken out of service, and back when a later probe succeeds.
    assert kinds["availability"] == 2
    assert {record["tool"] for record in seen if record["kind"] == "tool_call"} == {
        "look_up",
        "transfer_to_specialist",
    }
    assert {"support", "support-specialist"} <= personas
    assert any(record.get("interrupted") for record in seen)
    assert kinds["session_closed"] == 1
    assert not [message for message in caplog.messages if "deprecated" in message]


async def test_sentence_cut_off_before_its_first_byte_is_in_the_truth(tmp_path: Path) -> None:
    """LiveKit reports its characters and no request id; the provider has had the text."""
    path = tmp_path / "truth.jsonl"
    with Truth(path, call=0) as truth:
        voice = ElevenTurbo(Line(ScriptedTurn(says=(), reply=""), random.Random(1), 1.0), truth)
        session: AgentSession[Any] = AgentSession(vad=None, turn_handling={"turn_detection": None})
        truth.listen(session, voice, "s")
        stream = voice.synthesize("This is never heard.")
        await asyncio.sleep(0.02)

        await stream.aclose()

    assert [bill.quantities.characters for bill in bills(path)] == [20]
