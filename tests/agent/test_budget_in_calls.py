"""Budgets of real AgentSessions: warned once, stopped once, with a goodbye."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import threading
import time
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("livekit.agents", reason="needs livekit-agents: pip install -e '.[agent]'")

from livekit.agents import Agent, AgentSession, AgentTask, NotGivenOr, llm

from livekit_exporter import Budget, BudgetEvent, attach, contract, files
from livekit_exporter.actions import log, say_and_close, switch
from livekit_exporter.demo.agents import Clerk, Receptionist, Specialist
from livekit_exporter.demo.llm import SimulatedLLM
from livekit_exporter.demo.products import GPT_MINI, LLAMA
from livekit_exporter.demo.realtime import GptRealtime
from livekit_exporter.demo.script import ScriptedTurn
from livekit_exporter.record import SessionClosed, SessionStarted, Usage, UsageReported
from tests.agent.accounts import Loads
from tests.agent.logs import logged
from tests.agent.speech import ScriptedLLM
from tests.agent.talk import REPLY, TALKATIVE, Said, Setting, finish, talk
from tests.records import write_journal
from tests.sidecars import Sidecar, total, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from livekit_exporter.agent.budget.limits import BudgetCallback, Unpriced
    from livekit_exporter.demo.line import Line
    from livekit_exporter.demo.truth import Truth
    from tests.conftest import Serve
    from tests.intake import Intake

GOODBYE = "We have to stop here. Goodbye."
ONE_QUESTION = Decimal("0.00044")
"""What a `ScriptedLLM` costs; 600 fresh and 400 cached tokens in, 100 out, of gpt-4.1-mini."""


def stopping(**limits: Decimal | float) -> Budget:
    """A budget whose limit ends the call with a goodbye."""
    return Budget(on_limit=say_and_close(GOODBYE), **limits)  # type: ignore[arg-type]


def assert_stopped(said: Said, intake: Intake, *, scope: str = "session") -> None:
    """Warned once, stopped once, every word of the goodbye played, counted once."""
    assert said.crossed == [(scope, "warn"), (scope, "limit")]
    assert said.agent_said[-1] == (GOODBYE, False)
    assert said.closed == ["user_initiated"]
    stopped = said.events[-1]
    assert stopped.limit_usd is not None
    assert stopped.limit_usd <= stopped.spend_usd
    intake.passes()
    assert intake.counter(contract.BUDGET_WARNINGS, agent="support", scope=scope) == 1
    assert intake.counter(contract.BUDGET_EXCEEDED, agent="support", scope=scope) == 1
    assert_overshoot(said, intake)


def assert_overshoot(said: Said, intake: Intake) -> None:
    """After the limit comes what is left of the turn in flight and the goodbye, and no other."""
    session = said.call.session_id
    spend = said.events[-1].spend_usd
    whole = intake.figure(f"SELECT cost_usd FROM sessions WHERE session = '{session}'")  # noqa: S608
    costs = [
        float(str(row[0]))
        for row in intake.ask(
            f"SELECT cost_usd FROM turns WHERE session = '{session}' ORDER BY at"  # noqa: S608
        )
    ]
    goodbye = costs[-1]
    assert whole - float(spend) <= max(costs[:-1]) + goodbye
    assert float(spend) - 0.01 <= max(costs)


async def test_a_talkative_caller_is_warned_and_stopped(data_dir: Path, intake: Intake) -> None:
    """At 80 % and at 100 % of a cent; the goodbye is played to its end."""
    with logged(logging.WARNING) as lines:
        said = await talk(Setting(budget=stopping(session_usd=0.01), data_dir=data_dir))

    assert_stopped(said, intake)
    told = [(line["scope"], line["threshold"]) for line in lines.fields("budget")]
    assert told == [("session", "warn"), ("session", "limit")]
    assert lines.fields("budget")[1]["spend_usd"] == pytest.approx(float(said.events[1].spend_usd))
    # Nobody had to wait for the end of the script.
    assert len(said.agent_said) < 8


def handing_over(line: Line, truth: Truth) -> Agent:
    """A receptionist whose specialist has a language model of its own."""
    specialist = Specialist(line, "specialist", SimulatedLLM(line, truth, LLAMA, may_fail=False))
    return Receptionist(line, "receptionist", specialist)


async def test_a_hand_off_does_not_lose_the_budget(data_dir: Path, intake: Intake) -> None:
    """What both agents spend adds up, and the second one says goodbye."""
    transfer = ScriptedTurn(says=("somebody else please",), reply=REPLY, tool="transfers")
    turns = (transfer, *TALKATIVE)
    said = await talk(
        Setting(
            budget=stopping(session_usd=0.01),
            data_dir=data_dir,
            agent=handing_over,
            turns=turns,
        )
    )

    assert said.personas == ["receptionist", "specialist"]
    assert_stopped(said, intake)
    models = intake.ask("SELECT DISTINCT model FROM usage WHERE stage = 'llm'")
    assert {model for (model,) in models} == {GPT_MINI.model, LLAMA.model}


class Interview(AgentTask[str]):
    """A task that is never done."""

    def __init__(self) -> None:
        super().__init__(instructions="Ask everything.")

    async def on_enter(self) -> None:
        """Take the call."""
        self.session.generate_reply(instructions="Begin.")


class Host(Agent):
    """Hands the whole call to a task inside of it."""

    def __init__(self) -> None:
        super().__init__(instructions="Be brief.", id="host")

    async def on_enter(self) -> None:
        """Run the task."""
        await Interview()


async def test_a_nested_task_does_not_hide_from_the_budget(data_dir: Path, intake: Intake) -> None:
    """The task speaks the goodbye, and closing ends the task and its host."""
    said = await talk(
        Setting(
            budget=stopping(session_usd=0.01),
            data_dir=data_dir,
            agent=lambda _line, _truth: Host(),
            greets=False,
        )
    )

    assert said.personas[:2] == ["host", "interview"]
    assert_stopped(said, intake)


class Obedient(GptRealtime):
    """A realtime model that says what it is told to, and hears nothing without audio."""

    def __init__(self, line: Line, truth: Truth) -> None:
        super().__init__(line, truth)
        self.told: list[str] = []
        self.hears: Callable[[], bool] = lambda: True

    def session(self, *, turn_detection_disabled: bool = False) -> llm.RealtimeSession[str]:
        """Open a conversation."""
        conversation: Any = super().session(turn_detection_disabled=turn_detection_disabled)
        reply, emit, take_turn = (
            conversation.generate_reply,
            conversation.emit,
            conversation.take_turn,
        )

        def generate_reply(
            *, instructions: NotGivenOr[str] = "", **_: object
        ) -> asyncio.Future[llm.GenerationCreatedEvent]:
            self.told.append(str(instructions))
            if str(instructions).endswith(GOODBYE):
                # The caller goes on in the script, whoever listens.
                conversation.line = copy.copy(self.line)
                conversation.line.turn = replace(self.line.turn, reply=GOODBYE)
            created: asyncio.Future[llm.GenerationCreatedEvent] = reply(instructions=instructions)
            return created

        def emit_what_is_heard(event: str, *arguments: object) -> None:
            if self.hears() or not event.startswith("input_"):
                emit(event, *arguments)

        def take_heard_turn(said: str) -> None:
            if self.hears():
                take_turn(said)

        conversation.generate_reply = generate_reply
        conversation.emit = emit_what_is_heard
        conversation.take_turn = take_heard_turn
        opened: llm.RealtimeSession[str] = conversation
        return opened


async def test_a_realtime_model_is_asked_to_say_goodbye(data_dir: Path, intake: Intake) -> None:
    """It has no voice for a given text, so it is told what to say."""
    models: list[Obedient] = []

    def realtime(line: Line, truth: Truth) -> Obedient:
        models.append(Obedient(line, truth))
        return models[-1]

    def prepare(said: Said) -> None:
        models[0].hears = lambda: said.session.input.audio_enabled

    said = await talk(
        Setting(
            budget=stopping(session_usd=0.01), data_dir=data_dir, realtime=realtime, before=prepare
        )
    )

    said.agent_said = [(text.strip(), cut) for text, cut in said.agent_said]
    assert_stopped(said, intake)
    assert models[0].told[-1].endswith(GOODBYE)


def spent_today(user: str, usd: Decimal) -> tuple[object, ...]:
    """An earlier call of a user, of so many characters that it cost this."""
    now = time.time()
    characters = int(usd * 1_000_000 / 50)
    return (
        SessionStarted(session="earlier", at=now - 2, agent="support", user=user),
        UsageReported(
            session="earlier",
            at=now - 1,
            stage="tts",
            provider="Cartesia",
            model="sonic-3",
            usage=Usage(characters=characters),
        ),
        SessionClosed(session="earlier", at=now, reason="user_initiated"),
    )


def ready(serve: Serve) -> Sidecar:
    """A sidecar that has read the journals there are."""
    sidecar = serve()
    sidecar.wait_ready()
    wait_until(lambda: total(sidecar.samples(), "livekit_agent_sessions_total") > 0)
    return sidecar


async def test_the_day_of_a_user_goes_on_when_the_sidecar_is_killed(
    data_dir: Path, serve: Serve
) -> None:
    """The last figure known and the call's own spend: said once, counted, and stopped in time."""
    write_journal(data_dir, spent_today("u-42", Decimal("0.09")))  # type: ignore[arg-type]
    sidecar = await asyncio.to_thread(ready, serve)
    killed = threading.Event()

    def kill(event: BudgetEvent) -> None:
        if event.threshold == "warn":
            sidecar.process.kill()
            killed.set()

    budget = Budget(
        user_day_usd=0.1,
        warn_at=0.95,
        refresh_seconds=0.2,
        on_warn=kill,
        on_limit=say_and_close(GOODBYE),
    )
    with logged(logging.WARNING) as lines:
        said = await talk(Setting(budget=budget, data_dir=data_dir, attached={"user": "u-42"}))

    assert killed.is_set()
    assert said.crossed == [("user_day", "warn"), ("user_day", "limit")]
    warned, stopped = said.events
    assert not warned.stale
    assert stopped.stale
    assert said.agent_said[-1] == (GOODBYE, False)
    assert said.closed == ["user_initiated"]
    # Its own spend counts once, also while the sidecar knew of it.
    assert stopped.spend_usd - Decimal("0.09") <= said.call.cost
    assert warned.spend_usd - Decimal("0.09") <= Decimal("0.0095")
    away = [text for text in lines.texts() if "cannot be asked" in text]
    assert len(away) == 1
    again = await asyncio.to_thread(ready, serve)
    failed = "livekit_agent_budget_lookups_failed_total"
    await asyncio.to_thread(wait_until, lambda: total(again.samples(), failed) > 0)
    assert total(again.samples(), "livekit_agent_budget_exceeded_total", scope="user_day") == 1


