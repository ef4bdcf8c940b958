"""Calls back on the session's event loop what the journal's writer has found out."""

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable
from contextlib import suppress

from livekit_exporter.agent.budget.limits import Budget, BudgetCallback, BudgetEvent
from livekit_exporter.agent.rate_limited_log import problems


class Callbacks:
    """Callbacks of a call's budget.

    What a callback raises is logged and goes no further.  After the session has closed
    nobody is called any more.

    Args:
        budget: Brings callbacks of its own.
        loop: The session's event loop.
    """

    def __init__(self, budget: Budget, loop: asyncio.AbstractEventLoop) -> None:
        self._budget = budget
        self._loop = loop
        # Callbacks are to find the job where the entrypoint finds it.
        self._context = contextvars.copy_context()
        self._everything: list[BudgetCallback] = []
        self._told: list[BudgetEvent] = []
        self._tasks: set[asyncio.Future[object]] = set()
        self._closed = False

    def add(self, callback: BudgetCallback) -> None:
        """Call back for every event, those that were before included.  On the event loop."""
        self._everything.append(callback)
        for event in self._told:
            self._loop.call_soon(self._call, callback, event, context=self._context)

    def tell(self, event: BudgetEvent) -> None:
        """Log an event and schedule its callbacks.  From any thread; never waits."""
        from livekit_exporter.agent.budget import actions

        # A log that raises must not cost the call its limit.
        with suppress(Exception):
            actions.log(event)
        with suppress(RuntimeError):  # the loop is gone, and the session with it
            self._loop.call_soon_threadsafe(self._run, event, context=self._context)

    def close(self, _event: object = None) -> None:
        """The session has closed."""
        self._closed = True

    def _run(self, event: BudgetEvent) -> None:
        from livekit_exporter.agent.budget import actions

        self._told.append(event)
        first = self._budget.on_limit if event.threshold == "limit" else self._budget.on_warn
        for callback in ([] if first is None else [first]) + self._everything:
            if callback is not actions.log:  # it has logged already
                self._call(callback, event)

    def _call(self, callback: BudgetCallback, event: BudgetEvent) -> None:
        if self._closed:
            return
        try:
            result = callback(event)
            if inspect.isawaitable(result):
                # Tasks are held by nobody else.
                task = asyncio.ensure_future(_awaited(result))
                self._tasks.add(task)
                task.add_done_callback(self._done)
        except Exception as error:  # noqa: BLE001 - a callback's mistake is not the call's
            _complain(error)

    def _done(self, task: asyncio.Future[object]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _complain(error)


async def _awaited(result: Awaitable[object]) -> object:
    return await result


def _complain(error: BaseException) -> None:
    problems.warning("a budget's callback failed, the call goes on", error=error)
