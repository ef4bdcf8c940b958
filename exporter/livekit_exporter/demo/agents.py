"""The agents that answer: ordinary LiveKit agents with function tools."""

from typing import Any, Final

from livekit.agents import NOT_GIVEN, Agent, RunContext, ToolError, function_tool, llm

from livekit_exporter.demo.line import Line

_SECONDS_TO_LOOK_UP: Final = 0.4


class Clerk(Agent):
    """Looks things up.

    Args:
        line: The call it answers.
        name: Id of the agent, by which the exporter tells personas apart.
        model: A language model of its own; by default the session's.
    """

    def __init__(self, line: Line, name: str, model: "llm.LLM[Any] | None" = None) -> None:
        super().__init__(
            id=name,
            instructions="Help the caller. Be brief, and look up what you do not know.",
            llm=model if model is not None else NOT_GIVEN,
        )
        self.line = line

    @function_tool
    async def look_up(self, context: RunContext[None], reference: str) -> str:  # noqa: ARG002
        """Look up an order, an appointment or an invoice.

        Args:
            context: What the call is about so far.
            reference: Number of the order.
        """
        await self.line.sleep(self.line.latency(_SECONDS_TO_LOOK_UP))
        if self.line.turn.tool == "fails":
            raise ToolError("the order system does not answer, apologise and go on")
        return f"{reference}: found"


class Receptionist(Clerk):
    """Takes the call and can hand it over.

    Args:
        line: The call it answers.
        name: Id of the agent.
        specialist: Who takes over.
    """

    def __init__(self, line: Line, name: str, specialist: Clerk) -> None:
        super().__init__(line, name)
        self._specialist = specialist

    @function_tool
    async def transfer_to_specialist(self, context: RunContext[None]) -> Agent:  # noqa: ARG002
        """Hand the caller over to a specialist."""
        return self._specialist


class Specialist(Clerk):
    """Speaks first when it takes over."""

    async def on_enter(self) -> None:
        """Answer the question that led here."""
        self.session.generate_reply(instructions="Answer the caller's question.")
