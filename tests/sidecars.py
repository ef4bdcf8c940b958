"""The sidecar as a process, and what its page says, for tests that end processes."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from prometheus_client.parser import text_string_to_metric_families

PATIENCE_SECONDS: Final = 60.0

Samples: TypeAlias = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def wait_until(
    holds: Callable[[], bool], what: str = "it", seconds: float = PATIENCE_SECONDS
) -> None:
    """Wait, generously, for another process or thread."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited too long until {what}"
        time.sleep(0.02)


def parse(page: str) -> Samples:
    """Samples of a page in the Prometheus text format."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def total(samples: Samples, name: str, **labels: str) -> float:
    """Sum of a series name over all label sets that contain the given labels."""
    return sum(
        value
        for (found, having), value in samples.items()
        if found == name and labels.items() <= having
    )


class Sidecar:
    """`livekit-exporter serve` on a free port.

    Args:
        data_dir: The data directory.
        log: File that takes its standard error.
        arguments: Further arguments of `serve`.
    """

    def __init__(self, data_dir: Path, log: Path, *arguments: str) -> None:
        self._log = log
        address = () if "--listen-address" in arguments else ("--listen-address", "127.0.0.1:0")
        # A variable of the developer's shell is no setting of the test.
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("LIVEKIT_EXPORTER_")
        }
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    *("-m", "livekit_exporter", "serve", "--data-dir", str(data_dir)),
                    *address,
                    *arguments,
                ],
                stderr=errors,
                stdout=subprocess.DEVNULL,
                env=inherited,
            )

    @property
    def said(self) -> str:
        """What it wrote to standard error."""
        return self._log.read_text()

    @property
    def url(self) -> str:
        """Where it listens, once it does."""
        wait_until(lambda: self._address() is not None, "the sidecar listens")
        address = self._address()
        assert address is not None
        return address

    def _address(self) -> str | None:
        found = re.search(r"serves (http://\S+)/metrics", self.said)
        if found is None:
            assert self.process.poll() is None, self.said
        return found[1] if found else None

    def get(self, path: str, accept: str = "text/plain") -> tuple[int, str]:
        """Status and body."""
        request = Request(self.url + path, headers={"Accept": accept})  # noqa: S310 - our own http
        try:
            with urlopen(request, timeout=PATIENCE_SECONDS) as response:  # noqa: S310 - the same
                return int(response.status), response.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def samples(self) -> Samples:
        """What the page says now."""
        status, body = self.get("/metrics")
        assert status == 200, body
        return parse(body)

    def wait_ready(self) -> None:
        """Wait until the journals have been read once."""
        wait_until(lambda: self.get("/-/ready")[0] == 200, "the sidecar is ready")

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end; the exit status."""
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)
