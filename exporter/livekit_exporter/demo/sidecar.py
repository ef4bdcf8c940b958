"""The demo's sidecar: the exporter's own `serve`, as a child process, and its metrics."""

import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from livekit_exporter import contract, files

_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.1

_SAMPLE: Final = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class SidecarError(Exception):
    """The sidecar does not run; the message says why."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of the metrics page."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of a metrics page that the demo shows."""

    samples: Sequence[Sample]

    def costs(self) -> dict[tuple[str, str], float]:
        """US dollars by stage and model."""
        return self._dollars(contract.COST.full_name)

    def estimated(self) -> dict[tuple[str, str], float]:
        """US dollars by stage and model that no event reported."""
        return self._dollars(contract.ESTIMATED_COST.full_name)

    def turn_latency(self, quantile: float) -> float | None:
        """Seconds, estimated as Prometheus does; `None` before the first turn."""
        bounds: dict[float, float] = {}
        for sample in self._named(f"{contract.TURN_LATENCY.name}_bucket"):
            bound = float(sample.labels["le"])
            bounds[bound] = bounds.get(bound, 0.0) + sample.value
        if not bounds or not max(bounds.values()):
            return None
        rank = quantile * max(bounds.values())
        lower, below = 0.0, 0.0
        for bound, count in sorted(bounds.items()):
            if count >= rank and count > below:
                if bound == float("inf"):
                    return lower
                return lower + (bound - lower) * (rank - below) / (count - below)
            lower, below = bound, count
        return lower

    def _dollars(self, name: str) -> dict[tuple[str, str], float]:
        sums: dict[tuple[str, str], float] = {}
        for sample in self._named(name):
            key = (sample.labels["stage"], sample.labels["model"])
            sums[key] = sums.get(key, 0.0) + sample.value
        return sums

    def _named(self, name: str) -> list[Sample]:
        return [sample for sample in self.samples if sample.name == name]


def parse(page: str) -> list[Sample]:
    """Read a metrics page in the Prometheus text format."""
    samples = []
    for line in page.splitlines():
        found = None if line.startswith("#") else _SAMPLE.match(line)
        if found is not None:
            labels = dict(_LABEL.findall(found["labels"] or ""))
            samples.append(Sample(found["name"], labels, float(found["value"])))
    return samples


class Sidecar:
    """A sidecar that answers.

    Args:
        url: Where, without a path.
        web: For requests to it.
    """

    def __init__(self, url: str, web: aiohttp.ClientSession) -> None:
        self.url = url
        self._web = web

    async def figures(self) -> Figures:
        """Read the metrics page.

        Raises:
            SidecarError: It does not answer.
        """
        try:
            async with self._web.get(
                f"{self.url}/metrics", headers={"Accept": "text/plain;version=0.0.4"}
            ) as answer:
                answer.raise_for_status()
                return Figures(parse(await answer.text()))
        except aiohttp.ClientError as error:
            raise SidecarError(f"the sidecar does not answer on {self.url}: {error}") from error


@asynccontextmanager
async def running_sidecar(data_dir: Path, listen_address: str | None) -> AsyncIterator[Sidecar]:
    """Run a sidecar for as long as the context lasts.

    Args:
        data_dir: Its data directory, with the log in `sidecar.log`.
        listen_address: `host:port`, by default the sidecar's own.

    Raises:
        SidecarError: It did not start.
    """
    command = [sys.executable, "-m", "livekit_exporter", "serve", "--data-dir", str(data_dir)]
    command += ["--log-level", "warning", "--parent-fd", "0"]
    if listen_address is not None:
        command += ["--listen-address", listen_address]
    files.make(data_dir)
    log = data_dir / "sidecar.log"
    with log.open("wb") as output:
        # In a session of its own: Ctrl-C is for the demo, which still has calls to end
        # and their records to show.  Should the demo be killed, the pipe tells the sidecar.
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        async with aiohttp.ClientSession() as web:
            yield Sidecar(await _url(process, data_dir, web, log), web)
    finally:
        await _stop(process)


async def _url(
    process: asyncio.subprocess.Process, data_dir: Path, web: aiohttp.ClientSession, log: Path
) -> str:
    """Wait until the sidecar is ready; it writes where it listens into its lock file."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.returncode is not None:
            raise SidecarError(f"the sidecar did not start: {_last_words(process, log)}")
        address = _address(process, files.lock(data_dir))
        if address:
            async with web.get(f"{address}/-/ready") as answer:
                if answer.ok:
                    return address
        await asyncio.sleep(_POLL_SECONDS)
    raise SidecarError(f"the sidecar is not ready after {_START_SECONDS:.0f} s, see '{log}'")


def _last_words(process: asyncio.subprocess.Process, log: Path) -> str:
    return log.read_text(errors="replace").strip() or f"exit status {process.returncode}"


def _address(process: asyncio.subprocess.Process, lock: Path) -> str:
    try:
        holder = json.loads(lock.read_text())
    except (OSError, ValueError):
        return ""
    return str(holder.get("address", "")) if holder.get("pid") == process.pid else ""


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
    if process.stdin is not None:
        process.stdin.close()
