"""The sidecar's one loop: journals to ledger to page, a transaction at a time.

Runs in a thread of its own.  Whatever fails, the disk or the database, is said once,
counted, shown as the reason of `/-/ready`, and tried again; the journals keep what
is not committed.
"""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, get_args

from livekit_exporter import contract, files
from livekit_exporter.ledger.rows import Position
from livekit_exporter.ledger.store import Ledger, LedgerError, RepricedError
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.record import Record, Source
from livekit_exporter.sidecar import for_agents
from livekit_exporter.sidecar.config.settings import Config, ConfigError
from livekit_exporter.sidecar.decode import RejectedError, decode
from livekit_exporter.sidecar.exports import CALLS_AT_A_TIME, Exports
from livekit_exporter.sidecar.gauges import Moment, gauges
from livekit_exporter.sidecar.labels import LabelValues
from livekit_exporter.sidecar.lock import HeldError, Lock
from livekit_exporter.sidecar.meter import Meter
from livekit_exporter.sidecar.reader import CHUNK_BYTES, Chunk, Reader
from livekit_exporter.sidecar.registry import Registry
from livekit_exporter.sidecar.spend import PERIODS, Spend, period_start
from livekit_exporter.sidecar.transaction import Transaction
from livekit_exporter.sidecar.webhook.handover import Handover

_log = logging.getLogger("livekit_exporter")

BATCH_RECORDS: Final = 5000
"""Records of one transaction: few enough to see progress, enough to make commits cheap."""

_LONGEST_PAUSE_SECONDS: Final = 10.0
_LOOK_EVERY_SECONDS: Final = 5.0
"""How long the spend of a period may show costs from before a repricing."""

_SHARE_EVERY_SECONDS: Final = 60.0
_ORPHANED_SECONDS: Final = 30.0
_HOUSEKEEPING_SECONDS: Final = 3600.0
_DELETED_AT_ONCE: Final = 50
"""Calls of one step of retention, which takes some ten milliseconds."""
_DAY_SECONDS: Final = 86400.0
_STUCK_SECONDS: Final = 60.0
_COMPLAIN_EVERY_SECONDS: Final = 60.0


@dataclass(slots=True)
class _Open:
    """What there is once the data directory could be opened."""

    ledger: Ledger
    reader: Reader
    meter: Meter
    spend: Spend
    exports: Exports
    positions: dict[str, Position]
    last_record_at: float | None
    missing: dict[str, float] = field(default_factory=dict)
    exports_due: bool = True
    stale: bool = False