async def test_a_user_who_has_nothing_left_is_told_so_at_once(data_dir: Path, serve: Serve) -> None:
    """The answer comes before the session has started; the goodbye waits for that."""
    write_journal(data_dir, spent_today("u-42", Decimal("0.09")))  # type: ignore[arg-type]
    await asyncio.to_thread(ready, serve)
    budget = stopping(user_day_usd=0.05, tenant_day_usd=0.05, session_usd=1)
    setting = Setting(
        budget=budget,
        data_dir=data_dir,
        attached={"user": "u-42", "labels": {"tenant": "acme"}},
        # Long enough for the sidecar to have answered.
        before=lambda _: time.sleep(0.5),
    )

    said = await talk(setting)

    # The tenant has spent nothing.
    assert said.crossed == [("user_day", "warn"), ("user_day", "limit")]
    assert said.agent_said[-1] == (GOODBYE, False)
    assert said.closed == ["user_initiated"]


async def hold(
    data_dir: Path,
    *questions: str,
    budget: Budget | None,
    model: ScriptedLLM | None = None,
    callback: BudgetCallback | None = None,
) -> Said:
    """A text call with these questions, to the last word in its journal."""
    session = AgentSession[None](llm=model or ScriptedLLM())
    call = attach(session, data_dir=data_dir, budget=budget, agent="support")
    said = Said(call, session, None, None)  # type: ignore[arg-type]
    if budget is not None:
        call.on_budget(said.events.append)
    if callback is not None:
        call.on_budget(callback)
    session.on("close", lambda event: said.closed.append(event.reason.value))
    await session.start(Agent(instructions="Be brief."))
    for question in questions:
        if said.closed:
            break
        await session.run(user_input=question)
        await asyncio.to_thread(call.flush, 10)
        await asyncio.sleep(0)
    await session.aclose()
    await asyncio.to_thread(finish, call)
    return said


