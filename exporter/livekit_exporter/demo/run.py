"""The demo: calls in real job processes, a sidecar, and at the end truth against metrics."""

import asyncio
import itertools
import logging
import os
import signal
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from livekit_exporter import files
from livekit_exporter.demo.comparison import Row, compare
from livekit_exporter.demo.fleet import Fleet, quiet
from livekit_exporter.demo.sidecar import Figures, Sidecar, SidecarError, running_sidecar

_REFRESH_SECONDS: Final = 1.0
_CATCH_UP_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the demo."""

    calls: int | None = 20
    """Calls to hold; `None` for as many as there is time for."""
    concurrency: int = 4
    """Calls at a time."""
    duration: float | None = None
    """Seconds after which no call begins."""
    seed: int = 1
    """The same seed holds the same calls again."""
    speed: float = 1.0
    """Simulated seconds in a second."""
    listen_address: str | None = None
    """`host:port` of the sidecar, by default its own."""
    data_dir: str | None = None
    """Data directory; by default a temporary one that is removed at the end."""
    llm_delay: float = 0.0
    """Simulated seconds that language models take longer to their first token."""
    sidecar: bool = True
    """Run a sidecar too; without one, the data directory is another's or the default."""
    worker_metrics: tuple[str, int] | None = None
    """Host and port of LiveKit's own worker metrics, if they are to be served."""
    log: bool = False
    """Show the lines that calls log about their turns."""


@dataclass(slots=True)
class _Progress:
    planned: int | None
    going_on: int = 0
    done: int = 0

    def __str__(self) -> str:
        of = "" if self.planned is None else f" of {self.planned}"
        return f"{self.going_on} calls going on, {self.done}{of} done"


def run(options: Options) -> int:
    """Run the demo; the exit status: 0 when the metrics agree with the providers' bills.

    Without a sidecar there are no metrics to hold against the bills, and 0 means no more than
    that the calls were held.

    Ends after the calls, or with Ctrl-C or SIGTERM, which hang up first.  To be called
    from the main thread of a program.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    stopped = threading.Event()
    # LiveKit makes the main thread deaf to Ctrl-C for as long as it starts a process there.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="demo") as pool:
        ended = pool.submit(_run, options, stopped)
        try:
            return ended.result()
        except KeyboardInterrupt:
            stopped.set()
        try:
            return ended.result()
        except KeyboardInterrupt:
            # Job processes and the sidecar end when they find that this process has.
            os._exit(130)


def _run(options: Options, stopped: threading.Event) -> int:
    # Inherited by every process that is started from here: Ctrl-C in a terminal goes
    # to all of them, and to hang up is for the worker.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    quiet()
    try:
        with _data_dir(options) as data_dir:
            demo = _demo if options.sidecar else _calls_only
            return asyncio.run(demo(options, data_dir, stopped))
    except (SidecarError, OSError) as error:
        Console(stderr=True).print(f"livekit-exporter: {error}", highlight=False, soft_wrap=True)
        return 1


@contextmanager
def _data_dir(options: Options) -> Iterator[Path]:
    if options.data_dir is not None:
        yield Path(options.data_dir).expanduser().absolute()
        return
    if not options.sidecar:
        yield files.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="livekit-exporter-demo-") as directory:
        yield Path(directory)


async def _demo(options: Options, data_dir: Path, stopped: threading.Event) -> int:
    console = _console(options)
    async with running_sidecar(data_dir, options.listen_address) as sidecar:
        console.print(
            f"Metrics: {sidecar.url}/metrics   Data: {data_dir}", highlight=False, soft_wrap=True
        )
        progress = _Progress(options.calls)
        fleet = _fleet(options, data_dir)
        async with _shown(sidecar, fleet, progress, console), fleet:
            await _hold_calls(fleet, options, progress, stopped)
        rows, figures = await _caught_up(sidecar, fleet)
        console.print(_totals(rows, figures, progress))
    agreed = all(row.agrees for row in rows)
    console.print(
        "The metrics agree with what the providers reported."
        if agreed
        else "The metrics differ from what the providers reported.",
        style="green" if agreed else "red",
    )
    return 0 if agreed else 1


async def _calls_only(options: Options, data_dir: Path, stopped: threading.Event) -> int:
    """Be the agents of a sidecar that somebody else runs."""
    console = _console(options)
    console.print(f"Data: {data_dir}", highlight=False, soft_wrap=True)
    files.make(data_dir)
    progress = _Progress(options.calls)
    async with _fleet(options, data_dir) as fleet:
        await _hold_calls(fleet, options, progress, stopped)
    console.print(str(progress))
    return 0


class _CallLog(logging.Handler):
    """Prints what calls log, above the figures."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        # LiveKit names the room on what a job process logs.
        self.setFormatter(logging.Formatter("%(room)s %(message)s", defaults={"room": ""}))

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        self._console.print(self.format(record), soft_wrap=True, highlight=False, markup=False)


