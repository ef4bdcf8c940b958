"""A LiveKit agent server without LiveKit: it starts a job process for every call.

The server is the real one, run without registering; so are its job processes.
"""

import asyncio
import logging
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from livekit.agents import AgentServer
from livekit.protocol import models

from livekit_exporter.demo.job import CallOrder, entrypoint
from livekit_exporter.demo.truth import Bill, bills, lines

_POLL_SECONDS: Final = 0.05


def quiet(level: int = logging.ERROR) -> None:
    """Let LiveKit log errors only: what the scripts let fail is no news.

    Job processes take over the levels that are set when they start.
    """
    logging.getLogger("livekit").setLevel(level)


@dataclass(frozen=True, slots=True)
class StartedCall:
    """A call in a process of its own."""

    number: int
    pid: int
    truth: Path
    """Its truth file."""
    room: str
    _server: AgentServer

    @property
    def going_on(self) -> bool:
        """True while its process lives."""
        return any(info.job.room.name == self.room for info in self._server.active_jobs)

    def forget(self) -> None:
        """Remove its truth file, where nobody compares."""
        self.truth.unlink(missing_ok=True)

    async def done(self) -> None:
        """Wait until its process has ended, one way or the other."""
        while self.going_on:  # noqa: ASYNC110  # the server announces no ends of jobs
            await asyncio.sleep(_POLL_SECONDS)


class Fleet:
    """Starts calls; on leaving, those that go on are shut down as a worker does it.

    Args:
        data_dir: The exporter's data directory; truth files go to its folder `truth`.
        seed: The demo's seed.
        speed: How many simulated seconds pass in a second.
        llm_delay: Simulated seconds that language models take longer to their first token.
        worker_metrics: Host and port of the page with LiveKit's own worker metrics, if there
            is to be one.
        log: Whether calls log their turns.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        seed: int,
        speed: float = 1.0,
        llm_delay: float = 0.0,
        worker_metrics: tuple[str, int] | None = None,
        log: bool = False,
    ) -> None:
        self._data_dir = data_dir
        self._seed = seed
        self._speed = speed
        self._llm_delay = llm_delay
        self._log = log
        # LiveKit has one host for all of its pages.
        host, metrics_port = worker_metrics or ("127.0.0.1", None)
        # Files of an earlier run in the same directory stay, as its metrics do.
        self._run = secrets.token_hex(4)
        self._server = AgentServer(
            host=host,
            port=0,
            prometheus_port=metrics_port,
            num_idle_processes=0,
            load_fnc=_no_load,
            preload_modules=["livekit_exporter.demo.job"],
        )
        self._server.rtc_session(entrypoint)
        self._tasks: list[asyncio.Task[None]] = []
        # Most files are complete, and the demo asks every second.
        self._read: dict[Path, tuple[int, tuple[Bill, ...]]] = {}

    @property
    def truth_directory(self) -> Path:
        """Folder of the truth files, one per call."""
        return self._data_dir / "truth"

    async def __aenter__(self) -> Self:
        """Start the server.

        Raises:
            OSError: It cannot listen where it should.
            RuntimeError: It did not start, for another reason.
        """
        # Job processes inherit the environment of this moment.  LiveKit would load
        # speech models of 244 MB that nobody uses here.
        os.environ["LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE"] = "0"
        started = asyncio.Event()
        self._server.once("worker_started", started.set)
        serving = asyncio.create_task(self._server.run(devmode=True, unregistered=True))
        waiting = asyncio.create_task(started.wait())
        await asyncio.wait([serving, waiting], return_when=asyncio.FIRST_COMPLETED)
        if not started.is_set():
            waiting.cancel()
            error = serving.exception()
            if isinstance(error, OSError):
                raise OSError(f"the agent server did not start: {error.strerror}") from error
            raise RuntimeError("the agent server did not start") from error
        self._tasks = [serving, asyncio.create_task(self._discard_reports())]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._server.aclose()
        await asyncio.gather(*self._tasks)

    async def start_call(self, number: int) -> StartedCall:
        """Start a job process for a call and return when it has begun.

        Raises:
            RuntimeError: Its process ended before it began.
        """
        room = f"demo-{self._run}-{number}"
        truth = self.truth_directory / f"{self._run}-{number}.jsonl"
        order = CallOrder(
            seed=self._seed,
            number=number,
            speed=self._speed,
            llm_delay=self._llm_delay,
            log=self._log,
            data_dir=str(self._data_dir),
            truth=str(truth),
        )
        await self._server.simulate_job(
            room, fake_job=True, room_info=models.Room(name=room, metadata=order.to_json())
        )
        while True:
            call = StartedCall(number, _pid(truth), truth, room, self._server)
            if call.pid:
                return call
            if not call.going_on:
                raise RuntimeError(f"the process of call {number} ended before the call began")
            await asyncio.sleep(_POLL_SECONDS)

    def bills(self) -> Iterator[Bill]:
        """Everything billed so far, by this run and earlier ones in the same directory."""
        for path in self.truth_directory.glob("*.jsonl"):
            size = path.stat().st_size
            known = self._read.get(path)
            if known is None or known[0] != size:
                known = self._read[path] = (size, tuple(bills(path)))
            yield from known[1]

    async def _discard_reports(self) -> None:
        """Take what the server wants to tell LiveKit about its jobs.

        There is no connection, and with 128 reports on its desk it would not close.
        """
        reports = getattr(self._server, "_msg_chan", None)
        if reports is not None:
            async for _ in reports:
                pass


def _pid(truth: Path) -> int:
    """Process id in the first line of a truth file, 0 while there is none."""
    first = next(lines(truth), None)
    return int(first["pid"]) if first else 0


def _no_load() -> float:
    """A server above its load threshold would take no more calls."""
    return 0.0
