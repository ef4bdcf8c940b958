"""Delivers ended calls to the webhook, on the event loop beside the web server.

The sender reads the outbox in the ledger, sends deliveries that are due, a few at a time, and
leaves their results to ingest, which commits them with its next transaction.  A sidecar that
is killed between the two sends again after its restart, under the same id.
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
from typing import Final, TypeVar, TypeVarTuple

import aiohttp

from livekit_exporter.export.event import call_ended
from livekit_exporter.ledger.rows import Backlog, DeliveryRow
from livekit_exporter.ledger.store import Ledger, LedgerError
from livekit_exporter.sidecar.export_files import document
from livekit_exporter.sidecar.webhook.attempts import AttemptLog
from livekit_exporter.sidecar.webhook.endpoint import Webhook, post, session
from livekit_exporter.sidecar.webhook.retry import DeliveryAttempt, after

_log = logging.getLogger("livekit_exporter")

_Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")

MAX_IN_FLIGHT: Final = 8
"""Requests in flight: a receiver that hangs blocks no more than these."""

_LOOK_EVERY_SECONDS: Final = 5.0
"""Time until the sender sees a retry that an operator asked for on the command line."""

_COUNT_EVERY_SECONDS: Final = 1.0
_FLUSH_SECONDS: Final = 3.0


class WebhookSender:
    """Delivers the outbox of one ledger.

    Args:
        root: The data directory.
        ledger: Gives the ledger, once it is open.
        attempts: Takes the results.
    """

    def __init__(
        self, root: Path, ledger: Callable[[], Ledger | None], attempts: AttemptLog
    ) -> None:
        self._root = root
        self._ledger = ledger
        self._attempts = attempts
        self._webhook: Webhook | None = None
        self._in_flight: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._stopping = False
        self._quiet_until = float("-inf")
        self._counted_at = float("-inf")
        self._failing = False
        # A thread of its own: reading many calls does not hold up the pages.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="webhook")

    def use(self, webhook: Webhook | None) -> None:
        """Deliver to this webhook from now on; `None` to pause."""
        self._webhook = webhook
        self._quiet_until = float("-inf")
        self._wake.set()

    def stop(self) -> None:
        """Send what is due now once more, for some seconds, and end `run`."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Deliver until `stop` is called."""
        loop = asyncio.get_running_loop()
        self._attempts.on_wake(lambda: loop.call_soon_threadsafe(self._wake.set))
        try:
            async with session(MAX_IN_FLIGHT) as http:
                while not self._stopping:
                    self._wake.clear()
                    pause = await self._attempt(http)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await self._wake.wait()
                await self._flush(http)
        finally:
            self._attempts.on_wake(None)
            self._reader.shutdown(wait=False, cancel_futures=True)

    async def _flush(self, http: aiohttp.ClientSession) -> None:
        deadline = time.monotonic() + _FLUSH_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            await self._attempt(http)
            if not self._in_flight:
                return
            await asyncio.wait(
                self._in_flight.values(), timeout=left, return_when=asyncio.FIRST_COMPLETED
            )
        unfinished = list(self._in_flight.values())
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)

    async def _attempt(self, http: aiohttp.ClientSession) -> float:
        """Make a round that never raises; return the seconds until the next one."""
        try:
            return await self._round(http)
        except LedgerError:
            # Ingest uses the same ledger: it logs the error and tries again.
            return _LOOK_EVERY_SECONDS
        except Exception:  # noqa: BLE001 - an error in one round must not end all deliveries
            _log.exception("cannot deliver calls, trying again")
            return _LOOK_EVERY_SECONDS

    async def _round(self, http: aiohttp.ClientSession) -> float:
        """Start to send what is due; return the seconds until more may be due."""
        webhook, ledger = self._webhook, self._ledger()
        if webhook is None or ledger is None:
            self._attempts.backlog = Backlog()
            return _LOOK_EVERY_SECONDS
        limit = len(self._busy()) + MAX_IN_FLIGHT
        due = await self._read(ledger.due, time.time(), limit)
        await self._count(ledger)
        quiet = self._quiet_until - time.monotonic()
        if quiet > 0:
            return min(quiet, _LOOK_EVERY_SECONDS)
        busy = self._busy()
        for row in due.deliveries:
            if len(self._in_flight) >= MAX_IN_FLIGHT:
                break
            if row.session not in busy:
                task = asyncio.create_task(self._deliver(http, webhook, ledger, row))
                self._in_flight[row.session] = task
                task.add_done_callback(partial(self._finished, row.session))
        if due.next_at is None:
            return _LOOK_EVERY_SECONDS
        return min(max(due.next_at - time.time(), 0.0), _LOOK_EVERY_SECONDS)

    async def _count(self, ledger: Ledger) -> None:
        """Count pending deliveries, at most once a second: there may be many."""
        if time.monotonic() - self._counted_at >= _COUNT_EVERY_SECONDS:
            self._attempts.backlog = await self._read(ledger.backlog)
            self._counted_at = time.monotonic()

    def _busy(self) -> set[str]:
        """Return the calls in flight, and those whose attempt is not in the ledger yet."""
        return {*self._in_flight, *(row.session for row in self._attempts.pending())}

    def _finished(self, session: str, task: asyncio.Task[None]) -> None:
        del self._in_flight[session]
        if not task.cancelled() and task.exception() is not None:
            _log.error("cannot deliver a call, trying again", exc_info=task.exception())
        self._wake.set()

    async def _deliver(
        self, http: aiohttp.ClientSession, webhook: Webhook, ledger: Ledger, row: DeliveryRow
    ) -> None:
        """Send one call once and leave the result to ingest."""
        try:
            body = await self._read(self._body, ledger, row, webhook)
            if body is None:
                return
            attempt = await post(http, webhook, row.id, body)
        except LedgerError:
            return
        except Exception:  # noqa: BLE001 - one strange call must not stop all the others
            _log.exception("cannot send call '%s'", row.session)
            attempt = DeliveryAttempt(None, "cannot be sent, see the log of the sidecar")
        now = time.time()
        if attempt.retry_after is not None and not attempt.delivered:
            # The receiver asks for itself, not for this call, so all calls wait.
            self._quiet_until = time.monotonic() + attempt.retry_after
        tried = after(row, attempt, now, webhook.retry, random.random())  # noqa: S311 - no secret
        self._attempts.add(tried)
        self._log_result(webhook, tried)

    def _body(self, ledger: Ledger, row: DeliveryRow, webhook: Webhook) -> bytes | None:
        found = ledger.to_deliver(row)
        if found is None:
            return None
        call, rows = found
        export = document(call, rows, webhook.redaction, self._root)
        return call_ended(export, row.revision, row.made_at)

    def _log_result(self, webhook: Webhook, tried: DeliveryRow) -> None:
        """Log every dead letter, and once each when deliveries start and stop to fail."""
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

    async def _read(self, read: Callable[[*_Arguments], _Result], *args: *_Arguments) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._reader, read, *args)
