"""Runs the sidecar: starts ingest, web server and webhook sender, reloads and stops them."""

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from aiohttp import web

from livekit_exporter import __version__
from livekit_exporter.ledger.store import LedgerError
from livekit_exporter.sidecar import prices_in_force
from livekit_exporter.sidecar.config.settings import Config, ConfigError
from livekit_exporter.sidecar.http.pages import SidecarPages
from livekit_exporter.sidecar.http.routes import application
from livekit_exporter.sidecar.ingest import Ingest
from livekit_exporter.sidecar.lock import HeldError
from livekit_exporter.sidecar.registry import Registry
from livekit_exporter.sidecar.webhook import endpoint as webhook
from livekit_exporter.sidecar.webhook.sender import WebhookSender

_log = logging.getLogger("livekit_exporter")

_STOP_SECONDS: Final = 9.0
"""Longest time from SIGTERM to the end; in-worker mode allows ten seconds, Kubernetes thirty."""
_DRAIN_SECONDS: Final = 4.0
"""Part of it for journals and files of calls; the webhook sender has three seconds after it."""
_LAST_SECONDS: Final = 1.0
"""Part of it to commit the results of the sender."""
_FIXED: Final = ("data_dir", "listen_address")


class _JsonFormatter(logging.Formatter):
    """Formats each log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def run(
    config: Config,
    *,
    parent_fd: int | None = None,
    reload: Callable[[], Config] | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT, then take in what the journals hold and deliver it.

    Args:
        config: Settings.
        parent_fd: A pipe that the parent process holds open; the sidecar stops when it closes.
        reload: Reads the configuration again, on SIGHUP.

    Returns:
        The exit status.
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
        _log.debug("not ready at start; ingest logs the reason and tries again", exc_info=True)
    # Whatever waits without an end then, such as a database that does not answer.
    cut_off = threading.Timer(_STOP_SECONDS, _cut_off)
    cut_off.daemon = True
    try:
        return asyncio.run(_serve(ingest, registry, target, parent_fd, reload, cut_off))
    finally:
        ingest.close()
        cut_off.cancel()


def _cut_off() -> None:
    _log.error(
        "not ended after %g s, leaving: the journals keep what is not in the ledger", _STOP_SECONDS
    )
    os._exit(1)


async def _serve(
    ingest: Ingest,
    registry: Registry,
    target: webhook.Webhook | None,
    parent_fd: int | None,
    reload: Callable[[], Config] | None,
    cut_off: threading.Timer,
) -> int:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    sender = WebhookSender(ingest.config.data_dir, lambda: ingest.ledger, ingest.attempts)
    sender.use(target)
    loop.add_signal_handler(signal.SIGHUP, _reload, ingest, sender, reload)
    if parent_fd is not None:
        loop.add_reader(parent_fd, _watch_parent, parent_fd, stopped)
    runner = web.AppRunner(application(SidecarPages(ingest, registry)), access_log=None)
    await runner.setup()
    address = ingest.config.listen_address
    try:
        site = web.TCPSite(runner, address.host, address.port, shutdown_timeout=_LAST_SECONDS)
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
    with suppress(OSError):  # ingest reports a directory that cannot be written
        ingest.listening(url)
    _log.info("livekit-exporter %s serves %s/metrics", __version__, url)
    died = await _work(ingest, sender, stopped, cut_off)
    await runner.cleanup()
    if died:
        _log.error("the ingest loop ended by itself, see above")
    return 1 if died else 0


async def _work(
    ingest: Ingest, sender: WebhookSender, stopped: asyncio.Event, cut_off: threading.Timer
) -> bool:
    """Run ingest and the sender until `stopped`, then let both finish what is there.

    Returns:
        True when ingest ended before it was told to.
    """
    worker = threading.Thread(target=ingest.run, name="ingest", daemon=True)
    worker.start()
    delivering = asyncio.create_task(sender.run())
    watch = asyncio.create_task(asyncio.to_thread(worker.join))
    await asyncio.wait(
        [watch, asyncio.create_task(stopped.wait())], return_when=asyncio.FIRST_COMPLETED
    )
    died = not stopped.is_set()
    _log.info("stopping: taking in what the journals hold")
    cut_off.start()
    ingest.stop(_DRAIN_SECONDS)
    await watch
    sender.stop()
    await delivering
    # Commits what was sent since, and ends the calls that came to their end meanwhile.
    if ingest.ledger is not None and not died:
        ingest.stop(_LAST_SECONDS)
        await asyncio.to_thread(ingest.finish)
    return died


def _watch_parent(descriptor: int, stopped: asyncio.Event) -> None:
    if not os.read(descriptor, 1024):
        asyncio.get_running_loop().remove_reader(descriptor)
        stopped.set()


def _reload(ingest: Ingest, sender: WebhookSender, reload: Callable[[], Config] | None) -> None:
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
    sender.use(target)
    _log.info("configuration loaded")


def _log_to_stderr(config: Config) -> None:
    stream = logging.StreamHandler()
    stream.setFormatter(
        _JsonFormatter()
        if config.log.format == "json"
        else logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    )
    logging.basicConfig(level=config.log.level.upper(), handlers=[stream], force=True)
