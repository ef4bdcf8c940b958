"""Runs everything that the sidecar does with its data directory, in a thread of its own.

Whatever fails, the disk or the database, is logged once, counted, shown as the reason of
`/-/ready`, and tried again; the journals keep what is not committed.
"""

import logging
import threading
import time
from contextlib import suppress
from typing import Final, get_args

from livekit_exporter import contract, files
from livekit_exporter.ledger.store import Ledger, LedgerError, RepricedError
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.record import Source
from livekit_exporter.sidecar import for_agents
from livekit_exporter.sidecar.config.settings import Config, ConfigError
from livekit_exporter.sidecar.export_files import Exports
from livekit_exporter.sidecar.gauges import SidecarState, gauges
from livekit_exporter.sidecar.intake import InForce, JournalIntake
from livekit_exporter.sidecar.lock import HeldError, Lock
from livekit_exporter.sidecar.loop import Clock, Job, Loop
from livekit_exporter.sidecar.metrics_page import MetricsPage
from livekit_exporter.sidecar.periods import PERIODS
from livekit_exporter.sidecar.reader import CHUNK_BYTES, Reader
from livekit_exporter.sidecar.registry import Registry
from livekit_exporter.sidecar.retention import Retention
from livekit_exporter.sidecar.webhook.attempts import AttemptLog

_log = logging.getLogger("livekit_exporter")

_LONGEST_PAUSE_SECONDS: Final = 10.0
_REPRICED_EVERY_SECONDS: Final = 5.0
"""Time for which the spend of a period may show costs from before a repricing."""

_LAST_LOOK_SECONDS: Final = 1.0
_STOPPING_PAUSE_SECONDS: Final = 0.1
"""Pause between passes once the sidecar is to end: there is little time to try again."""
_SHARE_EVERY_SECONDS: Final = 60.0
_SWEEP_EVERY_SECONDS: Final = 3600.0
_STUCK_SECONDS: Final = 60.0


