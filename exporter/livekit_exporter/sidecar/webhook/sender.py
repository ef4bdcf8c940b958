"""Delivers calls that ended to the webhook, beside everything else the sidecar does.

Reads the outbox in the ledger, sends what is due, a few at a time, and hands over what became
of it; ingest notes that with its next transaction.  Whoever is killed between the two sends
again, under the same id.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import aiohttp

from livekit_exporter.export.event import call_ended
from livekit_exporter.ledger.rows import Backlog, DeliveryRow
from livekit_exporter.ledger.store import Ledger, LedgerError
from livekit_exporter.sidecar.exports import document
from livekit_exporter.sidecar.webhook.endpoint import Webhook, post, session
from livekit_exporter.sidecar.webhook.handover import Handover
from livekit_exporter.sidecar.webhook.retry import Answer, after

_log = logging.getLogger("livekit_exporter")

_P = ParamSpec("_P")
_R = TypeVar("_R")

AT_A_TIME: Final = 8
"""Requests under way: a receiver that hangs holds no more than these."""

_LOOK_EVERY_SECONDS: Final = 5.0
"""How soon a retry that somebody asked for on the command line is seen."""

_COUNT_EVERY_SECONDS: Final = 1.0
_FAREWELL_SECONDS: Final = 3.0


class Courier:
    """Delivers what one ledger holds.

    Args:
        root: The data directory.
        ledger: Gives the ledger, once it is open.
        handover: Where attempts are left.
    """

    def __init__(self, root: Path, ledger: Callable[[], Ledger | None], handover: Handover) -> None:
        self._root = root
        self._ledger = ledger
        self._handover = handover
        self._webhook: Webhook | None = None
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._rung = asyncio.Event()
        self._stopping = False
        self._quiet_until = float("-inf")
        self._counted_at = float("-inf")
        self._failing = False
        # Calls are read here, one after the other, and not where pages are made.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="courier")

    def use(self, webhook: Webhook | None) -> None:
        """Deliver there from now on; `None` for nowhere."""
        self._webhook = webhook
        self._quiet_until = float("-inf")
        self._rung.set()

    def stop(self) -> None:
        """Send what is due now once more, for some seconds, and end."""
        self._stopping = True
        self._rung.set()

    async def run(self) -> None:
        """Deliver until somebody says `stop`."""
        loop = asyncio.get_running_loop()
        self._handover.answer_bell(lambda: loop.call_soon_threadsafe(self._rung.set))
        try:
            async with session(AT_A_TIME) as http:
                while not self._stopping:
                    self._rung.clear()
                    pause = await self._attempt(http)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await self._rung.wait()
                await self._farewell(http)
        finally:
            self._handover.answer_bell(None)
            self._reader.shutdown(wait=False, cancel_futures=True)

    async def _farewell(self, http: aiohttp.ClientSession) -> None:
        deadline = time.monotonic() + _FAREWELL_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            await self._attempt(http)
            if not self._under_way:
                return
            await asyncio.wait(
                self._under_way.values(), timeout=left, return_when=asyncio.FIRST_COMPLETED
            )
        unfinished = list(self._under_way.values())
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)

    async def _attempt(self, http: aiohttp.ClientSession) -> float:
        """One round, whatever happens in it."""
        try:
            return await self._round(http)
        except LedgerError:
            # Ingest says so and sees to it.
            return _LOOK_EVERY_SECONDS
        except Exception:  # noqa: BLE001 - the sidecar goes on, and so do deliveries
            _log.exception("cannot deliver calls, trying again")
            return _LOOK_EVERY_SECONDS

    async def _round(self, http: aiohttp.ClientSession) -> float:
        """Begin to send what is due; the seconds until there may be more."""
        webhook, ledger = self._webhook, self._ledger()
        if webhook is None or ledger is None:
            self._handover.backlog = Backlog()
            return _LOOK_EVERY_SECONDS
        limit = len(self._busy()) + AT_A_TIME
        due = await self._reading(ledger.due, time.time(), limit)
        await self._count(ledger)
        quiet = self._quiet_until - time.monotonic()
        if quiet > 0:
            return min(quiet, _LOOK_EVERY_SECONDS)
        busy = self._busy()
        for row in due.deliveries:
            if len(self._under_way) >= AT_A_TIME:
                break
            if row.session not in busy:
                task = asyncio.create_task(self._deliver(http, webhook, ledger, row))
                self._under_way[row.session] = task
                task.add_done_callback(partial(self._finished, row.session))
        if due.next_at is None:
            return _LOOK_EVERY_SECONDS
        return min(max(due.next_at - time.time(), 0.0), _LOOK_EVERY_SECONDS)

    async def _count(self, ledger: Ledger) -> None:
        """Count what is to be delivered, once a second: there may be many."""
        if time.monotonic() - self._counted_at >= _COUNT_EVERY_SECONDS:
            self._handover.backlog = await self._reading(ledger.backlog)
            self._counted_at = time.monotonic()

    def _busy(self) -> set[str]:
        """Calls that are being sent, or whose attempt is not in the ledger yet."""
        return {*self._under_way, *(row.session for row in self._handover.tried())}

    def _finished(self, session: str, task: asyncio.Task[None]) -> None:
        del self._under_way[session]
        if not task.cancelled() and task.exception() is not None:
            _log.error("the delivery of a call ended with a mistake", exc_info=task.exception())
        self._rung.set()

    async def _deliver(
        self, http: aiohttp.ClientSession, webhook: Webhook, ledger: Ledger, row: DeliveryRow
    ) -> None:
        """Send one call once, and hand over what became of it."""
        try:
            body = await self._reading(self._body, ledger, row, webhook)
            if body is None:
                return
            answer = await post(http, webhook, row.id, body)
        except LedgerError:
            return
        except Exception:  # noqa: BLE001 - a call that nobody foresaw must not stop all the others
            _log.exception("cannot send call '%s'", row.session)
            answer = Answer(None, "cannot be sent, see the log of the sidecar")
        now = time.time()
        if answer.retry_after is not None and not answer.taken:
            # It is the receiver that asks for it, so it holds for every call.
            self._quiet_until = time.monotonic() + answer.retry_after
        tried = after(row, answer, now, webhook.patience, random.random())  # noqa: S311 - no secret
        self._handover.put(tried)
        self._say(webhook, tried)

    def _body(self, ledger: Ledger, row: DeliveryRow, webhook: Webhook) -> bytes | None:
        found = ledger.to_deliver(row)
        if found is None:
            return None
        call, rows = found
        export = document(call, rows, webhook.redaction, self._root)
        return call_ended(export, row.revision, row.made_at)

    def _say(self, webhook: Webhook, tried: DeliveryRow) -> None:
        """Say when deliveries begin to fail and when they go on, and every one that is given up."""
        if tried.state == "dead":
            _log.error(
                "gave up to deliver call '%s' to %s after %d attempts: %s; see 'livekit-exporter"
                " webhook list --dead'",
                tried.session,
                webhook.origin,
                tried.attempts,
                tried.error,
            )
            return
        if tried.state == "pending" and not self._failing:
            _log.warning(
                "cannot deliver calls to %s: %s; the ledger has them, trying again",
                webhook.origin,
                tried.error,
            )
        elif tried.state == "delivered" and self._failing:
            _log.info("delivering calls to %s again", webhook.origin)
        self._failing = tried.state != "delivered"

    async def _reading(self, read: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reader, partial(read, *args, **kwargs))
