"""The caller: speaks the script's lines, listens, and sometimes does not wait."""

import asyncio
from contextlib import suppress
from typing import Any, Final

from livekit.agents import AgentSession, AgentStateChangedEvent

from livekit_exporter.demo.line import Heard, Line, Utterance, speech_seconds
from livekit_exporter.demo.script import CallScript, ScriptedTurn

_PATIENCE_SECONDS: Final = 30.0
"""Longest wait of the caller for an answer, and for its end."""
_SETTLED_SECONDS: Final = 0.3
"""An agent that is silent for so long has finished."""


class Caller:
    """One person on the line.

    Args:
        script: What happens.
        line: Where it happens.
        session: Who answers.
    """

    def __init__(self, script: CallScript, line: Line, session: "AgentSession[Any]") -> None:
        self._script = script
        self._line = line
        self._agent_speaks = asyncio.Event()
        self._agent_is_silent = asyncio.Event()
        session.on("agent_state_changed", self._on_agent_state)

    async def call(self) -> None:
        """Play the script to its end."""
        await self._listen()
        for turn in self._script.turns:
            await self._line.sleep(turn.pause)
            await self._say(turn)
            if turn.interrupted_after is None:
                await self._listen()
            else:
                await self._wait(self._agent_speaks)
                await self._line.sleep(turn.interrupted_after)

    async def _say(self, turn: ScriptedTurn) -> None:
        self._line.turn = turn
        self._line.failures_left += turn.failures
        self._line.speaking = True
        self._agent_speaks.clear()
        self._hear("started")
        for part in turn.says:
            await self._line.sleep(speech_seconds(part) / 2)
            self._hear("interim", part[: len(part) // 2])
            await self._line.sleep(speech_seconds(part) / 2)
            self._hear("final", part)
        self._line.speaking = False
        self._hear("stopped")

    async def _listen(self) -> None:
        """Wait until the agent has spoken and has stopped."""
        await self._wait(self._agent_speaks)
        silent = False
        while not silent:
            await self._wait(self._agent_is_silent)
            await self._line.sleep(_SETTLED_SECONDS)
            silent = self._agent_is_silent.is_set()

    async def _wait(self, event: asyncio.Event) -> None:
        """Wait for something that may never come, such as an answer that failed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._line.wall(_PATIENCE_SECONDS)):
                await event.wait()

    def _hear(self, kind: Utterance, text: str = "") -> None:
        self._line.heard.put_nowait(Heard(kind, text))

    def _on_agent_state(self, event: AgentStateChangedEvent) -> None:
        if event.new_state == "speaking":
            self._agent_speaks.set()
            self._agent_is_silent.clear()
        elif event.new_state == "thinking":
            self._agent_is_silent.clear()
        else:
            self._agent_is_silent.set()