class Ingest:
    """Takes journals into the ledger and shows the result.

    Args:
        config: Settings.
        catalogue: Prices in force.
        registry: The page.
        merged_prices: Prices in force as agents are to read them, where they are not the
            shipped ones.
    """

    def __init__(
        self,
        config: Config,
        catalogue: Catalogue,
        registry: Registry,
        *,
        merged_prices: str | None = None,
    ) -> None:
        self._config = config
        self._catalogue = catalogue
        self._merged_prices = merged_prices
        self._registry = registry
        self.handover = Handover()
        """What the courier has tried is noted with the next transaction."""
        self._lock: Lock | None = None
        self._open: _Open | None = None
        self._reader = Reader(files.journals(config.data_dir))
        self._values = LabelValues(self._cap)
        self._problem: str | None = "the journals have not been read yet"
        self._passed_at = time.monotonic()
        self._errors = 0
        self._commits: list[float] = []
        self._swept_at = time.monotonic()
        self._look_after = float("-inf")
        self._share_after = float("-inf")
        self._deleting = True
        self._complained_at = float("-inf")
        self._reconfigured = False
        self._export_after = float("-inf")
        self._exports_counted = False
        self._reloaded, self._reloaded_at = True, time.time()

    def open(self) -> None:
        """Take the data directory and read what the ledger knows.

        Raises:
            HeldError: Another sidecar serves the directory.
            OSError: The directory cannot be used.
            LedgerError: The ledger cannot be used.
            ConfigError: The file that says where it is cannot be read.
        """
        config = self._config
        if self._lock is None:
            self._lock = Lock(config.data_dir)
        if self._open is not None:
            return
        for_agents.share_prices(self._merged_prices, config.data_dir)
        self._reader.scan()
        ledger = Ledger(config.ledger.where(config.data_dir), files.read_instance(config.data_dir))
        try:
            files.write_instance(config.data_dir, ledger.instance)
            self._restore(ledger)
            meter = Meter(ledger, self._catalogue)
            self._open = _Open(
                ledger=ledger,
                reader=self._reader,
                meter=meter,
                spend=Spend(ledger, config.zone),
                exports=Exports(config.data_dir, ledger),
                positions=ledger.positions(),
                last_record_at=ledger.last_record_at(),
            )
        except (LedgerError, OSError):
            ledger.close()
            raise

    def listening(self, address: str) -> None:
        """Write down where this sidecar listens, for whoever finds the directory taken."""
        if self._lock is not None:
            self._lock.tell(address)

    def problem(self) -> str | None:
        """Why the sidecar is not ready, `None` when it is."""
        quiet = time.monotonic() - self._passed_at
        if self._problem is None and quiet > _STUCK_SECONDS:
            return f"the journals have not been read for {quiet:.0f} s"
        return self._problem

    def configure(
        self, config: Config, catalogue: Catalogue, merged_prices: str | None = None
    ) -> None:
        """Take over the settings and prices that may change while the sidecar runs."""
        self._config = config
        self._catalogue, self._merged_prices = catalogue, merged_prices
        self._reloaded, self._reloaded_at = True, time.time()
        self._reconfigured = True

    def reload_failed(self) -> None:
        """Show that the configuration could not be loaded; the old one stays in force."""
        self._reloaded = False

    @property
    def config(self) -> Config:
        """Settings in force."""
        return self._config

    @property
    def ledger(self) -> Ledger | None:
        """The ledger, once it is open."""
        return None if self._open is None else self._open.ledger

    def run(self, stop: threading.Event, drain_seconds: float) -> None:
        """Work until `stop`, then take in what is there, for at most `drain_seconds`.

        Ends by itself when another sidecar took the directory while this one waited for it.
        """
        try:
            self._run(stop, drain_seconds)
        except HeldError as error:
            _log.error("%s", error)

    def _run(self, stop: threading.Event, drain_seconds: float) -> None:
        pause = self._config.poll_seconds
        while not stop.is_set():
            if not self.attempt():
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            elif self._behind() > CHUNK_BYTES:
                continue
            else:
                pause = self._config.poll_seconds
            stop.wait(pause)
        deadline = time.monotonic() + drain_seconds
        # What stays from one pass to the next is the beginning of a line whose end is to come.
        before = -1
        while self.attempt() and time.monotonic() < deadline:
            left = self._behind()
            if left in (0, before):
                break
            before = left

    def close(self) -> None:
        """Release ledger and directory."""
        if self._open is not None:
            self._open.ledger.close()
        if self._lock is not None:
            self._lock.close()

    def attempt(self) -> bool:
        """Take in everything that is new; `False` when something failed that may pass."""
        try:
            self.open()
            if self._open is not None:
                self._pass(self._open)
        except RepricedError as error:
            # Nothing was taken in, and the next pass reads what holds now.
            _log.info("%s; reading it again", error)
            if self._open is not None:
                self._open.stale = True
        except (LedgerError, ConfigError, OSError) as error:
            self._failed(error)
            return False
        if self._problem is not None:
            _log.info("ready: reading journals in %s", self._config.data_dir)
        self._problem = None
        self._passed_at = time.monotonic()
        return True

    def _failed(self, error: Exception) -> None:
        problem = str(error)
        if isinstance(error, OSError) and error.filename is not None:
            problem = f"cannot use '{error.filename}': {error.strerror}"
        if problem != self._problem:
            _log.error("%s; the journals keep the records, trying again", problem)
        self._problem = problem
        if not isinstance(error, OSError):
            self._errors += 1
            self._count_errors(1)
        if self._open is not None:
            self._open.stale = True
            self._show(self._open)
        else:
            self._registry.show(gauges(self._moment(None), self._catalogue, time.time()))

    def _restore(self, ledger: Ledger) -> None:
        outdated, kept = self._registry.restore(ledger.series())
        if outdated:
            ledger.move_series(outdated, kept)
        self._count_errors(self._errors)
        self._learn_label_values()

    def _learn_label_values(self) -> None:
        """Admit what is on the page, and nothing else."""
        self._values.forget()
        for family in contract.FAMILIES:
            names = self._registry.label_names(family)
            for labels in self._registry.series(family):
                for name, value in zip(names, labels, strict=True):
                    self._values.know(name, (value,))

    def _count_errors(self, number: int) -> None:
        """Show failures before the ledger can keep their number."""
        transaction = Transaction(self._registry, self._values)
        transaction.count(contract.LEDGER_ERRORS, (), number)
        for family in (contract.CALLS_EXPORTED, contract.EXPORT_ERRORS):
            transaction.init_at_zero(family)
        self._registry.publish(transaction.changed)

    def _pass(self, opened: _Open) -> None:
        now = time.monotonic()
        if now >= self._look_after:
            self._look_after = now + _LOOK_EVERY_SECONDS
            opened.stale = opened.stale or opened.ledger.was_repriced()
        if opened.stale:
            # Whatever the failed transaction did or did not do, the ledger knows.
            opened.ledger.claim()
            self._restore(opened.ledger)
            opened.meter.reload()
            opened.positions = opened.ledger.positions()
            opened.spend = Spend(opened.ledger, self._config.zone)
            opened.stale = False
        if self._reconfigured:
            self._reconfigured = False
            opened.spend = Spend(opened.ledger, self._config.zone)
            opened.meter.use(self._catalogue)
            for_agents.share_prices(self._merged_prices, self._config.data_dir)
        opened.spend.follow(time.time())
        opened.reader.scan()
        transaction, taken = Transaction(self._registry, self._values), 0
        self._note_deliveries(opened, transaction)
        for chunk in opened.reader.chunks(opened.positions):
            taken += self._take(opened, chunk, transaction)
            if taken >= BATCH_RECORDS:
                self._commit(opened, transaction)
                transaction, taken = Transaction(self._registry, self._values), 0
        self._end_orphans(opened, transaction)
        rows = transaction.rows
        if rows.positions or rows.sessions or rows.deliveries:
            self._commit(opened, transaction)
        self._remove_finished(opened)
        self._share_sizes(opened)
        self._export(opened)
        self._sweep(opened)
        self._delete_old_calls(opened)
        self._show(opened)

    def _take(self, opened: _Open, chunk: Chunk, transaction: Transaction) -> int:
        for reason, count in chunk.rejected.items():
            transaction.count(contract.RECORDS_REJECTED, (reason,), count)
        for line in chunk.lines:
            try:
                record = decode(line)
            except RejectedError as error:
                transaction.count(contract.RECORDS_REJECTED, (error.reason,))
                continue
            try:
                opened.meter.take(chunk.journal, record, transaction)
            except LedgerError:
                raise
            except Exception:  # noqa: BLE001 - a record that nobody foresaw must not stop all the others
                transaction.count(contract.RECORDS_REJECTED, ("internal_error",))
                self._complain(chunk.journal)
                continue
            self._newest(opened, record)
        transaction.rows.positions[chunk.journal] = chunk.position
        if chunk.ended:
            opened.meter.end(chunk.journal, transaction)
        return len(chunk.lines)

    def _note_deliveries(self, opened: _Open, transaction: Transaction) -> None:
        """Put what the courier has tried into the rows."""
        tried = self.handover.tried()
        rows = transaction.rows
        rows.deliveries = opened.ledger.unknown(tried)
        self.handover.noted(set(tried).difference(rows.deliveries))
        for row in rows.deliveries:
            delivered = row.state == "delivered"
            transaction.count(contract.WEBHOOK_DELIVERIES, (), delivered)
            transaction.count(contract.WEBHOOK_ERRORS, (), not delivered)
            transaction.count(contract.WEBHOOK_DEAD_LETTERS, (), row.state == "dead")

    def _complain(self, journal: str) -> None:
        now = time.monotonic()
        if now - self._complained_at >= _COMPLAIN_EVERY_SECONDS:
            self._complained_at = now
            _log.exception("a record of journal '%s' could not be taken in, skipped", journal)

    def _newest(self, opened: _Open, record: Record) -> None:
        if opened.last_record_at is None or record.at > opened.last_record_at:
            opened.last_record_at = record.at

    def _end_orphans(self, opened: _Open, transaction: Transaction) -> None:
        """End the calls whose journal somebody took away."""
        now = time.monotonic()
        orphans = opened.meter.orphans(opened.reader.sizes)
        opened.missing = {journal: opened.missing.get(journal, now) for journal in orphans}
        for journal, since in opened.missing.items():
            if now - since >= _ORPHANED_SECONDS:
                opened.meter.end(journal, transaction)

    def _commit(self, opened: _Open, transaction: Transaction) -> None:
        for seconds in self._commits:
            transaction.observe(contract.LEDGER_COMMIT, (), seconds)
        if self._errors:
            transaction.init_at_zero(contract.LEDGER_ERRORS)
        if self._exports_counted:
            self._exports_counted = False
            for family in (contract.CALLS_EXPORTED, contract.EXPORT_ERRORS):
                transaction.init_at_zero(family)
        rows = transaction.rows
        rows.series = self._registry.rows(transaction.changed, time.time())
        rows.deliver = self._config.webhook.url is not None
        begun = time.monotonic()
        opened.ledger.commit(rows)
        # Observed with the next batch: a transaction cannot hold its own duration.
        self._commits = [time.monotonic() - begun]
        self._errors = 0
        opened.positions.update(rows.positions)
        self.handover.noted(rows.deliveries)
        if any(row.ended for row in rows.sessions.values()):
            opened.exports_due = True
            self.handover.ring()
        self._registry.publish(transaction.changed)
        for row in rows.usage:
            if row.cost_usd is not None:
                opened.spend.add(row.at, row.agent, row.source, row.cost_usd)

    def _export(self, opened: _Open) -> None:
        """Write files of calls that ended; what cannot be written is tried again later."""
        settings = self._config.export
        now = time.monotonic()
        if not (settings.enabled and opened.exports_due and now >= self._export_after):
            return
        transaction = Transaction(self._registry, self._values)
        try:
            written = opened.exports.write(settings)
        except OSError as error:
            self._export_after = now + _LONGEST_PAUSE_SECONDS
            transaction.count(contract.EXPORT_ERRORS, ())
            _log.error(
                "cannot write the export of a call: '%s': %s; the ledger has it, trying again",
                error.filename,
                error.strerror or error,
            )
        else:
            transaction.count(contract.CALLS_EXPORTED, (), written)
            opened.exports_due = written == CALLS_AT_A_TIME
        self._registry.publish(transaction.changed)
        self._exports_counted = True

    def _share_sizes(self, opened: _Open) -> None:
        """Now and then: leave for agents what the ledger knows of the sizes of requests."""
        if time.monotonic() < self._share_after:
            return
        self._share_after = time.monotonic() + _SHARE_EVERY_SECONDS
        for_agents.share_sizes(opened.ledger.sizes(), self._config.data_dir)

    def _remove_finished(self, opened: _Open) -> None:
        for name in list(opened.reader.sizes):
            position = opened.positions.get(name)
            if position is not None and position.finished_at is not None:
                opened.reader.remove(name)

    def _sweep(self, opened: _Open) -> None:
        """Once an hour: series that nothing touched for long leave page and ledger."""
        if time.monotonic() - self._swept_at < _HOUSEKEEPING_SECONDS:
            return
        self._swept_at = time.monotonic()
        now = time.time()
        idle = self._config.metrics.idle_days * _DAY_SECONDS
        self._registry.drop(opened.ledger.forget(series_before=now - idle, now=now))
        self._learn_label_values()
        try:
            opened.exports.remove_old(self._config.export, now)
        except OSError as error:
            _log.warning("cannot remove old exports: '%s': %s", error.filename, error.strerror)
        self._deleting = True

    def _delete_old_calls(self, opened: _Open) -> None:
        """One step of retention, until there is nothing old any more: ingest is not held up."""
        days = self._config.ledger.keep_days
        # What is to be exported is not deleted before.
        if (
            days is None
            or not self._deleting
            or (self._config.export.enabled and opened.exports_due)
        ):
            return
        now = time.time()
        # The month's spend is exact in every time zone because its first day is there in full.
        month = period_start("month", now, self._config.zone)
        before = min(now - days * _DAY_SECONDS, month)
        deleted = opened.ledger.forget_calls(
            before, _DELETED_AT_ONCE, deliver=self._config.webhook.url is not None
        )
        self._deleting = opened.ledger.shrink() or deleted == _DELETED_AT_ONCE

    def _behind(self) -> int:
        """Bytes that were there when the last pass began and that it left."""
        return 0 if self._open is None else self._open.reader.lag(self._open.positions)

    def _show(self, opened: _Open) -> None:
        self._registry.show(gauges(self._moment(opened), self._catalogue, time.time()))

    def _moment(self, opened: _Open | None) -> Moment:
        budget = self._config.budget
        budgets = {"day": budget.day_usd, "month": budget.month_usd}
        allowed = {period: usd for period, usd in budgets.items() if usd is not None}
        if opened is None:
            return Moment(
                budgets=allowed,
                journal_files=len(self._reader.sizes),
                lag_bytes=self._reader.lag({}),
                reloaded=self._reloaded,
                reloaded_at=self._reloaded_at,
            )
        agents = {labels[0] for labels in self._registry.series(contract.SESSIONS)}
        spend = {
            (period, source): self._by_agent(opened.spend.of(period, source))
            for period in PERIODS
            for source in get_args(Source)
        }
        return Moment(
            agents=frozenset(agents.union(*spend.values())),
            active=self._by_agent(opened.meter.active()),
            spend=spend,
            budgets=allowed,
            models=frozenset(labels[1:4] for labels in self._registry.series(contract.COST)),
            journal_files=len(opened.reader.sizes),
            lag_bytes=opened.reader.lag(opened.positions),
            ledger_bytes=opened.ledger.size_bytes(),
            last_record_at=opened.last_record_at,
            backlog=self.handover.backlog,
            reloaded=self._reloaded,
            reloaded_at=self._reloaded_at,
        )

    def _by_agent(self, amounts: Mapping[str, float]) -> dict[str, float]:
        """Amounts by agent, under the names that agents have on the page."""
        shown: dict[str, float] = {}
        for agent, amount in amounts.items():
            name = self._values.shown("agent", agent)
            shown[name] = shown.get(name, 0.0) + amount
        return shown

    def _cap(self, label: str) -> int:
        return self._config.metrics.cap(label)
