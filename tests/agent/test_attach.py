"""`attach` on real AgentSessions: everything once, and a call that nothing can break."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("livekit.agents", reason="needs livekit-agents: pip install -e '.[agent]'")

from livekit import rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.metrics import LLMMetrics, STTMetrics, VADMetrics
from livekit.agents.voice.events import MetricsCollectedEvent

from livekit_exporter import Call, attach
from livekit_exporter.agent.heard import heard
from livekit_exporter.agent.journal import Journal
from tests.agent.logs import raising_handler
from tests.agent.speech import ScriptedLLM, SilentSTT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from livekit.agents.voice.run_result import RunResult

Line = dict[str, object]


def lines(data_dir: Path, call: Call) -> list[Line]:
    """What a call has written so far."""
    assert call.flush(10)
    found: list[Line] = []
    for path in (data_dir / "journal").glob(f"{call.session_id}-*.jsonl"):
        found += [json.loads(line) for line in path.read_bytes().splitlines()]
    return found


def of_kind(found: list[Line], kind: str) -> list[Line]:
    return [line for line in found if line["kind"] == kind]


def usage_event(**changed: object) -> MetricsCollectedEvent:
    values: dict[str, object] = {
        "label": "livekit.plugins.openai.llm.LLM",
        "request_id": "req",
        "timestamp": 1_795_000_000.0,
        "duration": 1.0,
        "ttft": 0.3,
        "cancelled": False,
        "completion_tokens": 10,
        "prompt_tokens": 20,
        "prompt_cached_tokens": 0,
        "total_tokens": 30,
        "tokens_per_second": 10.0,
        **changed,
    }
    return MetricsCollectedEvent(metrics=LLMMetrics.model_validate(values))


def heard_audio(seconds: float) -> STTMetrics:
    return STTMetrics(
        label="x",
        request_id="r",
        timestamp=1_795_000_000.0,
        duration=0.0,
        audio_duration=seconds,
        streamed=True,
    )


async def ask(session: AgentSession[None], question: str) -> bool:
    """Put a question to the agent; whether something came back."""
    result: RunResult[None] = session.run(user_input=question)
    await result
    return bool(result.events)


def emit(
    emitter: Any,  # noqa: ANN401 - sessions and components emit alike
    name: str,
    event: object,
) -> None:
    """Emit past the bookkeeping of `AgentSession.emit`, which expects its own events."""
    rtc.EventEmitter.emit(emitter, name, event)


def session_of(model: ScriptedLLM | None = None) -> AgentSession[None]:
    return AgentSession[None](llm=model or ScriptedLLM())


@pytest.fixture(autouse=True)
def _no_warnings_from_livekit(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Subscribing must not make LiveKit complain to our user."""
    with caplog.at_level(logging.WARNING, logger="livekit"):
        yield
    assert not [record for record in caplog.records if "deprecated" in record.getMessage()]


async def test_a_call_is_on_file_before_it_ends(tmp_path: Path) -> None:
    """One text turn of a real session: start, usage, both messages, close."""
    session = session_of()
    call = attach(
        session, agent="support", user="u-1", labels={"tenant": "acme"}, data_dir=tmp_path
    )
    await session.start(Agent(instructions="Be brief."))
    await ask(session, "Where is my order?")

    during = lines(tmp_path, call)
    await session.aclose()
    after = lines(tmp_path, call)

    (started,) = of_kind(during, "session_started")
    assert started["agent"] == "support"
    assert started["user"] == "u-1"
    assert started["labels"] == {"tenant": "acme"}
    assert started["models"][0]["model"] == "gpt-4.1-mini"  # type: ignore[index]
    (usage,) = of_kind(during, "usage")
    assert usage["usage"] == {
        "input_tokens": 1000,
        "cached_input_tokens": 400,
        "output_tokens": 100,
        "total_tokens": 1100,
    }
    assert usage["speech"]
    assert usage["persona"]
    assert [message["role"] for message in of_kind(during, "message")] == ["user", "assistant"]
    assert "order" not in json.dumps(during), "no text of the conversation is kept"
    assert [line["reason"] for line in of_kind(after, "session_closed")] == ["user_initiated"]