UNPRICED = ("auto", "openrouter.ai")


@pytest.mark.parametrize(
    ("mode", "crossed"),
    [
        ("ignore", []),
        ("warn", [("session", "unpriced")]),
        ("stop", [("session", "limit")]),
    ],
)
async def test_a_model_without_a_price_does_not_switch_the_budget_off(
    data_dir: Path, intake: Intake, mode: Unpriced, crossed: list[tuple[str, str]]
) -> None:
    """Said once however many requests there are, with the name of the model."""
    budget = Budget(session_usd=0.01, on_unpriced=mode)
    with logged(logging.WARNING) as lines:
        said = await hold(
            data_dir, "Hello?", "Why?", "Really?", budget=budget, model=ScriptedLLM(*UNPRICED)
        )
    intake.passes()

    assert said.crossed == crossed
    assert len(lines.fields("budget")) == len(crossed)
    for event in said.events:
        assert event.model is not None
        assert event.model.model == "auto"
        assert event.unpriced_requests == 1
        assert event.spend_usd == 0
    assert intake.counter(contract.BUDGET_EXCEEDED, scope="session") == (mode == "stop")
    assert intake.counter(contract.BUDGET_WARNINGS, scope="session") == 0


async def test_an_unpriced_model_stops_a_call_without_any_limit(data_dir: Path) -> None:
    """`on_unpriced='stop'` needs no limit beside it."""
    said = await hold(
        data_dir,
        "Hello?",
        budget=Budget(on_unpriced="stop"),
        model=ScriptedLLM(*UNPRICED),
    )

    assert said.crossed == [("session", "limit")]
    assert said.events[0].limit_usd is None


