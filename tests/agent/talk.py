"""A voice call with a caller who does not stop, and everything that was said in it."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from livekit.agents import Agent, AgentSession

from livekit_exporter import Budget, BudgetEvent, Call, attach
from livekit_exporter.demo.caller import Caller
from livekit_exporter.demo.line import Line
from livekit_exporter.demo.llm import SimulatedLLM
from livekit_exporter.demo.products import GPT_MINI
from livekit_exporter.demo.script import CallScript, ScriptedTurn, call_script
from livekit_exporter.demo.stt import Nova3
from livekit_exporter.demo.truth import Truth
from livekit_exporter.demo.tts import Sonic
from livekit_exporter.demo.vad import SimulatedVAD

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from livekit.agents import ConversationItemAddedEvent

    from livekit_exporter.demo.realtime import GptRealtime

SPEED: Final = 8.0
GREETING: Final = ScriptedTurn(says=(), reply="Hello.")
REPLY: Final = "It left our warehouse yesterday and is with you on Thursday."
TALKATIVE: Final = tuple(
    ScriptedTurn(says=("and what about the other one",), reply=REPLY, pause=0.2) for _ in range(40)
)
PATIENCE_SECONDS: Final = 60.0


@dataclass
class Said:
    """What was said in a call, and what came of its budget."""

    call: Call
    session: AgentSession[Any]
    line: Line
    truth: Truth
    events: list[BudgetEvent] = field(default_factory=list)
    agent_said: list[tuple[str, bool]] = field(default_factory=list)
    """Text of the agent's messages, and whether they were interrupted."""
    personas: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    @property
    def crossed(self) -> list[tuple[str, str]]:
        """Scopes and thresholds, in their order."""
        return [(event.scope, event.threshold) for event in self.events]


@dataclass(kw_only=True)
class Setting:
    """How a call is set up.

    Args:
        budget: What it may spend.
        data_dir: The data directory.
        agent: Makes the agent that takes the call.
        realtime: Makes a speech-to-speech model, for a call with one.
        attached: More arguments of `attach`.
        turns: What the caller says.
        before: Gets the call before it starts.
        greets: Whether the session's own agent speaks first.
    """

    budget: Budget | None
    data_dir: Path
    agent: Callable[[Line, Truth], Agent] = lambda _line, _truth: Agent(instructions="Be brief.")
    realtime: Callable[[Line, Truth], GptRealtime] | None = None
    attached: dict[str, Any] = field(default_factory=dict)
    turns: tuple[ScriptedTurn, ...] = TALKATIVE
    before: Callable[[Said], None] = lambda _: None
    greets: bool = True


async def talk(setting: Setting) -> Said:
    """Hold the call until one side ends it."""
    script = _script(setting.turns)
    line = Line(script.greeting, random.Random(1), SPEED)
    truth = Truth(setting.data_dir.parent / f"truth-{id(line):x}.jsonl", call=0)
    session = _session(line, truth, setting)
    call = attach(
        session,
        agent="support",
        budget=setting.budget,
        data_dir=setting.data_dir,
        **setting.attached,
    )
    said = Said(call, session, line, truth)
    if setting.budget is not None:
        call.on_budget(said.events.append)
    session.on("conversation_item_added", lambda event: _hear(said, event))
    session.on("close", lambda event: said.closed.append(event.reason.value))
    session.input.audio = line.microphone
    session.output.audio = line.speaker
    setting.before(said)
    caller = Caller(script, line, session)
    with truth:
        try:
            await session.start(agent=setting.agent(line, truth))
            if setting.greets:
                session.generate_reply(instructions="Greet the caller.")
            async with asyncio.timeout(PATIENCE_SECONDS):
                conversation = asyncio.create_task(caller.call())
                session.on("close", lambda _: conversation.cancel())
                await asyncio.wait([conversation])
        finally:
            await session.aclose()
        await asyncio.to_thread(finish, call)
    return said


def finish(call: Call) -> None:
    """Wait until the writer is through."""
    call.close(20)


def _script(turns: tuple[ScriptedTurn, ...]) -> CallScript:
    return replace(call_script(1, 3), greeting=GREETING, turns=turns)


def _session(line: Line, truth: Truth, setting: Setting) -> AgentSession[Any]:
    common: dict[str, Any] = {
        "vad": SimulatedVAD(line),
        "turn_handling": {
            "turn_detection": None,
            "endpointing": {"min_delay": line.wall(0.3), "max_delay": line.wall(3.0)},
            "interruption": {"mode": "vad", "resume_false_interruption": False},
        },
        "aec_warmup_duration": None,
        "user_away_timeout": None,
        "session_close_transcript_timeout": line.wall(1.0),
    }
    if setting.realtime is not None:
        return AgentSession(llm=setting.realtime(line, truth), **common)
    return AgentSession(
        stt=Nova3(line, truth),
        llm=SimulatedLLM(line, truth, GPT_MINI, may_fail=False),
        tts=Sonic(line, truth),
        **common,
    )


def _hear(said: Said, event: ConversationItemAddedEvent) -> None:
    item = event.item
    if item.type == "message" and item.role == "assistant":
        said.agent_said.append((item.text_content or "", bool(item.interrupted)))
    elif item.type == "agent_handoff":
        said.personas.append(item.new_agent_id)
