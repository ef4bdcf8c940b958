"""Puts the sidecar together and runs it: wires, decides nothing."""

import asyncio
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from decimal import Decimal
from itertools import product
from typing import Final

from aiohttp import web

from livekit_exporter import __version__
from livekit_exporter.ledger.store import LedgerError
from livekit_exporter.sidecar import prices_in_force
from livekit_exporter.sidecar.config.settings import Config, ConfigError
from livekit_exporter.sidecar.http.app import CallView, Overview, OverviewRow, application
from livekit_exporter.sidecar.http.spend import DaySpend, Question
from livekit_exporter.sidecar.ingest import Ingest
from livekit_exporter.sidecar.lock import HeldError
from livekit_exporter.sidecar.periods import PERIODS, period_start
from livekit_exporter.sidecar.registry import Exposition, Registry
from livekit_exporter.sidecar.webhook import endpoint as webhook
from livekit_exporter.sidecar.webhook.sender import Courier

_log = logging.getLogger("livekit_exporter")

_DRAIN_SECONDS: Final = 5.0
_FIXED: Final = ("data_dir", "listen_address")


class _Json(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, object] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said)


class _Served:
    """What the web pages show, from the registry and the ledger."""

    def __init__(self, ingest: Ingest, registry: Registry) -> None:
        self._ingest = ingest
        self._registry = registry
        self._started = time.monotonic()
        self._day_spend = DaySpend()

    def render(self, accept: str) -> Exposition:
        return self._registry.render(accept)

    def problem(self) -> str | None:
        return self._ingest.problem()

    def overview(self) -> Overview:
        config = self._ingest.config
        ledger = self._ingest.ledger
        now = time.time()
        spend = dict.fromkeys(product(PERIODS, ("reported", "estimated")), 0.0)
        rows: tuple[OverviewRow, ...] = ()
        active = 0
        if ledger is not None:
            with suppress(LedgerError):  # /-/ready says why
                for period in PERIODS:
                    spent = ledger.spend(period_start(period, now, config.zone))
                    for (_, source), usd in spent.items():
                        spend[period, source] += usd
                today = ledger.models(period_start("day", now, config.zone))
                rows = _rows(today)
                active = sum(row.closed_at is None for row in ledger.open_sessions())
        return Overview(
            data_dir=str(config.data_dir),
            timezone=config.timezone,
            uptime_seconds=time.monotonic() - self._started,
            active_sessions=active,
            day_usd=_money(spend["day", "reported"]),
            month_usd=_money(spend["month", "reported"]),
            day_estimated_usd=_money(spend["day", "estimated"]),
            month_estimated_usd=_money(spend["month", "estimated"]),
            day_budget_usd=config.budget.day_usd,
            month_budget_usd=config.budget.month_usd,
            rows=rows,
        )

    def call(self, session: str) -> CallView | None:
        ledger = self._ingest.ledger
        row = ledger.session(session) if ledger is not None else None
        if ledger is None or row is None:
            return None
        models = _rows(ledger.models(0.0, session=session))
        beside = _money(ledger.estimated_usd(session))
        return CallView(row, ledger.turns(session), models, self._ingest.config.zone, beside)

    def spend(self, asked: Question) -> dict[str, object] | None:
        ledger, config = self._ingest.ledger, self._ingest.config
        if ledger is None:
            return None
        try:
            return self._day_spend.answer(ledger, config.zone, config.timezone, asked)
        except LedgerError:  # /-/ready says why
            return None


