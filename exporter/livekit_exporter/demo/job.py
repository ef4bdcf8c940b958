"""A job process of the demo's agent server: runs one call, then ends."""

import asyncio
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from livekit.agents import JobContext

from livekit_exporter.demo.call import run_call
from livekit_exporter.demo.script import call_script
from livekit_exporter.demo.truth import Truth

_log: Final = logging.getLogger("livekit_exporter")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOrder:
    """The call of a job; travels as the metadata of its room."""

    seed: int
    number: int
    speed: float
    llm_delay: float
    """Simulated seconds that language models keep the call waiting longer than usual."""
    log: bool
    """True if the call logs its turns."""
    data_dir: str
    truth: str
    """Path of the truth file."""

    def to_json(self) -> str:
        """For the room."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """From the room."""
        return cls(**json.loads(text))


async def entrypoint(ctx: JobContext) -> None:
    """Start the call and return, as agents do: the job lasts until it is shut down.

    LiveKit closes the session of a job that it shuts down only after the entrypoint
    has returned, so the call must not be waited for here.
    """
    order = CallOrder.from_json(ctx.job.room.metadata)
    call = asyncio.create_task(_call(ctx, order))

    async def leave() -> None:
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    ctx.add_shutdown_callback(leave)


async def _call(ctx: JobContext, order: CallOrder) -> None:
    try:
        with Truth(Path(order.truth), call=order.number) as truth:
            await run_call(
                call_script(order.seed, order.number),
                data_dir=order.data_dir,
                truth=truth,
                ctx=ctx,
                speed=order.speed,
                llm_delay=order.llm_delay,
                log=order.log,
            )
    except Exception:
        _log.exception("call %d ended with a mistake of the demo", order.number)
        raise
    finally:
        ctx.shutdown()