async def test_the_live_tally_agrees_with_list_prices(tmp_path: Path) -> None:
    """600 fresh, 400 cached and 100 output tokens of gpt-4.1-mini: 0.40, 0.10, 1.60 per 1M."""
    session = session_of()
    call = attach(session, data_dir=tmp_path)
    await session.start(Agent(instructions="Be brief."))
    await ask(session, "Hello?")

    assert call.cost == (600 * Decimal("0.40") + 400 * Decimal("0.10") + 100 * Decimal("1.60")) / (
        10**6
    )
    assert call.turns == 1
    assert [usage.output_tokens for usage in call.usage.values()] == [100]
    await session.aclose()


async def test_attaching_twice_is_attaching_once(tmp_path: Path) -> None:
    """The second call returns the first subscription."""
    session = session_of()
    first = attach(session, data_dir=tmp_path)
    second = attach(session, data_dir=tmp_path / "elsewhere")
    await session.start(Agent(instructions="Be brief."))
    await ask(session, "Hello?")

    assert second is first
    assert len(of_kind(lines(tmp_path, first), "usage")) == 1
    await session.aclose()


class Hostile:
    """Every look at it raises what LiveKit would let through to the call."""

    type = "llm_metrics"

    def __getattr__(self, name: str) -> object:
        raise TypeError(f"no {name} for you")


HOSTILE_METRICS = [
    pytest.param(SimpleNamespace(type="metrics_of_2031", cost=1), id="unknown type"),
    pytest.param(SimpleNamespace(), id="no type"),
    pytest.param(None, id="none"),
    pytest.param(SimpleNamespace(type="llm_metrics", prompt_tokens="many"), id="text for a number"),
    pytest.param(SimpleNamespace(type="llm_metrics", prompt_tokens=math.nan), id="nan"),
    pytest.param(SimpleNamespace(type="llm_metrics", prompt_tokens=math.inf), id="infinite"),
    pytest.param(SimpleNamespace(type="llm_metrics", completion_tokens=-5), id="negative"),
    pytest.param(SimpleNamespace(type="stt_metrics", audio_duration=[]), id="list for a number"),
    pytest.param(SimpleNamespace(type=["llm_metrics"]), id="unhashable type"),
    pytest.param(Hostile(), id="raises TypeError"),
]


@pytest.mark.parametrize("metrics", HOSTILE_METRICS)
async def test_an_event_nobody_has_seen_is_counted_and_the_call_goes_on(
    tmp_path: Path, metrics: object
) -> None:
    """LiveKit re-raises a handler's TypeError into the call; ours never has one."""
    session = session_of()
    call = attach(session, data_dir=tmp_path)
    await session.start(Agent(instructions="Be brief."))

    event: object = SimpleNamespace(metrics=metrics)
    emit(session, "metrics_collected", event)
    answered = await ask(session, "Still there?")

    assert answered
    reports = of_kind(lines(tmp_path, call), "collector")
    counted = [sum(report["rejected"].values()) for report in reports]  # type: ignore[attr-defined]
    assert sum(counted) == 1
    assert len(of_kind(lines(tmp_path, call), "usage")) == 1
    await session.aclose()


@pytest.mark.parametrize(
    "name",
    ["conversation_item_added", "function_tools_executed", "error", "close", "speech_created"],
)
@pytest.mark.parametrize(
    "event",
    [None, SimpleNamespace(), SimpleNamespace(item=Hostile(), error=Hostile(), reason=7)],
    ids=["none", "empty", "hostile"],
)
async def test_no_event_of_any_kind_breaks_a_call(tmp_path: Path, name: str, event: object) -> None:
    """Whatever arrives under any name, the session answers afterwards."""
    session = session_of()
    call = attach(session, data_dir=tmp_path)
    await session.start(Agent(instructions="Be brief."))

    emit(session, name, event)
    answered = await ask(session, "Still there?")

    assert answered
    assert call.turns <= 1
    await session.aclose()


async def test_missing_fields_of_older_versions_count_as_nothing(tmp_path: Path) -> None:
    """An SDK without cached tokens or metadata still yields usage."""
    session = session_of()
    call = attach(session, data_dir=tmp_path)
    old = SimpleNamespace(type="llm_metrics", prompt_tokens=5, completion_tokens=2, ttft=0.2)

    emit(session, "metrics_collected", SimpleNamespace(metrics=old))

    (usage,) = of_kind(lines(tmp_path, call), "usage")
    assert usage["usage"] == {"input_tokens": 5, "output_tokens": 2}
    assert usage["provider"] == ""


