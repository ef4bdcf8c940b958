"""The caller: goes through the steps, and speaks over the agent at the moments they name."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from livekit.agents import AgentSession, AgentStateChangedEvent

from bench.accuracy.bills import Books
from bench.accuracy.script import Cut, Scenario, Script, Step
from bench.accuracy.tokens import tokens
from livekit_exporter.demo.line import Heard, Line, Utterance, speech_seconds

_PATIENCE_SECONDS: Final = 40.0
"""How long the caller waits for an answer, for its end, and for a moment to cut in."""
_SETTLED_SECONDS: Final = 0.6
"""An agent that is silent for so long has finished."""
_PAUSE_SECONDS: Final = 0.3
_LOOK_SECONDS: Final = 0.005
_NEARLY: Final = 0.98


class Caller:
    """One person on the line.

    Args:
        scenario: What happens.
        script: Where it has come to.
        books: What the vendors have done so far, by which moments are known.
        line: Where it happens.
        session: Who answers.
    """

    def __init__(
        self,
        scenario: Scenario,
        script: Script,
        books: Books,
        line: Line,
        session: "AgentSession[Any]",
    ) -> None:
        self._scenario = scenario
        self._script = script
        self._books = books
        self._line = line
        self._session = session
        self._spoke = False
        session.on("agent_state_changed", self._on_agent_state)

    async def call(self) -> None:
        """Go through the steps."""
        for number, step in enumerate(self._scenario.steps, start=1):
            last = number == len(self._scenario.steps)
            before = len(self._books.bills)
            self._script.begin(step)
            self._spoke = False
            if step.says:
                await self._say(step)
            else:
                self._session.say(step.reply)
            cut = self._scenario.hang_up if last else step.cut
            if cut is None:
                await self._until(lambda: self._spoke)
                await self._listen()
                await self._line.sleep(_PAUSE_SECONDS)
            else:
                await self._until(self._moment(step, cut, before))

    def _moment(self, step: Step, cut: Cut, before: int) -> Callable[[], bool]:
        """True once the moment has come."""
        wanted = max(1, round(cut.share * len(tokens(step.reply))))

        def come() -> bool:
            bills = self._books.bills[before:]
            written = [bill for bill in bills if bill.product.stage == "llm"]
            if cut.at == "asked":
                asked = bool(written) and not written[-1].output_tokens
                return asked and self._session.agent_state == "thinking"
            if cut.at == "writing":
                return bool(written) and written[-1].output_tokens >= wanted
            spoken = [bill for bill in bills if bill.product.stage == "tts"]
            if not spoken or self._session.agent_state != "speaking":
                return False
            if cut.at == "sent":
                # White space between sentences may not be sent.
                sent = sum(bill.characters for bill in spoken)
                return sent >= _NEARLY * len(step.reply)
            return all(bill.ending != "open" for bill in bills)

        return come

    async def _say(self, step: Step) -> None:
        self._line.speaking = True
        self._hear("started")
        for part in step.says:
            await self._line.sleep(speech_seconds(part) / 2)
            self._hear("interim", part[: len(part) // 2])
            await self._line.sleep(speech_seconds(part) / 2)
            self._hear("final", part)
        self._line.speaking = False
        self._hear("stopped")

    async def _listen(self) -> None:
        """Wait until the agent has been silent for a while."""
        silent = False
        while not silent:
            if not await self._until(self._is_silent):
                return
            await self._line.sleep(_SETTLED_SECONDS)
            silent = self._is_silent()

    def _is_silent(self) -> bool:
        return self._session.agent_state not in ("speaking", "thinking")

    async def _until(self, come: Callable[[], bool]) -> bool:
        """Wait for something that may never come, such as an answer that failed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._line.wall(_PATIENCE_SECONDS)):
                while not come():  # noqa: ASYNC110  # nobody announces a vendor's progress
                    await asyncio.sleep(_LOOK_SECONDS)
                return True
        return False

    def _hear(self, kind: Utterance, text: str = "") -> None:
        self._line.heard.put_nowait(Heard(kind, text))

    def _on_agent_state(self, event: AgentStateChangedEvent) -> None:
        if event.new_state == "speaking":
            self._spoke = True
