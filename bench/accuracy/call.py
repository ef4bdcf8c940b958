"""One scripted call: a real AgentSession, metered, with everything its vendors would bill."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from livekit.agents import Agent, AgentSession, RunContext, TurnHandlingOptions, function_tool, llm
from livekit.agents import tts as speech

from bench.accuracy.bills import GPT, GPT_MINI, SONIC, Books, Product
from bench.accuracy.caller import Caller
from bench.accuracy.ear import Ear
from bench.accuracy.instructions import INSTRUCTIONS
from bench.accuracy.script import Scenario, Script
from bench.accuracy.simulated import SimulatedLLM, SimulatedVoice
from bench.accuracy.vendor import Vendor
from livekit_exporter import attach
from livekit_exporter.demo.line import Line
from livekit_exporter.demo.script import ScriptedTurn
from livekit_exporter.demo.vad import SimulatedVAD

SPEED: Final = 4.0
"""Simulated seconds in a second."""
_ATTEMPT_SECONDS: Final = 4.0
"""How long a fallback adapter waits for a model."""
_TAIL_SECONDS: Final = 1.5
"""How long after a call its journal may still be written."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Shared state of a call's providers: the script, the vendors' books and the line."""

    script: Script
    books: Books
    line: Line


@dataclass(frozen=True, slots=True)
class Providers:
    """The models and the voice of one call.

    Args:
        models: The language model, and the one that a fallback adapter falls back to.
        voice: Speech synthesis.
    """

    models: tuple["llm.LLM[Any]", "llm.LLM[Any]"]
    voice: "speech.TTS[Any]"


Cast: TypeAlias = Callable[[Stage], AbstractAsyncContextManager[Providers]]
"""Makes the providers of one call, and takes them down."""

Meter: TypeAlias = Callable[["AgentSession[Any]", Path], str]
"""Attaches the exporter; returns its session id."""


@dataclass(frozen=True, slots=True)
class Held:
    """Finished call.

    Args:
        session: The exporter's id of it.
        books: What was billed.
    """

    session: str
    books: Books


def meter(session: "AgentSession[Any]", data_dir: Path) -> str:
    """Attach the exporter as an agent would."""
    return attach(session, agent="accuracy", data_dir=data_dir, log=False).session_id


def simulated(*, sentences: bool = False) -> Cast:
    """Providers without a network.

    Args:
        sentences: Whether the voice is sent whole sentences, or words as they are written.
    """

    @asynccontextmanager
    async def cast(stage: Stage) -> AsyncIterator[Providers]:
        def model(product: Product, *, may_fail: bool) -> SimulatedLLM:
            return SimulatedLLM(
                Vendor(product, stage.script, stage.books, stage.line, may_fail=may_fail)
            )

        yield Providers(
            models=(model(GPT_MINI, may_fail=True), model(GPT, may_fail=False)),
            voice=SimulatedVoice(SONIC, stage.books, stage.line, sentences=sentences),
        )

    return cast


async def hold(
    scenario: Scenario,
    cast: Cast,
    data_dir: Path,
    *,
    meter: Meter = meter,
    speed: float = SPEED,
) -> Held:
    """Run the call; when it returns, its journal is complete.

    Args:
        scenario: What happens in it.
        cast: Who the providers are.
        data_dir: The exporter's data directory.
        meter: How the exporter is attached.
        speed: How many simulated seconds pass in a second.
    """
    line = Line(ScriptedTurn(says=(), reply=""), random.Random(scenario.name), speed)
    stage = Stage(Script(), Books(), line)
    async with cast(stage) as providers:
        session = _session(scenario, providers, line)
        name = meter(session, data_dir)
        session.input.audio = line.microphone
        session.output.audio = line.speaker
        caller = Caller(scenario, stage.script, stage.books, line, session)
        try:
            await session.start(agent=Clerk())
            await caller.call()
        finally:
            await session.aclose()
            await asyncio.sleep(_TAIL_SECONDS)
    return Held(name, stage.books)


class Clerk(Agent):
    """Answers, and looks things up."""

    def __init__(self) -> None:
        super().__init__(id="clerk", instructions=INSTRUCTIONS)

    @function_tool
    async def look_up(self, context: RunContext[None], reference: str) -> str:  # noqa: ARG002
        """Look up an order, an appointment or an invoice.

        Args:
            context: What the call is about so far.
            reference: Number of the order.
        """
        return f"{reference}: packed on Tuesday, leaves the warehouse on Wednesday at ten"


def _session(scenario: Scenario, providers: Providers, line: Line) -> "AgentSession[Any]":
    turns: TurnHandlingOptions = {
        "turn_detection": None,
        "endpointing": {"min_delay": line.wall(0.3), "max_delay": line.wall(3.0)},
        "interruption": {
            "mode": "vad",
            "min_duration": line.wall(0.4),
            "resume_false_interruption": False,
        },
    }
    model = providers.models[0]
    if scenario.fallback:
        model = llm.FallbackAdapter(
            list(providers.models), attempt_timeout=line.wall(_ATTEMPT_SECONDS)
        )
    return AgentSession(
        stt=Ear(line),
        llm=model,
        tts=providers.voice,
        vad=SimulatedVAD(line),
        turn_handling=turns,
        aec_warmup_duration=None,
        user_away_timeout=None,
        session_close_transcript_timeout=line.wall(1.0),
    )
