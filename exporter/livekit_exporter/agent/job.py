"""Ends calls with their job: when LiveKit has closed its sessions, and not before.

LiveKit ends a job in this order: it closes the primary session, runs `on_session_end`, then
all shutdown callbacks at once.  Every other session, and before 1.3.1 every session, is closed
by one of these callbacks, so ours waits for theirs.
"""

import asyncio
import weakref
from typing import TYPE_CHECKING, Final

from livekit_exporter.agent.call import Call

if TYPE_CHECKING:
    from livekit.agents import JobContext

_CLOSING_SECONDS: Final = 5.0
"""How long a session may take to close.  LiveKit kills a job 10 s after it began to end."""

_CALLBACKS_SECONDS: Final = 10.0
"""How long other shutdown callbacks may still record something in a process that lives on."""


class MeteredJob:
    """The calls of one LiveKit job.

    Args:
        ctx: Its context.
    """

    def __init__(self, ctx: "JobContext") -> None:
        self._calls: list[Call] = []
        ctx.add_shutdown_callback(self._end)

    def add(self, call: Call) -> None:
        """Add a call that begins."""
        self._calls.append(call)

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls so far, in the order of their beginning."""
        return tuple(self._calls)

    async def _end(self) -> None:
        await asyncio.gather(*(call.closed(_CLOSING_SECONDS) for call in self._calls))
        # A thread each: one disk that hangs does not keep the others.
        await asyncio.gather(*(asyncio.to_thread(call.settle, 1.0) for call in self._calls))
        for call in self._calls:
            call.release(_CALLBACKS_SECONDS)


_jobs: "weakref.WeakKeyDictionary[JobContext, MeteredJob]" = weakref.WeakKeyDictionary()


def job_of(ctx: "JobContext") -> MeteredJob:
    """Return the job of a context, the same one each time."""
    job = _jobs.get(ctx)
    if job is None:
        job = _jobs[ctx] = MeteredJob(ctx)
    return job
