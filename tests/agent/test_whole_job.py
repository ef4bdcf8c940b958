"""Everything that a job spends: after its session, beside it, and in its second life."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("livekit.agents", reason="needs livekit-agents: pip install -e '.[agent]'")

from livekit import rtc
from livekit.agents import Agent, AgentSession, APIConnectOptions, APIStatusError, llm
from livekit.agents.metrics import LLMMetrics
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS
from livekit.agents.voice.events import CloseReason

from livekit_exporter import Call, attach, meter_job
from livekit_exporter.agent.account import LiveAccount
from livekit_exporter.agent.journal import Journal, close_all
from livekit_exporter.agent.prices import Prices
from livekit_exporter.record import Model, ModelsDeclared
from tests.agent.speech import ScriptedLLM, SilentSTT
from tests.agent.test_attach import Line, ask, lines, of_kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Coroutine
    from pathlib import Path


FAST = APIConnectOptions(max_retry=0, retry_interval=0.0, timeout=5.0)


class BilledLLM(ScriptedLLM):
    """A scripted model whose vendor keeps books: 1 000 tokens in and 100 out for each request."""

    def __init__(self, model: str = "gpt-4.1-mini") -> None:
        super().__init__(model)
        self.billed = 0

    def chat(self, **options: Any) -> llm.LLMStream:  # noqa: ANN401 - handed on
        self.billed += 1
        return super().chat(**options)


class Wrapper(llm.LLM[Any]):
    """An author's own class around a model; it emits nothing itself."""

    def __init__(self, inner: llm.LLM[Any]) -> None:
        super().__init__()
        self.inner = inner

    @property
    def model(self) -> str:
        return "wrapped"

    @property
    def provider(self) -> str:
        return "mine"

    def chat(self, **options: Any) -> llm.LLMStream:  # noqa: ANN401 - handed on
        return self.inner.chat(**options)


