"""Measure what a whole turn costs the event loop: LiveKit alone, metered, with spans read.

Where nobody traces, LiveKit makes no spans; for estimates it has to.  That is work of
LiveKit's on the loop, so it is measured with LiveKit, turn by turn.
"""

import asyncio
import gc
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from bench.figures import Answer, Quote, millis, percentile, ratio
from bench.loop import LEFT_SECONDS
from livekit_exporter import files

if TYPE_CHECKING:
    from collections.abc import Callable

    from livekit.agents import AgentSession, llm

    from livekit_exporter.agent.call import Call

_Attach: TypeAlias = "Callable[[AgentSession[Any], Path], Call | None]"

ALONE: Final = "LiveKit alone"
METERED: Final = "metered, estimates off"
ESTIMATED: Final = "metered, estimates on"
_REPLY: Final = "Of course, I can help you with that. Your order left our warehouse yesterday. " * 4
_INSTRUCTIONS: Final = "You are the friendly voice of a furniture shop. Keep answers short. " * 60


def measure(*, quick: bool) -> Answer:
    """Turns of real sessions, a few of each kind at a time, in rounds."""
    rounds, turns = (2, 3) if quick else (12, 15)
    gc.collect()
    with tempfile.TemporaryDirectory() as folder:
        spent = asyncio.run(_measure(Path(folder), rounds, turns))
    base = percentile(spent[ALONE], 50)
    off, on = (percentile(spent[name], 50) for name in (METERED, ESTIMATED))
    return Answer(
        question="What a turn costs the event loop",
        method=(
            f"CPU time of the loop's thread for a turn in text of a real AgentSession, with about"
            f" a thousand tokens of instructions; {rounds} rounds of {turns} turns of each kind."
            " Nobody traces, so LiveKit makes its spans for the estimates only."
        ),
        columns=("what", "p50 ms", "p99 ms", "p50 to LiveKit alone"),
        rows=[
            (
                name,
                millis(percentile(values, 50)),
                millis(percentile(values, 99)),
                ratio(percentile(values, 50), base),
            )
            for name, values in spent.items()
        ],
        quotes=[
            Quote(
                what="CPU of the event loop for a turn in text, metered, with estimates (without)",
                measured=f"{millis(on)} ({millis(off)}) ms",
                against=f"LiveKit alone: {millis(base)} ms",
                ratio=f"{ratio(on, base)} ({ratio(off, base)})",
            )
        ],
    )


async def _measure(root: Path, rounds: int, turns: int) -> dict[str, list[float]]:
    from livekit_exporter import attach

    kinds: dict[str, _Attach] = {
        ALONE: lambda _session, _folder: None,
        METERED: lambda session, folder: attach(
            session, data_dir=folder, log=False, estimates=False
        ),
        ESTIMATED: lambda session, folder: attach(session, data_dir=folder, log=False),
    }
    spent: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(rounds + 1):
        for name, meter in kinds.items():
            taken = await _call(meter, root / f"{number}-{name}", turns)
            traced = _traced(root / f"{number}-{name}")
            assert traced == (turns if name == ESTIMATED else 0), f"{name}: {traced} spans read"
            if number:  # the first round is for caches and imports
                spent[name] += taken
    # Until the last of them hears nothing more.
    await asyncio.sleep(LEFT_SECONDS)
    return spent


def _traced(folder: Path) -> int:
    """Requests of a call whose span was read."""
    paths = files.journals(folder).glob("*.jsonl")
    return sum(path.read_text("utf-8").count('"kind":"request_traced"') for path in paths)


async def _call(meter: _Attach, folder: Path, turns: int) -> list[float]:
    """Seconds of CPU that each turn of a call took the loop's thread."""
    from livekit.agents import Agent, AgentSession

    session: AgentSession[Any] = AgentSession(llm=_model())
    call = meter(session, folder)
    await session.start(agent=Agent(instructions=_INSTRUCTIONS))
    taken = []
    for number in range(turns):
        begun = time.thread_time()
        await session.run(user_input=f"Where is my order number {number}?")
        taken.append(time.thread_time() - begun)
    await session.aclose()
    if call is not None:
        await asyncio.to_thread(call.flush, 5.0)
    return taken


def _model() -> "llm.LLM[Any]":
    """A language model that answers at once, two words at a time."""
    from livekit.agents import APIConnectOptions, llm
    from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS

    class Stream(llm.LLMStream):
        async def _run(self) -> None:
            words = _REPLY.split()
            for number in range(0, len(words), 2):
                text = " ".join(words[number : number + 2]) + " "
                delta = llm.ChoiceDelta(role="assistant", content=text)
                self._event_ch.send_nowait(llm.ChatChunk(id="r", delta=delta))
            usage = llm.CompletionUsage(
                completion_tokens=80, prompt_tokens=1200, prompt_cached_tokens=0, total_tokens=1280
            )
            self._event_ch.send_nowait(llm.ChatChunk(id="r", usage=usage))

    class Model(llm.LLM[Any]):
        @property
        def model(self) -> str:
            return "gpt-4o-mini"

        @property
        def provider(self) -> str:
            return "api.openai.com"

        def chat(
            self,
            *,
            chat_ctx: llm.ChatContext,
            tools: list[llm.Tool] | None = None,
            conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
            **_: object,
        ) -> llm.LLMStream:
            return Stream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)

    return Model()
