"""Takes journals in: reads records, meters them, commits rows and publishes series.

The ledger comes first and the page after it: a series never shows what a failed
transaction would have written.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from livekit_exporter import contract
from livekit_exporter.ledger.store import Ledger, LedgerError
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.record import Record
from livekit_exporter.sidecar import for_agents
from livekit_exporter.sidecar.config.settings import Config
from livekit_exporter.sidecar.decode import RejectedError, decode
from livekit_exporter.sidecar.loop import Clock
from livekit_exporter.sidecar.meter import Meter
from livekit_exporter.sidecar.metrics_page import MetricsPage
from livekit_exporter.sidecar.periods import Spend
from livekit_exporter.sidecar.reader import Chunk, Reader
from livekit_exporter.sidecar.registry import Registry
from livekit_exporter.sidecar.transaction import Transaction
from livekit_exporter.sidecar.webhook.attempts import AttemptLog

_log = logging.getLogger("livekit_exporter")

BATCH_RECORDS: Final = 5000
"""Records of one transaction: few enough to see progress, enough to make commits cheap."""

_ORPHANED_SECONDS: Final = 30.0
_COMPLAIN_EVERY_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class InForce:
    """Settings and prices in force; a reload puts another one in its place.

    Args:
        config: Settings.
        catalogue: Prices.
        merged_prices: The prices as agents read them; `None` where they are the shipped ones.
    """

    config: Config
    catalogue: Catalogue
    merged_prices: str | None = None


class JournalIntake:
    """Takes the journals of one data directory into its ledger.

    Args:
        ledger: The ledger.
        reader: Reads the journals.
        registry: The series.
        page: Keeps them in step with the ledger.
        attempts: Delivery attempts that are not in the ledger yet.
        in_force: Gives settings and prices in force.
        call_ended: Called after the commit of a transaction in which a call ended.
        clock: Monotonic seconds.

    Raises:
        LedgerError: The ledger cannot be read.
    """

    def __init__(
        self,
        ledger: Ledger,
        reader: Reader,
        registry: Registry,
        page: MetricsPage,
        attempts: AttemptLog,
        in_force: Callable[[], InForce],
        call_ended: Callable[[], None],
        clock: Clock,
    ) -> None:
        self.ledger = ledger
        self._reader = reader
        self._registry = registry
        self._page = page
        self._attempts = attempts
        self._in_force = in_force
        self._call_ended = call_ended
        self._clock = clock
        page.restore(ledger)
        self._applied = in_force()
        config = self._applied.config
        self.meter = Meter(ledger, self._applied.catalogue)
        self.spend = Spend(ledger.spend, config.zone)
        self.last_record_at = ledger.last_record_at()
        self._positions = ledger.positions()
        self._missing: dict[str, float] = {}
        self.stale = False
        """The ledger is to be read again with the next pass."""
        self._commit_seconds: float | None = None
        self._complained_at = float("-inf")

    def unfinished_journals(self) -> int:
        """Return how many journals may have a writer."""
        return self._reader.unfinished(self._positions)

    def lag_bytes(self) -> int:
        """Return how many bytes the last scan saw that are not in the ledger."""
        return self._reader.lag(self._positions)

    def distrust(self) -> None:
        """Read everything from the ledger again with the next pass.

        After an error the ledger alone knows whether the transaction was committed.
        """
        self.stale = True

    def look_for_repricing(self) -> None:
        """See whether somebody repriced calls, whose costs are then to be read again.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        self.stale = self.stale or self.ledger.was_repriced()

    def run(self, until: float) -> None:
        """Take in everything that is new.

        Args:
            until: Time on the clock after which no further chunk is read.

        Raises:
            LedgerError: The ledger cannot be read or written.
            OSError: The data directory cannot be used.
        """
        self._refresh()
        self.spend.follow(time.time())
        self._reader.scan()
        transaction, taken = self._page.begin(), 0
        self._add_attempts(transaction)
        for chunk in self._reader.chunks(self._positions):
            taken += self._take(chunk, transaction)
            if taken >= BATCH_RECORDS:
                self._commit(transaction)
                transaction, taken = self._page.begin(), 0
            if self._clock() >= until:
                break
        self._end_orphans(transaction)
        rows = transaction.rows
        if rows.positions or rows.sessions or rows.deliveries:
            self._commit(transaction)

    def remove_finished(self) -> None:
        """Delete the journals that are in the ledger to their end.

        Raises:
            OSError: One cannot be deleted.
        """
        for name in list(self._reader.sizes):
            position = self._positions.get(name)
            if position is not None and position.finished_at is not None:
                self._reader.remove(name)

    def _refresh(self) -> None:
        """Follow what changed beside the journals: the ledger, the settings, the prices."""
        current = self._in_force()
        if self.stale:
            self.ledger.claim()
            self._page.restore(self.ledger)
            self.meter.reload()
            self._positions = self.ledger.positions()
        if self.stale or current is not self._applied:
            self.spend = Spend(self.ledger.spend, current.config.zone)
            self.stale = False
        if current is not self._applied:
            self.meter.use(current.catalogue)
            for_agents.share_prices(current.merged_prices, current.config.data_dir)
            self._applied = current

    def _take(self, chunk: Chunk, transaction: Transaction) -> int:
        for reason, count in chunk.rejected.items():
            transaction.count(contract.RECORDS_REJECTED, (reason,), count)
        for line in chunk.lines:
            try:
                record = decode(line)
            except RejectedError as error:
                transaction.count(contract.RECORDS_REJECTED, (error.reason,))
                continue
            try:
                self.meter.take(chunk.journal, record, transaction)
            except LedgerError:
                raise
            except Exception:  # noqa: BLE001 - a record that nobody foresaw must not stop all the others
                transaction.count(contract.RECORDS_REJECTED, ("internal_error",))
                self._complain(chunk.journal)
                continue
            self._follow(record)
        transaction.rows.positions[chunk.journal] = chunk.position
        if chunk.ended:
            self.meter.end(chunk.journal, transaction)
        return len(chunk.lines)

    def _complain(self, journal: str) -> None:
        now = self._clock()
        if now - self._complained_at >= _COMPLAIN_EVERY_SECONDS:
            self._complained_at = now
            _log.exception("a record of journal '%s' could not be taken in, skipped", journal)

    def _follow(self, record: Record) -> None:
        if self.last_record_at is None or record.at > self.last_record_at:
            self.last_record_at = record.at

    def _add_attempts(self, transaction: Transaction) -> None:
        """Put the attempts of the webhook sender into the transaction."""
        tried = self._attempts.pending()
        rows = transaction.rows
        rows.deliveries = self.ledger.unknown(tried)
        self._attempts.committed(set(tried).difference(rows.deliveries))
        for row in rows.deliveries:
            delivered = row.state == "delivered"
            transaction.count(contract.WEBHOOK_DELIVERIES, (), delivered)
            transaction.count(contract.WEBHOOK_ERRORS, (), not delivered)
            transaction.count(contract.WEBHOOK_DEAD_LETTERS, (), row.state == "dead")

    def _end_orphans(self, transaction: Transaction) -> None:
        """End the calls whose journal somebody took away.

        They are given some time: a file system that is away for a moment loses no call.
        """
        now = self._clock()
        orphans = self.meter.orphans(self._reader.sizes)
        self._missing = {journal: self._missing.get(journal, now) for journal in orphans}
        for journal, since in self._missing.items():
            if now - since >= _ORPHANED_SECONDS:
                self.meter.end(journal, transaction)

    def _commit(self, transaction: Transaction) -> None:
        # A transaction cannot hold its own duration, so the next one does.
        if self._commit_seconds is not None:
            transaction.observe(contract.LEDGER_COMMIT, (), self._commit_seconds)
        self._page.save(transaction)
        rows = transaction.rows
        rows.series = self._registry.rows(transaction.changed, time.time())
        rows.deliver = self._in_force().config.webhook.url is not None
        begun = time.monotonic()
        self.ledger.commit(rows)
        self._commit_seconds = time.monotonic() - begun
        self._page.saved()
        self._positions.update(rows.positions)
        self._attempts.committed(rows.deliveries)
        if any(row.ended for row in rows.sessions.values()):
            self._call_ended()
        self._registry.publish(transaction.changed)
        for row in rows.usage:
            if row.cost_usd is not None:
                self.spend.add(row.at, row.agent, row.source, row.cost_usd)