class BrokenLLM(ScriptedLLM):
    """Answers every request with status 500."""

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        **_options: object,
    ) -> llm.LLMStream:
        return _Refused(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class _Refused(llm.LLMStream):
    async def _run(self) -> None:
        raise APIStatusError("internal error", status_code=500)


class Context:
    """A job's context, as far as `attach` uses it."""

    job = None
    room = None

    def __init__(self) -> None:
        self.callbacks: list[Callable[[], Coroutine[None, None, None]]] = []

    def add_shutdown_callback(self, callback: Callable[[], Coroutine[None, None, None]]) -> None:
        self.callbacks.append(callback)

    async def shut_down(self) -> None:
        """Run all callbacks at once, as LiveKit does."""
        await asyncio.gather(*(asyncio.create_task(callback()) for callback in self.callbacks))


async def request(model: llm.LLM[Any], question: str = "Was it polite?") -> None:
    """Ask a model directly, as a judge or a moderator does."""
    chat = llm.ChatContext.empty()
    chat.add_message(role="user", content=question)
    async with model.chat(chat_ctx=chat, conn_options=FAST) as stream:
        async for _ in stream:
            pass
    await asyncio.sleep(0.05)  # its metrics come when the stream has ended


def lines_of(data_dir: Path) -> list[Line]:
    """All that is on file, of calls that are over."""
    paths = sorted((data_dir / "journal").glob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]


def used(found: list[Line]) -> list[dict[str, Any]]:
    """Reports of usage that are on file."""
    return of_kind(found, "usage")


def requests(found: list[Line], phase: str | None = None) -> int:
    """Requests to a language model that are on file."""
    reports = [line for line in used(found) if line["stage"] == "llm"]
    return len([line for line in reports if phase in (None, line.get("phase", "call"))])


def plain_session(model: llm.LLM[Any]) -> AgentSession[None]:
    return AgentSession[None](llm=model)


async def test_what_is_recorded_long_after_close_is_kept(tmp_path: Path) -> None:
    """A summary takes its time; without a job its records begin a second file."""
    session = plain_session(BilledLLM())
    call = attach(session, data_dir=tmp_path)
    await session.start(Agent(instructions="Be brief."))
    await ask(session, "Hello?")
    await session.aclose()
    await asyncio.sleep(1.6)

    call.record(provider="openai", model="gpt-4.1-mini", stage="llm", input_tokens=5000)

    found = lines(tmp_path, call)
    inputs = {line.get("phase"): line["usage"]["input_tokens"] for line in used(found)}
    assert inputs == {None: 1000, "after": 5000}
    assert call.cost == Decimal("0.00044") + Decimal("0.002")
    assert of_kind(found, "collector") == []


async def test_models_used_in_on_session_end_are_metered(tmp_path: Path) -> None:
    """The session's own, and one that nobody was told of."""
    own, judge = BilledLLM(), BilledLLM("gpt-4.1")
    session, ctx = plain_session(own), Context()
    call = attach(session, ctx, data_dir=tmp_path)  # type: ignore[arg-type]
    await session.start(Agent(instructions="Be brief."))
    await ask(session, "Hello?")
    await session.aclose()

    for model in (own, judge, judge):
        await request(model)
    await ctx.shut_down()

    found = lines(tmp_path, call)
    assert requests(found, "call") == 1
    assert requests(found, "after") == 3
    assert own.billed + judge.billed == 4


async def test_a_session_that_a_shutdown_callback_closes_says_so(tmp_path: Path) -> None:
    """LiveKit closes what is not the primary session at the same time as our callback runs."""
    session, ctx = plain_session(BilledLLM()), Context()
    call = attach(session, ctx, data_dir=tmp_path)  # type: ignore[arg-type]
    await session.start(Agent(instructions="Be brief."))
    await ask(session, "Hello?")

    async def close() -> None:
        await asyncio.sleep(0.2)
        await session._aclose_impl(reason=CloseReason.JOB_SHUTDOWN)  # noqa: SLF001 - as LiveKit

    ctx.add_shutdown_callback(close)
    await ctx.shut_down()

    (closed,) = of_kind(lines(tmp_path, call), "session_closed")
    assert closed["reason"] == "job_shutdown"


async def test_a_session_that_never_starts_is_no_lost_call(tmp_path: Path) -> None:
    """The callee did not answer, or setup raised; the job ended in order."""
    ctx = Context()
    call = attach(plain_session(BilledLLM()), ctx, data_dir=tmp_path)  # type: ignore[arg-type]
    call.record(provider="twilio", model="voice", stage="platform", connection_seconds=3.0)

    begun = time.monotonic()
    await ctx.shut_down()

    (closed,) = of_kind(lines(tmp_path, call), "session_closed")
    assert closed["reason"] == "not_started"
    assert time.monotonic() - begun < 3, "nobody waits for a session that never started to close"


async def test_a_session_that_is_started_again_is_the_same_call(tmp_path: Path) -> None:
    """Without a job, too, where the first file is given to the sidecar in between."""
    model = BilledLLM()
    session = plain_session(model)
    call = attach(session, data_dir=tmp_path)
    for pause in (1.6, 0.0):
        await session.start(Agent(instructions="Be brief."))
        await ask(session, "Hello?")
        await session.aclose()
        await asyncio.sleep(pause)

    assert attach(session, data_dir=tmp_path) is call
    found = lines(tmp_path, call)
    assert requests(found, "call") == model.billed == 2
    assert len(of_kind(found, "session_closed")) == 2
    assert call.turns == 2


class Moderated(Agent):
    """Keeps a model of its own, and answers with another that nobody else knows."""

    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")
        self.moderator = BilledLLM("gpt-4.1-nano")
        self._answering = [BilledLLM("gpt-4.1")]

    @property
    def answering(self) -> BilledLLM:
        return self._answering[0]

    async def llm_node(
        self,
        chat_ctx: llm.ChatContext,
        tools: Any,  # noqa: ANN401, ARG002 - LiveKit's signature
        model_settings: Any,  # noqa: ANN401, ARG002 - as above
    ) -> AsyncIterable[llm.ChatChunk]:
        await request(self.moderator)
        async with self.answering.chat(chat_ctx=chat_ctx) as stream:
            async for chunk in stream:
                yield chunk


@pytest.mark.parametrize("estimates", [True, False], ids=["spans", "no spans"])
async def test_models_of_an_agents_own_are_metered_once(tmp_path: Path, *, estimates: bool) -> None:
    """In a node override, by its attributes and by spans."""
    agent = Moderated()
    session = plain_session(BilledLLM())
    call = attach(session, data_dir=tmp_path, estimates=estimates)
    await session.start(agent)
    for _ in range(3):
        await ask(session, "Hello?")
    await session.aclose()

    found = lines(tmp_path, call)
    models = [line["model"] for line in used(found)]
    assert models.count("gpt-4.1-nano") == agent.moderator.billed == 3
    assert models.count("gpt-4.1") == agent.answering.billed == 3
    assert len(models) == 6
    assert of_kind(found, "usage_missing") == []


@pytest.mark.parametrize("estimates", [True, False], ids=["spans", "no spans"])
async def test_a_wrapper_is_looked_through(tmp_path: Path, *, estimates: bool) -> None:
    """Around a fallback adapter, as authors build it; the adapter's metrics come once."""
    inner = BilledLLM()
    session = plain_session(Wrapper(llm.FallbackAdapter([Wrapper(inner)])))
    call = attach(session, data_dir=tmp_path, estimates=estimates)
    await session.start(Agent(instructions="Be brief."))
    await ask(session, "Hello?")
    await session.aclose()

    found = lines(tmp_path, call)
    assert requests(found, "call") == inner.billed == 1
    assert requests(found) == 1
    assert call.turns == 1
    assert of_kind(found, "usage_missing") == []


async def test_failures_inside_a_fallback_adapter_are_counted(tmp_path: Path) -> None:
    """Each attempt of each model, and not the adapter as one more."""
    broken, works = BrokenLLM("gpt-4.1"), BilledLLM()
    adapter = llm.FallbackAdapter([broken, works], max_retry_per_llm=0)
    session = plain_session(adapter)
    call = attach(session, data_dir=tmp_path)
    await session.start(Agent(instructions="Be brief."))
    await ask(session, "Hello?")
    await session.aclose()

    found = lines(tmp_path, call)
    failures = of_kind(found, "request_failed")
    assert failures
    assert {line["model"] for line in failures} == {"gpt-4.1"}
    assert requests(found) == 1


async def test_another_session_with_the_same_components_is_no_speculation(tmp_path: Path) -> None:
    """LiveKit's warm transfer opens one; only the first is attached."""
    model = BilledLLM()
    first, second = plain_session(model), plain_session(model)
    call = attach(first, data_dir=tmp_path)
    await first.start(Agent(instructions="Be brief."))
    await ask(first, "Hello?")
    await second.start(Agent(instructions="Talk to the colleague."))
    await ask(second, "Who is it?")
    await ask(first, "Are you there?")
    await second.aclose()
    await first.aclose()

    found = lines(tmp_path, call)
    assert requests(found) == model.billed == 3
    (beside,) = [line for line in of_kind(found, "usage") if line.get("phase") == "beside"]
    assert "speech" not in beside
    assert call.turns == 2


class Silent(Agent):
    """Answers from somewhere that nobody sees."""

    async def llm_node(self, *_: Any) -> AsyncIterable[str]:  # noqa: ANN401 - LiveKit's signature
        yield "Certainly."


@pytest.mark.skipif(
    "metrics" not in llm.ChatMessage.model_fields, reason="messages say nothing before 1.3.1"
)
async def test_usage_that_nobody_reports_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One line a call, which names the remedy, and a count of the turns."""
    session = plain_session(BilledLLM())
    call = attach(session, data_dir=tmp_path)
    with caplog.at_level(logging.WARNING, logger="livekit_exporter"):
        await session.start(Silent(instructions="Be brief."))
        for _ in range(2):
            await ask(session, "Hello?")
        await session.aclose()
        found = lines(tmp_path, call)

    missing = of_kind(found, "usage_missing")
    assert [(line["stage"], line["model"]) for line in missing] == [("llm", "gpt-4.1-mini")] * 2
    said = [record for record in caplog.records if "call.meter" in record.getMessage()]
    assert len(said) == 1


class InferenceSTT(SilentSTT):
    """Bills the open connection."""

    @property
    def provider(self) -> str:
        return "livekit"

    @property
    def model(self) -> str:
        return "deepgram/nova-3"


@pytest.mark.parametrize(
    ("ears", "hears", "estimated"),
    [(InferenceSTT, True, 1), (InferenceSTT, False, 0), (SilentSTT, True, 0)],
    ids=["billed by the connection", "nothing to listen to", "billed by the audio"],
)
async def test_an_open_connection_is_estimated_where_it_is_billed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ears: type[SilentSTT],
    estimated: int,
    *,
    hears: bool,
) -> None:
    """A silent caller, of whom no event tells; beside what is reported, and no waste."""
    session, ctx = AgentSession[None](llm=BilledLLM()), Context()
    call = attach(session, ctx, data_dir=tmp_path)  # type: ignore[arg-type]
    await session.start(Agent(instructions="Be brief."))
    if hears:
        monkeypatch.setattr(session.input, "_audio_stream", object())
    declared = ModelsDeclared(
        session=call.session_id,
        at=time.time() - 12,
        models=(Model(stage="stt", provider=ears().provider, model=ears().model),),
    )
    call.put(declared)
    await ask(session, "Hello?")
    await asyncio.to_thread(call.flush, 10)
    monkeypatch.undo()
    await session.aclose()
    await ctx.shut_down()

    found = of_kind(lines(tmp_path, call), "usage_estimated")
    assert [line["reason"] for line in found] == ["open_connection"] * estimated
    assert all(12 <= line["usage"]["connection_seconds"] < 60 for line in found)  # type: ignore[index]


class Embeddings(rtc.EventEmitter[str]):
    """A client of the author's own that emits LiveKit's metrics."""

    def embed(self, tokens: int) -> None:
        self.emit(
            "metrics_collected",
            LLMMetrics(
                label="mine", request_id="e", timestamp=time.time(), duration=0.1, ttft=-1,
                cancelled=False, completion_tokens=0, prompt_tokens=tokens,
                prompt_cached_tokens=0, total_tokens=tokens, tokens_per_second=0,
            ),
        )  # fmt: skip


async def test_a_component_can_be_named(tmp_path: Path) -> None:
    """With a stage of its own; what it does between the turns is part of none."""
    session = plain_session(BilledLLM())
    call, client = attach(session, data_dir=tmp_path), Embeddings()
    call.meter(client, stage="custom")
    call.meter(client, stage="custom")
    await session.start(Agent(instructions="Be brief."))
    client.embed(700)
    await ask(session, "Hello?")
    await session.aclose()
    client.embed(300)

    embedded = [line for line in used(lines(tmp_path, call)) if line["stage"] == "custom"]
    assert [line["usage"]["input_tokens"] for line in embedded] == [700, 300]
    assert [line["phase"] for line in embedded] == ["beside", "after"]
    with pytest.raises(ValueError, match=r"nothing in dict emits .* call\.record"):
        call.meter({})
    with pytest.raises(ValueError, match="stage must be one of"):
        call.meter(client, stage="embedding")  # type: ignore[arg-type]


async def test_naming_what_the_session_hears_changes_nothing(tmp_path: Path) -> None:
    """It stays a part of the turn."""
    model = BilledLLM()
    session = plain_session(model)
    call = attach(session, data_dir=tmp_path)
    call.meter(model)
    await session.start(Agent(instructions="Be brief."))
    await ask(session, "Hello?")
    await session.aclose()

    found = lines(tmp_path, call)
    assert requests(found, "call") == requests(found) == 1
    assert "speech" in used(found)[0]


async def test_a_job_without_a_session_is_a_call(tmp_path: Path) -> None:
    """Its models are found by their spans."""
    translator, ctx = BilledLLM(), Context()
    call = meter_job(ctx, agent="translator", data_dir=tmp_path)  # type: ignore[arg-type]
    await request(translator)
    await request(Wrapper(translator))
    await ctx.shut_down()

    found = lines(tmp_path, call)
    assert requests(found) == translator.billed == 2
    (closed,) = of_kind(found, "session_closed")
    assert closed["reason"] == "job_ended"


async def test_the_end_of_a_job_does_not_wait_for_a_directory_that_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And the log says what is lost."""
    (tmp_path / "data").write_text("not a directory")
    session, ctx = plain_session(BilledLLM()), Context()
    attach(session, ctx, data_dir=tmp_path / "data", log=False)  # type: ignore[arg-type]
    await session.start(Agent(instructions="Be brief."))
    await ask(session, "Hello?")
    await session.aclose()

    begun = time.monotonic()
    with caplog.at_level(logging.WARNING, logger="livekit_exporter"):
        await ctx.shut_down()
        close_all(60.0)
    assert time.monotonic() - begun < 30
    assert any("usage of 0.00044" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"queue_limit": 2}, "queue_full"), ({"directory_limit": 0}, "directory_full")],
)
def test_call_and_ledger_agree_when_records_are_dropped(
    tmp_path: Path, limits: dict[str, int], reason: str
) -> None:
    """The loss is counted, with its amount; the budget has seen it."""
    account = LiveAccount(Prices())
    account.want_costs()
    journal = Journal(tmp_path / "journal", "s1", followers=[account], losses=account, **limits)  # type: ignore[arg-type]
    call = Call("s1", "a", journal, account)
    for _ in range(300):
        call.record(provider="openai", model="gpt-4.1-mini", stage="llm", input_tokens=1000)
    assert call.close(20)

    found = lines_of(tmp_path)
    each = Decimal("0.0004")
    dropped = sum(line["dropped"].get(reason, 0) for line in of_kind(found, "collector"))  # type: ignore[attr-defined]
    lost = sum(float(str(line["lost_usd"])) for line in of_kind(found, "collector"))
    assert dropped > 0
    assert call.cost == len(used(found)) * each == (300 - dropped) * each
    assert lost == pytest.approx(float(dropped * each))
    if reason == "directory_full":
        assert account.sums.spend == 300 * each


async def test_what_comes_after_the_end_is_lost_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With its amount, and it is not in the cost."""
    call = attach(plain_session(BilledLLM()), data_dir=tmp_path)
    assert call.close(20)

    with caplog.at_level(logging.WARNING, logger="livekit_exporter"):
        call.record(provider="openai", model="gpt-4.1-mini", stage="llm", input_tokens=5000)

    assert call.cost == Decimal(0)
    assert any("usage of 0.002" in record.getMessage() for record in caplog.records)


async def test_a_call_that_cannot_be_metered_counts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cost is what the ledger has: nothing."""
    monkeypatch.setattr("livekit_exporter.agent.attach.Journal", None)
    call: Call = attach(plain_session(BilledLLM()), data_dir=tmp_path)

    call.record(provider="openai", model="gpt-4.1-mini", stage="llm", input_tokens=5000)

    assert call.cost == Decimal(0)
    assert call.usage == {}
    assert call.close()