def _console(options: Options) -> Console:
    console = Console()
    if options.log:
        exporter = logging.getLogger("livekit_exporter")
        exporter.addHandler(_CallLog(console))
        # Job processes take over the levels that are set when they start.
        exporter.setLevel(logging.INFO)
    return console


def _fleet(options: Options, data_dir: Path) -> Fleet:
    return Fleet(
        data_dir,
        seed=options.seed,
        speed=options.speed,
        llm_delay=options.llm_delay,
        worker_metrics=options.worker_metrics,
        log=options.log,
    )


async def _hold_calls(
    fleet: Fleet, options: Options, progress: _Progress, stopped: threading.Event
) -> None:
    """Hold so many calls at a time until there were enough, or somebody stops."""
    numbers = itertools.count() if options.calls is None else iter(range(options.calls))
    until = float("inf") if options.duration is None else time.monotonic() + options.duration

    async def hold() -> None:
        for number in numbers:
            if time.monotonic() > until:
                return
            call = await fleet.start_call(number)
            progress.going_on += 1
            await call.done()
            if not options.sidecar:
                call.forget()  # calls without end would fill the disk with truth
            progress.going_on -= 1
            progress.done += 1

    async def hold_all() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(options.concurrency):
                group.create_task(hold())

    holding = asyncio.create_task(hold_all())
    stopping = asyncio.create_task(asyncio.to_thread(stopped.wait))
    await asyncio.wait({holding, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if stopped.is_set():
        # A process that has not got as far as its call is killed, and LiveKit calls that an error.
        quiet(logging.CRITICAL)
    stopped.set()
    await stopping
    holding.cancel()
    with suppress(asyncio.CancelledError):
        await holding


async def _caught_up(sidecar: Sidecar, fleet: Fleet) -> tuple[list[Row], Figures]:
    """Give the sidecar time to take in the last records, then compare."""
    deadline = time.monotonic() + _CATCH_UP_SECONDS
    while True:
        figures = await sidecar.figures()
        rows = compare(fleet.bills(), figures.costs(), figures.estimated())
        if all(row.agrees for row in rows) or time.monotonic() > deadline:
            return rows, figures
        await asyncio.sleep(_REFRESH_SECONDS / 4)


@asynccontextmanager
async def _shown(
    sidecar: Sidecar, fleet: Fleet, progress: _Progress, console: Console
) -> AsyncIterator[None]:
    """Show the figures while the calls go on, where somebody can watch."""
    if not console.is_terminal:
        yield
        return

    with Live(console=console, auto_refresh=False, transient=True) as live:

        async def show() -> None:
            while True:
                with suppress(SidecarError):  # its end is reported when the calls are over
                    figures = await sidecar.figures()
                    rows = compare(fleet.bills(), figures.costs(), figures.estimated())
                    live.update(_totals(rows, figures, progress), refresh=True)
                await asyncio.sleep(_REFRESH_SECONDS)

        showing = asyncio.create_task(show())
        try:
            yield
        finally:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)


def _totals(rows: list[Row], figures: Figures, progress: _Progress) -> RenderableType:
    # Without an edge it fits 80 columns with the longest name.
    table = Table(show_edge=False, pad_edge=False)
    for name in ("stage", "model"):
        table.add_column(name)
    for name in ("reports", "reported", "metrics", "estimated"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.stage,
            row.model,
            str(row.requests),
            f"${float(row.reported):.6f}",
            f"${row.counted:.6f}",
            f"${row.estimated:.6f}" if row.estimated else "",
            style=None if row.agrees else "yellow",
        )
    table.add_section()
    table.add_row(
        "",
        "all",
        str(sum(row.requests for row in rows)),
        f"${float(sum(row.reported for row in rows)):.6f}",
        f"${sum(row.counted for row in rows):.6f}",
        f"${sum(row.estimated for row in rows):.6f}",
    )
    quantiles = [
        f"p{round(100 * quantile)} {seconds:.2f} s"
        for quantile in (0.5, 0.95)
        if (seconds := figures.turn_latency(quantile)) is not None
    ]
    latency = f"   turn latency {', '.join(quantiles)}" if quantiles else ""
    return Group(Text(f"{progress}{latency}"), table)
