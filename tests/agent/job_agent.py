"""An agent of a real job process: two sessions, judges at the end, and a slow last record."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from livekit.agents import Agent, AgentSession

from livekit_exporter import attach
from tests.agent.test_whole_job import BilledLLM, request

if TYPE_CHECKING:
    from livekit.agents import JobContext

SECONDS_OF_THE_LAST_RECORD = 1.5
OUTPUT_OF_A_REQUEST = 100
BY_HAND = 5_000


async def entrypoint(ctx: JobContext) -> None:
    """Hold two short conversations and leave; the data directory is the room's metadata."""
    root = Path(ctx.job.room.metadata)
    first, second = AgentSession[None](llm=BilledLLM()), AgentSession[None](llm=BilledLLM())
    calls = [attach(session, ctx, agent="job", data_dir=root) for session in (first, second)]

    async def say_what_the_carrier_took() -> None:
        await asyncio.sleep(SECONDS_OF_THE_LAST_RECORD)
        calls[0].record(provider="openai", model="gpt-4.1-mini", stage="llm", input_tokens=BY_HAND)

    ctx.add_shutdown_callback(say_what_the_carrier_took)
    for session in (first, second):
        await session.start(Agent(instructions="Be brief."))
        await session.run(user_input="Hello?")
    ctx.shutdown()


async def judge(_: JobContext) -> None:
    """Let three models judge the call, as LiveKit's starter does."""
    for _number in range(3):
        await request(BilledLLM("gpt-4.1"))
