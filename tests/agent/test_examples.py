"""Agents built like LiveKit's own examples: the ledger holds what their providers bill."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("livekit.agents", reason="needs livekit-agents: pip install -e '.[agent]'")

from livekit.agents import Agent, AgentSession, RunContext, function_tool, llm

from livekit_exporter import Call, attach
from tests.agent.test_attach import ask
from tests.agent.test_whole_job import BilledLLM, Context, Moderated, plain_session
from tests.intake import Intake

if TYPE_CHECKING:
    from pathlib import Path

PRICES = {
    "gpt-4.1": (Decimal("2.00"), Decimal("0.50"), Decimal("8.00")),
    "gpt-4.1-mini": (Decimal("0.40"), Decimal("0.10"), Decimal("1.60")),
    "gpt-4.1-nano": (Decimal("0.10"), Decimal("0.025"), Decimal("0.40")),
}
"""List prices in US dollars per million tokens: input, cached input, output."""


def bill(*models: BilledLLM) -> Decimal:
    """The sum of the providers' books: 600 tokens in, 400 more from a cache, 100 out, each time."""
    total = Decimal(0)
    for model in models:
        fresh, cached, output = PRICES[model.model]
        total += model.billed * (600 * fresh + 400 * cached + 100 * output) / 1_000_000
    return total


def hold(data_dir: Path, call: Call, expected: Decimal) -> None:
    """Hold ledger, call and waste against the bill."""
    assert call.close(20)
    intake = Intake(data_dir)
    intake.passes()
    ledger = intake.figure("SELECT sum(cost_usd) FROM sessions")
    assert ledger == pytest.approx(float(expected), abs=1e-9)
    assert intake.figure("SELECT sum(cost_usd) FROM usage") == pytest.approx(ledger, abs=1e-12)
    assert call.cost == expected
    assert intake.figure("SELECT sum(wasted_usd) FROM sessions") == 0
    assert intake.ask("SELECT * FROM missing") == []


async def test_a_front_desk_with_judges(tmp_path: Path) -> None:
    """Appointments by tools, and three judges in `on_session_end`."""
    evals = pytest.importorskip("livekit.agents.evals", reason="this SDK has no judges")

    class FrontDesk(Agent):
        def __init__(self) -> None:
            super().__init__(instructions="You are at the desk.")

        @function_tool
        async def list_slots(self, _: RunContext[None]) -> str:
            """List free appointments."""
            return "ten o'clock"

    talking, judging = BilledLLM("gpt-4.1-mini"), BilledLLM("gpt-4.1")
    session, ctx = plain_session(talking), Context()
    call = attach(session, ctx, data_dir=tmp_path)  # type: ignore[arg-type]
    await session.start(FrontDesk())
    for question in ("Have you got time?", "At ten, please.", "Thank you."):
        await ask(session, question)
    history = session.history.copy()
    await session.aclose()
    group: Any = evals.JudgeGroup(
        llm=judging,
        judges=[evals.task_completion_judge(), evals.accuracy_judge(), evals.safety_judge()],
    )
    with suppress(Exception):  # a scripted judge gives no verdict
        await group.evaluate(history)
    await asyncio.sleep(0.1)
    await ctx.shut_down()

    assert (talking.billed, judging.billed) == (3, 3)
    hold(tmp_path, call, bill(talking, judging))


async def test_livekits_warm_transfer(tmp_path: Path) -> None:
    """LiveKit's own task, before the first session has said a word; only the dialling is ours."""
    testing = pytest.importorskip("livekit.agents.testing", reason="this SDK fakes no job")
    workflows = pytest.importorskip("livekit.agents.beta.workflows", reason="not in this SDK")
    transferred: list[object] = []

    # Any: the class may not be there.
    base: Any = workflows.WarmTransferTask

    class Transfer(base):  # type: ignore[misc]
        async def _dial_human_agent(self) -> AgentSession[None]:
            session = plain_session(self.session.llm)
            await session.start(Agent(instructions="Tell the colleague."))
            self.talking = asyncio.create_task(self._talk(session))
            return session

        async def _talk(self, session: AgentSession[None]) -> None:
            for question in ("Who is it?", "Put them through."):
                await ask(session, question)
            await self.decline_transfer("busy")

    class Desk(Agent):
        async def on_enter(self) -> None:
            try:
                await Transfer(sip_call_to="+15550100", sip_trunk_id="trunk", hold_audio=None)
            except llm.ToolError as declined:
                transferred.append(declined)

    talking = BilledLLM("gpt-4.1-mini")
    with testing.fake_job_context() as job:
        session, ctx = plain_session(talking), Context()
        call = attach(session, ctx, data_dir=tmp_path)  # type: ignore[arg-type]
        await session.start(Desk(instructions="Transfer them."))
        async with asyncio.timeout(20):
            while not transferred:
                await asyncio.sleep(0.05)  # no event tells
        await ask(session, "Are you still there?")
        await session.aclose()
        await ctx.shut_down()
        job._tempdir.cleanup()  # noqa: SLF001 - as LiveKit does when a job ends

    assert talking.billed == 3
    hold(tmp_path, call, bill(talking))


async def test_a_warm_transfer(tmp_path: Path) -> None:
    """A second session with the components of the first talks to the colleague."""
    talking = BilledLLM("gpt-4.1-mini")
    ctx, first = Context(), plain_session(talking)
    call = attach(first, ctx, data_dir=tmp_path)  # type: ignore[arg-type]
    await first.start(Agent(instructions="Be brief."))
    await ask(first, "I want to talk to somebody.")
    assert isinstance(first.llm, llm.LLM)
    second = plain_session(first.llm)
    await second.start(Agent(instructions="Tell the colleague."))
    for question in ("Who is it?", "Put them through."):
        await ask(second, question)
    await second.aclose()
    await ask(first, "Are you still there?")
    await first.aclose()
    await ctx.shut_down()

    assert talking.billed == 4
    hold(tmp_path, call, bill(talking))


async def test_a_node_of_the_agents_own(tmp_path: Path) -> None:
    """A moderator before each reply, and the reply from a model that nobody knows."""
    agent, ctx = Moderated(), Context()
    session = plain_session(BilledLLM())
    call = attach(session, ctx, data_dir=tmp_path)  # type: ignore[arg-type]
    await session.start(agent)
    for _ in range(3):
        await ask(session, "Hello?")
    await session.aclose()
    await ctx.shut_down()

    assert (agent.moderator.billed, agent.answering.billed) == (3, 3)
    hold(tmp_path, call, bill(agent.moderator, agent.answering))