async def test_two_sessions_of_a_process_have_a_budget_each(data_dir: Path) -> None:
    """One object may serve both; what one spends is not the other's."""
    budget = Budget(session_usd=float(ONE_QUESTION * 2))

    quiet, talkative = await asyncio.gather(
        hold(data_dir, "Hello?", budget=budget),
        hold(data_dir, "Hello?", "Why?", "Really?", budget=budget),
    )

    assert quiet.crossed == []
    assert talkative.crossed == [("session", "warn"), ("session", "limit")]
    assert {event.session_id for event in talkative.events} == {talkative.call.session_id}
    assert talkative.events[0].session is talkative.session


def raise_type_error(event: BudgetEvent) -> None:
    """What LiveKit would let through to the call."""
    raise TypeError(event.scope)


async def raise_later(event: BudgetEvent) -> None:
    """The same of an async callback."""
    await asyncio.sleep(0)
    raise TypeError(event.scope)


@pytest.mark.parametrize("callback", [raise_type_error, raise_later])
async def test_a_callback_that_raises_is_logged_and_the_call_goes_on(
    data_dir: Path, callback: BudgetCallback
) -> None:
    """The other callbacks are called all the same."""
    budget = Budget(session_usd=float(ONE_QUESTION), warn_at=None, on_limit=callback)
    with logged(logging.WARNING) as lines:
        said = await hold(data_dir, "Hello?", "Why?", "Really?", budget=budget)

    assert said.call.turns == 3
    assert said.crossed == [("session", "limit")]
    failed = [record for record in lines.records if record.levelno == logging.ERROR]
    assert len(failed) == 1
    assert failed[0].exc_info is not None
    assert failed[0].exc_info[0] is TypeError


async def test_callbacks_run_on_the_event_loop_of_the_session(data_dir: Path) -> None:
    """Plain and async ones; `log` given twice says it once."""
    where: list[object] = []

    async def later(event: BudgetEvent) -> None:
        await asyncio.sleep(0)
        where.append((event.threshold, asyncio.get_running_loop()))

    budget = Budget(session_usd=float(ONE_QUESTION), on_warn=log, on_limit=log)
    with logged(logging.WARNING) as lines:
        await hold(data_dir, "Hello?", "Why?", budget=budget, callback=later)

    loop = asyncio.get_running_loop()
    assert where == [("warn", loop), ("limit", loop)]
    assert len(lines.fields("budget")) == 2