async def test_sessions_that_share_a_model_do_not_bill_twice(tmp_path: Path) -> None:
    """LiveKit shows a shared model's events to both sessions; the one that spoke has them."""
    model = ScriptedLLM()
    first, second = session_of(model), session_of(model)
    calls = [attach(session, data_dir=tmp_path) for session in (first, second)]
    for session in (first, second):
        await session.start(Agent(instructions="Be brief."))

    await ask(first, "Hello?")
    await ask(second, "Hello?")
    await ask(second, "And again?")

    assert [len(of_kind(lines(tmp_path, call), "usage")) for call in calls] == [1, 2]
    await first.aclose()
    await second.aclose()


async def test_a_span_of_shared_models_is_recognised_by_every_call_at_once(tmp_path: Path) -> None:
    """Each call reads its spans on a thread of its own, which may be ahead of the other's."""
    sessions = [session_of(ScriptedLLM()) for _ in range(2)]
    calls = [attach(session, data_dir=tmp_path) for session in sessions]
    claimed = []
    # Handlers run in order: this one comes right after ours.
    rtc.EventEmitter[Any].on(
        sessions[0],
        "metrics_collected",
        lambda event: claimed.append(heard.claim(event.metrics.model_copy())),
    )

    emit(sessions[0], "metrics_collected", usage_event(request_id="shared"))

    assert claimed == [False]
    assert all(call.close() for call in calls)


async def test_what_speech_to_text_reports_while_it_closes_is_not_lost(tmp_path: Path) -> None:
    """Its last seconds go to listeners on the component only, and are counted once."""
    ears = SilentSTT()
    session = AgentSession[None](llm=ScriptedLLM(), stt=ears)
    call = attach(session, data_dir=tmp_path)

    audio = heard_audio(5.0)
    ears.emit("metrics_collected", audio)
    emit(session, "metrics_collected", MetricsCollectedEvent(metrics=audio))
    tail = audio.model_copy(update={"audio_duration": 3.15})
    ears.emit("metrics_collected", tail)

    usage = of_kind(lines(tmp_path, call), "usage")
    assert [line["usage"] for line in usage] == [{"audio_seconds": 5.0}, {"audio_seconds": 3.15}]


async def test_listeners_leave_with_their_session(tmp_path: Path) -> None:
    """A component that outlives its session, such as a prewarmed one, keeps nothing of ours."""
    ears = SilentSTT()
    session = AgentSession[None](llm=ScriptedLLM(), stt=ears)
    call = attach(session, data_dir=tmp_path)
    emit(session, "close", SimpleNamespace(reason="user_initiated"))
    await asyncio.sleep(1.5)  # its tail is heard for a second

    emit(ears, "metrics_collected", heard_audio(5.0))

    assert of_kind(lines(tmp_path, call), "usage") == []


def declared_models(found: list[Line]) -> list[str]:
    """Models that hand-offs brought."""
    declared = of_kind(found, "models_declared")
    return [model["model"] for line in declared for model in line.get("models", ())]  # type: ignore[attr-defined]


class Billing(Agent):
    """An agent that a call is handed to."""

    def __init__(self) -> None:
        super().__init__(instructions="You know the bills.", llm=ScriptedLLM("gpt-4.1"))


async def test_a_handed_over_call_is_metered_under_its_new_agent_and_model(
    tmp_path: Path,
) -> None:
    """The persona of a record is the agent that held the call."""
    session = session_of()
    call = attach(session, data_dir=tmp_path)
    await session.start(Agent(instructions="You are at the desk."))
    await ask(session, "Hello?")
    session.update_agent(Billing())
    models = ["gpt-4.1-mini"]
    # The hand-off takes a moment, and how it shows differs between versions: ask until it is done.
    async with asyncio.timeout(30):
        while models[-1] != "gpt-4.1":
            with suppress(RuntimeError):  # in the middle of the hand-off nobody answers
                await ask(session, "My bill, please.")
            await asyncio.sleep(0.05)
            usage = of_kind(lines(tmp_path, call), "usage")
            models = [str(line["model"]) for line in usage]

    assert usage[0]["persona"] != usage[-1]["persona"]
    assert "gpt-4.1" in declared_models(lines(tmp_path, call))
    await session.aclose()


