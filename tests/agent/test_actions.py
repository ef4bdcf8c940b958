"""How a call over its budget ends, or goes on cheaper: in sessions of every kind."""

from __future__ import annotations

import asyncio
import logging
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("livekit.agents", reason="needs livekit-agents: pip install -e '.[agent]'")

from livekit.agents import Agent, AgentSession

from livekit_exporter import BudgetEvent
from livekit_exporter.actions import say_and_close, switch
from livekit_exporter.demo.script import ScriptedTurn
from tests.agent.logs import logged
from tests.agent.speech import ScriptedLLM
from tests.agent.talk import Setting, talk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from livekit.agents import AgentStateChangedEvent

    from livekit_exporter.demo.line import Line
    from livekit_exporter.demo.truth import Truth
    from livekit_exporter.record import Scope
    from tests.agent.talk import Said

GOODBYE = "Goodbye."
SLOW = ScriptedTurn(says=("tell me everything",), reply="Well, that is a long story. " * 20)


def over(session: AgentSession[Any], scope: Scope = "session") -> BudgetEvent:
    """The event that a limit was reached."""
    return BudgetEvent(
        scope=scope,
        threshold="limit",
        limit_usd=Decimal(1),
        spend_usd=Decimal(2),
        stale=False,
        session_id="s",
        session=session,
    )


class Ended:
    """A text session, and what became of it."""

    def __init__(self) -> None:
        self.session: AgentSession[None] = AgentSession(llm=ScriptedLLM())
        self.said: list[str] = []
        self.closed: list[str] = []
        self.session.on(
            "conversation_item_added",
            lambda event: self.said.append(getattr(event.item, "text_content", None) or ""),
        )
        self.session.on("close", lambda event: self.closed.append(event.reason.value))


async def test_two_limits_say_goodbye_once() -> None:
    """And whoever awaits the second comes back when the session is closed."""
    ended = Ended()
    close = say_and_close(GOODBYE)
    await ended.session.start(Agent(instructions="Be brief."))

    first = asyncio.create_task(close(over(ended.session)))
    await asyncio.sleep(0)
    await close(over(ended.session, "day"))

    assert ended.closed == ["user_initiated"]
    assert ended.said.count(GOODBYE) == 1
    await first


async def test_one_action_serves_several_sessions() -> None:
    """A budget is written once for all calls of a process."""
    close = say_and_close(GOODBYE)
    calls = [Ended(), Ended()]
    for call in calls:
        await call.session.start(Agent(instructions="Be brief."))

    await asyncio.gather(*(close(over(call.session)) for call in calls))

    assert [call.said.count(GOODBYE) for call in calls] == [1, 1]


async def test_it_waits_for_a_session_that_has_not_started() -> None:
    """Longer than for its last words."""
    ended = Ended()
    closing = asyncio.create_task(say_and_close(GOODBYE, timeout_seconds=0.3)(over(ended.session)))

    await asyncio.sleep(0.5)
    assert not closing.done()
    await ended.session.start(Agent(instructions="Be brief."))
    await asyncio.wait_for(closing, 10)

    assert ended.closed == ["user_initiated"]
    assert GOODBYE in ended.said


def at_once(
    action: Callable[[BudgetEvent], Any], tasks: list[asyncio.Task[None]]
) -> Callable[[Said], None]:
    """Let the first reply of the agent be the one that uses the budget up."""

    def before(said: Said) -> None:
        def begin(event: AgentStateChangedEvent) -> None:
            if event.new_state == "speaking" and not tasks:
                tasks.append(asyncio.create_task(action(over(said.session))))

        said.session.on("agent_state_changed", begin)

    return before


async def test_what_is_being_said_is_finished_first(data_dir: Path) -> None:
    """Word by word, with a caller who would like to interrupt."""
    tasks: list[asyncio.Task[None]] = []
    said = await talk(
        Setting(
            budget=None,
            data_dir=data_dir,
            turns=(SLOW,) * 3,
            before=at_once(say_and_close(GOODBYE), tasks),
        )
    )

    assert [text.strip() for text, _ in said.agent_said] == ["Hello.", GOODBYE]
    assert not any(cut for _, cut in said.agent_said)
    await tasks[0]


async def test_a_goodbye_that_takes_too_long_does_not_keep_the_call_open(data_dir: Path) -> None:
    """The time is for all of it, what is being said included."""
    tasks: list[asyncio.Task[None]] = []
    with logged(logging.WARNING) as lines:
        said = await talk(
            Setting(
                budget=None,
                data_dir=data_dir,
                before=at_once(say_and_close("Goodbye. " * 200, timeout_seconds=0.5), tasks),
            )
        )

    assert said.closed == ["user_initiated"]
    # Of a goodbye that takes a minute and a half the caller heard the beginning, or nothing.
    assert [cut for text, cut in said.agent_said if "Goodbye." in text] in ([], [True])
    assert "not said within 0.5 s" in "\n".join(lines.texts())


async def test_a_session_without_a_voice_closes_without_a_word(data_dir: Path) -> None:
    """And says so in the log."""
    line: list[Line] = []
    tasks: list[asyncio.Task[None]] = []

    def voiceless(used: Line, _truth: Truth) -> Agent:
        line.append(used)
        return Agent(instructions="Be brief.", tts=None)

    def before(said: Said) -> None:
        tasks.append(asyncio.create_task(say_and_close(GOODBYE)(over(said.session))))

    with logged(logging.WARNING) as lines:
        said = await talk(
            Setting(budget=None, data_dir=data_dir, agent=voiceless, before=before, greets=False)
        )

    assert said.closed == ["user_initiated"]
    assert GOODBYE not in [text for text, _ in said.agent_said]
    assert "it has no voice" in "\n".join(lines.texts())


async def test_a_caller_who_hangs_up_first_is_not_called_back() -> None:
    """The session closes meanwhile, and that is the end of it."""
    ended = Ended()
    await ended.session.start(Agent(instructions="Be brief."))
    with logged(logging.WARNING) as lines:
        closing = asyncio.create_task(say_and_close(GOODBYE)(over(ended.session)))
        await ended.session.aclose()
        await asyncio.wait_for(closing, 10)

    assert ended.closed == ["user_initiated"]
    assert lines.texts() == []


async def test_a_model_that_cannot_be_switched_is_said() -> None:
    """The call goes on with what it has."""
    ended = Ended()

    class Old(Agent):
        """An agent of before `update_options`."""

        update_options = None  # type: ignore[assignment]

    await ended.session.start(Old(instructions="Be brief."))
    with logged(logging.WARNING) as lines:
        switch(llm=ScriptedLLM("gpt-4.1-nano"))(over(ended.session))
        await ended.session.run(user_input="Hello?")
    await ended.session.aclose()

    assert "cannot change the models of a running agent" in lines.texts()[0]
    assert ended.said[-1] == "Certainly."


def test_a_switch_to_nothing_is_refused() -> None:
    """When it is written."""
    with pytest.raises(ValueError, match="needs an llm or a tts"):
        switch()