def run(
    config: Config,
    *,
    parent_fd: int | None = None,
    reload: Callable[[], Config] | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT, then take in what is there; the exit status.

    Args:
        config: Settings.
        parent_fd: A pipe whose end means that the parent process is gone: then stop.
        reload: Reads the configuration again, on SIGHUP.
    """
    _log_to_stderr(config)
    registry = Registry(config.metrics.labels)
    try:
        prices, merged = prices_in_force.load(config)
        target = webhook.configured(config)
    except ConfigError as error:
        print(f"livekit-exporter: {error}", file=sys.stderr)  # noqa: T201 - what a person reads
        return 1
    ingest = Ingest(config, prices, registry, merged_prices=merged)
    try:
        ingest.open()
    except HeldError as error:
        print(f"livekit-exporter: {error}", file=sys.stderr)  # noqa: T201 - what a person reads
        return 1
    except (LedgerError, ConfigError, OSError):
        _log.debug("not ready at start, the loop says why and tries again", exc_info=True)
    try:
        return asyncio.run(_serve(ingest, registry, target, parent_fd, reload))
    finally:
        ingest.close()


async def _serve(
    ingest: Ingest,
    registry: Registry,
    target: webhook.Webhook | None,
    parent_fd: int | None,
    reload: Callable[[], Config] | None,
) -> int:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    courier = Courier(ingest.config.data_dir, lambda: ingest.ledger, ingest.handover)
    courier.use(target)
    loop.add_signal_handler(signal.SIGHUP, _reload, ingest, courier, reload)
    if parent_fd is not None:
        loop.add_reader(parent_fd, _watch_parent, parent_fd, stopped)
    runner = web.AppRunner(application(_Served(ingest, registry)), access_log=None)
    await runner.setup()
    address = ingest.config.listen_address
    try:
        site = web.TCPSite(runner, address.host, address.port, shutdown_timeout=2.0)
        await site.start()
    except OSError as error:
        print(  # noqa: T201 - what a person reads
            f"livekit-exporter: cannot listen on {address}: {error.strerror or error};"
            " choose another with --listen-address",
            file=sys.stderr,
        )
        await runner.cleanup()
        return 1
    host, port = runner.addresses[0][:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    with suppress(OSError):  # the loop reports a directory that cannot be written
        ingest.listening(url)
    _log.info("livekit-exporter %s serves %s/metrics", __version__, url)
    finish = threading.Event()
    worker = threading.Thread(
        target=ingest.run, args=(finish, _DRAIN_SECONDS), name="ingest", daemon=True
    )
    worker.start()
    delivering = asyncio.create_task(courier.run())
    watch = asyncio.create_task(asyncio.to_thread(worker.join))
    await asyncio.wait(
        [watch, asyncio.create_task(stopped.wait())], return_when=asyncio.FIRST_COMPLETED
    )
    died = not stopped.is_set()
    _log.info("stopping: taking in what the journals hold")
    finish.set()
    await watch
    courier.stop()
    await delivering
    if ingest.handover.tried() and not died:
        await asyncio.to_thread(ingest.attempt)
    await runner.cleanup()
    if died:
        _log.error("the ingest loop ended by itself, see above")
    return 1 if died else 0


def _watch_parent(descriptor: int, stopped: asyncio.Event) -> None:
    if not os.read(descriptor, 1024):
        asyncio.get_running_loop().remove_reader(descriptor)
        stopped.set()


def _reload(ingest: Ingest, courier: Courier, reload: Callable[[], Config] | None) -> None:
    if reload is None:
        return
    try:
        config = reload()
        prices, merged = prices_in_force.load(config)
        target = webhook.configured(config)
    except ConfigError as error:
        _log.error("%s; the old configuration stays in force", error)
        ingest.reload_failed()
        return
    old = ingest.config
    fixed = {name: getattr(old, name) for name in _FIXED}
    fixed["metrics"] = config.metrics.model_copy(update={"labels": old.metrics.labels})
    place = {"url": old.ledger.url, "url_file": old.ledger.url_file}
    fixed["ledger"] = config.ledger.model_copy(update=place)
    if any(getattr(config, name) != value for name, value in fixed.items()):
        _log.warning(
            "data_dir, listen_address, ledger.url and metrics.labels need a restart to change"
        )
    ingest.configure(config.model_copy(update=fixed), prices, merged)
    courier.use(target)
    _log.info("configuration loaded")


def _log_to_stderr(config: Config) -> None:
    stream = logging.StreamHandler()
    stream.setFormatter(
        _Json()
        if config.log.format == "json"
        else logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    )
    logging.basicConfig(level=config.log.level.upper(), handlers=[stream], force=True)


def _money(usd: float) -> Decimal:
    """An amount for a page; the twelfth digit is far below what anyone is billed."""
    return Decimal(usd).quantize(Decimal("1e-12"))


def _rows(models: Iterable[tuple[str, str, str, int, int, float]]) -> tuple[OverviewRow, ...]:
    """What models did, for a page."""
    return tuple(
        OverviewRow(
            stage=stage,
            provider=provider,
            model=model,
            requests=requests,
            cost_usd=_money(usd),
            unpriced=unpriced,
        )
        for stage, provider, model, requests, unpriced, usd in sorted(models)
    )