async def test_attach_never_raises(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A session that is none is a line in the log and a call that is not metered."""
    call = attach(object(), data_dir=tmp_path)  # type: ignore[arg-type]

    assert "not metered" in caplog.text
    assert call.turns == 0
    assert call.flush()


async def test_a_log_handler_that_raises_does_not_reach_the_call(tmp_path: Path) -> None:
    """A complaint is the one thing that happens when something went wrong already."""
    with raising_handler():
        attach(object(), data_dir=tmp_path)  # type: ignore[arg-type]
        session = session_of()
        call = attach(session, data_dir=tmp_path)
        await session.start(Agent(instructions="Be brief."))

        emit(session, "error", Hostile())
        answered = await ask(session, "Still there?")

    assert answered
    (report,) = of_kind(lines(tmp_path, call), "collector")
    assert report["rejected"] == {"internal_error": 1}
    await session.aclose()


async def test_a_data_directory_that_cannot_be_used_does_not_reach_the_call(
    tmp_path: Path,
) -> None:
    """The session answers, and the records wait in memory."""
    (tmp_path / "file").write_text("")
    session = session_of()
    call = attach(session, data_dir=tmp_path / "file")
    await session.start(Agent(instructions="Be brief."))
    answered = await ask(session, "Hello?")

    assert answered
    assert not call.flush(0.1)
    await session.aclose()
    (tmp_path / "file").unlink()


async def test_what_livekit_does_not_see_can_be_recorded(tmp_path: Path) -> None:
    """An embedding request counts under stage custom, priced or not."""
    session = session_of()
    call = attach(session, data_dir=tmp_path)
    call.record(provider="api.openai.com", model="text-embedding-3-small", input_tokens=80.0)

    (usage,) = of_kind(lines(tmp_path, call), "usage")
    assert usage["stage"] == "custom"
    assert usage["usage"] == {"input_tokens": 80}


async def test_voice_activity_does_not_wake_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reports every second and says nothing that is kept."""
    session = session_of()
    attach(session, data_dir=tmp_path)
    put: list[object] = []
    monkeypatch.setattr(Journal, "put", lambda _journal, record: put.append(record))
    silence = VADMetrics(
        label="silero",
        timestamp=time.time(),
        idle_time=1,
        inference_duration_total=0,
        inference_count=9,
    )

    emit(session, "metrics_collected", SimpleNamespace(metrics=silence))
    assert not put
    emit(session, "metrics_collected", SimpleNamespace(metrics=SimpleNamespace(type=["odd"])))
    assert len(put) == 1, "what nobody knows is counted"


async def test_a_budget_that_is_none_is_said_and_the_call_metered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistake in one argument must not cost the figures of the call."""
    session = session_of()
    call = attach(session, data_dir=tmp_path, budget="0.5")  # type: ignore[arg-type]  # the mistake
    await session.start(Agent(instructions="Be brief."))
    await ask(session, "Hello?")

    assert "the budget does not hold: it is '0.5'; give Budget(session_usd=0.50)" in caplog.text
    assert call.cost > 0
    await session.aclose()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["/srv/support.py", "start"], "support"),
        (["support.py"], "support"),
        (["/srv/acme/support/__main__.py", "start"], "support"),
        (["/site-packages/livekit/agents/__main__.py", "start", "desk/agent.py"], "agent"),
        (["/usr/bin/support-agent"], "support-agent"),
        (["-c"], "unknown"),
        ([""], "unknown"),
        ([], "unknown"),
    ],
)
async def test_an_agent_without_a_name_is_named_after_its_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], name: str
) -> None:
    """However it was started: by its file, as a module, or by LiveKit's own command."""
    monkeypatch.setattr("sys.argv", arguments)

    assert attach(session_of(), data_dir=tmp_path).agent == name


async def test_an_sdk_that_names_no_models_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Costs would be missing in silence."""
    monkeypatch.setattr("livekit_exporter.agent.attach.OLDEST_SDK", (99, 0, 0))

    with caplog.at_level(logging.WARNING, logger="livekit_exporter"):
        attach(session_of(), data_dir=tmp_path)

    assert any("it needs 99.0.0 or newer" in record.getMessage() for record in caplog.records)
