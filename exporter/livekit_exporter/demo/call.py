"""One call: a real AgentSession with simulated providers, metered by the exporter.

This is what an agent with the exporter looks like.  All that is unusual is that the
models are simulated and that the audio comes from a script and not from a room.
"""

import asyncio
import random
from os import PathLike
from typing import Any

from livekit.agents import Agent, AgentSession, JobContext, TurnHandlingOptions, llm

from livekit_exporter import Budget, attach
from livekit_exporter.demo.agents import Clerk, Receptionist, Specialist
from livekit_exporter.demo.caller import Caller
from livekit_exporter.demo.line import Line
from livekit_exporter.demo.llm import SimulatedLLM
from livekit_exporter.demo.products import LLAMA, NOVA_3, SONIC
from livekit_exporter.demo.realtime import GptRealtime
from livekit_exporter.demo.script import CallScript
from livekit_exporter.demo.stt import Nova3, Whisper
from livekit_exporter.demo.truth import Truth
from livekit_exporter.demo.tts import ElevenTurbo, Sonic
from livekit_exporter.demo.vad import SimulatedVAD


async def run_call(
    script: CallScript,
    *,
    data_dir: str | PathLike[str],
    truth: Truth,
    ctx: JobContext | None = None,
    speed: float = 1.0,
    llm_delay: float = 0.0,
    log: bool = False,
    budget: Budget | None = None,
) -> None:
    """Make the call and return when it is over.

    Args:
        script: What happens in it.
        data_dir: The exporter's data directory.
        truth: Where the providers write down what they bill.
        ctx: The job, if this is one.
        speed: How many simulated seconds pass in a second.
        llm_delay: Simulated seconds that language models take longer to their first token.
        log: Whether the call logs its turns.
        budget: What the call may spend.
    """
    line = Line(script.greeting, random.Random(f"{script.seed}/{script.number}/line"), speed)
    line.llm_delay = llm_delay
    session = _session(script, line, truth)

    call = attach(
        session,
        ctx,
        agent=script.agent,
        user=script.user,
        labels={"tenant": script.tenant},
        data_dir=data_dir,
        log=log,
        budget=budget,
    )
    truth.listen(session, session.stt, call.session_id)

    session.input.audio = line.microphone
    session.output.audio = line.speaker
    caller = Caller(script, line, session)

    try:
        await session.start(agent=_agent(script, line, truth))
        session.generate_reply(instructions="Greet the caller.")
        async with asyncio.TaskGroup() as tasks:
            conversation = tasks.create_task(caller.call())
            # The worker may hang up first.
            session.on("close", lambda _: conversation.cancel())
    finally:
        await session.aclose()


def _session(script: CallScript, line: Line, truth: Truth) -> AgentSession[Any]:
    """The models that the script asks for."""
    turns: TurnHandlingOptions = {
        "turn_detection": None,
        "endpointing": {"min_delay": line.wall(0.3), "max_delay": line.wall(3.0)},
        "interruption": {
            "mode": "vad",
            "min_duration": line.wall(0.4),
            "resume_false_interruption": False,
        },
    }
    if script.stt is None or script.tts is None:
        return AgentSession(
            llm=GptRealtime(line, truth),
            vad=SimulatedVAD(line),
            turn_handling=turns,
            aec_warmup_duration=None,
            user_away_timeout=None,
        )
    models = [
        SimulatedLLM(line, truth, product, may_fail=index == 0)
        for index, product in enumerate(script.llms)
    ]
    return AgentSession(
        stt=Nova3(line, truth) if script.stt == NOVA_3 else Whisper(line, truth),
        llm=llm.FallbackAdapter(list(models)) if len(models) > 1 else models[0],
        tts=Sonic(line, truth) if script.tts == SONIC else ElevenTurbo(line, truth),
        vad=SimulatedVAD(line),
        turn_handling=turns,
        aec_warmup_duration=None,
        user_away_timeout=None,
        session_close_transcript_timeout=line.wall(1.0),
    )


def _agent(script: CallScript, line: Line, truth: Truth) -> Agent:
    """The agent that answers; support can hand the caller over."""
    if script.stt is None or script.agent != "support":
        return Clerk(line, script.agent)
    specialist = Specialist(
        line, f"{script.agent}-specialist", SimulatedLLM(line, truth, LLAMA, may_fail=False)
    )
    return Receptionist(line, script.agent, specialist)