class Ingest:
    """Opens the data directory and runs the jobs on it.

    Args:
        config: Settings.
        catalogue: Prices in force.
        registry: The series of the page.
        merged_prices: The prices as agents read them; `None` where they are the shipped ones.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        config: Config,
        catalogue: Catalogue,
        registry: Registry,
        *,
        merged_prices: str | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._in_force = InForce(config, catalogue, merged_prices)
        self._reloaded, self._reloaded_at = True, time.time()
        self._registry = registry
        self._clock = clock
        self.attempts = AttemptLog()
        """Delivery attempts of the webhook sender; the next transaction commits them."""
        self._page = MetricsPage(registry, lambda: self.config)
        self._reader = Reader(files.journals(config.data_dir))
        self._lock: Lock | None = None
        self._intake: JournalIntake | None = None
        self._exports: Exports | None = None
        self._loop = Loop(())
        self._stopping = threading.Event()
        self._until = float("inf")
        self._problem: str | None = "the journals have not been read yet"
        self._passed_at = clock()

    def open(self) -> None:
        """Lock the data directory and open the ledger, unless that is done.

        Raises:
            HeldError: Another sidecar serves the directory.
            OSError: The directory cannot be used.
            LedgerError: The ledger cannot be used.
            ConfigError: The file that says where the ledger is cannot be read.
        """
        config = self.config
        if self._lock is None:
            self._lock = Lock(config.data_dir)
        if self._intake is not None:
            return
        for_agents.share_prices(self._in_force.merged_prices, config.data_dir)
        self._reader.scan()
        ledger = Ledger(config.ledger.where(config.data_dir), files.read_instance(config.data_dir))
        try:
            files.write_instance(config.data_dir, ledger.instance)
            self._loop = self._jobs(ledger)
        except (LedgerError, OSError):
            ledger.close()
            raise

    def _jobs(self, ledger: Ledger) -> Loop:
        """Make the jobs on an open ledger, in the order in which they run."""

        def call_ended() -> None:
            exports.call_ended()
            self.attempts.wake()

        exports = self._exports = Exports(ledger, self._page, lambda: self.config)
        retention = Retention(ledger, exports, lambda: self.config)
        intake = self._intake = JournalIntake(
            ledger,
            self._reader,
            self._registry,
            self._page,
            self.attempts,
            lambda: self._in_force,
            call_ended,
            self._clock,
        )
        return Loop(
            (
                Job("look for a repricing", intake.look_for_repricing, _REPRICED_EVERY_SECONDS),
                Job("take journals in", lambda: intake.run(self._until)),
                Job("remove finished journals", intake.remove_finished),
                Job(
                    "share sizes with agents",
                    lambda: for_agents.share_sizes(ledger.sizes(), self.config.data_dir),
                    _SHARE_EVERY_SECONDS,
                ),
                Job("export ended calls", exports.run),
                Job(
                    "sweep idle series",
                    lambda: self._page.sweep(ledger),
                    _SWEEP_EVERY_SECONDS,
                    first_after=_SWEEP_EVERY_SECONDS,
                ),
                Job(
                    "remove old exports",
                    exports.remove_old,
                    _SWEEP_EVERY_SECONDS,
                    first_after=_SWEEP_EVERY_SECONDS,
                ),
                Job("delete old calls", retention.step),
                Job("show gauges", self._show),
            ),
            self._clock,
        )

    def listening(self, address: str) -> None:
        """Write down where this sidecar listens, for anyone who finds the directory locked."""
        if self._lock is not None:
            self._lock.tell(address)

    def problem(self) -> str | None:
        """Say why the sidecar is not ready; `None` when it is."""
        quiet = self._clock() - self._passed_at
        if self._problem is None and quiet > _STUCK_SECONDS:
            return f"the journals have not been read for {quiet:.0f} s"
        return self._problem

    def configure(
        self, config: Config, catalogue: Catalogue, merged_prices: str | None = None
    ) -> None:
        """Take over the settings and prices that may change while the sidecar runs."""
        self._in_force = InForce(config, catalogue, merged_prices)
        self._reloaded, self._reloaded_at = True, time.time()

    def reload_failed(self) -> None:
        """Show that the configuration could not be loaded; the old one stays in force."""
        self._reloaded = False

    @property
    def config(self) -> Config:
        """Settings in force."""
        return self._in_force.config

    @property
    def ledger(self) -> Ledger | None:
        """The ledger, once it is open."""
        return None if self._intake is None else self._intake.ledger

    def stop(self, within_seconds: float) -> None:
        """Let `run` take in what is on file and end, within this time; callable from any thread."""
        self._until = self._clock() + within_seconds
        self._stopping.set()

    def run(self) -> None:
        """Make passes until `stop`, then `finish`.

        Returns early when another sidecar took the directory while this one waited for it.
        """
        try:
            self._run()
            self.finish(_LAST_LOOK_SECONDS)
        except HeldError as error:
            _log.error("%s", error)

    def _run(self) -> None:
        pause = self.config.poll_seconds
        while not self._stopping.is_set():
            if not self.attempt():
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            elif self._lag_bytes() > CHUNK_BYTES:
                continue
            else:
                pause = self.config.poll_seconds
            self._stopping.wait(pause)

    def finish(self, patience_seconds: float = 0.0) -> None:
        """Take in what is on file, end the calls without a writer, and write their files.

        What fails is tried again while the time of `stop` lasts.

        Args:
            patience_seconds: Moment that a process which is ending gets to let go of its
                journal: when a host or a pod stops, its last call and its sidecar are told at
                the same time.

        Raises:
            HeldError: Another sidecar serves the directory.
        """
        last_look = min(self._clock() + patience_seconds, self._until - _STOPPING_PAUSE_SECONDS)
        while self._clock() < self._until:
            before = self.ledger.commits if self.ledger is not None else None
            # Every call that ended by now is to end here: there may be no next start.
            self._reader.ask_again()
            if self.attempt() and self._finished(before, wait=self._clock() < last_look):
                return
            if self.ledger is None or self.ledger.commits == before:
                time.sleep(_STOPPING_PAUSE_SECONDS)
        _log.warning(
            "no time is left to take everything in; %d bytes of journals stay for the next start",
            self._lag_bytes(),
        )

    def _finished(self, before: int | None, *, wait: bool) -> bool:
        """Return `True` when nothing is left to do, or the last pass could do nothing about it.

        Args:
            before: Commits before that pass.
            wait: A journal that has a writer is something to do.
        """
        intake, exports = self._intake, self._exports
        if intake is None or exports is None or intake.stale:
            return False
        if wait and intake.unfinished_journals():
            return False
        return intake.ledger.commits == before or not (intake.lag_bytes() or exports.pending)

    def close(self) -> None:
        """Close the ledger and unlock the directory."""
        if self._intake is not None:
            self._intake.ledger.close()
        if self._lock is not None:
            self._lock.close()

    def attempt(self) -> bool:
        """Make one pass over the jobs that are due.

        Returns:
            False when something failed that may pass, so that the next pass comes later.

        Raises:
            HeldError: Another sidecar serves the directory.
        """
        try:
            self.open()
            self._loop.run_due()
        except RepricedError as error:
            # Nothing was taken in, and the next pass reads what holds now.
            _log.info("%s; reading it again", error)
            if self._intake is not None:
                self._intake.distrust()
        except (LedgerError, ConfigError, OSError) as error:
            self._failed(error)
            return False
        if self._problem is not None:
            _log.info("ready: reading journals in %s", self.config.data_dir)
        self._problem = None
        self._passed_at = self._clock()
        return True

    def _failed(self, error: Exception) -> None:
        problem = str(error)
        if isinstance(error, OSError) and error.filename is not None:
            problem = f"cannot use '{error.filename}': {error.strerror}"
        if problem != self._problem:
            _log.error("%s; the journals keep the records, trying again", problem)
        self._problem = problem
        if not isinstance(error, OSError):
            self._page.count(contract.LEDGER_ERRORS)
        if self._intake is not None:
            self._intake.distrust()
        # What failed may have come before the journals were looked at, and their lag still grows.
        with suppress(OSError):
            self._reader.scan()
        self._show()

    def _lag_bytes(self) -> int:
        """Return how many bytes were there when the last pass began and are not in the ledger."""
        return 0 if self._intake is None else self._intake.lag_bytes()

    def _show(self) -> None:
        """Show the gauges as they are now."""
        self._registry.show(gauges(self._moment(), self._in_force.catalogue, time.time()))

    def _moment(self) -> SidecarState:
        budget, intake = self.config.budget, self._intake
        budgets = {"day": budget.day_usd, "month": budget.month_usd}
        allowed = {period: usd for period, usd in budgets.items() if usd is not None}
        if intake is None:
            return SidecarState(
                budgets=allowed,
                journal_files=len(self._reader.sizes),
                lag_bytes=self._reader.lag({}),
                reloaded=self._reloaded,
                reloaded_at=self._reloaded_at,
            )
        agents = {labels[0] for labels in self._registry.series(contract.SESSIONS)}
        spend = {
            (period, source): self._page.by_agent(intake.spend.of(period, source))
            for period in PERIODS
            for source in get_args(Source)
        }
        return SidecarState(
            agents=frozenset(agents.union(*spend.values())),
            active=self._page.by_agent(intake.meter.active()),
            spend=spend,
            budgets=allowed,
            models=frozenset(labels[1:4] for labels in self._registry.series(contract.COST)),
            journal_files=len(self._reader.sizes),
            lag_bytes=intake.lag_bytes(),
            ledger_bytes=intake.ledger.size_bytes(),
            last_record_at=intake.last_record_at,
            backlog=self.attempts.backlog,
            reloaded=self._reloaded,
            reloaded_at=self._reloaded_at,
        )
