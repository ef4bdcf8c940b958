#!/usr/bin/env python3
"""The smallest agent with the exporter: models of LiveKit Inference, no other account.

python minimal_agent.py dev      with LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET set
"""

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli

from livekit_exporter import attach

server = AgentServer(prometheus_port=7890)


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    """Run one call."""
    session: AgentSession[None] = AgentSession(
        stt="deepgram/nova-3", llm="openai/gpt-4.1-mini", tts="cartesia/sonic-3"
    )
    attach(session, ctx, agent="minimal")
    await session.start(agent=Agent(instructions="You are a friendly voice."), room=ctx.room)
    await session.generate_reply(instructions="Greet the caller.")


if __name__ == "__main__":
    cli.run_app(server)