async def test_a_callback_that_comes_late_is_told_what_was_before(data_dir: Path) -> None:
    """A limit that was reached is reached for everybody."""
    budget = Budget(session_usd=float(ONE_QUESTION), warn_at=None)
    session = AgentSession[None](llm=ScriptedLLM())
    call = attach(session, data_dir=data_dir, budget=budget)
    await session.start(Agent(instructions="Be brief."))
    await session.run(user_input="Hello?")
    await asyncio.to_thread(call.flush, 10)
    await asyncio.sleep(0.1)
    told: list[BudgetEvent] = []

    call.on_budget(told.append)
    await asyncio.sleep(0.1)

    assert [event.threshold for event in told] == ["limit"]
    await session.aclose()


async def test_nobody_is_called_after_the_call_has_closed(data_dir: Path, intake: Intake) -> None:
    """What its last records cost is counted and logged; there is nothing left to act on."""
    session = AgentSession[None](llm=ScriptedLLM())
    call = attach(session, data_dir=data_dir, agent="support", budget=Budget(session_usd=0.0001))
    told: list[BudgetEvent] = []
    call.on_budget(told.append)
    await session.start(Agent(instructions="Be brief."))
    await session.aclose()
    with logged(logging.WARNING) as lines:
        call.record(provider="api.openai.com", model="gpt-4.1-mini", stage="llm", input_tokens=1e6)
        await asyncio.to_thread(finish, call)
        await asyncio.sleep(0.1)
    intake.passes()

    assert told == []
    assert len(lines.fields("budget")) == 2
    assert intake.counter(contract.BUDGET_EXCEEDED, scope="session") == 1


async def test_a_call_without_a_budget_does_nothing_for_one(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread, no module, no prices; `on_budget` says that it is never called."""
    loads = Loads(monkeypatch)
    with logged(logging.ERROR):
        said = await hold(data_dir, "Hello?", budget=None)
    with logged(logging.WARNING) as lines:
        said.call.on_budget(lambda _: None)

    assert not loads.count
    assert "livekit-exporter-budget" not in {thread.name for thread in threading.enumerate()}
    assert "no budget" in lines.texts()[0]


async def test_a_session_limit_alone_asks_nobody(data_dir: Path) -> None:
    """There is nothing that a sidecar would know better."""
    before = {thread.name for thread in threading.enumerate()}
    await hold(data_dir, "Hello?", budget=Budget(session_usd=1))

    assert "livekit-exporter-budget" not in before
    assert "livekit-exporter-budget" not in {thread.name for thread in threading.enumerate()}


async def test_a_limit_of_nobody_is_said_not_to_hold(data_dir: Path) -> None:
    """A user's day needs a user, a tenant's a label; the series are of what holds."""
    with logged(logging.WARNING) as lines:
        await hold(
            data_dir, "Hello?", budget=Budget(session_usd=1, user_day_usd=1, tenant_day_usd=1)
        )

    assert "user_day_usd, tenant_day_usd do not hold" in "\n".join(lines.texts())
    (journal,) = files.journals(data_dir).glob("*.jsonl")
    assert json.loads(journal.read_text().splitlines()[0])["budgets"] == ["session"]


async def test_switching_goes_on_with_a_cheaper_model_after_a_hand_off_too(
    data_dir: Path, intake: Intake
) -> None:
    """The agent that takes over brings an expensive one, and does not get to use it."""
    cheap: list[SimulatedLLM] = []
    turns = (
        *TALKATIVE[:2],
        ScriptedTurn(says=("somebody else please",), reply=REPLY, tool="transfers"),
        *TALKATIVE[:2],
    )

    def switching(event: BudgetEvent) -> None:
        switch(llm=cheap[0])(event)

    def prepare(said: Said) -> None:
        cheap.append(SimulatedLLM(said.line, said.truth, LLAMA, may_fail=False))

    def agent(line: Line, truth: Truth) -> Agent:
        expensive = SimulatedLLM(line, truth, GPT_MINI, may_fail=False)
        return Receptionist(line, "receptionist", Clerk(line, "specialist", expensive))

    said = await talk(
        Setting(
            budget=Budget(session_usd=0.001, warn_at=None, on_limit=switching),
            data_dir=data_dir,
            agent=agent,
            turns=turns,
            before=prepare,
        )
    )
    intake.passes()

    assert said.crossed == [("session", "limit")]
    assert said.personas == ["receptionist", "specialist"]
    models = [
        row[0] for row in intake.ask("SELECT model FROM usage WHERE stage = 'llm' ORDER BY at")
    ]
    assert models[-1] == LLAMA.model
    assert GPT_MINI.model not in models[models.index(LLAMA.model) :]
