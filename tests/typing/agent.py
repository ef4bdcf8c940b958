"""An agent as users type it; type checkers read it in their strict modes, nobody runs it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobProcess, inference
from livekit.agents.evals import JudgeGroup
from livekit.agents.llm import FallbackAdapter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

from livekit_exporter import (
    Budget,
    BudgetEvent,
    Call,
    actions,
    attach,
    enriched,
    meter_job,
    serve_in_worker,
)

if TYPE_CHECKING:
    from livekit_exporter.record import Model, Usage

server = AgentServer()
sidecar = serve_in_worker(server, listen_address="127.0.0.1:7889")


def prewarm(process: JobProcess) -> None:
    """Trace with costs."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(enriched(ConsoleSpanExporter())))
    process.userdata["provider"] = provider


async def say_it(event: BudgetEvent) -> None:
    """Tell the caller."""
    await event.session.say("We have to stop here.")


@server.rtc_session(agent_name="support")
async def entrypoint(ctx: JobContext) -> None:
    """Meter a session, and what is beside it."""
    session = AgentSession[dict[str, str]](userdata={})
    budget = Budget(session_usd=0.50, user_day_usd=5, on_limit=actions.say_and_close("Goodbye."))
    call: Call = attach(session, ctx, user="u-42", labels={"tenant": "acme"}, budget=budget)
    call.on_budget(say_it)

    @call.on_budget
    def note(event: BudgetEvent) -> None:
        print(event.scope, event.spend_usd)  # noqa: T201

    # LiveKit's own type is not whole: it leaves the result of a captured run open.
    await session.start(  # pyright: ignore[reportUnknownMemberType]
        agent=Agent(instructions="Be brief."), room=ctx.room
    )
    call.record(provider="openai", model="text-embedding-3-small", input_tokens=1200)
    call.record(
        provider="twilio",
        model="sms",
        stage="platform",
        cost_usd=Decimal("0.0079"),
        at=datetime.now(UTC),
        requests=1,
    )
    cost: Decimal = call.cost
    usage: dict[Model, Usage] = call.usage
    turns: int = call.turns
    print(note, cost, usage, turns, call.flush(0.5))  # noqa: T201


def judges(call: Call, group: JudgeGroup, fallback: FallbackAdapter, model: inference.LLM) -> None:
    """Name what the session does not know."""
    call.meter(group)
    call.meter(fallback)
    call.meter(model, stage="llm")


async def translate(ctx: JobContext, texts: AsyncIterator[str]) -> bool:
    """Meter a job that has no session."""
    call = meter_job(ctx, agent="translator")
    async for text in texts:
        call.record(provider="deepl", model="api", characters=len(text))
    return call.close()
